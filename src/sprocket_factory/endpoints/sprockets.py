"""The catalogue over HTTP."""

from typing import Any

from litestar import Request, Router
from litestar.di import NamedDependency
from litestar.params import FromPath
from litestar.types import ASGIApp

from sprocket_factory.database import Database
from sprocket_factory.endpoints.answers import Answer, created
from sprocket_factory.endpoints.listing import whole_list
from sprocket_factory.endpoints.reading import read_body, read_id
from sprocket_factory.endpoints.routing import ANONYMOUS, BASE_PATH, get, post, put
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
async def get_sprockets(database: NamedDependency[Database]) -> ASGIApp:
    """List the whole catalogue, by id."""
    return await whole_list(list_sprockets(database))


@post("/", reads=NewSprocket, gives=Sprocket)
async def post_sprocket(request: Request[Any, Any, Any], database: NamedDependency[Database]) -> ASGIApp:
    """Add a sprocket to the catalogue."""
    new = await read_body(request, NewSprocket)
    sprocket = await database.write(add_sprocket, new, by=ANONYMOUS)
    return created(sprocket, f"{BASE_PATH}/sprockets/{sprocket.id}")


@get("/{sprocket_id:str}", gives=Sprocket, refuses=(NotFound,))
async def get_sprocket(sprocket_id: FromPath[str], database: NamedDependency[Database]) -> ASGIApp:
    """Return one sprocket."""
    return Answer(await find_sprocket(database, read_id(sprocket_id, no_sprocket)))


@put("/{sprocket_id:str}", reads=NewSprocket, gives=Sprocket, refuses=(NotFound,))
async def put_sprocket(
    request: Request[Any, Any, Any], sprocket_id: FromPath[str], database: NamedDependency[Database]
) -> ASGIApp:
    """Replace one sprocket whole."""
    number = read_id(sprocket_id, no_sprocket)
    new = await read_body(request, NewSprocket, id=number)
    return Answer(await database.write(replace_sprocket, number, new, by=ANONYMOUS))


sprockets = Router("/sprockets", route_handlers=[get_sprockets, post_sprocket, get_sprocket, put_sprocket])
