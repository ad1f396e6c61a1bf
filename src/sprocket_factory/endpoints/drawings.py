"""A sprocket as its geometry sees it: compared with the standard, and drawn for people and for machine tools."""

from collections.abc import Callable
from typing import NamedTuple

from litestar import Router
from litestar.types import ASGIApp

from sprocket_factory.endpoints.answers import Answer, Header
from sprocket_factory.endpoints.draughtsman import drawn
from sprocket_factory.endpoints.drawings_dxf import draw_dxf
from sprocket_factory.endpoints.drawings_svg import PICTURE, draw_svg
from sprocket_factory.endpoints.negotiation import preferred_type
from sprocket_factory.endpoints.parameters import parameters_of, read_choice
from sprocket_factory.endpoints.routing import ApiRequest, get
from sprocket_factory.entities.geometry import Geometry, geometry_of
from sprocket_factory.entities.geometry_drawing import Drawing, drawing_of
from sprocket_factory.entities.sprocket import Sprocket, find_sprocket, no_sprocket
from sprocket_factory.errors import NotFound


class Format(NamedTuple):
    """How a drawing goes out."""

    extension: str
    media_type: str
    draw: Callable[[Drawing], bytes]


FORMATS = {
    "svg": Format("svg", "image/svg+xml", draw_svg),
    "dxf": Format("dxf", "image/vnd.dxf", draw_dxf),
}
"""By the name that `format=` gives it; the first is the default."""

MEDIA_TYPES = tuple(format_.media_type for format_ in FORMATS.values())

FORMAT = {"format": {"enum": list(FORMATS), "description": "The format, whatever the header Accept says."}}


@get("/geometry", role="viewer", gives=Geometry, refuses=(NotFound,))
async def get_geometry(request: ApiRequest) -> ASGIApp:
    """Compare one sprocket with what ASME B29.1 gives for its teeth and its pitch. It advises, and never refuses."""
    return Answer(geometry_of(await _sprocket(request)))


@get(
    "/drawing",
    role="viewer",
    gives=str,
    media_types=MEDIA_TYPES,
    parameters=FORMAT,
    refuses=(NotFound,),
    headers=PICTURE,
)
async def get_drawing(request: ApiRequest) -> ASGIApp:
    """Draw one sprocket as it is stored: SVG for people, DXF for CAD and laser cutters."""
    format_ = _format(request)
    sprocket = await _sprocket(request)
    body = await drawn(_drawing, sprocket, format_)
    return Answer(body, media_type=format_.media_type.encode(), headers=_headers(sprocket, format_))


async def _sprocket(request: ApiRequest) -> Sprocket:
    return await find_sprocket(request.database, request.id_in_path("sprocket_id", no_sprocket))


def _headers(sprocket: Sprocket, format_: Format) -> list[Header]:
    disposition = f'inline; filename="sprocket-{sprocket.id}.{format_.extension}"'
    return [(b"vary", b"accept"), (b"content-disposition", disposition.encode())]


def _format(request: ApiRequest) -> Format:
    """Return the format that the parameter names, or else the one that the caller likes best. Raises Invalid."""
    liked = preferred_type(request.scope, MEDIA_TYPES)
    default = next((name for name, format_ in FORMATS.items() if format_.media_type == liked), "svg")
    return FORMATS[read_choice(parameters_of(request), "format", FORMATS, default)]


def _drawing(sprocket: Sprocket, format_: Format) -> bytes:
    return format_.draw(drawing_of(sprocket))


drawings = Router("/sprockets/{sprocket_id:str}", route_handlers=[get_geometry, get_drawing])
