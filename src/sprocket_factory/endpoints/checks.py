"""What is checked of every request before its endpoint runs, so that no endpoint can forget it."""

from litestar.enums import HttpMethod
from litestar.types import ASGIApp

from sprocket_factory.access.callers import OPEN, counted_as
from sprocket_factory.endpoints.answers import NoContent
from sprocket_factory.endpoints.headers import PREFLIGHT
from sprocket_factory.endpoints.negotiation import accept_of, preferred_type
from sprocket_factory.endpoints.parameters import check_parameters, given_parameters
from sprocket_factory.endpoints.reading import REFUSAL
from sprocket_factory.endpoints.routing import ApiRequest
from sprocket_factory.errors import NotAcceptable, shown


async def check_request(request: ApiRequest) -> ASGIApp | None:
    """Find out who asks and whether they may, answer OPTIONS, and refuse what would otherwise be silently ignored.

    Raises:
        Unauthenticated: Nobody knows who asks, or the credentials are none.
        Forbidden: The caller's role does not allow it, or a page from elsewhere asks in the caller's name.
        TooMany: Too many wrong keys came from there, or too many requests from this caller.
        Busy: The service has as much to do as it takes.
        NotAcceptable: The caller takes nothing that the endpoint gives.
        Invalid: A query parameter is unknown to the endpoint or repeated.
    """
    state = request.scope["state"]
    options = request.route_handler.opt
    method = request.scope["method"]
    if "headers" in options:
        state["headers"] = options["headers"]
    if REFUSAL in request.scope and "even_if_busy" not in options:
        raise request.scope[REFUSAL]  # type: ignore[literal-required]  # a word of the server's own
    if method == HttpMethod.OPTIONS:
        return _options(request)
    needed = options.get("role", "admin")
    if needed != OPEN:
        caller = state["caller"] = await state["callers"].identify(request.scope)
        if state["quotas"] is not None:
            state["quotas"].use(counted_as(caller, request.scope), state)
        caller.check_role(needed)
    known = options.get("parameters", {})
    if request.scope["query_string"] and "any_parameters" not in options:
        given = check_parameters(given_parameters(request.scope), known)
        if "format" in given:
            return None  # it says what is wanted, whatever Accept says
    _check_accept(request)
    return None


def _options(request: ApiRequest) -> ASGIApp:
    """Say what may be done here, and to a page from an origin that is allowed, how."""
    # Litestar's own answer names the methods of one handler, not those of the path.
    (route,) = (route for route in request.app.routes if request.route_handler in getattr(route, "route_handlers", ()))
    methods = ", ".join(sorted(route.methods)).encode()
    headers = [(b"allow", methods)]
    if "is_from_elsewhere" in request.scope["state"]:
        headers += [(b"access-control-allow-methods", methods), *PREFLIGHT]
    return NoContent(headers)


def _check_accept(request: ApiRequest) -> None:
    offered = request.route_handler.opt.get("media_types", ())
    if offered and preferred_type(request.scope, offered) is None:
        accepted = accept_of(request.scope)
        raise NotAcceptable(f"Nothing of {shown(accepted)} can be given here.", hint=f"Accept {' or '.join(offered)}.")
