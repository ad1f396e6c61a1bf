"""Who is calling: the one place where credentials become a caller with a role."""

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from litestar.types import Scope

from sprocket_factory.access.found import Found
from sprocket_factory.access.limits import WINDOW_SECONDS, WrongKeys, address_of
from sprocket_factory.access.sessions import Sessions
from sprocket_factory.database import Database
from sprocket_factory.entities.instant import now
from sprocket_factory.entities.key import ROLES, Holder, Role, digest_of_secret, find_holder, note_use
from sprocket_factory.errors import Forbidden, Refusal, Unauthenticated, WrongCredentials
from sprocket_factory.observe import security_log
from sprocket_factory.observe_metrics import wrong_keys

if TYPE_CHECKING:
    from sprocket_factory.access.oidc import Issuer

NOTE_USE_SECONDS = 10
"""When a key was used last is written down so often, and not with every request."""

RANKS: dict[str, int] = {role: rank for rank, role in enumerate(ROLES)}

WITHOUT_BRACKETS = str.maketrans({"(": "%28", ")": "%29", "%": "%25"})

OPEN = "open"
"""The role of a route that asks nobody."""


class Caller(NamedTuple):
    """Who is calling, and what they may do."""

    id: str
    """Tells callers apart: what one of them sends is not another's."""
    name: str
    role: Role | None
    factory_ids: frozenset[int] | None = None
    expires_at: int | None = None

    @property
    def actor(self) -> str:
        """Who this is in the record of changes: its name, and in the last brackets what tells it from any other."""
        return self.name if self.id == ANONYMOUS else f"{self.name} ({self.id.translate(WITHOUT_BRACKETS)})"

    def may(self, role: str) -> bool:
        """Return whether the caller may do what this role may."""
        return self.role is not None and RANKS[self.role] >= RANKS[role]

    def may_write_for(self, factory_id: int) -> bool:
        """Return whether its key lets the caller write production for this factory, if its role lets it write any."""
        return self.factory_ids is None or factory_id in self.factory_ids

    def check_role(self, needed: str) -> None:
        """Raise Unauthenticated or Forbidden unless the caller may do what this role may."""
        if self.may(needed):
            return
        if self.id == ANONYMOUS:
            raise Unauthenticated("This needs a key.", hint="Send it as Authorization: Bearer <key>.")
        raise Forbidden(f"This needs the role {needed}, and {self.name} is {self.role}.", hint="GET /me says so, too.")

    def check_factory(self, factory_id: int) -> None:
        """Raise Forbidden unless the caller may write production for this factory."""
        if not self.may_write_for(factory_id):
            raise Forbidden(
                f"{self.name} may not write production for factory {factory_id}.", hint="GET /me says for which."
            )


ANONYMOUS = "anonymous"


def counted_as(caller: Caller, scope: Scope) -> str:
    """Return the name under which what a caller does is counted: those without a key are told apart by address."""
    return address_of(scope) if caller.id == ANONYMOUS else caller.id


class Callers:
    """Finds out who is calling.

    What has dots in it is no key, but an access token, if there is an issuer whose tokens are taken. A cookie counts
    where no credentials are sent.
    """

    def __init__(
        self,
        database: Database,
        anonymous_role: Role | None,
        issuer: "Issuer | None" = None,
        max_wrong_keys: int = 20,
        sessions: Sessions | None = None,
    ) -> None:
        self._database = database
        self._issuer = issuer
        self._sessions = sessions or Sessions(database)
        self._nobody = Caller(ANONYMOUS, ANONYMOUS, anonymous_role)
        self._holders = Found(database, find_holder)
        self._used: dict[int, int] = {}
        self._writing: asyncio.Task[None] | None = None
        self._wrong = WrongKeys(max_wrong_keys)

    async def identify(self, scope: Scope) -> Caller:
        """Return who is calling.

        Raises:
            WrongCredentials: The credentials are none.
            TooMany: Too many wrong ones came from this address.
            Forbidden: They are an access token that gives no role, or a cookie that a page from elsewhere lets write.
            Unavailable: They are an access token, and its issuer does not say whether it is right.
        """
        header = None
        for name, value in scope["headers"]:
            if name == b"authorization":
                if header is not None:
                    raise self._wrong_credentials(scope)
                header = value
        if header is None:
            return await self._signed_in(scope) if b"cookie" in dict(scope["headers"]) else self._nobody
        scheme, _, secret = header.partition(b" ")
        if self._issuer is not None and b"." in secret and scheme.lower() == b"bearer":
            try:
                return await self._issuer.identify(secret.strip().decode("latin-1"))
            except WrongCredentials as refusal:
                raise self._wrong_credentials(scope, f"token ({refusal.detail})") from None
        if scheme.lower() != b"bearer":
            raise self._wrong_credentials(scope)
        holder = await self.find_by_key(scope, secret.strip().decode("latin-1"))
        return Caller(f"key:{holder.key_id}", holder.name, holder.role, holder.factory_ids, holder.expires_at)

    async def find_by_key(self, scope: Scope, secret: str) -> Holder:
        """Return whom a key stands for.

        Raises:
            WrongCredentials: It is none.
            TooMany: Too many wrong ones came from this address.
        """
        holder = await self._holders.by(digest_of_secret(secret))
        if holder is None or (holder.expires_at is not None and holder.expires_at <= now()):
            raise self._wrong_credentials(scope)
        self._note_use(holder.key_id)
        return holder

    def forget(self) -> None:
        """Look every key up anew: one was revoked."""
        self._holders.forget()
        self._sessions.forget()

    async def _signed_in(self, scope: Scope) -> Caller:
        """Return who has signed in with the browser that asks, or nobody."""
        session = await self._sessions.find(scope)
        if session is None:
            return self._nobody
        if session.key_id is not None:
            self._note_use(session.key_id)
        return Caller(session.caller, session.name, session.role, session.factory_ids, session.expires_at)

    def _note_use(self, key_id: int) -> None:
        if not self._used:
            asyncio.get_running_loop().call_later(NOTE_USE_SECONDS, self._begin_to_write)
        self._used[key_id] = now()

    def _begin_to_write(self) -> None:
        used, self._used = self._used, {}
        self._writing = asyncio.create_task(self._write_use(list(used.items())))

    async def _write_use(self, used: list[tuple[int, int]]) -> None:
        with suppress(Refusal):  # the next use will be noted
            await self._database.write(note_use, used, by="service")

    def _wrong_credentials(self, scope: Scope, what: str = "key") -> Refusal:
        wrong_keys.inc()
        was_last = self._wrong.count(scope)
        client = scope["client"][0] if scope["client"] else "nowhere"
        security_log.warning("wrong key", client=client, what=what)
        if was_last:
            security_log.warning("too many wrong keys", client=client, more_are_refused_for=WINDOW_SECONDS)
        return WrongCredentials("These credentials are not valid here.", hint="/problems/unauthenticated says more.")
