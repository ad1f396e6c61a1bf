"""OpenID Connect: an access token of the issuer that the operator trusts becomes a caller (RFC 9068, RFC 8725)."""

from base64 import urlsafe_b64decode
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

import jwt
import msgspec
from msgspec import Struct

from sprocket_factory.access.callers import Caller
from sprocket_factory.access.oidc_claims import ANY_TOKEN, Rules, caller_of, check_kind
from sprocket_factory.access.oidc_keys import SIGNATURES, IssuerKeys
from sprocket_factory.entities.instant import SECOND, now
from sprocket_factory.errors import WrongCredentials

MAX_TOKEN_CHARACTERS = 16 * 1024

MAX_REMEMBERED = 10_000

PARTS = 3


class Header(Struct):
    """What is looked at of a token's header. What it says of keys by address or in full is not."""

    alg: str
    kid: str
    typ: str = ANY_TOKEN
    crit: Any = msgspec.UNSET


class Issuer:
    """Whose access tokens stand for callers. A token that was verified once is remembered until it expires."""

    def __init__(self, rules: Rules) -> None:
        self.name = rules.issuer
        self.keys = IssuerKeys(rules.issuer)
        self._rules = rules

    async def identify(self, token: str) -> Caller:
        """Return for whom the token stands.

        Raises:
            WrongCredentials: It is none, expired, or meant for others; the refusal says which, for the log alone.
            Forbidden: It gives no role here.
            Unavailable: Its issuer cannot be reached, and its key is not known.
        """
        await self.keys.look_after()
        digest = sha256(token.encode("latin-1")).digest()
        caller = self.keys.callers.get(digest)
        if caller is None:
            caller = await self._verify(token)
            if len(self.keys.callers) >= MAX_REMEMBERED:
                self.keys.callers.clear()
            self.keys.callers[digest] = caller
        elif (caller.expires_at or 0) <= now() - self._rules.leeway_seconds * SECOND:
            raise WrongCredentials("it has expired")
        return caller

    async def _verify(self, token: str) -> Caller:
        header = read_header(token)
        type_ = header.typ.lower().removeprefix("application/")
        if type_ not in self._rules.types:
            raise WrongCredentials("it is of a type that is not taken")
        claims = await self.read_claims(token, header, self._rules.audience)
        check_kind(claims, type_)
        return caller_of(claims, self._rules)

    async def read_claims(self, token: str, header: Header, audience: str) -> Mapping[str, Any]:
        """Return what a token says, whatever kind of token it is, after its issuer has vouched for it to this audience.

        Raises:
            WrongCredentials: It is not the issuer's, meant for others, or expired.
            Unavailable: Its issuer cannot be reached, and its key is not known.
        """
        if header.alg not in SIGNATURES:
            raise WrongCredentials("it is not signed as a token has to be")
        if header.crit is not msgspec.UNSET:
            raise WrongCredentials("it asks for an extension that is not known here")
        key = await self.keys.find(header.kid, header.alg)
        if key is None:
            raise WrongCredentials("its issuer has no such key")
        try:
            claims: Mapping[str, Any] = jwt.decode(
                token,
                key,
                algorithms=[key.algorithm_name],
                audience=audience,
                issuer=self._rules.issuer,
                leeway=self._rules.leeway_seconds,
                options={"require": ["iss", "aud", "exp", "sub"], "enforce_minimum_key_length": True},
            )
        except jwt.PyJWTError as error:
            raise WrongCredentials(f"it is not valid: {type(error).__name__}") from error
        return claims


def read_header(token: str) -> Header:
    """Return what a token's header says, which nobody has vouched for yet. Raises WrongCredentials."""
    head, *others = token.split(".")
    if len(token) > MAX_TOKEN_CHARACTERS or len(others) != PARTS - 1:
        raise WrongCredentials("it is no signed token")
    try:
        return msgspec.json.decode(urlsafe_b64decode(head + "=" * (-len(head) % 4)), type=Header)
    except (ValueError, RecursionError) as error:
        raise WrongCredentials("its header cannot be read") from error
