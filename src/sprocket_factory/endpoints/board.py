"""The board's first page: how every factory stands now."""

from litestar.types import ASGIApp

from sprocket_factory.endpoints.board_files import get_board_file
from sprocket_factory.endpoints.pages import page, render
from sprocket_factory.endpoints.routing import ApiRequest
from sprocket_factory.entities.attainment_today import find_today
from sprocket_factory.entities.instant import now


@page("/", role="viewer")
async def get_board(request: ApiRequest) -> ASGIApp:
    """Show how every factory stands now."""
    return render(request, "overview.html", factories=await find_today(request.database, now()))


board_handlers = [get_board, get_board_file]
