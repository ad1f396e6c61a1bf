"""Whom a request comes from, where a proxy stands in between: its word counts only if the operator has named it."""

import ipaddress

from litestar.types import Scope

from sprocket_factory.errors import Unusable, shown

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

MAX_KNOWN = 10_000

MAX_HOPS = 20
"""Nobody has so many proxies in a row; who names more has made them up."""


class Proxies:
    """The proxies whose word counts, by address or network. False where there are none."""

    def __init__(self, text: str) -> None:
        """Read them, separated by commas. Raises Unusable where one is no address."""
        self._networks = [_read(part.strip()) for part in text.split(",") if part.strip()]
        self._known: dict[str, bool] = {}

    def __bool__(self) -> bool:
        return bool(self._networks)

    def look_behind(self, scope: Scope) -> None:
        """Let the scope of a request that such a proxy passes on say where it came from, and over what.

        That is the last address in `X-Forwarded-For` that is none of them: whoever is farther may have written
        anything before it.
        """
        client = scope["client"]
        if client is None or not self._is_trusted(client[0]):
            return
        said = [value for name, value in scope["headers"] if name == b"x-forwarded-for"]
        for hop in reversed(b",".join(said).decode("latin-1").rsplit(",", MAX_HOPS)[-MAX_HOPS:]):
            address = _address_in(hop.strip())
            if address is None:
                break  # what cannot be read leads no farther
            scope["client"] = (address, 0)
            if not self._is_trusted(address):
                break
        schemes = [value for name, value in scope["headers"] if name == b"x-forwarded-proto"]
        scheme = b",".join(schemes).rpartition(b",")[2].strip().lower()
        if scheme in {b"http", b"https"}:
            scope["scheme"] = scheme.decode()

    def _is_trusted(self, address: str) -> bool:
        if address not in self._known:
            if len(self._known) >= MAX_KNOWN:
                self._known.clear()
            parsed = ipaddress.ip_address(address)
            self._known[address] = any(parsed in network for network in self._networks)
        return self._known[address]


def is_loopback(host: str) -> bool:
    """Return whether only this machine reaches this host."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _read(text: str) -> Network:
    try:
        return ipaddress.ip_network(text)
    except ValueError as error:
        raise Unusable(
            f"{shown(text)} is no address and no network: {error}.",
            hint="Name proxies as in --trusted-proxies 10.0.0.7,192.168.0.0/24.",
        ) from error


def _address_in(hop: str) -> str | None:
    """Return the address in a part of the header, without the port that some proxies add, or None."""
    if hop.startswith("["):
        hop = hop[1:].partition("]")[0]
    elif hop.count(":") == 1:
        hop = hop.partition(":")[0]
    try:
        address = ipaddress.ip_address(hop)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)
