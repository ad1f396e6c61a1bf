"""What is relied on where Litestar finds an endpoint and is then left out (endpoints/asking.py)."""

import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from litestar import Litestar
from litestar.handlers import HTTPRouteHandler
from litestar.routes import HTTPRoute

from sprocket_factory.app import route_requests
from sprocket_factory.endpoints import routing
from sprocket_factory.endpoints.routing import BASE_PATH, ApiRequest
from sprocket_factory.settings import Settings


@pytest.fixture(scope="module", name="litestar")
def with_every_route() -> Litestar:
    """Return what knows every route."""
    return route_requests(Settings())


def endpoints_of(litestar: Litestar) -> Iterator[HTTPRouteHandler]:
    """Give every endpoint of ours; Litestar answers OPTIONS by handlers of its own, which are never asked."""
    for route in litestar.routes:
        assert isinstance(route, HTTPRoute)
        yield from (handler for handler in route.route_handlers if handler.http_methods != {"OPTIONS"})


def test_litestar_finds_an_endpoint_with_the_parts_of_its_path(litestar: Litestar) -> None:
    """What finds it has no leading underscore, but is not documented: another version may give something else."""
    path = f"{BASE_PATH}/sprockets/7"

    _, endpoint, found_path, parameters, template = litestar.asgi_router.handle_routing(path=path, method="GET")

    assert isinstance(endpoint, HTTPRouteHandler)
    assert "get_sprocket" == endpoint.fn.__name__
    assert (path, {"sprocket_id": "7"}) == (found_path, parameters)
    assert f"{BASE_PATH}/sprockets/{{sprocket_id}}" == template


def test_every_endpoint_takes_a_request_alone(litestar: Litestar) -> None:
    """Nobody would give it anything else."""
    others = [one.fn for one in endpoints_of(litestar) if ["request"] != list(inspect.signature(one.fn).parameters)]

    assert [] == others


def test_nothing_is_asked_of_a_request_that_it_does_not_have() -> None:
    """Much of Litestar's own request is not made, and nothing but a request would tell."""
    has = {"scope", "receive", "route_handler", "app", *vars(ApiRequest)}
    folder = Path(routing.__file__).parent
    asked = {name for file in folder.glob("*.py") for name in re.findall(r"\brequest\.(\w+)", file.read_text())}

    assert {"scope", "caller"} <= asked
    assert set() == asked - has


def test_no_endpoint_waits_for_what_litestar_would_do(litestar: Litestar) -> None:
    """Guards, hooks, dependencies, middleware and caches would be left out without a word."""
    for one in endpoints_of(litestar):
        assert not one.resolve_guards()
        assert not one.resolve_before_request()
        assert not one.resolve_after_response()
        assert not one.resolve_dependencies()
        assert not one.resolve_middleware()
        assert not one.cache
        assert inspect.iscoroutinefunction(one.fn)
