"""How an endpoint is declared: Litestar's decorators, with what the API document needs to know beside them.

`reads` is the type of the body, `gives` that of the answer, `status` the one of success, and `refuses` the refusals
beyond those that any endpoint may give. Litestar keeps them as the handler's `opt`; openapi.py reads them there.
"""

from functools import partial

from litestar import post, put, route
from litestar.enums import HttpMethod

BASE_PATH = "/sprocketFactory/v1"

ANONYMOUS = "anonymous"
"""Who writes, as long as nobody is asked for a key."""

__all__ = ["ANONYMOUS", "BASE_PATH", "get", "post", "put"]

get = partial(route, http_method=[HttpMethod.GET, HttpMethod.HEAD])
"""As Litestar's `get`, and HEAD works wherever GET does."""
