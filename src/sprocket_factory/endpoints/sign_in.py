"""Signing in on the board: by a key, or by the issuer that the operator trusts; and signing out."""

from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

from litestar.types import ASGIApp

from sprocket_factory.access.callers import OPEN, Caller
from sprocket_factory.access.sessions import ATTEMPT, ATTEMPT_SECONDS, SESSION, local_path, read_cookie, write_cookie
from sprocket_factory.endpoints.answers import SeeOther
from sprocket_factory.endpoints.forms import read_form
from sprocket_factory.endpoints.headers import NOWHERE, PRIVATE
from sprocket_factory.endpoints.pages import BOARD, SIGN_IN, page, post_page, render
from sprocket_factory.endpoints.parameters import check_parameters, given_parameters, parameters_of
from sprocket_factory.endpoints.problem_kinds import KINDS
from sprocket_factory.endpoints.problems import note_problem
from sprocket_factory.endpoints.routing import ApiRequest
from sprocket_factory.entities.session import Session
from sprocket_factory.errors import Forbidden, NotFound, NotNow, Refusal, WrongCredentials
from sprocket_factory.observe import request_id_of, security_log
from sprocket_factory.observe_metrics import sign_ins

if TYPE_CHECKING:
    from sprocket_factory.access.oidc_sign_in import IssuerSignIn

NEXT = {"next": {"type": "string", "description": "Where to go on afterwards."}}

ANSWER = ("code", "state", "iss", "error")
"""What is read of an issuer's answer (RFC 6749, section 4.1.2; RFC 9207). What else it says is passed over."""

UNKEPT = tuple(NOWHERE if header is PRIVATE else header for header in BOARD)
"""For a page on which somebody is about to give a secret."""


@page(SIGN_IN, role=OPEN, headers=UNKEPT, parameters=NEXT)
async def get_sign_in(request: ApiRequest) -> ASGIApp:
    """Ask who looks at the board."""
    return _form(request, parameters_of(request).get("next", "/"))


@post_page(SIGN_IN, role=OPEN, headers=UNKEPT)
async def post_sign_in(request: ApiRequest) -> ASGIApp:
    """Let somebody in with a key. Raises Forbidden for a form that is not ours, and TooMany."""
    request.sessions.check_origin(request.scope)
    form = await read_form(request, "key", "next")
    try:
        holder = await request.callers.find_by_key(request.scope, form["key"].strip())
        return await let_in(request, request.sessions.of_key(holder), form["next"], "key")
    except WrongCredentials as refusal:
        return _form(request, form["next"], refusal)


@post_page("/sign-out", role=OPEN, headers=UNKEPT)
async def post_sign_out(request: ApiRequest) -> ASGIApp:
    """End the session that the browser has. Raises Forbidden for a form that is not ours."""
    request.sessions.check_origin(request.scope)
    session = await request.sessions.find(request.scope)
    if session is not None:
        await request.sessions.end(request.scope, session.caller, request_id_of(request.scope))
        security_log.info("signed out", who=session.caller)
    return SeeOther(SIGN_IN, [write_cookie(request.scope, SESSION, "", 0)])


@page("/sign-in/oidc", role=OPEN, headers=UNKEPT, parameters=NEXT)
async def get_sign_in_oidc(request: ApiRequest) -> ASGIApp:
    """Send somebody to the issuer."""
    next_ = local_path(parameters_of(request).get("next", "/"))
    try:
        secret, address = await _issuer(request).begin()
    except NotNow as refusal:
        return _form(request, next_, refusal)
    kept = write_cookie(request.scope, ATTEMPT, f"{secret}.{quote(next_, safe='')}", ATTEMPT_SECONDS)
    return SeeOther(address, [kept])


@page("/sign-in/callback", role=OPEN, headers=UNKEPT, any_parameters=True)
async def get_sign_in_callback(request: ApiRequest) -> ASGIApp:
    """Take somebody back from the issuer."""
    said = [(name, value) for name, value in given_parameters(request.scope) if name in ANSWER]
    secret, _, next_ = read_cookie(request.scope, ATTEMPT).partition(".")
    try:
        caller = await _issuer(request).finish(secret, check_parameters(said, ANSWER))
        return await let_in(request, _session_of(request, caller), unquote(next_), "issuer")
    except (Forbidden, NotNow) as refusal:
        security_log.warning("sign-in refused", reason=refusal.detail)
        return _form(request, unquote(next_), refusal)


async def let_in(request: ApiRequest, session: Session, next_: str, by: str) -> ASGIApp:
    """Begin a session, and lead its browser to where it wanted to go."""
    caller = Caller(session.caller, session.name, session.role, session.factory_ids, session.expires_at)
    scope = request.scope
    kept = await request.sessions.begin(scope, session, caller.actor, request_id_of(scope))
    scope["state"]["caller"] = caller
    security_log.info("signed in", who=caller.id, by=by, client=scope["client"][0] if scope["client"] else "nowhere")
    sign_ins.labels(by).inc()
    return SeeOther(local_path(next_), [kept, write_cookie(scope, ATTEMPT, "", 0)])


def _session_of(request: ApiRequest, caller: Caller) -> Session:
    """Return a session for somebody whom the issuer has named. It outlives the token: that one is not kept."""
    return Session(
        caller=caller.id,
        name=caller.name,
        role=caller.role or "viewer",
        factory_ids=caller.factory_ids,
        expires_at=request.sessions.for_issuer(),
    )


def _issuer(request: ApiRequest) -> "IssuerSignIn":
    sign_in: IssuerSignIn | None = request.scope["state"]["issuer_sign_in"]
    if sign_in is None:
        raise NotFound("No issuer is set up to sign in by.", hint="Sign in with a key.")
    return sign_in


def _form(request: ApiRequest, next_: str, refusal: Refusal | None = None) -> ASGIApp:
    """Return the page to sign in on; with a refusal, it says why one is there again."""
    sign_in = request.scope["state"]["issuer_sign_in"]
    status, headers = 200, []
    if refusal is not None:
        kind = KINDS[type(refusal)]
        status = kind.status
        note_problem(request.scope, kind, str(refusal), refusal.__cause__)
        headers = [write_cookie(request.scope, ATTEMPT, "", 0)]
    if isinstance(refusal, NotNow):
        headers.append((b"retry-after", b"%d" % refusal.retry_after_seconds))
    if isinstance(refusal, WrongCredentials):
        headers.append((b"www-authenticate", refusal.challenge.encode()))
    return render(
        request, "sign_in.html", status=status, headers=headers, next=local_path(next_), refusal=refusal,
        issuer=None if sign_in is None else sign_in.host,
    )  # fmt: skip


sign_in_handlers = [get_sign_in, post_sign_in, post_sign_out, get_sign_in_oidc, get_sign_in_callback]
