"""How an endpoint is declared: Litestar's decorators, with what the API document needs to know beside them.

`reads` is the type of the body, `gives` that of the answer, `status` the one of success, and `refuses` the refusals
beyond those that any endpoint may give. Litestar keeps them as the handler's `opt`; openapi.py reads them there.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from litestar import Request, post, put, route
from litestar.enums import HttpMethod

from sprocket_factory.database import Database
from sprocket_factory.endpoints.reading import read_id
from sprocket_factory.errors import NotFound

BASE_PATH = "/sprocketFactory/v1"

ANONYMOUS = "anonymous"
"""Who writes, as long as nobody is asked for a key."""

__all__ = ["ANONYMOUS", "BASE_PATH", "ApiRequest", "get", "post", "put"]

get = partial(route, http_method=[HttpMethod.GET, HttpMethod.HEAD])
"""As Litestar's `get`, and HEAD works wherever GET does."""


class ApiRequest(Request[Any, Any, Any]):
    """A request with what endpoints ask of it.

    Endpoints take it alone: injecting the database and the parts of the path through Litestar cost 8 µs a request.
    """

    @property
    def database(self) -> Database:
        """The database that the service runs on."""
        database: Database = self.scope["state"]["database"]
        return database

    def id_in_path(self, name: str, refusal: Callable[[str], NotFound]) -> int:
        """Return the id in the path under this name. Raises the given NotFound where it is none."""
        return read_id(self.scope["path_params"][name], refusal)
