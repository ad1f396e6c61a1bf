"""How often somebody may come: wrong keys from one address, requests of one caller, his share of the places.

Each process counts its own.
"""

import ipaddress
import math
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, TypeVar

from litestar.types import Scope

from sprocket_factory.errors import Busy, TooMany

WINDOW_SECONDS = 60

MAX_KNOWN = 10_000
"""Of so many addresses or callers the counts are kept. Beyond it, those are forgotten that came first."""

T = TypeVar("T")

IPV6_SITE_BITS = 64
"""Whoever has one address of version 6 has all those with the same beginning."""


class WrongKeys:
    """Counts wrong keys by the address they come from."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._times: dict[str, list[float]] = {}

    def count(self, scope: Scope) -> bool:
        """Take note of a wrong key, and return whether it was the last that is allowed.

        Raises:
            TooMany: Too many came from this address within a minute.
        """
        address = address_of(scope)
        began = time.monotonic() - WINDOW_SECONDS
        recent = [at for at in self._times.pop(address, ()) if at > began]
        if len(recent) < self._most:
            recent.append(time.monotonic())
            _keep(self._times, address, recent)
            return len(recent) == self._most
        # One that is refused so does not count: who waits as long as he is told gets his next try.
        _keep(self._times, address, recent)
        raise TooMany("Too many wrong keys came from this address.", retry_after_seconds=int(recent[0] - began) + 1)


class Quotas:
    """Counts requests by caller, in minutes that begin with the first of them."""

    def __init__(self, most: int) -> None:
        """Allow so many requests within a minute."""
        self._most = most
        self._used: dict[str, tuple[float, int]] = {}
        self._policy = (b"ratelimit-policy", b'"minute";q=%d;w=%d' % (most, WINDOW_SECONDS))

    def use(self, caller: str, state: dict[str, Any]) -> None:
        """Take note of a request, and leave in its state the headers that the answer is to have.

        They are those of draft-ietf-httpapi-ratelimit-headers-11.

        Raises:
            TooMany: The caller has made all requests that are allowed.
        """
        now = time.monotonic()
        ends_at, used = self._used.pop(caller, (0.0, 0))
        if now >= ends_at:
            ends_at, used = now + WINDOW_SECONDS, 0
        used += 1
        _keep(self._used, caller, (ends_at, used))
        seconds = math.ceil(ends_at - now)
        left = (b"ratelimit", b'"minute";r=%d;t=%d' % (max(0, self._most - used), seconds))
        state["more_headers"] = (*state["more_headers"], self._policy, left)
        if used > self._most:
            raise TooMany(f"{self._most:,} requests a minute are allowed.", retry_after_seconds=seconds)


class Places:
    """Counts by caller what lasts: of so many places in all, nobody has more than half."""

    def __init__(self, most: int, refusal: str, hint: str) -> None:
        """Say so to who has his share: `{}` in the refusal stands for how many that are."""
        self._share = (most + 1) // 2
        self._refusal = refusal
        self._hint = hint
        self._taken: Counter[str] = Counter()

    @contextmanager
    def place_for(self, caller: str) -> Iterator[None]:
        """Give this caller a place meanwhile. Raises Busy where he has his share already."""
        if self._taken[caller] >= self._share:
            raise Busy(self._refusal.format(self._share), hint=self._hint)
        self._taken[caller] += 1
        try:
            yield
        finally:
            self._taken[caller] -= 1
            if not self._taken[caller]:
                del self._taken[caller]


def address_of(scope: Scope) -> str:
    """Return what requests are counted under: the address they come from, or the site it belongs to."""
    client = scope.get("client")
    return _site_of(client[0]) if client else ""


@lru_cache(MAX_KNOWN)
def _site_of(address: str) -> str:
    if ":" not in address:
        return address
    parsed = ipaddress.IPv6Address(address)
    if parsed.ipv4_mapped:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(parsed), IPV6_SITE_BITS), strict=False))


def _keep(known: dict[str, T], name: str, value: T) -> None:
    """Put the value last; if there are too many, let go of the first."""
    known[name] = value
    if len(known) > MAX_KNOWN:
        del known[next(iter(known))]
