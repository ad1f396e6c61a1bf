"""Sessions: who has signed in, and until when. Of a session only the digest of its cookie is kept."""

import secrets

import msgspec
from msgspec import Struct

from sprocket_factory.database import Reader, Transaction
from sprocket_factory.entities.instant import now
from sprocket_factory.entities.key import SECRET_BYTES, Role, digest_of_secret
from sprocket_factory.errors import WrongCredentials

PREFIX = "sfs_"
"""Tells the secret of a session from a key: neither is good for the other."""

MAX_SESSIONS = 100
MAX_SCREENS = 1000
"""As many one caller may have at once, and as many screens one key. With another the one that has least time left ends.

A screen that keeps no cookies begins anew whenever it starts, and is not to put out the others.
"""

_IS_SCREEN = "key_id IS NOT NULL AND role IS NOT NULL"
"""Of what belongs to a key its role is only kept where it is less than that of the key."""


class Session(Struct, frozen=True, kw_only=True):
    """For whom a cookie stands."""

    caller: str
    """What tells callers apart: that of the key or of the token that somebody signed in with."""
    key_id: int | None = None
    name: str
    role: Role
    factory_ids: frozenset[int] | None
    expires_at: int
    is_screen: bool = False
    """Whether it is one of a screen, which only looks, whatever its key may do."""


def new_session_secret() -> str:
    """Return a secret that nobody can guess: 256 random bits."""
    return PREFIX + secrets.token_urlsafe(SECRET_BYTES)


async def find_session(db: Reader, digest: bytes) -> Session | None:
    """Return for whom the session with this digest stands, ended or not; None where there is none.

    Of a key is said what it may now. A session ends with its key at the latest.
    """
    row = await db.one(
        "SELECT s.caller, s.key_id, coalesce(k.name, s.name), coalesce(s.role, k.role),"
        " coalesce(k.factory_ids, s.factory_ids), s.expires_at, k.expires_at, s.role"
        " FROM sessions s LEFT JOIN keys k ON k.id = s.key_id WHERE s.digest = :digest",
        digest=digest,
    )
    if row is None:
        return None
    caller, key_id, name, role, factory_ids, expires_at, key_expires_at, own_role = row
    return Session(
        caller=caller,
        key_id=key_id,
        name=name,
        role=role,
        factory_ids=None if factory_ids is None else frozenset(msgspec.json.decode(factory_ids)),
        expires_at=expires_at if key_expires_at is None else min(expires_at, key_expires_at),
        is_screen=key_id is not None and own_role is not None,
    )


async def add_session(tx: Transaction, new: Session, secret: str, former: str) -> None:
    """Keep a session under its secret; the one with the former secret ends, as have those whose time is over.

    Raises:
        WrongCredentials: The key that it stands for has just been revoked.
    """
    is_of_key = new.key_id is not None
    if is_of_key and not await tx.share("SELECT id FROM keys WHERE id = :id", id=new.key_id):
        raise WrongCredentials("This key is none any more.")
    await tx.run("DELETE FROM sessions WHERE expires_at <= :now", now=now())
    await remove_session(tx, former)
    most = MAX_SCREENS if new.is_screen else MAX_SESSIONS
    await tx.run(
        "DELETE FROM sessions WHERE digest IN (SELECT digest FROM sessions"
        f" WHERE caller = :caller AND {'' if new.is_screen else 'NOT '}({_IS_SCREEN})"
        " ORDER BY expires_at DESC LIMIT :most OFFSET :kept)",
        caller=new.caller,
        most=most,
        kept=most - 1,
    )
    await tx.run(
        "INSERT INTO sessions (digest, caller, key_id, name, role, factory_ids, expires_at)"
        " VALUES (:digest, :caller, :key_id, :name, :role, :factory_ids, :expires_at)",
        digest=digest_of_secret(secret),
        caller=new.caller,
        key_id=new.key_id,
        name=None if is_of_key else new.name,
        role=new.role if new.is_screen or not is_of_key else None,
        factory_ids=None if is_of_key or new.factory_ids is None else _encoded(new.factory_ids),
        expires_at=new.expires_at,
    )


async def remove_session(tx: Transaction, secret: str) -> None:
    """End a session, if there is one with this secret."""
    await tx.run("DELETE FROM sessions WHERE digest = :digest", digest=digest_of_secret(secret))


def _encoded(factory_ids: frozenset[int]) -> str:
    return msgspec.json.encode(sorted(factory_ids)).decode()
