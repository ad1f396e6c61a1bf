"""The page of changes, for the administrator: who did what, from what to what."""

from collections.abc import Iterator
from typing import Any, NamedTuple, get_args

import msgspec
from litestar.types import ASGIApp
from msgspec import Raw

from sprocket_factory.endpoints.listing import filters_of, read_page, read_query
from sprocket_factory.endpoints.pages import given_on_page, page, render
from sprocket_factory.endpoints.routing import ApiRequest
from sprocket_factory.entities.change import CHANGES, Action, Change, Entity, complete_changes

CHANGES_A_PAGE = 50


class Difference(NamedTuple):
    """One member of a thing, before and after."""

    member: str
    before: Any
    after: Any


@page(
    "/board/changes",
    role="admin",
    parameters=filters_of(CHANGES) | {"cursor": {"type": "string", "format": "cursor"}},
)
async def get_changes_page(request: ApiRequest) -> ASGIApp:
    """Show the record of changes, the latest first, or what the filters of the API leave of it."""
    await complete_changes(request.database)
    given = given_on_page(request)
    query = read_query(CHANGES, {"sort": "-id"} | given, request.latest)
    changes, next_ = await read_page(request, CHANGES, query, CHANGES_A_PAGE)
    return render(
        request,
        "changes.html",
        changes=[(change, list(differences(change))) for change in changes],
        next=next_,
        given=given,
        actions=get_args(Action),
        entities=get_args(Entity),
    )


def differences(change: Change) -> Iterator[Difference]:
    """Give the members of a thing that a change has made different; all of one that is new or gone."""
    before, after = _members(change.before), _members(change.after)
    for member in before | after:
        if before.get(member) != after.get(member):
            yield Difference(member, before.get(member), after.get(member))


def _members(thing: Raw | None) -> dict[str, Any]:
    members: dict[str, Any] = msgspec.json.decode(thing) if thing is not None else {}
    return members
