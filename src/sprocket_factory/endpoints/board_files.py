"""What the pages load: styles, scripts and pictures of ours."""

from collections.abc import Mapping
from functools import cache
from importlib.resources import files

from litestar.types import ASGIApp

from sprocket_factory.access.callers import OPEN
from sprocket_factory.endpoints.answers import Answer
from sprocket_factory.endpoints.routing import ApiRequest, get
from sprocket_factory.errors import NotFound, shown

MEDIA_TYPES: Mapping[str, bytes] = {
    "board.css": b"text/css; charset=utf-8",
    "chart.css": b"text/css; charset=utf-8",
    "docs.css": b"text/css; charset=utf-8",
    "board.js": b"text/javascript; charset=utf-8",
    "icon.svg": b"image/svg+xml",
}
"""Every file that is given out, and as what. Nothing else in the folder is."""


@get("/board/files/{name:str}", role=OPEN)
async def get_board_file(request: ApiRequest) -> ASGIApp:
    """Return one file that pages load. Raises NotFound."""
    return _file(request.scope["path_params"]["name"])


@cache
def _file(name: str) -> Answer:
    if name not in MEDIA_TYPES:
        raise NotFound(f"Pages load no file {shown(name)}.")
    return Answer(files("sprocket_factory.board").joinpath(name).read_bytes(), media_type=MEDIA_TYPES[name])
