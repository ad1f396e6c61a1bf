"""The page of keys, for the administrator: who has which, new ones, links for screens on a wall, revoking."""

from litestar.types import ASGIApp

from sprocket_factory.endpoints.listing import read_page, read_query
from sprocket_factory.endpoints.pages import given_on_page, page, render
from sprocket_factory.endpoints.routing import ApiRequest
from sprocket_factory.entities.instant import now
from sprocket_factory.entities.key import KEYS, ROLES

KEYS_A_PAGE = 200


@page("/board/keys", role="admin", parameters={"cursor": {"type": "string", "format": "cursor"}})
async def get_keys_page(request: ApiRequest) -> ASGIApp:
    """Show the keys."""
    query = read_query(KEYS, given_on_page(request) | {"sort": "-id"}, request.latest)
    keys, next_ = await read_page(request, KEYS, query, KEYS_A_PAGE)
    return render(request, "keys.html", keys=keys, next=next_, now=now(), roles=ROLES)
