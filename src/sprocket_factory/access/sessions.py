"""Cookies: what a browser carries once somebody has signed in, and whose page may let it do something with that."""

import re

from litestar.types import Scope

from sprocket_factory.access.found import Found
from sprocket_factory.database import Database
from sprocket_factory.entities.instant import SECOND, now
from sprocket_factory.entities.key import Holder, digest_of_secret
from sprocket_factory.entities.session import Session, add_session, find_session, new_session_secret, remove_session
from sprocket_factory.errors import Forbidden

Header = tuple[bytes, bytes]

SESSION, ATTEMPT = "sprocket-factory", "sprocket-factory-sign-in"
"""The names of cookies: of a session, and of a sign-in that has gone to an issuer and is not back yet."""

ATTEMPT_SECONDS = 600

SCREEN_SECONDS = 400 * 24 * 3600
"""No browser keeps a cookie for longer (RFC 6265bis, section 5.5). A screen that starts opens its link anew."""

READING = frozenset({"GET", "HEAD", "OPTIONS"})

MAX_LOCAL_CHARACTERS = 2000

_LOCAL = re.compile(r"/(?![/\\])[!-\[\]-~]*", re.ASCII)


class Sessions:
    """Finds out for whom a cookie stands, begins sessions and ends them."""

    def __init__(self, database: Database, *, seconds: int = 12 * 3600, public_url: str = "", issuer: str = "") -> None:
        """Let sessions last so long.

        Args:
            database: Where they are kept.
            seconds: How long one lasts that is not a screen's.
            public_url: The origin under which browsers reach the service, where a proxy hides it.
            issuer: Whose people may have one.
        """
        self._database = database
        self._seconds = seconds
        self._public_url = public_url
        self._of_issuer = f"oidc:{issuer}#"
        self._sessions = Found(database, find_session)

    async def find(self, scope: Scope) -> Session | None:
        """Return for whom the request's cookie stands; None for whoever has none that is good.

        Raises:
            Forbidden: It would let the request change something, and no page of ours has sent it.
        """
        secret = read_cookie(scope, SESSION)
        if not secret:
            return None
        session = await self._sessions.by(digest_of_secret(secret))
        if session is None or session.expires_at <= now() or not self._is_vouched_for(session):
            scope["state"]["has_stale_cookie"] = True
            return None
        if scope.get("method") not in READING:
            self.check_origin(scope)
        return session

    def check_origin(self, scope: Scope) -> None:
        """Raise Forbidden unless it was a page of ours that sent this.

        A browser says so itself (Fetch Metadata), which no page can forge, or it names the page's origin.
        """
        site, origin, host = (_header(scope, name) for name in (b"sec-fetch-site", b"origin", b"host"))
        if site:
            is_ours = site == "same-origin"
        else:
            is_ours = bool(origin) and origin in {f"{scope['scheme']}://{host}", self._public_url}
        if not is_ours:
            raise Forbidden(
                "This was not sent by a page of this service.", hint="Open the page anew and send its form from there."
            )

    def of_key(self, holder: Holder, *, is_screen: bool = False) -> Session:
        """Return a session for this key, from now on."""
        ends = [now() + (SCREEN_SECONDS if is_screen else self._seconds) * SECOND]
        ends += [] if holder.expires_at is None else [holder.expires_at]
        return Session(
            caller=f"key:{holder.key_id}",
            key_id=holder.key_id,
            name=holder.name,
            role="viewer" if is_screen else holder.role,
            factory_ids=holder.factory_ids,
            expires_at=min(ends),
            is_screen=is_screen,
        )

    async def begin(self, scope: Scope, session: Session, by: str, request_id: str) -> Header:
        """Begin a session, and return the header that gives its cookie. The one that the browser had before ends.

        Raises:
            WrongCredentials: The key that it stands for has just been revoked.
            Refusal: It cannot be stored.
        """
        secret, former = new_session_secret(), read_cookie(scope, SESSION)
        await self._database.write(add_session, session, secret, former, by=by, request_id=request_id)
        self.forget()
        return write_cookie(scope, SESSION, secret, (session.expires_at - now()) // SECOND)

    async def end(self, scope: Scope, by: str, request_id: str) -> None:
        """End the request's session."""
        await self._database.write(remove_session, read_cookie(scope, SESSION), by=by, request_id=request_id)
        self.forget()

    def for_issuer(self) -> int:
        """Return when a session ends that begins now with a token of the issuer's."""
        return now() + self._seconds * SECOND

    def forget(self) -> None:
        """Look every session up anew."""
        self._sessions.forget()

    def _is_vouched_for(self, session: Session) -> bool:
        return session.key_id is not None or session.caller.startswith(self._of_issuer)


def read_cookie(scope: Scope, name: str) -> str:
    """Return what the cookie of this name holds; nothing where there is none, or several: then one is not ours."""
    wanted = _name(scope, name)
    values = [
        value.strip()
        for given, _, value in (pair.partition("=") for pair in _header(scope, b"cookie", ";").split(";"))
        if given.strip() == wanted
    ]
    return values[0] if len(values) == 1 else ""


def write_cookie(scope: Scope, name: str, value: str, seconds: int) -> Header:
    """Return the header that has a browser keep a cookie so long. For no time at all it takes the cookie away."""
    secure = "; Secure" if scope["scheme"] == "https" else ""
    text = f"{_name(scope, name)}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}"
    return b"set-cookie", text.encode()


def local_path(text: str) -> str:
    """Return the path, if it is one of this service; else that of its first page. It cannot lead anywhere else."""
    return text if len(text) <= MAX_LOCAL_CHARACTERS and _LOCAL.fullmatch(text) else "/"


def _name(scope: Scope, name: str) -> str:
    """Return how the cookie is called. Over TLS nobody but this host can set it (RFC 6265bis, section 4.1.3.2)."""
    return f"__Host-{name}" if scope["scheme"] == "https" else name


def _header(scope: Scope, name: bytes, separator: str = ",") -> str:
    """Return all values of a header, with what separates them."""
    return separator.join(value.decode("latin-1") for given, value in scope["headers"] if given == name)
