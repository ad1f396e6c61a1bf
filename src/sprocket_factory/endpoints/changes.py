"""The record of changes over HTTP: who changed what, when, and from what to what."""

from litestar import Router
from litestar.types import ASGIApp

from sprocket_factory.endpoints.formats import MEDIA_TYPES
from sprocket_factory.endpoints.listing import answer_list, grammar_of
from sprocket_factory.endpoints.routing import ApiRequest, get
from sprocket_factory.entities.change import CHANGES, Change, complete_changes, find_batch, no_change
from sprocket_factory.entities.production import OLD_PRODUCTION, Production
from sprocket_factory.errors import NotFound


@get("/", role="admin", gives=list[Change], media_types=MEDIA_TYPES, parameters=grammar_of(CHANGES))
async def get_changes(request: ApiRequest) -> ASGIApp:
    """List what was changed, in the order in which it became visible unless sorted otherwise.

    Whoever goes on with id__gt from the last one that he knows misses none.
    """
    await complete_changes(request.database)
    return await answer_list(request, CHANGES)


@get(
    "/{change_id:str}/rows",
    role="admin",
    gives=list[Production],
    media_types=MEDIA_TYPES,
    parameters=grammar_of(OLD_PRODUCTION),
    refuses=(NotFound,),
)
async def get_change_rows(request: ApiRequest) -> ASGIApp:
    """List the records that one change of many has replaced or removed, as they were before it."""
    batch = await find_batch(request.database, request.id_in_path("change_id", no_change))
    return await answer_list(request, OLD_PRODUCTION, batch=batch)


changes = Router("/changes", route_handlers=[get_changes, get_change_rows])
