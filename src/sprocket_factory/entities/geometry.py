"""Sprocket geometry for roller chain, after ASME B29.1. Lengths come out in the unit of the pitch."""

from math import pi, sin, tan

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


def pitch_diameter(teeth: int, pitch: float) -> float:
    """Return the diameter of the circle through the centres of the chain's rollers: PD = P / sin(180°/N)."""
    return pitch / sin(pi / teeth)


def outside_diameter(teeth: int, pitch: float) -> float:
    """Return the approximate diameter over the tips of the teeth: OD = P (0.6 + cot(180°/N))."""
    return pitch * (0.6 + 1 / tan(pi / teeth))
