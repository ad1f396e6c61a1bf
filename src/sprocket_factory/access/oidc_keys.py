"""The public keys of an OpenID Connect issuer: found by discovery, kept for a while, fetched anew as they change."""

import asyncio
import ssl
import time
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar
from urllib.parse import urlsplit

import cryptography  # noqa: F401 - without it PyJWT verifies nothing, but says so only when a token comes
import httpx
import jwt
import msgspec
from msgspec import Meta, Struct

from sprocket_factory.access.callers import Caller
from sprocket_factory.access.proxies import is_loopback
from sprocket_factory.errors import Unavailable, Unusable
from sprocket_factory.observe import log

T = TypeVar("T")

FRESH_SECONDS = 600
"""Older keys are fetched anew, and nobody waits for it."""

STALE_SECONDS = 1200
"""Still older ones are waited for, so that a key that was withdrawn is good for no longer."""

KEPT_SECONDS = 4 * 3600
"""As long keys are good after all while their issuer cannot be reached."""

PAUSE_SECONDS = 10
"""An issuer that answered is left alone for so long, whatever keys tokens name."""

FETCH_SECONDS = 5
"""As long the issuer has for both documents, and as long may a request wait for it."""

MAX_DOCUMENT_BYTES = 256 * 1024

ASKING = {"Accept": "application/json", "Accept-Encoding": "identity"}

_RSA = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
ALGORITHMS: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("RSA", ""): _RSA,
    ("EC", "P-256"): ("ES256",),
    ("EC", "P-384"): ("ES384",),
    ("EC", "P-521"): ("ES512",),
    ("OKP", "Ed25519"): ("EdDSA",),
}
"""What a key of this type and curve may have signed, if the key itself names no one algorithm."""

SIGNATURES = frozenset(name for names in ALGORITHMS.values() for name in names)

Keys = Mapping[tuple[str, str], jwt.PyJWK]
"""Each key by its id and what it may have signed: a token that names another algorithm names another key."""


class Discovery(Struct):
    """What is read of the document that an issuer describes itself with."""

    issuer: str
    jwks_uri: str
    authorization_endpoint: str = ""
    token_endpoint: str = ""
    token_endpoint_auth_methods_supported: tuple[str, ...] = ("client_secret_basic",)
    authorization_response_iss_parameter_supported: bool = False


class KeyDocument(Struct):
    """What an issuer publishes its keys in (RFC 7517)."""

    keys: Annotated[list[dict[str, Any]], Meta(max_length=100)]


class PublicKey(Struct):
    """What decides whether a key of an issuer is used here."""

    kid: str
    kty: str
    crv: str = ""
    alg: str = ""
    use: str = "sig"
    key_ops: tuple[str, ...] = ("verify",)
    d: Any = msgspec.UNSET


class Unfit(Exception):  # noqa: N818 - the issuer's error, and told to its operator alone
    """What the issuer answers is not what its keys can be taken from."""


class IssuerKeys:
    """The keys of one issuer.

    They are fetched when the first token comes, by one request at a time that others wait for. While the issuer cannot
    be reached those that are known stay in use for KEPT_SECONDS.

    Raises:
        Unusable: The issuer's address is none that can be trusted.
    """

    def __init__(self, issuer: str) -> None:
        if not is_safe(issuer, from_loopback=True) or "?" in issuer:
            raise Unusable(
                f"--oidc-issuer cannot be {issuer!a}.",
                hint="It is an address that begins with https://, or with http:// on this machine itself.",
            )
        self.callers: dict[bytes, Caller] = {}
        """Who was found by these keys, for their finder to remember; forgotten as soon as keys were fetched."""
        self.tls = ssl.create_default_context()
        self._issuer = issuer
        self._discovery: Discovery | None = None
        self._keys: Keys = {}
        self._fetched_at = 0.0
        self._fetch_after = 0.0
        self._fetching: asyncio.Task[None] | None = None
        self._complaint = ""

    async def look_after(self) -> None:
        """See to it that keys are fetched anew in time, and that those which are too old are forgotten."""
        if not self._keys or self._age() <= FRESH_SECONDS:
            return
        fetching = self._begin_to_fetch()
        # Only one request after another waits for an issuer that does not answer: the first who finds that out.
        if fetching is not None and self._age() > STALE_SECONDS and not self._complaint:
            await asyncio.shield(fetching)
        if self._age() > KEPT_SECONDS:
            self._take({})

    async def find(self, kid: str, algorithm: str) -> jwt.PyJWK | None:
        """Return the key with this id that may sign so, or None where the issuer has none.

        Raises:
            Unavailable: It is not known, because the issuer cannot be reached.
        """
        if (kid, algorithm) not in self._keys and (fetching := self._begin_to_fetch()) is not None:
            await asyncio.shield(fetching)
        key = self._keys.get((kid, algorithm))
        if key is None and (self._complaint or not self._keys):
            raise Unavailable("The issuer of this token does not answer.", hint="Try again in a moment.")
        return key

    async def describe(self) -> Discovery:
        """Return what the issuer says of itself. Raises Unavailable where it was never reached."""
        await self.look_after()
        if self._discovery is None and (fetching := self._begin_to_fetch()) is not None:
            await asyncio.shield(fetching)
        if self._discovery is None:
            raise Unavailable("The issuer does not answer.", hint="Try again in a moment.")
        return self._discovery

    def _age(self) -> float:
        return time.monotonic() - self._fetched_at

    def _begin_to_fetch(self) -> "asyncio.Task[None] | None":
        """Return the fetch that is under way, or None where it is too early for another one."""
        if self._fetching is None and time.monotonic() >= self._fetch_after:
            self._fetching = asyncio.create_task(self._fetch())
        return self._fetching

    async def _fetch(self) -> None:
        pause = Unavailable.retry_after_seconds
        try:
            async with asyncio.timeout(FETCH_SECONDS):
                self._discovery, keys = await fetch_keys(self._issuer, self.tls)
                self._take(keys)
            pause = PAUSE_SECONDS
            self._note("")
        except (Unfit, TimeoutError, httpx.HTTPError, httpx.InvalidURL, ValueError, RecursionError) as error:
            self._note(f"{type(error).__name__}: {error}")
        finally:
            self._fetch_after = time.monotonic() + pause
            self._fetching = None

    def _take(self, keys: Keys) -> None:
        self._keys = keys
        self._fetched_at = time.monotonic()
        self.callers = {}

    def _note(self, complaint: str) -> None:
        if complaint and complaint != self._complaint:
            log.error("the issuer's keys cannot be fetched", issuer=self._issuer, reason=complaint)
        elif self._complaint and not complaint:
            log.info("the issuer's keys are fetched again", issuer=self._issuer)
        self._complaint = complaint


