"""Factories over HTTP."""

from litestar import Router
from litestar.types import ASGIApp

from sprocket_factory.endpoints.answers import Answer, no_content, stored
from sprocket_factory.endpoints.formats import MEDIA_TYPES
from sprocket_factory.endpoints.listing import answer_list, grammar_of
from sprocket_factory.endpoints.reading import MERGE_PATCH, read_body
from sprocket_factory.endpoints.replay import Once
from sprocket_factory.endpoints.routing import BASE_PATH, ApiRequest, delete, get, patch, post, put
from sprocket_factory.entities.factory import (
    FACTORIES,
    Factory,
    FactoryChanges,
    NewFactory,
    WholeFactory,
    add_factory,
    change_factory,
    find_factory,
    no_factory,
    remove_factory,
)
from sprocket_factory.errors import Conflict, NotFound, Stale


@get("/", role="viewer", gives=list[Factory], media_types=MEDIA_TYPES, parameters=grammar_of(FACTORIES))
async def get_factories(request: ApiRequest) -> ASGIApp:
    """List the factories, by id unless sorted otherwise."""
    return await answer_list(request, FACTORIES)


@post("/", role="engineer", reads=NewFactory, gives={201: Factory}, once=True, refuses=(Conflict,))
async def post_factory(request: ApiRequest) -> ASGIApp:
    """Make a factory known. Its time zone is UTC unless it says otherwise."""
    with Once(request) as post_once:
        new = await post_once.read_body(NewFactory)
        return await post_once.write(_created, add_factory, new)


@get("/{factory_id:str}", role="viewer", gives=Factory, refuses=(NotFound,))
async def get_factory(request: ApiRequest) -> ASGIApp:
    """Return one factory."""
    return Answer(await find_factory(request.database, request.id_in_path("factory_id", no_factory)))


@put(
    "/{factory_id:str}",
    role="engineer",
    reads=WholeFactory,
    gives=Factory,
    conditional=True,
    refuses=(NotFound, Conflict, Stale),
)
async def put_factory(request: ApiRequest) -> ASGIApp:
    """Replace one factory whole."""
    factory_id = request.id_in_path("factory_id", no_factory)
    new = await read_body(request, WholeFactory, id=factory_id)
    return Answer(await request.write(change_factory, factory_id, new, request.expected, alone=True))


@patch(
    "/{factory_id:str}",
    role="engineer",
    reads=FactoryChanges,
    gives=Factory,
    conditional=True,
    refuses=(NotFound, Conflict, Stale),
)
async def patch_factory(request: ApiRequest) -> ASGIApp:
    """Change some members of one factory (a JSON merge patch, RFC 7396)."""
    factory_id = request.id_in_path("factory_id", no_factory)
    changes = await read_body(request, FactoryChanges, MERGE_PATCH, id=factory_id)
    return Answer(await request.write(change_factory, factory_id, changes, request.expected, alone=True))


@delete("/{factory_id:str}", role="engineer", gives={204: None}, conditional=True, refuses=(NotFound, Conflict, Stale))
async def delete_factory(request: ApiRequest) -> ASGIApp:
    """Forget one factory. One that has production is not forgotten: that has to be removed first."""
    factory_id = request.id_in_path("factory_id", no_factory)
    await request.write(remove_factory, factory_id, request.expected)
    return no_content


def _created(factory: Factory) -> Answer:
    return stored(factory, f"{BASE_PATH}/factories/{factory.id}", is_new=True)


factories = Router(
    "/factories",
    route_handlers=[get_factories, post_factory, get_factory, put_factory, patch_factory, delete_factory],
)
