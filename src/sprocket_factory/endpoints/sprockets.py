"""The catalogue over HTTP."""

from litestar import Router
from litestar.types import ASGIApp

from sprocket_factory.endpoints.answers import Answer, created
from sprocket_factory.endpoints.listing import whole_list
from sprocket_factory.endpoints.reading import read_body
from sprocket_factory.endpoints.routing import ANONYMOUS, BASE_PATH, ApiRequest, get, post, put
from sprocket_factory.entities.sprocket import (
    NewSprocket,
    Sprocket,
    add_sprocket,
    find_sprocket,
    list_sprockets,
    no_sprocket,
    replace_sprocket,
)
from sprocket_factory.errors import NotFound


@get("/", gives=list[Sprocket])
async def get_sprockets(request: ApiRequest) -> ASGIApp:
    """List the whole catalogue, by id."""
    return await whole_list(list_sprockets(request.database))


@post("/", reads=NewSprocket, gives=Sprocket)
async def post_sprocket(request: ApiRequest) -> ASGIApp:
    """Add a sprocket to the catalogue."""
    new = await read_body(request, NewSprocket)
    sprocket = await request.database.write(add_sprocket, new, by=ANONYMOUS)
    return created(sprocket, f"{BASE_PATH}/sprockets/{sprocket.id}")


@get("/{sprocket_id:str}", gives=Sprocket, refuses=(NotFound,))
async def get_sprocket(request: ApiRequest) -> ASGIApp:
    """Return one sprocket."""
    return Answer(await find_sprocket(request.database, request.id_in_path("sprocket_id", no_sprocket)))


@put("/{sprocket_id:str}", reads=NewSprocket, gives=Sprocket, refuses=(NotFound,))
async def put_sprocket(request: ApiRequest) -> ASGIApp:
    """Replace one sprocket whole."""
    sprocket_id = request.id_in_path("sprocket_id", no_sprocket)
    new = await read_body(request, NewSprocket, id=sprocket_id)
    return Answer(await request.database.write(replace_sprocket, sprocket_id, new, by=ANONYMOUS))


sprockets = Router("/sprockets", route_handlers=[get_sprockets, post_sprocket, get_sprocket, put_sprocket])