async def fetch_keys(issuer: str, tls: ssl.SSLContext) -> tuple[Discovery, Keys]:
    """Return what the issuer says of itself, and the keys that it publishes.

    Nothing but the issuer's own two documents is ever asked for: a redirect is not followed, and what a token says
    of keys (`jku`, `x5u`, `jwk`) is not looked at.

    Raises:
        Unfit: The documents do not belong to this issuer, or hold no key that is used here.
        httpx.HTTPError, httpx.InvalidURL: It cannot be reached.
        ValueError, RecursionError: It answers with something else.
    """
    async with client_for(issuer, tls) as client:
        discovery = await _get(client, issuer.rstrip("/") + "/.well-known/openid-configuration", Discovery)
        if discovery.issuer != issuer:
            raise Unfit("It calls itself by another name, and the setting has to be the same to the letter.")
        if not is_safe(discovery.jwks_uri, from_loopback=is_local(issuer)):
            raise Unfit("It names an address for its keys that is not https.")
        keys = usable_keys(await _get(client, discovery.jwks_uri, KeyDocument))
    if not keys:
        raise Unfit("It publishes no key that is used here.")
    return discovery, keys


def client_for(issuer: str, tls: ssl.SSLContext) -> httpx.AsyncClient:
    """Return what asks the issuer. What this machine itself answers is not asked for through a proxy."""
    return httpx.AsyncClient(
        verify=tls, trust_env=not is_local(issuer), timeout=FETCH_SECONDS, headers=ASKING, follow_redirects=False
    )


async def _get(client: httpx.AsyncClient, url: str, document: type[T]) -> T:
    async with client.stream("GET", url) as answer:
        if answer.status_code != httpx.codes.OK:
            raise Unfit(f"{url} answers with {answer.status_code}.")
        return msgspec.json.decode(await body_of(answer), type=document)


async def body_of(answer: httpx.Response) -> bytes:
    """Return what an issuer answers. Raises Unfit where that is more than MAX_DOCUMENT_BYTES."""
    text = bytearray()
    async for piece in answer.aiter_raw():
        text += piece
        if len(text) > MAX_DOCUMENT_BYTES:
            raise Unfit(f"{answer.url} answers with more than {MAX_DOCUMENT_BYTES:,} bytes.")
    return bytes(text)


def usable_keys(document: KeyDocument) -> Keys:
    """Return the keys for signatures that are used here; others are passed over, as RFC 7517 asks (section 5)."""
    keys: dict[tuple[str, str], jwt.PyJWK] = {}
    for member in document.keys:
        try:
            key = msgspec.convert(member, PublicKey)
            algorithms = ALGORITHMS.get((key.kty, key.crv), ())
            # A private key that stands in the open is everybody's.
            if key.use == "sig" and "verify" in key.key_ops and key.d is msgspec.UNSET:
                for algorithm in algorithms:
                    if key.alg in {"", algorithm}:
                        keys.setdefault((key.kid, algorithm), jwt.PyJWK(member, algorithm))
        except (msgspec.ValidationError, jwt.PyJWTError) as error:
            log.debug("a key of the issuer is passed over", reason=str(error))
    return keys


def is_local(url: str) -> bool:
    """Return whether the address is one of this machine."""
    return is_loopback(urlsplit(url).hostname or "")


def is_safe(url: str, *, from_loopback: bool) -> bool:
    """Return whether what this address answers can be trusted: https, or this machine if the issuer is there, too."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    if not parts.hostname or "@" in parts.netloc or parts.fragment:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and from_loopback and is_local(url))
