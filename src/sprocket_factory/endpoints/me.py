"""Who one is, as the service sees it."""

import msgspec
from litestar.types import ASGIApp

from sprocket_factory.endpoints.answers import Answer
from sprocket_factory.endpoints.routing import ApiRequest, get
from sprocket_factory.entities.instant import Time, to_datetime
from sprocket_factory.entities.key import FactoryIds, Role


class Me(msgspec.Struct, frozen=True):
    """Who is asking, and what they may do."""

    name: str
    role: Role
    factory_ids: FactoryIds | None
    expires_at: Time | None


@get("/me", role="viewer", gives=Me)
async def get_me(request: ApiRequest) -> ASGIApp:
    """Return who is asking, and what they may do."""
    caller = request.caller
    return Answer(
        Me(
            caller.name,
            caller.role or "viewer",
            None if caller.factory_ids is None else sorted(caller.factory_ids),
            None if caller.expires_at is None else to_datetime(caller.expires_at),
        )
    )
