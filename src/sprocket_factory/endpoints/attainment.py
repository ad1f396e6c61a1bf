"""Attainment over HTTP: actual against goal, per hour, day, week, month or in all; as numbers and as charts."""

from collections.abc import Mapping
from functools import partial

from litestar import Router
from litestar.types import ASGIApp

from sprocket_factory.endpoints.answers import Answer
from sprocket_factory.endpoints.charts import CHART, Series, draw_charts
from sprocket_factory.endpoints.draughtsman import drawn
from sprocket_factory.endpoints.formats import FORMATS, MEDIA_TYPES
from sprocket_factory.endpoints.listing import MAX_CHOICES
from sprocket_factory.endpoints.negotiation import preferred_type
from sprocket_factory.endpoints.parameters import (
    BOOLEAN,
    TIME,
    parameters_of,
    read_boolean,
    read_choice,
    read_time,
    read_whole_number,
    wrong_parameter,
)
from sprocket_factory.endpoints.routing import ApiRequest, get
from sprocket_factory.endpoints.streaming import stream_answer
from sprocket_factory.entities import MAX_ID
from sprocket_factory.entities.attainment import COLUMNS, Attainment, stream_attainment
from sprocket_factory.entities.attainment_calendar import find_calendars
from sprocket_factory.entities.attainment_sums import BUCKETINGS, EVER, Bounds, Bucketing
from sprocket_factory.entities.factory import FACTORIES, Factory
from sprocket_factory.entities.instant import now
from sprocket_factory.entities.listing import Filter, Order, Query, read_list

SVG = "image/svg+xml"

NAMES = {format_.media_type: name for name, format_ in FORMATS.items()} | {SVG: "svg"}
"""What each media type is called in the parameter format."""

MAX_CHARTS = 12
MAX_BUCKETS = 400
"""Of one chart: of more than that, nobody could tell one from the next."""

ID = {"type": "integer", "minimum": 1, "maximum": MAX_ID}


@get(
    "/",
    role="viewer",
    gives=list[Attainment],
    media_types=(*MEDIA_TYPES, SVG),
    parameters={
        "by": {
            "enum": list(BUCKETINGS),
            "default": "day",
            "description": "What one bucket is, in the factory's own time zone.",
        },
        "factory_id": ID | {"description": "Whose."},
        "factory_id__in": {"type": "array", "items": ID, "minItems": 1, "description": "Those of one of these."},
        "time__gte": TIME | {"description": "Only records from this time on."},
        "time__lt": TIME | {"description": "Only records before this time."},
        "format": {"enum": list(NAMES.values()), "description": "The format, whatever the header Accept says."},
        "cumulated": BOOLEAN | {"description": "Of a chart (format=svg): whether it shows sums from its beginning on."},
    },
)
async def get_attainment(request: ApiRequest) -> ASGIApp:
    """Sum actual and goal by factory and bucket. A bucket without records is absent; it is not one of nothing made.

    As SVG it is a chart of one factory, or of up to 12 of them one under another, from one bound of time to the other.
    """
    parameters = parameters_of(request)
    by = read_choice(parameters, "by", BUCKETINGS, "day")
    factory_ids, bounds = _read_factories(parameters), _read_bounds(parameters, request.latest)
    name = _read_format(request, parameters)
    is_cumulated = read_boolean(parameters, "cumulated")
    if name == "svg":
        return await _charts(request, by, factory_ids, bounds, cumulated=is_cumulated)
    buckets = stream_attainment(request.database, by, factory_ids, bounds)
    return await stream_answer(buckets, FORMATS[name](COLUMNS), [(b"vary", b"accept")])


async def _charts(
    request: ApiRequest, by: Bucketing, factory_ids: set[int] | None, bounds: Bounds, *, cumulated: bool
) -> Answer:
    """Return the charts of these factories. Raises Invalid where that would be too many, or too many bars."""
    factories = await _find_factories(request, factory_ids)
    calendars = await find_calendars(request.database, by, factories, bounds, MAX_BUCKETS)
    if max(map(len, calendars), default=0) > MAX_BUCKETS:
        longer = "Choose a longer bucket, as by=month, or a shorter time with time__gte and time__lt."
        raise wrong_parameter("by", f"By {by} there are more than {MAX_BUCKETS}, and a chart shows no more.", longer)
    series = [
        Series(factory.name, by, factory.time_zone, buckets)
        for factory, buckets in zip(factories, calendars, strict=True)
    ]
    body = await drawn(
        partial(draw_charts, series or [Series("No factory", by, "UTC", ())], now(), cumulated=cumulated)
    )
    request.scope["state"]["headers"] = CHART
    return Answer(body, media_type=SVG.encode(), headers=[(b"vary", b"accept")])


async def _find_factories(request: ApiRequest, factory_ids: set[int] | None) -> list[Factory]:
    """Return those of the factories that there are. Raises Invalid where they are too many for charts."""
    if factory_ids is not None and not factory_ids:
        return []
    filters = () if factory_ids is None else (Filter("id", "in", tuple(sorted(factory_ids))),)
    factories = await read_list(request.database, FACTORIES, Query(filters, (Order("id"),), MAX_CHARTS + 1))
    if len(factories) > MAX_CHARTS:
        detail = f"There are more than {MAX_CHARTS} factories, and no more are drawn at once."
        raise wrong_parameter("factory_id", detail, "Choose one with factory_id, or some with factory_id__in.")
    return factories


def _read_format(request: ApiRequest, parameters: Mapping[str, str]) -> str:
    """Return the name of the format that is asked for, or else the one that the caller likes best. Raises Invalid."""
    # checks.py has refused who likes none of them.
    liked = preferred_type(request.scope, tuple(NAMES)) or ""
    return read_choice(parameters, "format", NAMES.values(), NAMES.get(liked, "json"))


def _read_bounds(parameters: Mapping[str, str], latest: int) -> Bounds:
    """Return from when to when records count. Raises Invalid."""
    since, until = (
        read_time(parameters, name, latest) if name in parameters else bound
        for name, bound in zip(("time__gte", "time__lt"), EVER, strict=True)
    )
    return Bounds(since, until)


def _read_factories(parameters: Mapping[str, str]) -> set[int] | None:
    """Return which factories are asked for; None for all. Raises Invalid."""
    wanted = None
    if "factory_id__in" in parameters:
        choices = parameters["factory_id__in"].split(",")
        if len(choices) > MAX_CHOICES:
            raise wrong_parameter("factory_id__in", f"These are {len(choices):,}; up to {MAX_CHOICES:,} may be named.")
        wanted = {read_whole_number({"factory_id__in": one}, "factory_id__in", 1, MAX_ID) for one in choices}
    if "factory_id" in parameters:
        one = {read_whole_number(parameters, "factory_id", 1, MAX_ID)}
        wanted = one if wanted is None else wanted & one
    return wanted


attainment = Router("/attainment", route_handlers=[get_attainment])
