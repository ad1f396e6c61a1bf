"""Replays: the answer to a write that carried an Idempotency-Key is stored with the write itself, and given again.

Both are one transaction, so there is no moment at which one of them is there without the other.
"""

from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple

from sprocket_factory.database import Overtaken, Transaction
from sprocket_factory.entities.instant import DAY, now
from sprocket_factory.errors import Fault, Invalid, Refusal

KEPT = DAY
"""How long an answer is kept."""

MAX_FORGOTTEN = 1000

_THIS = "FROM replays WHERE caller = :caller AND method = :method AND path = :path AND key = :key"

_FIND = f"SELECT digest, status, location, body {_THIS} AND at > :outdated"


class Claim(NamedTuple):
    """What a caller wants done once: who, with what, where, under which key, and the digest of all that was sent."""

    caller: str
    method: str
    path: str
    key: str
    digest: bytes


class KeptAnswer(NamedTuple):
    """An answer as it was given first."""

    status: int
    location: str
    body: bytes


async def run_once(
    tx: Transaction, claim: Claim, write: Callable[[Transaction], Coroutine[Any, Any, KeptAnswer]]
) -> tuple[KeptAnswer, bool]:
    """Run a write and keep its answer, or return the answer that is kept; and say whether it was kept already.

    Raises:
        Invalid: The key was used for something else.
    """
    place = {"caller": claim.caller, "method": claim.method, "path": claim.path, "key": claim.key}
    row = await tx.lock(_FIND, **place, outdated=now() - KEPT)
    if row is not None:
        digest, *kept = row
        if digest != claim.digest:
            detail = "This key was used for another request."
            raise Invalid(detail, hint="Make a new key for each request.", faults=[Fault("Idempotency-Key", detail)])
        return KeptAnswer(*kept), True
    try:
        answer = await write(tx)
    except Refusal as refusal:
        if await tx.one(_FIND, **place, outdated=now() - KEPT) is not None:
            raise Overtaken from refusal  # by the same request, sent to another server: its answer is there by now
        raise
    await tx.run(f"DELETE {_THIS} AND at <= :outdated", **place, outdated=now() - KEPT)
    await tx.run(
        "INSERT INTO replays (caller, method, path, key, digest, at, status, location, body)"
        " VALUES (:caller, :method, :path, :key, :digest, :at, :status, :location, :body)",
        **place,
        digest=claim.digest,
        at=now(),
        **answer._asdict(),
    )
    return answer, False


async def forget_outdated(tx: Transaction) -> int:
    """Let go of answers that are kept no longer, some at a time; return of how many."""
    limit = now() - KEPT
    outdated = await tx.all(
        "SELECT caller, method, path, key FROM replays WHERE at <= :outdated ORDER BY at LIMIT :most",
        outdated=limit,
        most=MAX_FORGOTTEN,
    )
    for caller, method, path, key in outdated:
        place = {"caller": caller, "method": method, "path": path, "key": key}
        await tx.run(f"DELETE {_THIS} AND at <= :outdated", **place, outdated=limit)
    return len(outdated)
