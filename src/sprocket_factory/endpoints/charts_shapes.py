"""The shapes of a chart of attainment: bars, gaps and lines, in the units of its picture."""

from collections.abc import Iterator, Sequence
from itertools import groupby, pairwise
from typing import NamedTuple, Protocol

from sprocket_factory.endpoints.charts_axes import in_words
from sprocket_factory.entities.attainment import Attainment
from sprocket_factory.entities.calendar import Span

BAR = 0.76
"""The part of its place that a bar takes; the rest is between bars."""


class Bucket(Protocol):
    """One bucket of the calendar, whether or not anything is recorded in it."""

    @property
    def span(self) -> Span:
        """From where to where it goes."""

    @property
    def sums(self) -> Attainment | None:
        """What its records come to; None where it has none."""


class Box(NamedTuple):
    """A rectangle; x and y are those of its upper left corner."""

    x: float
    y: float
    width: float
    height: float


class Bar(NamedTuple):
    """One bucket, in the units of the picture."""

    kind: str
    """`behind`, `ahead` or `even`."""
    text: str
    made: Box
    """What was made, as far as the goal."""
    rest: Box
    """What is missing to the goal, or was made beyond it."""
    goal: float


class Frame(NamedTuple):
    """Where so many buckets and values up to `most` are, in the units of the picture, whose y-axis points down."""

    left: float
    right: float
    top: float
    bottom: float
    places: int
    most: int

    @property
    def place(self) -> float:
        """How wide the place of one bucket is."""
        return (self.right - self.left) / self.places

    def x(self, place: float) -> float:
        """Return where the bucket of this number begins."""
        return round(self.left + place * self.place, 2)

    def y(self, value: float) -> float:
        """Return where a value is."""
        return round(self.bottom - (self.bottom - self.top) * (value / self.most), 2)

    def box(self, place: float, width: float, low: int, high: int) -> Box:
        """Return the box from one value to another."""
        return Box(self.x(place), self.y(high), round(width * self.place, 2), round(self.y(low) - self.y(high), 2))


class Point(NamedTuple):
    """How far a series had come by the end of a bucket."""

    place: float
    actual: float
    goal: float


def highest(buckets: Sequence[Bucket]) -> int:
    """Return the largest count of any bucket, and at least 1."""
    return max((max(one.sums.actual, one.sums.goal) for one in buckets if one.sums), default=0) or 1


def bars_of(buckets: Sequence[Bucket], frame: Frame, names: Sequence[str]) -> Iterator[Bar]:
    """Give the bars of those buckets that hold records."""
    for number, (one, name) in enumerate(zip(buckets, names, strict=True)):
        if one.sums:
            actual, goal = one.sums.actual, one.sums.goal
            place, low, high = number + (1 - BAR) / 2, min(actual, goal), max(actual, goal)
            yield Bar(
                _kind(actual - goal),
                f"{name}: {in_words(actual, goal)}",
                frame.box(place, BAR, 0, low),
                frame.box(place, BAR, low, high),
                frame.y(goal),
            )


def _kind(difference: float) -> str:
    if difference:
        return "ahead" if difference > 0 else "behind"
    return "even"


def gaps_of(buckets: Sequence[Bucket], frame: Frame, instant: int) -> Iterator[tuple[float, float]]:
    """Give where neighbouring buckets are that have begun and hold no records, and how wide they are together."""
    runs = groupby(enumerate(buckets), lambda pair: is_missing(pair[1], instant))
    for numbers in ([number for number, _ in run] for is_missing, run in runs if is_missing):
        yield frame.x(numbers[0]), round(len(numbers) * frame.place, 2)


def is_missing(bucket: Bucket, instant: int) -> bool:
    """Return whether a bucket holds no records, though it has begun by this instant."""
    return bucket.sums is None and bucket.span.start < instant


def points_of(buckets: Sequence[Bucket]) -> Iterator[Point]:
    """Give how far it had come by the end of each bucket from the first that holds records to the last; 0 before it."""
    held = [number for number, one in enumerate(buckets) if one.sums]
    if held:
        actual = goal = 0
        yield Point(held[0], 0, 0)
        for number in range(held[0], held[-1] + 1):
            sums = buckets[number].sums
            actual, goal = actual + (sums.actual if sums else 0), goal + (sums.goal if sums else 0)
            yield Point(number + 1, actual, goal)


def lines_of(points: Sequence[Point], frame: Frame) -> dict[str, str]:
    """Return the paths of the two lines, and of the areas between them where it is behind, and where it is ahead."""
    areas: dict[str, str] = {"behind": "", "ahead": "", "even": ""}
    crossed = list(_crossed(points))
    for kind, run in groupby(pairwise(crossed), _kind_between):
        sides = list(run)
        corners = [sides[0][0], *(after for _, after in sides)]
        there = [(point.place, point.actual) for point in corners]
        back = [(point.place, point.goal) for point in reversed(corners)]
        areas[kind] += f"{_path(there + back, frame)}Z"
    return {
        "behind": areas["behind"],
        "ahead": areas["ahead"],
        "actual": _path([(point.place, point.actual) for point in points], frame),
        "goal": _path([(point.place, point.goal) for point in points], frame),
    }


def _crossed(points: Sequence[Point]) -> Iterator[Point]:
    """Give the points, and one more wherever the lines cross between two."""
    yield points[0]
    for before, after in pairwise(points):
        was, is_ = before.actual - before.goal, after.actual - after.goal
        if was * is_ < 0:
            part = was / (was - is_)
            crossing = before.actual + part * (after.actual - before.actual)
            yield Point(before.place + part, crossing, crossing)
        yield after


def _kind_between(side: tuple[Point, Point]) -> str:
    return _kind(sum(point.actual - point.goal for point in side))


def _path(corners: Sequence[tuple[float, float]], frame: Frame) -> str:
    return "M" + "L".join(f"{frame.x(place)} {frame.y(value)}" for place, value in corners)
