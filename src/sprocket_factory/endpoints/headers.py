"""What every answer tells browsers: what they may make of it, keep of it, and who else may read it."""

import re
from base64 import b64encode
from hashlib import sha256

from litestar.types import ASGIApp, Receive, Scope, Send

from sprocket_factory.access.proxies import Proxies
from sprocket_factory.endpoints.answers import Header
from sprocket_factory.errors import Unusable, shown

ALWAYS: tuple[Header, ...] = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
)

PRIVATE: Header = (b"cache-control", b"private, no-cache")
"""Only its reader may keep it, and has to ask each time whether it is still so: what his key may see may change."""

DATA: tuple[Header, ...] = (
    *ALWAYS,
    PRIVATE,
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
)
"""What goes out with everything whose route does not name other `headers`."""

NOWHERE: Header = (b"cache-control", b"no-store")

SECRET: tuple[Header, ...] = tuple(NOWHERE if header is PRIVATE else header for header in DATA)
"""For what is shown once, and is to be kept nowhere."""

PAGE: tuple[Header, ...] = (
    *ALWAYS,
    PRIVATE,
    (
        b"content-security-policy",
        b"default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
)
"""For a page that has a style of ours, and no script."""


def picture_headers(style: str) -> tuple[Header, ...]:
    """Return those for a picture with this one style within it, and nothing else that a browser would load or run.

    Pages of the same site may show it, and of others those that may read the answers.
    """
    digest = b64encode(sha256(style.encode()).digest())
    return (
        *((name, b"same-site" if name == b"cross-origin-resource-policy" else value) for name, value in ALWAYS),
        PRIVATE,
        (
            b"content-security-policy",
            b"default-src 'none'; style-src 'sha256-" + digest + b"'; frame-ancestors 'none'",
        ),
    )


TLS_ONLY: Header = (b"strict-transport-security", b"max-age=31536000")

_ORIGIN = re.compile(r"(http|https)://([a-z0-9.-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?", re.ASCII)

EXPOSED = (
    b"etag, idempotent-replayed, link, location, ratelimit, ratelimit-policy, retry-after, x-request-id, x-total-count"
)
"""What a page from elsewhere may read beside the body."""

PREFLIGHT: tuple[Header, ...] = (
    (
        b"access-control-allow-headers",
        b"authorization, content-type, idempotency-key, if-match, if-none-match, last-event-id, x-request-id",
    ),
    (b"access-control-max-age", b"600"),
)


def protect_answers(app: ASGIApp, proxies: Proxies, origins: frozenset[bytes]) -> ASGIApp:
    """Wrap the application so that every answer carries these headers, and scopes say whom they come from.

    Pages from these origins may read the answers, if they have a key to ask with.
    """
    is_behind_proxies = bool(proxies)

    async def protected(scope: Scope, receive: Receive, send: Send) -> None:
        scope["state"]["headers"] = DATA
        if is_behind_proxies:
            proxies.look_behind(scope)
        if origins or scope["scheme"] == "https":
            scope["state"]["more_headers"] = _headers_of(scope, origins)
        await app(scope, receive, send)

    return protected


def _headers_of(scope: Scope, origins: frozenset[bytes]) -> tuple[Header, ...]:
    """Return what depends on who asks, and from where."""
    headers = [TLS_ONLY] if scope["scheme"] == "https" else []
    if origins:
        headers.append((b"vary", b"origin"))
        for name, value in scope["headers"]:
            if name == b"origin" and value in origins:
                headers += [(b"access-control-allow-origin", value), (b"access-control-expose-headers", EXPOSED)]
                scope["state"]["is_from_elsewhere"] = True
    return tuple(headers)


def read_origins(text: str) -> frozenset[bytes]:
    """Return origins that commas separate. Raises Unusable where one is none, or stands for many."""
    origins = [part.strip() for part in text.split(",") if part.strip()]
    for origin in origins:
        match = _ORIGIN.fullmatch(origin)
        if match is None or (match[1], match[3]) in {("http", ":80"), ("https", ":443")}:
            raise Unusable(
                f"{shown(origin)} is no origin as browsers name it.",
                hint="Name each as in --cors-origins https://board.example,http://localhost:3000.",
            )
    return frozenset(origin.encode() for origin in origins)


def check_public_url(text: str) -> None:
    """Raise Unusable unless it is one origin, or nothing."""
    try:
        is_one = len(read_origins(text)) <= 1
    except Unusable:
        is_one = False
    if not is_one:
        raise Unusable(
            f"--public-url cannot be {shown(text)}.", hint="It is like https://sprockets.example, without a path."
        )
