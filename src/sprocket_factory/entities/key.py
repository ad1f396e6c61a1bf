"""Keys: who may do what. Of a key only its digest is kept; whoever lost it gets a new one."""

import secrets
from collections.abc import Sequence
from hashlib import sha256
from typing import Annotated, Literal, get_args

import msgspec
from msgspec import Meta, Struct

from sprocket_factory.database import Reader, Transaction
from sprocket_factory.entities import Id
from sprocket_factory.entities.change import Entry, enter
from sprocket_factory.entities.instant import AnyTime, Time, now, read_instant, to_datetime, to_text
from sprocket_factory.entities.listing import Listing
from sprocket_factory.entities.name import Name, check_name
from sprocket_factory.entities.version import ANYTHING, Expected, check_expected
from sprocket_factory.errors import Conflict, Fault, Invalid, NotFound

Role = Literal["viewer", "operator", "engineer", "admin"]

ROLES: tuple[Role, ...] = get_args(Role)
"""Each has all rights of the ones before."""

LIMITABLE: tuple[Role, ...] = ("viewer", "operator")

PREFIX = "sfk_"
"""Lets a scanner for secrets tell a key from other text."""

SECRET_BYTES = 32

LATEST_EXPIRY = 4_102_444_800_000_000
"""2100-01-01: nobody means to give out a key for longer."""

FactoryIds = Annotated[
    list[Id], Meta(max_length=1000, description="The factories that it may write production for; null for all.")
]


