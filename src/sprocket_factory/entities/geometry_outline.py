"""The outline of a sprocket as it is stored: roller seats on the pitch circle, teeth up to the outside circle.

The diameter of the rollers is not stored, so it is assumed. Flanks are straight lines that touch the seats, not the
curves of the standard. A point's bulge is that of DXF: the tangent of a quarter of the angle of the arc from this point
to the next, positive where it runs counterclockwise, 0 for a line.
"""

from math import acos, asin, atan2, cos, hypot, pi, sin, tan
from typing import NamedTuple

from sprocket_factory.entities.sprocket import Sprocket

ROLLER_DIAMETER = 0.625
"""Of the pitch: near that of the standard's chains from number 40 on."""

MOST_OF_GAP = 0.6
FLANK_SLOPE = 0.4
"""A flank runs so far aside for its height; but on either side of a tooth at most so much of half the gap is lost."""


class Point(NamedTuple):
    """A corner of the outline, around the sprocket's centre, and how it goes on from there.

    Lengths are parts of the larger diameter, for the smallest that can be stored have no squares.
    """

    x: float
    y: float
    bulge: float


class Outline(NamedTuple):
    """A closed outline, counterclockwise, or why there is none."""

    points: list[Point]
    refusal: str = ""


class _Seat(NamedTuple):
    """Half a seat, its centre on the y-axis: where the roller's arc ends, and where the flank meets the outside."""

    end: tuple[float, float]
    tip: tuple[float, float]
    arc: float
    """Half the angle of the roller's arc."""
    land: float
    """The angle of the outside circle between two seats."""


def outline_of(sprocket: Sprocket) -> Outline:
    """Return the outline of a sprocket.

    It is without points where the seats would overlap, or would not cut the outside circle, since the diameters do not
    go with the pitch.
    """
    size = size_of(sprocket)
    pitch_radius = sprocket.pitch_diameter / size / 2
    outside_radius = sprocket.outside_diameter / size / 2
    roller_radius = ROLLER_DIAMETER * sprocket.pitch / size / 2
    half = pi / sprocket.teeth
    if pitch_radius * sin(half) <= roller_radius:
        return Outline([], "the roller seats would overlap")
    seat = _seat(half, pitch_radius, outside_radius, roller_radius)
    if seat is None:
        return Outline([], "the roller seats would not cut the outside circle")
    down, along = -tan(seat.arc / 2), tan(seat.land / 4)
    corners = ((*seat.end, down), (-seat.end[0], seat.end[1], 0.0), (-seat.tip[0], seat.tip[1], along))
    points = []
    for number in range(sprocket.teeth):
        turned, sideways = cos(2 * half * number), sin(2 * half * number)
        for x, y, bulge in (*corners, (*_turned(seat.tip, 2 * half), 0.0)):
            points.append(Point(x * turned - y * sideways, x * sideways + y * turned, bulge))
    return Outline(points)


def size_of(sprocket: Sprocket) -> float:
    """Return the larger diameter."""
    return max(sprocket.pitch_diameter, sprocket.outside_diameter)


def _seat(half: float, pitch_radius: float, outside_radius: float, roller_radius: float) -> _Seat | None:
    """Return a seat, or None where none can be cut."""
    edge = 2 * asin(roller_radius / pitch_radius / 2)
    height = max(outside_radius - pitch_radius, roller_radius) / pitch_radius
    beside = edge + min(MOST_OF_GAP * (half - edge), FLANK_SLOPE * height)
    tip = (outside_radius * sin(beside), outside_radius * cos(beside))
    distance = hypot(tip[0], tip[1] - pitch_radius)
    if distance <= roller_radius:
        return None
    touching = atan2(tip[1] - pitch_radius, tip[0]) - acos(roller_radius / distance)
    end = (roller_radius * cos(touching), pitch_radius + roller_radius * sin(touching))
    if touching <= -pi / 2 or hypot(*end) >= outside_radius:
        return None
    return _Seat(end, tip, touching + pi / 2, 2 * (half - beside))


def _turned(point: tuple[float, float], angle: float) -> tuple[float, float]:
    x, y = point
    return x * cos(angle) - y * sin(angle), x * sin(angle) + y * cos(angle)
