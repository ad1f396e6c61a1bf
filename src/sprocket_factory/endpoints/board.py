"""The board's first page: how every factory stands now; and the same for a screen on the wall."""

import asyncio
from collections.abc import Mapping
from typing import NamedTuple

from litestar.types import ASGIApp
from markupsafe import Markup

from sprocket_factory.database import Database
from sprocket_factory.endpoints.charts import draw_spark
from sprocket_factory.endpoints.draughtsman import drawn
from sprocket_factory.endpoints.pages import given_on_page, page, pages, render
from sprocket_factory.endpoints.parameters import read_whole_number
from sprocket_factory.endpoints.routing import ApiRequest
from sprocket_factory.entities import MAX_ID
from sprocket_factory.entities.change_feed import LastChange, find_last_change
from sprocket_factory.entities.instant import SECOND, now
from sprocket_factory.entities.standing import Standings, State, find_standings

FACTORIES_A_PAGE = 100

KEPT_FOR = 10 * SECOND
"""So long what was made for one is shown to others, unless something is recorded."""

AFTER = {"after": {"type": "integer", "minimum": 1, "maximum": MAX_ID, "description": "The factory before the first."}}


class Cards(NamedTuple):
    """How some factories stand, as it is shown to whoever looks."""

    counts: Mapping[State, int]
    html: Markup
    next: int | None
    """The last factory that is shown, if there are more behind it."""


class Board:
    """Makes the cards once for all who look at the same moment: after a record every board asks at once."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._made: dict[int, tuple[tuple[LastChange, int], asyncio.Task[Cards]]] = {}

    async def find_cards(self, last_change: LastChange, after: int, stale_after: int) -> Cards:
        """Return the cards behind a factory, as they are since the last change, or later.

        Args:
            last_change: Of the record of changes.
            after: The id of the factory.
            stale_after: As for find_standings; the same at each call.
        """
        instant = now()
        moment = (last_change, instant // KEPT_FOR)
        made_at, making = self._made.get(after, (None, None))
        if made_at != moment or making is None or _has_failed(making):
            making = asyncio.create_task(self._make(instant, after, stale_after))
            self._made = {place: made for place, made in self._made.items() if made[0] == moment}
            self._made[after] = (moment, making)
        return await asyncio.shield(making)  # who leaves takes nothing from the others

    async def _make(self, instant: int, after: int, stale_after: int) -> Cards:
        standings = await find_standings(self._database, instant, stale_after, after, FACTORIES_A_PAGE)
        html = await drawn(_html, standings, instant)
        return Cards(standings.counts, html, None if standings.is_last else standings.shown[-1].today.factory.id)


@page("/", role="viewer", parameters=AFTER)
async def get_overview_page(request: ApiRequest) -> ASGIApp:
    """Show how every factory stands now."""
    return await _render_cards(request, "overview.html")


@page("/board/wall", role="viewer", parameters=AFTER)
async def get_wall_page(request: ApiRequest) -> ASGIApp:
    """Show how every factory stands now, to be read from across the hall."""
    return await _render_cards(request, "wall.html")


def _has_failed(making: asyncio.Task[Cards]) -> bool:
    return making.done() and (making.cancelled() or making.exception() is not None)


async def _render_cards(request: ApiRequest, template: str) -> ASGIApp:
    given = given_on_page(request)
    after = read_whole_number(given, "after", 1, MAX_ID) if "after" in given else 0
    last_change = await find_last_change(request.database)  # first, so that no change falls in between
    board: Board = request.scope["state"]["board"]
    cards = await board.find_cards(last_change, after, request.stale_after)
    return render(request, template, position=last_change.position, cards=cards)


def _html(standings: Standings, instant: int) -> Markup:
    return Markup(  # noqa: S704 - the template has escaped what is in it
        pages.get_template("standing.html").render(standings=standings.shown, now=instant, spark=draw_spark)
    )
