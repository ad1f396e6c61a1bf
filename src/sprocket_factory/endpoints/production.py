"""Production over HTTP."""

from litestar import Router
from litestar.types import ASGIApp

from sprocket_factory.endpoints.listing import whole_list
from sprocket_factory.endpoints.routing import ApiRequest, get
from sprocket_factory.entities.factory import check_factory_exists, no_factory
from sprocket_factory.entities.production import Production, list_production, list_production_of_factory
from sprocket_factory.errors import NotFound


@get("/", gives=list[Production])
async def get_production(request: ApiRequest) -> ASGIApp:
    """List all the records of all the factories, by factory and time."""
    return await whole_list(list_production(request.database))


@get("/{factory_id:str}", gives=list[Production], refuses=(NotFound,))
async def get_production_of_factory(request: ApiRequest) -> ASGIApp:
    """List all the records of one factory, by time. A factory that has none gives an empty list."""
    factory_id = request.id_in_path("factory_id", no_factory)
    await check_factory_exists(request.database, factory_id)
    return await whole_list(list_production_of_factory(request.database, factory_id))


production = Router("/production", route_handlers=[get_production, get_production_of_factory])
