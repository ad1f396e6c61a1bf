"""How a request comes to its endpoint, and what was raised on the way to an answer."""

from litestar import Litestar
from litestar.types import ASGIApp, Receive, Scope, Send
from litestar.utils import normalize_path

from sprocket_factory.endpoints.checks import check_request
from sprocket_factory.endpoints.problems import problem_of
from sprocket_factory.endpoints.routing import ApiRequest
from sprocket_factory.observe import has_begun


def ask_endpoints(litestar: Litestar) -> ASGIApp:
    """Return an application that has Litestar find the endpoint for each request, and asks it at once.

    Every endpoint takes a request alone and returns a ready answer. So nothing is lost of what Litestar does between
    the two, for layers, dependencies, guards, hooks and values that have yet to be made an answer of; and that takes
    a quarter of a short request (docs/decisions/0021).
    """
    find_endpoint = litestar.asgi_router.handle_routing

    async def asked(scope: Scope, receive: Receive, send: Send) -> None:
        scope["litestar_app"] = litestar
        path = scope["path"]
        if "//" in path or path.endswith("/") or not path.startswith("/"):
            scope["path"] = path = normalize_path(path)
        try:
            _, endpoint, _, parameters, template = find_endpoint(path=path, method=scope.get("method"))
            scope["route_handler"], scope["path_params"], scope["path_template"] = endpoint, parameters, template
            request = ApiRequest(scope, receive)  # type: ignore[arg-type]  # the server speaks no WebSocket
            answer: ASGIApp = await check_request(request) or await endpoint.fn(request)
            await answer(scope, receive, send)
        except Exception as error:
            if has_begun(scope):
                raise
            await problem_of(scope, error)(scope, receive, send)

    return asked
