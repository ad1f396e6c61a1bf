"""The catalogue over HTTP."""

from litestar import Router
from litestar.types import ASGIApp

from sprocket_factory.endpoints.answers import Answer, no_content, stored
from sprocket_factory.endpoints.formats import MEDIA_TYPES
from sprocket_factory.endpoints.listing import answer_list, grammar_of
from sprocket_factory.endpoints.reading import MERGE_PATCH, read_body
from sprocket_factory.endpoints.replay import Once
from sprocket_factory.endpoints.routing import BASE_PATH, ApiRequest, delete, get, patch, post, put
from sprocket_factory.entities.sprocket import (
    SPROCKETS,
    NewSprocket,
    Sprocket,
    SprocketChanges,
    add_sprocket,
    change_sprocket,
    find_sprocket,
    no_sprocket,
    remove_sprocket,
    replace_sprocket,
)
from sprocket_factory.errors import Conflict, NotFound, Stale


@get("/", role="viewer", gives=list[Sprocket], media_types=MEDIA_TYPES, parameters=grammar_of(SPROCKETS))
async def get_sprockets(request: ApiRequest) -> ASGIApp:
    """List the catalogue, by id unless sorted otherwise."""
    return await answer_list(request, SPROCKETS)


@post("/", role="engineer", reads=NewSprocket, gives={201: Sprocket}, once=True, refuses=(Conflict,))
async def post_sprocket(request: ApiRequest) -> ASGIApp:
    """Add a sprocket to the catalogue."""
    with Once(request) as post_once:
        new = await post_once.read_body(NewSprocket)
        return await post_once.write(_created, add_sprocket, new)


@get("/{sprocket_id:str}", role="viewer", gives=Sprocket, refuses=(NotFound,))
async def get_sprocket(request: ApiRequest) -> ASGIApp:
    """Return one sprocket."""
    return Answer(await find_sprocket(request.database, request.id_in_path("sprocket_id", no_sprocket)))


@put(
    "/{sprocket_id:str}",
    role="engineer",
    reads=NewSprocket,
    gives=Sprocket,
    conditional=True,
    refuses=(NotFound, Stale),
)
async def put_sprocket(request: ApiRequest) -> ASGIApp:
    """Replace one sprocket whole."""
    sprocket_id = request.id_in_path("sprocket_id", no_sprocket)
    new = await read_body(request, NewSprocket, id=sprocket_id)
    return Answer(await request.write(replace_sprocket, sprocket_id, new, request.expected))


@patch(
    "/{sprocket_id:str}",
    role="engineer",
    reads=SprocketChanges,
    gives=Sprocket,
    conditional=True,
    refuses=(NotFound, Stale),
)
async def patch_sprocket(request: ApiRequest) -> ASGIApp:
    """Change some members of one sprocket (a JSON merge patch, RFC 7396)."""
    sprocket_id = request.id_in_path("sprocket_id", no_sprocket)
    changes = await read_body(request, SprocketChanges, MERGE_PATCH, id=sprocket_id)
    return Answer(await request.write(change_sprocket, sprocket_id, changes, request.expected))


@delete("/{sprocket_id:str}", role="engineer", gives={204: None}, conditional=True, refuses=(NotFound, Stale))
async def delete_sprocket(request: ApiRequest) -> ASGIApp:
    """Take one sprocket out of the catalogue."""
    sprocket_id = request.id_in_path("sprocket_id", no_sprocket)
    await request.write(remove_sprocket, sprocket_id, request.expected)
    return no_content


def _created(sprocket: Sprocket) -> Answer:
    return stored(sprocket, f"{BASE_PATH}/sprockets/{sprocket.id}", is_new=True)


sprockets = Router(
    "/sprockets",
    route_handlers=[get_sprockets, post_sprocket, get_sprocket, put_sprocket, patch_sprocket, delete_sprocket],
)
