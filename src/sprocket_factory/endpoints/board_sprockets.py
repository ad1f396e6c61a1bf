"""The catalogue of sprockets: all of them with their drawings, and one with what the standard says of it."""

from litestar.types import ASGIApp

from sprocket_factory.endpoints.answers import Answer
from sprocket_factory.endpoints.listing import filters_of, read_page, read_query
from sprocket_factory.endpoints.pages import given_on_page, page, render
from sprocket_factory.endpoints.routing import ApiRequest
from sprocket_factory.entities.geometry import geometry_of
from sprocket_factory.entities.sprocket import SPROCKETS, find_sprocket, no_sprocket
from sprocket_factory.errors import NotFound

SPROCKETS_A_PAGE = 24


@page(
    "/board/sprockets",
    role="viewer",
    parameters=filters_of(SPROCKETS) | {"cursor": {"type": "string", "format": "cursor"}},
)
async def get_sprockets_page(request: ApiRequest) -> ASGIApp:
    """Show the catalogue, or what the filters of the API leave of it."""
    given = given_on_page(request)
    query = read_query(SPROCKETS, given, request.latest)
    sprockets, next_ = await read_page(request, SPROCKETS, query, SPROCKETS_A_PAGE)
    cards = [(sprocket, geometry_of(sprocket)) for sprocket in sprockets]
    return render(request, "sprockets.html", cards=cards, next=next_, given=given)


@page("/board/sprockets/{sprocket_id:str}", role="viewer", refuses=(NotFound,))
async def get_sprocket_page(request: ApiRequest) -> ASGIApp:
    """Show one sprocket, drawn and compared with the standard."""
    sprocket = await find_sprocket(request.database, request.id_in_path("sprocket_id", no_sprocket))
    etag = Answer(sprocket).etag.decode()
    return render(request, "sprocket.html", sprocket=sprocket, geometry=geometry_of(sprocket), etag=etag)


@page("/board/new-sprocket", role="engineer")
async def get_new_sprocket_page(request: ApiRequest) -> ASGIApp:
    """Show the form that adds a sprocket."""
    return render(request, "new_sprocket.html")
