"""Production over HTTP."""

from litestar import Router
from litestar.di import NamedDependency
from litestar.params import FromPath
from litestar.types import ASGIApp

from sprocket_factory.database import Database
from sprocket_factory.endpoints.listing import whole_list
from sprocket_factory.endpoints.reading import read_id
from sprocket_factory.endpoints.routing import get
from sprocket_factory.entities.factory import check_factory_exists, no_factory
from sprocket_factory.entities.production import Production, list_production, list_production_of_factory
from sprocket_factory.errors import NotFound


@get("/", gives=list[Production])
async def get_production(database: NamedDependency[Database]) -> ASGIApp:
    """List all the records of all the factories, by factory and time."""
    return await whole_list(list_production(database))


@get("/{factory_id:str}", gives=list[Production], refuses=(NotFound,))
async def get_production_of_factory(factory_id: FromPath[str], database: NamedDependency[Database]) -> ASGIApp:
    """List all the records of one factory, by time. A factory that has none gives an empty list."""
    number = read_id(factory_id, no_factory)
    await check_factory_exists(database, number)
    return await whole_list(list_production_of_factory(database, number))


production = Router("/production", route_handlers=[get_production, get_production_of_factory])
