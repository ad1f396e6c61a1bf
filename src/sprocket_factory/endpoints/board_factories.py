"""The page of one factory: a day hour by hour, or a week or a month day by day; and forms to record and to change."""

from collections.abc import Mapping
from datetime import date
from typing import Any, NamedTuple

from litestar.types import ASGIApp

from sprocket_factory.endpoints.answers import Answer
from sprocket_factory.endpoints.charts import Series, draw_chart
from sprocket_factory.endpoints.pages import given_on_page, page, render
from sprocket_factory.endpoints.parameters import read_choice, read_time, wrong_parameter
from sprocket_factory.endpoints.routing import ApiRequest
from sprocket_factory.entities.attainment_today import find_last
from sprocket_factory.entities.calendar import date_of, number_of, offsets_of, span_of_day, zone_of
from sprocket_factory.entities.change_feed import find_last_position
from sprocket_factory.entities.factory import Factory, find_factory, known_time_zones, no_factory
from sprocket_factory.entities.instant import LATEST, now
from sprocket_factory.entities.listing import Filter, Order, Query, read_list
from sprocket_factory.entities.period import LENGTHS, Period, find_rows, period_of, today_in, total_of
from sprocket_factory.entities.production import PRODUCTION, Production
from sprocket_factory.entities.standing import is_stale
from sprocket_factory.errors import NotFound, shown

RECORDS_SHOWN = 15
"""On the page of a period so many can be corrected: the last ones, or those before a time; the API has them all."""

FIRST_DATE, LAST_DATE = date(1980, 2, 1), date(9998, 12, 31)


class Records(NamedTuple):
    """Some records of a period, newest first: whether there are earlier ones, and whether these are the last."""

    shown: list[Production]
    has_earlier: bool
    are_last: bool


@page(
    "/board/factories/{factory_id:str}",
    role="viewer",
    parameters={
        "period": {"enum": list(LENGTHS), "default": "day"},
        "date": {"type": "string", "format": "date"},
        "before": {"type": "string", "format": "date-time"},
    },
    refuses=(NotFound,),
)
async def get_factory_page(request: ApiRequest) -> ASGIApp:
    """Show one factory's day, week or month."""
    factory = await find_factory(request.database, request.id_in_path("factory_id", no_factory))
    instant = now()
    given = given_on_page(request)
    period = _read_period(given, factory, instant)
    before = read_time(given, "before", LATEST) if "before" in given else period.span.until
    position = await find_last_position(request.database)  # first, so that no change falls in between
    rows = await find_rows(request.database, factory, period)
    last = await find_last(request.database, factory.id, instant)
    series = Series(factory.name, period.by, factory.time_zone, rows)
    return render(
        request,
        "factory.html",
        position=position,
        now=instant,
        factory=factory,
        etag=Answer(factory).etag.decode(),
        period=period,
        dates=_dates(factory, period, today_in(factory, instant)),
        rows=rows,
        last=last,
        is_stale=is_stale(last, instant, request.stale_after),
        charts=[draw_chart(series, instant), draw_chart(series, instant, cumulated=True)],
        total=total_of(rows),
        records=await _read_records(request, factory, period, before),
        limits=(FIRST_DATE, LAST_DATE),
        may_record=request.caller.may("operator") and request.caller.may_write_for(factory.id),
        offsets=offsets_of(zone_of(factory.time_zone), period.span),
        time_zones=sorted(known_time_zones()),
    )


@page("/board/new-factory", role="engineer")
async def get_new_factory_page(request: ApiRequest) -> ASGIApp:
    """Show the form that makes a factory known."""
    return render(request, "new_factory.html", time_zones=sorted(known_time_zones()))


def _read_period(parameters: Mapping[str, str], factory: Factory, instant: int) -> Period:
    """Return which period of a factory is wanted; today where nothing is said. Raises Invalid."""
    length = read_choice(parameters, "period", LENGTHS, "day")
    if "date" not in parameters:
        return period_of(factory, length, today_in(factory, instant))
    text = parameters["date"]
    try:
        wanted = date.fromisoformat(text)
    except ValueError:
        raise wrong_parameter("date", f"{shown(text)} is no date.", "Write it as 2021-01-21.") from None
    if not FIRST_DATE <= wanted <= LAST_DATE:
        raise wrong_parameter("date", f"{shown(text)} is not between {FIRST_DATE} and {LAST_DATE}.")
    return period_of(factory, length, number_of(wanted))


def _dates(factory: Factory, period: Period, today: int) -> dict[str, Any]:
    """Return the dates that the page speaks of and leads to."""
    return {
        "first": date_of(period.first),
        "last": date_of(period.last),
        "before": _neighbour(factory, period, -1),
        "after": _neighbour(factory, period, 1),
        "today": date_of(today),
        "has_today": period.first <= today <= period.last,
    }


def _neighbour(factory: Factory, period: Period, step: int) -> date | None:
    """Return a date of the period before this one or behind it, past those that its time zone has left out."""
    zone = zone_of(factory.time_zone)
    day = period.first - 1 if step < 0 else period.last + 1
    while span_of_day(zone, day) is None:
        day += step
    return wanted if FIRST_DATE <= (wanted := date_of(day)) <= LAST_DATE else None


async def _read_records(request: ApiRequest, factory: Factory, period: Period, before: int) -> Records:
    """Return the records of a period that are the last before an instant."""
    filters = (
        Filter("factory_id", "eq", (factory.id,)),
        Filter("time", "gte", (period.span.start,)),
        Filter("time", "lt", (min(before, period.span.until),)),
    )
    order = (Order("time", descending=True), Order("factory_id"))
    found = await read_list(request.database, PRODUCTION, Query(filters, order, RECORDS_SHOWN + 1))
    return Records(found[:RECORDS_SHOWN], len(found) > RECORDS_SHOWN, before >= period.span.until)
