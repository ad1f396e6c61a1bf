"""Attainment over HTTP: actual against goal, per hour, day, week, month or in all."""

from collections.abc import Mapping

from litestar import Router
from litestar.types import ASGIApp

from sprocket_factory.endpoints.formats import FORMATS, MEDIA_TYPES
from sprocket_factory.endpoints.listing import MAX_CHOICES, format_of
from sprocket_factory.endpoints.parameters import (
    TIME,
    parameters_of,
    read_choice,
    read_time,
    read_whole_number,
    wrong_parameter,
)
from sprocket_factory.endpoints.routing import ApiRequest, get
from sprocket_factory.endpoints.streaming import stream_answer
from sprocket_factory.entities import MAX_ID
from sprocket_factory.entities.attainment import (
    BUCKETINGS,
    COLUMNS,
    EVER,
    Attainment,
    Bounds,
    stream_attainment,
)

ID = {"type": "integer", "minimum": 1, "maximum": MAX_ID}


@get(
    "/",
    role="viewer",
    gives=list[Attainment],
    media_types=MEDIA_TYPES,
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
        "format": {"enum": list(FORMATS), "description": "The format, whatever the header Accept says."},
    },
)
async def get_attainment(request: ApiRequest) -> ASGIApp:
    """Sum actual and goal by factory and bucket. A bucket without records is absent; it is not one of nothing made."""
    parameters = parameters_of(request)
    by = read_choice(parameters, "by", BUCKETINGS, "day")
    bounds = _read_bounds(parameters, request.latest)
    buckets = stream_attainment(request.database, by, _read_factories(parameters), bounds)
    return await stream_answer(buckets, format_of(request, parameters)(COLUMNS), [(b"vary", b"accept")])


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
