"""How an endpoint is declared: Litestar's decorators, with what else the service needs to know of it beside them.

Litestar keeps these as the handler's `opt`, where openapi.py, checks.py, parameters.py and pages.py read them:

- `role`: the least role that may do this; a handler that names none needs `admin`.
- `gives`: what each status of success is answered with: `{200: Sprocket}`; a type alone stands for 200.
- `media_types`: in which media types it can be given; JSON where nothing is said.
- `reads`: the type of the body, or a type for each media type.
- `parameters`: the query parameters, each with its schema.
- `required`: the names of those that have to be given.
- `any_parameters`: whether there may be others, which say nothing here.
- `refuses`: the refusals beyond those that any endpoint may give.
- `headers`: what its answers tell browsers, where that is not headers.DATA.
- `even_if_busy`: whether it is answered where there is too much to do: what tells how the service is.
- `endless`: whether the answer goes on until its reader leaves. It has no version, and Last-Event-ID is listened to.
- `page`: whether it is a page of the board (pages.py), so that its refusals are pages as well.
- `conditional`, `once`: whether If-Match and If-None-Match, or Idempotency-Key, are listened to.
"""

from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, TypeVar, TypeVarTuple

import litestar
from litestar import Request, route
from litestar.enums import HttpMethod
from litestar.types import HTTPScope, Receive

from sprocket_factory.access.callers import Caller, Callers
from sprocket_factory.access.sessions import SESSION, Sessions
from sprocket_factory.database import Database, Transaction
from sprocket_factory.endpoints.conditions import expected_of
from sprocket_factory.endpoints.reading import JSON, read_id
from sprocket_factory.entities.instant import now
from sprocket_factory.entities.version import Expected
from sprocket_factory.errors import NotFound
from sprocket_factory.observe import request_id_of

BASE_PATH = "/sprocketFactory/v1"

CREDENTIALS: dict[str, dict[str, str]] = {
    "key": {"type": "http", "scheme": "bearer", "description": "A key of this service, or an access token."},
    "session": {
        "type": "apiKey",
        "in": "cookie",
        "name": f"__Host-{SESSION}",
        "description": f"What signing in at /sign-in gives to a browser; without TLS it is called {SESSION}. It lets"
        " nothing be written but by pages of this service itself.",
    },
}
"""How a caller says who it is, as OpenAPI has it."""

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

get = partial(route, http_method=[HttpMethod.GET, HttpMethod.HEAD], media_types=JSON)
"""As Litestar's `get`, and HEAD works wherever GET does."""

post = partial(litestar.post, status_code=200, media_types=JSON)
put = partial(litestar.put, media_types=JSON)
patch = partial(litestar.patch, media_types=JSON)
delete = partial(litestar.delete, status_code=200, media_types=JSON)
"""As Litestar's. The status is that of what they return; Litestar allows 204 for nothing but None."""


class ApiRequest(Request[Any, Any, Any]):
    """A request with what endpoints ask of it.

    Endpoints take it alone: injecting the database and the parts of the path through Litestar cost 8 µs a request. Of
    Litestar's own it has the scope and what the body comes through; the rest is nowhere asked for, and took 2 µs.
    """

    def __init__(self, scope: HTTPScope, receive: Receive) -> None:
        self.scope = scope
        self.receive = receive

    @property
    def database(self) -> Database:
        """The database that the service runs on."""
        database: Database = self.scope["state"]["database"]
        return database

    @property
    def latest(self) -> int:
        """The last instant that a record may have."""
        allowed_ahead: int = self.scope["state"]["allowed_ahead"]
        return now() + allowed_ahead

    @property
    def stale_after(self) -> int:
        """How old the last record of a factory may be before nobody knows how it stands, in microseconds."""
        stale_after: int = self.scope["state"]["stale_after"]
        return stale_after

    @property
    def expected(self) -> Expected:
        """What the caller expects to be stored. Raises Invalid."""
        return expected_of(self.scope)

    @property
    def caller(self) -> Caller:
        """Who asks; checks.py has found out."""
        caller: Caller = self.scope["state"]["caller"]
        return caller

    @property
    def callers(self) -> Callers:
        """What finds out who asks."""
        callers: Callers = self.scope["state"]["callers"]
        return callers

    @property
    def sessions(self) -> Sessions:
        """Who has signed in."""
        sessions: Sessions = self.scope["state"]["sessions"]
        return sessions

    def id_in_path(self, name: str, refusal: Callable[[str], NotFound]) -> int:
        """Return the id in the path under this name. Raises the given NotFound where it is none."""
        return read_id(self.scope["path_params"][name], refusal)

    async def write(
        self, function: Callable[[Transaction, *Ts], Coroutine[Any, Any, T]], *args: *Ts, alone: bool = False
    ) -> T:
        """Run a write function for the caller. Refusals are those of the database and of the function."""
        return await self.database.write(
            function, *args, by=self.caller.actor, request_id=request_id_of(self.scope), alone=alone
        )
