"""Charts of attainment as SVG: made against goal, for people. Nothing is told by colour alone, or by shapes alone.

What is missing to a goal is a hatched box on top of what was made; what was made beyond it stands above the mark of the
goal. A bucket without records has no bar: it is not one in which nothing was made.
"""

from collections.abc import Iterator, Sequence
from importlib.resources import files
from typing import NamedTuple

from markupsafe import Markup

from sprocket_factory.endpoints.charts_axes import (
    groups_of,
    in_words,
    labels_of,
    listed,
    name_of,
    range_of,
    ticks_to,
)
from sprocket_factory.endpoints.charts_shapes import (
    Box,
    Bucket,
    Frame,
    bars_of,
    gaps_of,
    highest,
    is_missing,
    lines_of,
    points_of,
)
from sprocket_factory.endpoints.headers import picture_headers
from sprocket_factory.endpoints.pages import pages
from sprocket_factory.entities.attainment_sums import Bucketing
from sprocket_factory.entities.calendar import zone_of

STYLE = files("sprocket_factory.board").joinpath("chart.css").read_text(encoding="utf-8")

CHART = picture_headers(STYLE)

WIDTH, HEIGHT = 800, 360
LEFT, RIGHT, TOP, BOTTOM = 72, 784, 86, 262
"""Where the buckets are, in the units of the picture."""

SPARK_WIDTH, SPARK_HEIGHT = 300, 64
SPARK_TOP, SPARK_BOTTOM = 6, 60

MAX_TOLD = 50
"""The description tells so many buckets one by one; of more it tells the sum."""

MAX_TITLE = 36


class Series(NamedTuple):
    """What one chart shows: the buckets of one factory in their order, those without records among them."""

    title: str
    by: Bucketing
    time_zone: str
    buckets: Sequence[Bucket]


def draw_charts(series: Sequence[Series], instant: int, *, cumulated: bool) -> bytes:
    """Return charts one under another as a picture of its own.

    Args:
        series: One for each chart.
        instant: Where a bucket begins later, nothing is missing yet.
        cumulated: Whether they show sums from the first bucket on, as lines.
    """
    panels = [_panel(one, f"chart-{place}", instant, cumulated=cumulated) for place, one in enumerate(series)]
    whole = pages.get_template("charts.svg")
    return whole.render(panels=panels, style=STYLE, width=WIDTH, height=HEIGHT).encode()


def draw_chart(series: Series, instant: int, *, cumulated: bool = False) -> Markup:
    """Return a chart as a part of a page, which has to load chart.css. Arguments as for draw_charts."""
    panel = _panel(series, f"chart-{series.by}{'-cumulated' * cumulated}", instant, cumulated=cumulated)
    picture = pages.get_template("chart.svg").render(panel=panel, width=WIDTH, height=HEIGHT)
    return Markup(picture)  # noqa: S704 - the template has escaped what is in it


def draw_spark(hours: Sequence[Bucket], title: str, instant: int) -> Markup:
    """Return the hours of a day as a small chart, as a part of a page, which has to load chart.css."""
    frame = Frame(0, SPARK_WIDTH, SPARK_TOP, SPARK_BOTTOM, len(hours), highest(hours))
    picture = pages.get_template("spark.svg").render(
        text=f"{title}: {_sum_in_words(hours, instant)}",
        bars=list(bars_of(hours, frame, [""] * len(hours))),
        empty=[Box(x, SPARK_BOTTOM, width, 0) for x, width in gaps_of(hours, frame, instant)],
        width=SPARK_WIDTH,
        height=SPARK_HEIGHT,
        bottom=SPARK_BOTTOM,
    )
    return Markup(picture)  # noqa: S704 - the template has escaped what is in it


def _panel(series: Series, name: str, instant: int, *, cumulated: bool) -> dict[str, object]:
    """Return what the template needs to know of one chart."""
    title, by, time_zone, buckets = series
    zone, spans = zone_of(time_zone), [one.span for one in buckets]
    points = list(points_of(buckets))
    most = max((*points[-1][1:], 0)) if cumulated and points else highest(buckets)
    ticks = ticks_to(int(most))
    frame = Frame(LEFT, RIGHT, TOP, BOTTOM, max(len(buckets), 1), ticks[-1].value)
    xs = [frame.x(place + 0.5) for place in range(len(buckets))]
    names = [name_of(by, zone, span) for span in spans]
    return {
        "id": name,
        "title": title,
        "shown_title": title if len(title) <= MAX_TITLE else f"{title[: MAX_TITLE - 1]}…",
        "by": "in all" if by == "total" else f"by {by}{', cumulated' * cumulated}",
        "range": range_of(zone, spans) if spans else "",
        "told": _sum_in_words(buckets),
        "description": listed([_sum_in_words(buckets, instant), *_each_in_words(buckets, names, instant)]),
        "is_empty": not points,
        "is_cumulated": cumulated,
        "ticks": [(frame.y(value), text) for value, text in ticks],
        "labels": labels_of(by, zone, spans, xs),
        "groups": groups_of(by, zone, spans, xs, RIGHT) if spans and by != "total" else [],
        "gaps": [Box(x, TOP, width, BOTTOM - TOP) for x, width in gaps_of(buckets, frame, instant)],
        "bars": [] if cumulated else list(bars_of(buckets, frame, names)),
        "lines": lines_of(points, frame) if cumulated and points else {},
        "frame": frame,
    }


def _sum_in_words(buckets: Sequence[Bucket], instant: int | None = None) -> str:
    """Return what all buckets come to; and how many of those that have begun by an instant hold no records."""
    held = [one.sums for one in buckets if one.sums]
    if not held:
        return "No data"
    words = in_words(sum(one.actual for one in held), sum(one.goal for one in held))
    missing = 0 if instant is None else sum(is_missing(one, instant) for one in buckets)
    return f"{words}; no data in {missing} of {len(buckets)}" if missing else words


def _each_in_words(buckets: Sequence[Bucket], names: Sequence[str], instant: int) -> Iterator[str]:
    if len(buckets) <= MAX_TOLD:
        for one, name in zip(buckets, names, strict=True):
            if one.sums:
                yield f"{name}: {in_words(one.sums.actual, one.sums.goal)}"
            elif is_missing(one, instant):
                yield f"{name}: no data"
