"""Idempotency-Key: a POST that is sent again, because its answer was lost, is answered again and not done again."""

import itertools
from collections.abc import Callable, Coroutine
from contextlib import suppress
from hashlib import blake2b
from typing import Any, Self, TypeVar, TypeVarTuple

from litestar.types import ASGIApp
from msgspec import Struct

from sprocket_factory.database import Transaction
from sprocket_factory.endpoints.answers import Answer
from sprocket_factory.endpoints.reading import JSON, decode, media_type_of, read_whole
from sprocket_factory.endpoints.routing import ApiRequest
from sprocket_factory.entities.replay import Claim, KeptAnswer, forget_outdated, run_once
from sprocket_factory.errors import Conflict, Fault, Invalid, Refusal

HEADER = b"idempotency-key"
MAX_KEY = 255

FORGETTING_EVERY = 100
"""After so many requests with a key, answers that are kept no longer are let go of: ten times as many at most."""

_claims = itertools.count()

B = TypeVar("B", bound=Struct)
T = TypeVar("T")
Ts = TypeVarTuple("Ts")

Place = tuple[str, str, str, str]


class Once:
    """One POST, which is done once for all its repetitions if it carries a key."""

    def __init__(self, request: ApiRequest) -> None:
        """Raises Invalid where its key is none."""
        self._request = request
        self._place: Place | None = None
        key = _key_of(request)
        if key is not None:
            self._place = (request.caller.id, str(request.scope["method"]), request.scope["path"], key)
            headers = request.scope["headers"]
            declared = b",".join(value for name, value in headers if name == b"content-type")
            self._digest = blake2b(declared + b"\0" + request.scope["query_string"] + b"\0")

    def __enter__(self) -> Self:
        """Begin, before the body is read. Raises Conflict where the first request with this key is still running."""
        if self._place is not None:
            running: set[Place] = self._request.scope["state"]["running"]
            if self._place in running:
                raise Conflict(
                    "The first request with this Idempotency-Key is still running.",
                    hint="Send it again when that had time to end.",
                )
            running.add(self._place)
        return self

    def __exit__(self, *_: object) -> None:
        if self._place is not None:
            self._request.scope["state"]["running"].discard(self._place)

    async def read_body(self, type_: type[B]) -> B:
        """Return the body as the given type. Raises as reading.read_body."""
        media_type_of(self._request, JSON)
        body = await read_whole(self._request)
        self.feed(body)
        return decode(body, type_)

    def feed(self, data: bytes) -> None:
        """Take note of a piece of the body, for another body is another request."""
        if self._place is not None:
            self._digest.update(data)

    async def write(
        self,
        answer: Callable[[T], Answer],
        function: Callable[[Transaction, *Ts], Coroutine[Any, Any, T]],
        *args: *Ts,
        alone: bool = False,
    ) -> ASGIApp:
        """Run a write function and answer its result; or answer as it was answered first. Raises as Database.write.

        Raises:
            Invalid: The key was used for another request.
        """
        if self._place is None:
            return answer(await self._request.write(function, *args, alone=alone))

        async def write_and_answer(tx: Transaction) -> KeptAnswer:
            given = answer(await function(tx, *args))
            location = next((value for name, value in given.headers if name == b"location"), b"")
            return KeptAnswer(given.status, location.decode(), given.body)

        claim = Claim(*self._place, self._digest.digest())
        kept, replayed = await self._request.write(run_once, claim, write_and_answer, alone=alone)
        if next(_claims) % FORGETTING_EVERY == 0:
            with suppress(Refusal):  # the next time will do
                await self._request.write(forget_outdated)
        headers = [(b"location", kept.location.encode())] if kept.location else []
        if replayed:
            headers.append((b"idempotent-replayed", b"true"))
        return Answer(kept.body, status=kept.status, headers=headers)


def _key_of(request: ApiRequest) -> str | None:
    keys = [value.decode("latin-1") for name, value in request.scope["headers"] if name == HEADER]
    if not keys:
        return None
    if len(keys) > 1 or not 1 <= len(keys[0]) <= MAX_KEY or not keys[0].isascii() or not keys[0].isprintable():
        detail = f"An Idempotency-Key is given once, and has 1 to {MAX_KEY} printable ASCII characters."
        raise Invalid(detail, faults=[Fault("Idempotency-Key", detail)])
    return keys[0]
