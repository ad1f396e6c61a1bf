"""The board's first page: how every factory stands now; and the same for a screen on the wall."""

from litestar.types import ASGIApp

from sprocket_factory.endpoints.charts import draw_spark
from sprocket_factory.endpoints.pages import page, render
from sprocket_factory.endpoints.routing import ApiRequest
from sprocket_factory.entities.change_feed import find_last_position
from sprocket_factory.entities.instant import now
from sprocket_factory.entities.standing import find_standings


@page("/", role="viewer")
async def get_overview_page(request: ApiRequest) -> ASGIApp:
    """Show how every factory stands now."""
    return await _render_standings(request, "overview.html")


@page("/board/wall", role="viewer")
async def get_wall_page(request: ApiRequest) -> ASGIApp:
    """Show how every factory stands now, to be read from across the hall."""
    return await _render_standings(request, "wall.html")


async def _render_standings(request: ApiRequest, template: str) -> ASGIApp:
    position = await find_last_position(request.database)  # first, so that no change falls in between
    instant = now()
    standings = await find_standings(request.database, instant, request.stale_after)
    return render(
        request,
        template,
        position=position,
        now=instant,
        standings=standings,
        stale_after=request.stale_after,
        spark=draw_spark,
    )
