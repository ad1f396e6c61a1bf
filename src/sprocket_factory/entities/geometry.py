"""Sprocket geometry for roller chain, after ASME B29.1. Lengths come out in the unit of the pitch.

It advises: what is stored may differ from it as it likes.
"""

from math import pi, sin, tan
from sys import float_info
from typing import Annotated, Literal

from msgspec import Meta, Struct

from sprocket_factory.entities.sprocket import Sprocket

STANDARD = "ASME B29.1"

STANDARD_PITCH_INCHES = {
    "25": 1 / 4,
    "35": 3 / 8,
    "40": 1 / 2,
    "50": 5 / 8,
    "60": 3 / 4,
    "80": 1.0,
    "100": 5 / 4,
    "120": 3 / 2,
    "140": 7 / 4,
    "160": 2.0,
    "180": 9 / 4,
    "200": 5 / 2,
    "240": 3.0,
}
"""Pitch in inches of the standard chains, by chain number."""

PITCH_DIAMETER_TOLERANCE = 0.001
OUTSIDE_DIAMETER_TOLERANCE = 0.01
"""So far, as parts of what is expected, a diameter may deviate and still fit. The outside one is approximate anyway."""

Verdict = Literal["fits", "deviates"]


class Compared(Struct, frozen=True):
    """A diameter as it is stored, beside the one that the standard gives."""

    stored: float
    expected: float
    deviation: Annotated[float, Meta(description="(stored - expected) / expected.")]


class Geometry(Struct, frozen=True):
    """What the standard gives for these teeth and this pitch, and how far what is stored is from it."""

    standard: str
    pitch_diameter: Compared
    outside_diameter: Compared
    verdict: Annotated[
        Verdict, Meta(description="fits: the pitch diameter within 0.1 % and the outside diameter within 1 %.")
    ]


def geometry_of(sprocket: Sprocket) -> Geometry:
    """Compare a sprocket with the standard."""
    pitch = _compared(sprocket.pitch_diameter, pitch_diameter(sprocket.teeth, sprocket.pitch))
    outside = _compared(sprocket.outside_diameter, outside_diameter(sprocket.teeth, sprocket.pitch))
    fits = abs(pitch.deviation) <= PITCH_DIAMETER_TOLERANCE and abs(outside.deviation) <= OUTSIDE_DIAMETER_TOLERANCE
    return Geometry(STANDARD, pitch, outside, "fits" if fits else "deviates")


def pitch_diameter(teeth: int, pitch: float) -> float:
    """Return the diameter of the circle through the centres of the chain's rollers: PD = P / sin(180°/N)."""
    return pitch / sin(pi / teeth)


def outside_diameter(teeth: int, pitch: float) -> float:
    """Return the approximate diameter over the tips of the teeth: OD = P (0.6 + cot(180°/N))."""
    return pitch * (0.6 + 1 / tan(pi / teeth))


def _compared(stored: float, expected: float) -> Compared:
    # The smallest pitches that can be stored would make it infinite, which is no number in JSON.
    return Compared(stored, expected, min((stored - expected) / expected, float_info.max))
