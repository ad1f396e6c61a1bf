"""What is checked of every request before its endpoint runs, so that no endpoint can forget it."""

from typing import Any

from litestar import Request, Response
from litestar.enums import HttpMethod

from sprocket_factory.endpoints.negotiation import accept_of, preferred_type
from sprocket_factory.endpoints.reading import nearest
from sprocket_factory.errors import Fault, Invalid, NotAcceptable, shown

JSON = "application/json"


async def check_request(request: Request[Any, Any, Any]) -> Response[None] | None:
    """Answer OPTIONS, and refuse what the endpoint would otherwise silently ignore.

    A guard would do as well, but Litestar copies the whole handler for each guard: 10 µs a request, measured.

    Raises:
        NotAcceptable: The caller takes nothing that the endpoint gives.
        Invalid: A query parameter is unknown to the endpoint or repeated.
    """
    if request.scope["method"] == HttpMethod.OPTIONS:
        # Litestar's own answer names the methods of one handler, not those of the path.
        (route,) = (
            route for route in request.app.routes if request.route_handler in getattr(route, "route_handlers", ())
        )
        return Response(None, status_code=204, headers={"Allow": ", ".join(sorted(route.methods))})
    if request.scope["query_string"]:
        _check_parameters(request)
    _check_accept(request)
    return None


def _check_parameters(request: Request[Any, Any, Any]) -> None:
    known = request.route_handler.opt.get("parameters", ())
    seen: set[str] = set()
    for name, _ in request.query_params.multi_items():
        if name not in known:
            raise _wrong_parameter(name, f"There is no parameter {shown(name)} here.{nearest(name, known)}")
        if name in seen:
            raise _wrong_parameter(name, f"The parameter {shown(name)} is given twice.")
        seen.add(name)


def _wrong_parameter(name: str, detail: str) -> Invalid:
    return Invalid(detail, faults=[Fault(name, detail)])


def _check_accept(request: Request[Any, Any, Any]) -> None:
    if "gives" in request.route_handler.opt and preferred_type(request.scope, [JSON]) is None:
        accepted = accept_of(request.scope)
        raise NotAcceptable(f"Nothing of {shown(accepted)} can be given here.", hint=f"Accept {JSON}.")
