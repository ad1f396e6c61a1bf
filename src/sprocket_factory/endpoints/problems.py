"""The one body in which every refusal leaves, ours and the framework's: RFC 9457."""

import os
import re
from http import HTTPStatus

import msgspec
from litestar.exceptions import HTTPException
from litestar.types import ASGIApp, Receive, Scope, Send

from sprocket_factory import errors
from sprocket_factory.endpoints.headers import DATA
from sprocket_factory.endpoints.pages import HTML, is_by_accept, is_page, refusal_page, sign_in_address, stale_cookie
from sprocket_factory.endpoints.problem_kinds import ALL_KINDS, INTERNAL, KINDS, METHOD_NOT_ALLOWED, Kind
from sprocket_factory.entities.key import PREFIX as KEY_PREFIX
from sprocket_factory.entities.session import PREFIX as SESSION_PREFIX
from sprocket_factory.observe import log, request_id_of, security_log
from sprocket_factory.observe_metrics import problems

MAX_FAULTS = 100
"""As many single faults are listed; `errors_total` says how many there are."""


PROBLEM_JSON = "application/problem+json"


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


PASSED_OVER_BYTES = 64 * 1024
"""What is left of a body after a refusal is passed over up to here; behind more of it the connection ends."""

SEE_OTHER = 303

UNAVAILABLE = 503
"""Several kinds have this status, and the framework never gives it."""

for _kind in ALL_KINDS:
    problems.labels(_kind.slug)  # a counter that begins with its first problem could not be seen to grow by it

_SECRET = re.compile(rb"(%b|%b)[\w-]+" % (KEY_PREFIX.encode(), SESSION_PREFIX.encode()))

_BY_STATUS = {kind.status: kind for kind in (*KINDS.values(), METHOD_NOT_ALLOWED) if kind.status != UNAVAILABLE}


class ProblemAnswer:
    """A problem as it is sent, without a key that somebody has put in the wrong place.

    Litestar's own responses take 25 µs more to be put together, for whoever floods us.
    """

    def __init__(
        self, status: int, body: bytes, headers: dict[str, str], media_type: bytes = PROBLEM_JSON.encode()
    ) -> None:
        self._status = status
        self._body = body = _SECRET.sub(rb"\1...", body)
        self._headers = [
            (b"content-type", media_type),
            (b"content-length", b"%d" % len(body)),
            *((name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()),
        ]

    async def __call__(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        """Send it."""
        await send({"type": "http.response.start", "status": self._status, "headers": self._headers})
        await send({"type": "http.response.body", "body": self._body, "more_body": False})


def problem_of(scope: Scope, error: Exception) -> ASGIApp:
    """Return the answer to what was raised for a request."""
    match error:
        case errors.Refusal():
            return _refused(scope, error)
        case HTTPException():
            return _refused_by_litestar(scope, error)
        case _:
            return _unforeseen(scope, error)


def _refused(scope: Scope, refusal: errors.Refusal) -> ProblemAnswer:
    headers = {}
    if isinstance(refusal, errors.NotNow | errors.TooMany):
        headers["retry-after"] = str(refusal.retry_after_seconds)
    if isinstance(refusal, errors.Unauthenticated):
        headers["www-authenticate"] = refusal.challenge
    faults = tuple(FaultBody(*fault) for fault in refusal.faults[:MAX_FAULTS])
    # Of many rows it is said even where it is no surprise, so that a program need not count.
    counted = refusal.faults_total > len(faults) or any(fault.row for fault in faults)
    total = refusal.faults_total if counted else None
    if isinstance(refusal, errors.Forbidden):
        caller = scope["state"].get("caller")  # nobody, where a token gives no role
        security_log.warning("refused", who="" if caller is None else caller.id, reason=refusal.detail)
    return _response(scope, KINDS[type(refusal)], str(refusal), headers, faults, total, refusal.__cause__)


def _refused_by_litestar(scope: Scope, exception: HTTPException) -> ProblemAnswer:
    kind = _BY_STATUS.get(exception.status_code)
    if kind is None:
        return _unforeseen(scope, exception)
    detail = exception.detail
    match exception.status_code:
        case 404:
            hint = "Look at the address again." if is_page(scope) else "GET /openapi.json lists every path."
            detail = f"Nothing is at {errors.shown(scope['path'])}. {hint}"
        case 405:
            detail = f"{scope.get('method')} does not work here. The header Allow names what does."
    return _response(scope, kind, detail, dict(exception.headers or {}))


def _unforeseen(scope: Scope, exception: Exception) -> ProblemAnswer:
    """Answer what nobody foresaw: the caller learns the request's id, the log everything."""
    request_id = request_id_of(scope)
    log.error("nobody foresaw this", path=scope["path"], exc_info=exception)
    return _response(scope, INTERNAL, f"The log knows more under the request id {request_id}.", {})


def unasked_answer(refusal: errors.Refusal) -> bytes:
    """Return what refuses a request that has not come far enough to be asked, as it travels. The connection ends."""
    kind = KINDS[type(refusal)]
    problems.labels(kind.slug).inc()
    request_id = os.urandom(8).hex()
    problem = Problem(f"/problems/{kind.slug}", kind.title, kind.status, str(refusal), "", request_id)
    body = msgspec.json.encode(problem)
    headers = (
        (b"content-type", PROBLEM_JSON.encode()),
        (b"content-length", b"%d" % len(body)),
        (b"connection", b"close"),
        (b"x-request-id", request_id.encode()),
        *DATA,
    )
    head = b"HTTP/1.1 %d %s\r\n" % (kind.status, HTTPStatus(kind.status).phrase.encode())
    return head + b"".join(b"%s: %s\r\n" % header for header in headers) + b"\r\n" + body


def _is_left_unread(scope: Scope) -> bool:
    """Return whether more of the body may be on its way than is passed over before the next request."""
    if scope["state"].get("body_is_read"):
        return False
    headers = dict(scope["headers"])
    if b"transfer-encoding" in headers:
        return True
    length = headers.get(b"content-length", b"0")[:20]
    return length.isdigit() and int(length) > PASSED_OVER_BYTES


def _response(  # noqa: PLR0913, PLR0917 - one place that puts together what a problem has
    scope: Scope,
    kind: Kind,
    detail: str,
    headers: dict[str, str],
    faults: tuple[FaultBody, ...] = (),
    faults_total: int | None = None,
    cause: BaseException | None = None,
) -> ProblemAnswer:
    note_problem(scope, kind, detail, cause)
    if _is_left_unread(scope):
        headers["connection"] = "close"
    if is_by_accept(scope):
        headers["vary"] = "accept"
    if is_page(scope):
        headers |= {name.decode(): value.decode() for name, value in stale_cookie(scope)}
        if kind is KINDS[errors.Unauthenticated]:
            return ProblemAnswer(SEE_OTHER, b"", headers | {"location": sign_in_address(scope)}, HTML)
        return ProblemAnswer(kind.status, refusal_page(scope, kind.status, kind.title, detail), headers, HTML)
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
    return ProblemAnswer(kind.status, msgspec.json.encode(problem), headers)


def note_problem(scope: Scope, kind: Kind, detail: str, cause: BaseException | None = None) -> None:
    """Count it. Let the line of the request say why; where the storage failed, also what it said."""
    problems.labels(kind.slug).inc()
    told = repr(cause) if cause is not None and kind.status >= INTERNAL.status else ""
    scope["state"]["refusal"] = (kind.slug, detail, told)
