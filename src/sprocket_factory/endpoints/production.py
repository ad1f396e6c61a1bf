"""Production over HTTP, record by record."""

from typing import Any

from litestar import Router
from litestar.types import ASGIApp

from sprocket_factory.endpoints.answers import Answer, no_content, stored
from sprocket_factory.endpoints.formats import MEDIA_TYPES
from sprocket_factory.endpoints.listing import answer_list, grammar_of
from sprocket_factory.endpoints.production_bulk import delete_production_span, post_production
from sprocket_factory.endpoints.production_keys import is_instant, key_in_path, key_to_create, key_to_write, location_of
from sprocket_factory.endpoints.reading import MERGE_PATCH, read_body
from sprocket_factory.endpoints.routing import ApiRequest, delete, get, patch, put
from sprocket_factory.entities.factory import check_factory_exists, no_factory
from sprocket_factory.entities.production import (
    PRODUCTION,
    CountChanges,
    Counts,
    Production,
    change_production,
    find_production,
    put_production,
    remove_production,
)
from sprocket_factory.errors import NotFound, Stale

RECORD = "/{factory_id:str}/{time:str}"


@get("/", role="viewer", gives=list[Production], media_types=MEDIA_TYPES, parameters=grammar_of(PRODUCTION))
async def get_production(request: ApiRequest) -> ASGIApp:
    """List the records of all the factories, by factory and time unless sorted otherwise."""
    return await answer_list(request, PRODUCTION)


@get(
    "/{factory_id:str}",
    role="viewer",
    gives=list[Production],
    media_types=MEDIA_TYPES,
    parameters=grammar_of(PRODUCTION),
    refuses=(NotFound,),
)
async def get_production_of_factory(request: ApiRequest) -> ASGIApp:
    """List the records of one factory, by time unless sorted otherwise. One that has none gives an empty list."""
    factory_id = request.id_in_path("factory_id", no_factory)
    await check_factory_exists(request.database, factory_id)
    return await answer_list(request, PRODUCTION, factory_id=factory_id)


@get(RECORD, role="viewer", gives=Production, refuses=(NotFound,))
async def get_production_record(request: ApiRequest) -> ASGIApp:
    """Return the record of one factory and time."""
    return Answer(await find_production(request.database, key_in_path(request)))


@put(
    RECORD,
    role="operator",
    reads=Counts,
    gives={200: Production, 201: Production},
    conditional=True,
    refuses=(NotFound, Stale),
)
async def put_production_record(request: ApiRequest) -> ASGIApp:
    """Create or replace the record of one factory and time. Repeating it changes nothing."""
    key = key_to_create(request)
    counts = await read_body(request, Counts, **_settled(request))
    record, outcome = await request.write(put_production, key, counts, request.expected)
    return stored(record, location_of(key), is_new=outcome == "created")


@patch(RECORD, role="operator", reads=CountChanges, gives=Production, conditional=True, refuses=(NotFound, Stale))
async def patch_production_record(request: ApiRequest) -> ASGIApp:
    """Change one or both counts of the record of one factory and time (a JSON merge patch, RFC 7396)."""
    key = key_to_write(request)
    changes = await read_body(request, CountChanges, MERGE_PATCH, **_settled(request))
    return Answer(await request.write(change_production, key, changes, request.expected))


@delete(RECORD, role="engineer", gives={204: None}, conditional=True, refuses=(NotFound, Stale))
async def delete_production_record(request: ApiRequest) -> ASGIApp:
    """Remove the record of one factory and time."""
    await request.write(remove_production, key_in_path(request), request.expected)
    return no_content


def _settled(request: ApiRequest) -> dict[str, Any]:
    """Return the members that the path has settled, for a body that repeats them."""
    key = key_in_path(request)
    return {"factory_id": key.factory_id, "time": lambda value: is_instant(value, key.time)}


production = Router(
    "/production",
    route_handlers=[
        get_production,
        post_production,
        delete_production_span,
        get_production_of_factory,
        get_production_record,
        put_production_record,
        patch_production_record,
        delete_production_record,
    ],
)
