"""Pages for people: how one is declared, put together, and how a refusal looks there.

A page needs no script to be read; what scripts add is in board/board.js. Nothing on it comes from elsewhere.
"""

from collections.abc import Sequence
from functools import partial
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from litestar.types import Scope

from sprocket_factory.access.callers import ANONYMOUS, Caller
from sprocket_factory.access.sessions import SESSION, write_cookie
from sprocket_factory.endpoints.answers import Answer, Header
from sprocket_factory.endpoints.headers import ALWAYS, PRIVATE
from sprocket_factory.endpoints.negotiation import preferred_type
from sprocket_factory.endpoints.pages_words import FILTERS
from sprocket_factory.endpoints.parameters import parameters_of
from sprocket_factory.endpoints.routing import BASE_PATH, ApiRequest, get, post

HTML = b"text/html; charset=utf-8"

HTML_ALONE = ("text/html",)

SIGN_IN = "/sign-in"

BOARD: tuple[Header, ...] = (
    # Where nothing is said of whom a form comes from, no server can tell that it was ours.
    *((name, b"same-origin" if name == b"referrer-policy" else value) for name, value in ALWAYS),
    PRIVATE,
    (
        b"content-security-policy",
        b"; ".join(
            [
                b"default-src 'none'; base-uri 'none'; frame-ancestors 'none'",
                b"style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'",
            ]
        ),
    ),
)
"""For a page with styles, scripts and forms of ours."""

pages = Environment(
    loader=PackageLoader("sprocket_factory", "board"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
pages.globals["api"] = BASE_PATH
pages.filters.update(FILTERS)

page = partial(get, media_types=HTML_ALONE, headers=BOARD, page=True)
"""As `get`, for a page of the board: who may not see it is asked to sign in, and refusals are pages as well."""

post_page = partial(post, media_types=HTML_ALONE, headers=BOARD, page=True)
"""As `page`, for what a form on a page sends."""


def render(
    request: ApiRequest, template: str, *, status: int = 200, headers: Sequence[Header] = (), **context: object
) -> Answer:
    """Return a page. Its template also knows who looks at it, and what they may."""
    body = _rendered(request.scope, template, context)
    own = [(b"vary", b"cookie"), *stale_cookie(request.scope), *headers]
    return Answer(body, status=status, media_type=HTML, headers=own)


def stale_cookie(scope: Scope) -> list[Header]:
    """Return what takes away a cookie that is good for nothing any more, if one came."""
    return [write_cookie(scope, SESSION, "", 0)] if "has_stale_cookie" in scope["state"] else []


def given_on_page(request: ApiRequest) -> dict[str, str]:
    """Return the parameters of a page; a form's field that was left empty says nothing."""
    return {name: value for name, value in parameters_of(request).items() if value}


def is_page(scope: Scope) -> bool:
    """Return whether a page is asked for, and not the API; where nothing is, by what the caller accepts."""
    if is_by_accept(scope):
        return preferred_type(scope, ("application/json", *HTML_ALONE)) in HTML_ALONE
    return _is_declared_as_page(scope)


def is_by_accept(scope: Scope) -> bool:
    """Return whether Accept decides if a refusal is told on a page. Where it does, Vary has to say so."""
    handler = scope.get("route_handler")
    is_below_api = f"{scope['path']}/".startswith(f"{BASE_PATH}/")
    is_data = is_below_api if handler is None else handler.opt.get("media_types") != HTML_ALONE
    return not is_data and not _is_declared_as_page(scope)


def sign_in_address(scope: Scope) -> str:
    """Return where to sign in, to come back here."""
    query = scope["query_string"].decode("latin-1")
    here = scope["raw_path"].decode("latin-1") + ("?" + query if query else "")
    return SIGN_IN if here == "/" else f"{SIGN_IN}?next={quote(here, safe='/')}"


def refusal_page(scope: Scope, status: int, title: str, detail: str) -> bytes:
    """Return the page that says why there is none, and let it go out as one of the board."""
    if not _is_declared_as_page(scope):
        scope["state"]["headers"] = BOARD
    handler = scope.get("route_handler")
    needed = "admin" if handler is None else handler.opt.get("role", "admin")
    context = {"status": status, "title": title, "detail": detail, "needed": needed}
    return _rendered(scope, "refusal.html", context)


def _is_declared_as_page(scope: Scope) -> bool:
    handler = scope.get("route_handler")
    return handler is not None and "page" in handler.opt


def _rendered(scope: Scope, template: str, context: dict[str, object]) -> bytes:
    me: Caller | None = scope["state"].get("caller")
    return (
        pages.get_template(template)
        .render(me=me, is_signed_in=me is not None and me.id != ANONYMOUS, may=partial(_may, me), **context)
        .encode()
    )


def _may(me: Caller | None, role: str) -> bool:
    return me is not None and me.may(role)