class NewKey(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A key as it is asked for."""

    name: Name
    role: Role
    factory_ids: FactoryIds | None = None
    expires_at: AnyTime | None = None


class Key(Struct, frozen=True):
    """A key, without its secret."""

    id: Id
    name: Name
    role: Role
    factory_ids: FactoryIds | None
    created_at: Time
    expires_at: Time | None
    last_used_at: Time | None


class KeyWithSecret(Key, frozen=True):
    """A key as it is given out, once."""

    secret: Annotated[str, Meta(description="Send it as Authorization: Bearer ... It is never shown again.")]


class Holder(Struct, frozen=True):
    """Whom a key stands for."""

    key_id: int
    name: str
    role: Role
    factory_ids: frozenset[int] | None
    expires_at: int | None


def key_of(  # noqa: PLR0913, PLR0917 - one for each column
    id_: int,
    name: str,
    role: Role,
    factory_ids: str | None,
    created_at: int,
    expires_at: int | None,
    last_used_at: int | None,
) -> Key:
    """Return the key that a row holds."""
    return Key(
        id_,
        name,
        role,
        None if factory_ids is None else msgspec.json.decode(factory_ids),
        to_datetime(created_at),
        None if expires_at is None else to_datetime(expires_at),
        None if last_used_at is None else to_datetime(last_used_at),
    )


KEYS = Listing(
    "keys",
    {
        "id": "integer",
        "name": "text",
        "role": "text",
        "factory_ids": "shown",
        "created_at": "time",
        "expires_at": "shown",
        "last_used_at": "shown",
    },
    key=("id",),
    make=key_of,
    folded={"name": "name_folded"},
)

_COLUMNS = "id, name, role, factory_ids, created_at, expires_at, last_used_at"

_GOOD_ADMIN = "role = 'admin' AND (expires_at IS NULL OR expires_at > :now)"


def digest_of_secret(secret: str) -> bytes:
    """Return what is stored of a secret. It is 256 random bits, so a plain digest cannot be guessed back."""
    return sha256(secret.encode()).digest()


async def find_key(db: Reader, key_id: int) -> Key:
    """Return the key with this id. Raises NotFound."""
    row = await db.one(f"SELECT {_COLUMNS} FROM keys WHERE id = :id", id=key_id)
    if row is None:
        raise no_key(key_id)
    return key_of(*row)


async def find_holder(db: Reader, digest: bytes) -> Holder | None:
    """Return whom the key with this digest stands for, expired or not; None where there is no such key."""
    row = await db.one("SELECT id, name, role, factory_ids, expires_at FROM keys WHERE digest = :digest", digest=digest)
    if row is None:
        return None
    key_id, name, role, factory_ids, expires_at = row
    limited_to = None if factory_ids is None else frozenset(msgspec.json.decode(factory_ids))
    return Holder(key_id, name, role, limited_to, expires_at)


async def count_keys(db: Reader) -> int:
    """Return how many keys there are."""
    row = await db.one("SELECT count(*) FROM keys")
    return int(row[0]) if row else 0


async def has_administrator(db: Reader) -> bool:
    """Return whether any key is good and an administrator's."""
    return await db.one(f"SELECT id FROM keys WHERE {_GOOD_ADMIN} LIMIT 1", now=now()) is not None


def new_secret() -> str:
    """Return a secret that nobody can guess: 256 random bits."""
    return PREFIX + secrets.token_urlsafe(SECRET_BYTES)


async def add_key(tx: Transaction, new: NewKey, secret: str = "") -> KeyWithSecret:
    """Make a key and return it with its secret, which is a new one unless it is given.

    Raises:
        Invalid: Its name is none, it expires in the past, it limits a role that cannot be limited, or to a factory
            that does not exist.
    """
    expires_at = await _check(tx, new)
    secret = secret or new_secret()
    row = await tx.first(
        "INSERT INTO keys (name, name_folded, role, factory_ids, digest, created_at, expires_at)"
        f" VALUES (:name, :folded, :role, :factory_ids, :digest, :created_at, :expires_at) RETURNING {_COLUMNS}",
        name=new.name,
        folded=new.name.casefold(),
        role=new.role,
        factory_ids=None if new.factory_ids is None else msgspec.json.encode(sorted(set(new.factory_ids))).decode(),
        digest=digest_of_secret(secret),
        created_at=now(),
        expires_at=expires_at,
    )
    key = key_of(*row)
    await enter(tx, Entry("create", "key", str(key.id), after=key))
    return KeyWithSecret(**msgspec.structs.asdict(key), secret=secret)


async def add_first_key(tx: Transaction, secret: str) -> bool:
    """Make a key for an administrator if there is no key at all; say whether. Of many that ask at once one makes it."""
    await _one_after_the_other(tx)
    if await tx.one("SELECT id FROM keys LIMIT 1") is not None:
        return False
    await add_key(tx, NewKey(name="first administrator", role="admin"), secret)
    return True


async def remove_key(
    tx: Transaction,
    key_id: int,
    expected: Expected = ANYTHING,
    even_last: bool = False,  # noqa: FBT001, FBT002 - write functions take their arguments by place
) -> None:
    """Revoke a key.

    Raises:
        NotFound: There is no such key.
        Stale: It is not the version that was expected.
        Conflict: No other key of an administrator would be good now, and that was not asked for with `even_last`.
    """
    row = await tx.lock(f"SELECT {_COLUMNS} FROM keys WHERE id = :id", id=key_id)
    if row is None:
        raise no_key(key_id)
    key = key_of(*row)
    check_expected(expected, key)
    if key.role == "admin" and not even_last:
        await _check_not_last(tx, key)
    await tx.run("DELETE FROM keys WHERE id = :id", id=key_id)
    await enter(tx, Entry("revoke", "key", str(key_id), before=key))


async def note_use(tx: Transaction, used: Sequence[tuple[int, int]]) -> None:
    """Note when keys were used last: pairs of id and instant. Nobody has changed anything, so no entry tells of it."""
    for key_id, at in used:
        await tx.run(
            "UPDATE keys SET last_used_at = :at WHERE id = :id AND (last_used_at IS NULL OR last_used_at < :at)",
            id=key_id,
            at=at,
        )


def no_key(key_id: object) -> NotFound:
    """Return the refusal for an id that no key has."""
    return NotFound(f"No key has the id {key_id}.", hint="GET /sprocketFactory/v1/keys lists them.")


async def _check_not_last(tx: Transaction, key: Key) -> None:
    """Raise Conflict where this key of an administrator is good and no other is."""
    await _one_after_the_other(tx)  # or of two administrators each could revoke the other's key
    ids = {key_id for (key_id,) in await tx.all(f"SELECT id FROM keys WHERE {_GOOD_ADMIN}", now=now())}
    if ids == {key.id}:
        raise Conflict(
            f"No other key of an administrator is good: without key {key.id} no key could give out another.",
            hint=f"Make one first, or run `sprocket-factory key revoke --last {key.id}` beside the database.",
        )


async def _one_after_the_other(tx: Transaction) -> None:
    """Keep whoever else comes here waiting until the transaction ends."""
    await tx.lock("SELECT number FROM migrations WHERE number = 1")


async def _check(tx: Transaction, new: NewKey) -> int | None:
    """Return when the key expires. Raises Invalid, which names everything that is wrong."""
    faults = []
    expires_at = None
    try:
        check_name(new.name, "A key's name")
    except Invalid as refusal:
        faults.append(Fault("/name", str(refusal)))
    if new.expires_at is not None:
        try:
            expires_at = read_instant(new.expires_at, LATEST_EXPIRY)
            if expires_at <= now():
                faults.append(Fault("/expires_at", f"{to_text(expires_at)} is past."))
        except Invalid as refusal:
            faults.append(Fault("/expires_at", str(refusal)))
    if new.factory_ids is not None and new.role not in LIMITABLE:
        faults.append(Fault("/factory_ids", f"A key of the role {new.role} cannot be limited to factories."))
    for place, factory_id in enumerate(new.factory_ids or ()):
        if await tx.one("SELECT 1 FROM factories WHERE id = :id", id=factory_id) is None:
            faults.append(Fault(f"/factory_ids/{place}", f"No factory has the id {factory_id}."))
    if faults:
        raise Invalid(" ".join(fault.detail for fault in faults), faults=faults)
    return expires_at
