"""The one table from a refusal to its status, and the one body in which every refusal leaves: RFC 9457."""

from collections.abc import Callable
from typing import Any

import msgspec
from litestar import Request, Response
from litestar.exceptions import HTTPException
from litestar.types import Scope

from sprocket_factory import errors
from sprocket_factory.observe import log, request_id_of

MAX_FAULTS = 100
"""As many single faults are listed; `errors_total` says how many there are."""


class Kind(msgspec.Struct, frozen=True):
    """A kind of problem: what its type is called, its status, and its title."""

    slug: str
    status: int
    title: str


class FaultBody(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing that is wrong with what was sent."""

    pointer: str
    detail: str
    row: int | None = None


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """What every refusal looks like: `application/problem+json`, RFC 9457."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    request_id: str
    errors: tuple[FaultBody, ...] = ()
    errors_total: int | None = None


KINDS: dict[type[errors.Refusal], Kind] = {
    errors.Unreadable: Kind("unreadable", 400, "What was sent cannot be read"),
    errors.NotFound: Kind("not-found", 404, "There is no such thing"),
    errors.NotAcceptable: Kind("not-acceptable", 406, "None of the accepted media types can be given"),
    errors.Conflict: Kind("conflict", 409, "What is stored says otherwise"),
    errors.TooLarge: Kind("too-large", 413, "What was sent is over a limit"),
    errors.UnsupportedMediaType: Kind("unsupported-media-type", 415, "What was sent is of a kind not read here"),
    errors.Invalid: Kind("invalid", 422, "What was sent breaks a rule"),
    errors.Busy: Kind("busy", 503, "Others were first"),
    errors.Unavailable: Kind("unavailable", 503, "The database does not answer"),
    errors.StorageFull: Kind("storage-full", 507, "The storage cannot take more"),
}

METHOD_NOT_ALLOWED = Kind("method-not-allowed", 405, "This method does not work here")
INTERNAL = Kind("internal", 500, "Something went wrong here")

_BY_STATUS = {kind.status: kind for kind in (*KINDS.values(), METHOD_NOT_ALLOWED) if kind.slug != "unavailable"}


def refusal_to_response(request: Request[Any, Any, Any], refusal: errors.Refusal) -> Response[bytes]:
    """Answer a refusal of ours."""
    headers = {}
    if isinstance(refusal, errors.NotNow):
        headers["retry-after"] = str(refusal.retry_after_seconds)
    faults = tuple(FaultBody(*fault) for fault in refusal.faults[:MAX_FAULTS])
    total = refusal.faults_total if refusal.faults_total > len(faults) else None
    return _response(request.scope, KINDS[type(refusal)], str(refusal), headers, faults, total)


def http_exception_to_response(request: Request[Any, Any, Any], exception: HTTPException) -> Response[bytes]:
    """Answer a refusal of the framework's in the same body as our own."""
    kind = _BY_STATUS.get(exception.status_code)
    if kind is None:
        return exception_to_response(request, exception)
    detail = exception.detail
    match exception.status_code:
        case 404:
            detail = f"Nothing is at {errors.shown(request.scope['path'])}. GET /openapi.json lists every path."
        case 413:
            detail = "The body is larger than this server reads. Its operator may raise --max-body-bytes."
        case 405:
            detail = f"{request.scope['method']} does not work here. The header Allow names what does."
    return _response(request.scope, kind, detail, dict(exception.headers or {}))


def exception_to_response(request: Request[Any, Any, Any], exception: Exception) -> Response[bytes]:
    """Answer what nobody foresaw: the caller learns the request's id, the log everything."""
    request_id = request_id_of(request.scope)
    log.error("request %s failed: %r", request_id, request.scope["path"], exc_info=exception)
    return _response(request.scope, INTERNAL, f"The log knows more under the request id {request_id}.", {})


EXCEPTION_HANDLERS: dict[int | type[Exception], Callable[[Request[Any, Any, Any], Any], Response[Any]]] = {
    errors.Refusal: refusal_to_response,
    HTTPException: http_exception_to_response,
    Exception: exception_to_response,
}


def _response(  # noqa: PLR0913, PLR0917 - one place that puts together what a problem has
    scope: Scope,
    kind: Kind,
    detail: str,
    headers: dict[str, str],
    faults: tuple[FaultBody, ...] = (),
    faults_total: int | None = None,
) -> Response[bytes]:
    problem = Problem(
        type=f"/problems/{kind.slug}",
        title=kind.title,
        status=kind.status,
        detail=detail,
        instance=scope["path"],
        request_id=request_id_of(scope),
        errors=faults,
        errors_total=faults_total,
    )
    return Response(
        msgspec.json.encode(problem), status_code=kind.status, headers=headers, media_type="application/problem+json"
    )
