"""Removing on the board: a page shows what is there and asks, its form says yes. Neither needs a script.

The form brings the version that its page showed, so nothing is removed that nobody has seen: what was changed
meanwhile is shown anew, and asked for again. Of what has to stay the page says so, and has no form.
"""

from collections.abc import Awaitable, Callable, Coroutine, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from litestar.types import ASGIApp
from msgspec import Struct

from sprocket_factory.database import Transaction
from sprocket_factory.endpoints.answers import Answer, SeeOther
from sprocket_factory.endpoints.forms import read_form
from sprocket_factory.endpoints.pages import page, post_page, render
from sprocket_factory.endpoints.pages_words import local, offset
from sprocket_factory.endpoints.problem_kinds import KINDS
from sprocket_factory.endpoints.problems import note_problem
from sprocket_factory.endpoints.production_keys import key_in_path
from sprocket_factory.endpoints.routing import ApiRequest
from sprocket_factory.entities.factory import Factory, find_factory, no_factory, remove_factory
from sprocket_factory.entities.listing import Filter, Order, Query, read_list
from sprocket_factory.entities.production import PRODUCTION, find_production, remove_production
from sprocket_factory.entities.sprocket import find_sprocket, no_sprocket, remove_sprocket
from sprocket_factory.entities.version import Expected
from sprocket_factory.errors import Conflict, NotFound, Stale

SPROCKET = "/board/sprockets/{sprocket_id:str}/removal"
FACTORY = "/board/factories/{factory_id:str}/removal"
RECORD = "/board/factories/{factory_id:str}/records/{time:str}/removal"


class Removable(NamedTuple):
    """What may be removed, as the page says it."""

    name: str
    stored: Struct
    members: Mapping[str, object]
    """What is shown of it."""
    seen_at: str
    """The page that shows it, where whoever leaves it goes back to."""
    gone_to: str
    """The page to go on to when it is gone."""
    kept_by: str = ""
    """The page that shows the last of its production, if it has some: with that it cannot be removed."""


Find = Callable[[ApiRequest], Awaitable[Removable]]


@page(SPROCKET, role="engineer", refuses=(NotFound,))
async def get_sprocket_removal(request: ApiRequest) -> ASGIApp:
    """Ask whether a sprocket is to be removed."""
    return _ask(request, await _find_sprocket(request))


@post_page(SPROCKET, role="engineer", refuses=(NotFound, Stale))
async def post_sprocket_removal(request: ApiRequest) -> ASGIApp:
    """Remove a sprocket."""
    return await _remove(request, _find_sprocket, remove_sprocket, request.id_in_path("sprocket_id", no_sprocket))


@page(FACTORY, role="engineer", refuses=(NotFound,))
async def get_factory_removal(request: ApiRequest) -> ASGIApp:
    """Ask whether a factory is to be removed."""
    return _ask(request, await _find_factory(request))


@post_page(FACTORY, role="engineer", refuses=(NotFound, Conflict, Stale))
async def post_factory_removal(request: ApiRequest) -> ASGIApp:
    """Remove a factory that has no production."""
    return await _remove(request, _find_factory, remove_factory, request.id_in_path("factory_id", no_factory))


@page(RECORD, role="engineer", refuses=(NotFound,))
async def get_record_removal(request: ApiRequest) -> ASGIApp:
    """Ask whether a record of production is to be removed."""
    return _ask(request, await _find_record(request))


@post_page(RECORD, role="engineer", refuses=(NotFound, Stale))
async def post_record_removal(request: ApiRequest) -> ASGIApp:
    """Remove a record of production."""
    return await _remove(request, _find_record, remove_production, key_in_path(request))


async def _find_sprocket(request: ApiRequest) -> Removable:
    one = await find_sprocket(request.database, request.id_in_path("sprocket_id", no_sprocket))
    members = {
        "Teeth": one.teeth,
        "Pitch diameter": one.pitch_diameter,
        "Outside diameter": one.outside_diameter,
        "Pitch": one.pitch,
    }
    return Removable(f"sprocket {one.id}", one, members, f"/board/sprockets/{one.id}", "/board/sprockets")


async def _find_factory(request: ApiRequest) -> Removable:
    one = await find_factory(request.database, request.id_in_path("factory_id", no_factory))
    members = {"Name": one.name, "Time zone": one.time_zone}
    last = Query((Filter("factory_id", "eq", (one.id,)),), (Order("time", descending=True), Order("factory_id")), 1)
    records = await read_list(request.database, PRODUCTION, last)
    kept_by = _page_of_day(one, records[0].time) if records else ""
    return Removable(f"the factory {one.name}", one, members, f"/board/factories/{one.id}", "/", kept_by)


async def _find_record(request: ApiRequest) -> Removable:
    key = key_in_path(request)
    factory = await find_factory(request.database, key.factory_id)
    one = await find_production(request.database, key)
    shift = offset(key.time, factory.time_zone)
    members = {
        "Factory": factory.name,
        "Time": f"{local(key.time, factory.time_zone, '%Y-%m-%d %H:%M:%S')} {shift}",
        "Made": f"{one.sprocket_production_actual:,}",
        "Goal": f"{one.sprocket_production_goal:,}",
    }
    day = _page_of_day(factory, key.time)
    when = local(key.time, factory.time_zone, "%-d %B %Y, %H:%M:%S")
    return Removable(f"the record of {when} {shift}", one, members, day, day)


def _page_of_day(factory: Factory, instant: int | datetime) -> str:
    return f"/board/factories/{factory.id}?date={local(instant, factory.time_zone, '%Y-%m-%d')}"


def _ask(request: ApiRequest, one: Removable, status: int = 200) -> Answer:
    version = Answer(one.stored).etag.decode().strip('"')
    is_stale = status == KINDS[Stale].status
    return render(request, "removal.html", status=status, one=one, version=version, is_stale=is_stale)


async def _remove(
    request: ApiRequest,
    find: Find,
    remove: Callable[[Transaction, Any, Expected], Coroutine[Any, Any, None]],
    key: object,
) -> ASGIApp:
    """Remove what the form's page has shown, and lead on; or ask again, where it is not that any more or has to stay.

    Raises:
        Forbidden: The form is not ours: whoever may do this without signing in has no cookie that would tell.
    """
    request.sessions.check_origin(request.scope)
    form = await read_form(request, "version")
    seen = await find(request)
    try:
        await request.write(remove, key, Expected(frozenset({form["version"]})))
    except (Stale, Conflict) as refusal:
        kind = KINDS[type(refusal)]
        note_problem(request.scope, kind, str(refusal))
        return _ask(request, await find(request), kind.status)
    return SeeOther(seen.gone_to)


removals = [
    get_sprocket_removal,
    post_sprocket_removal,
    get_factory_removal,
    post_factory_removal,
    get_record_removal,
    post_record_removal,
]
