"""Sign-in by an OpenID Connect issuer: the code flow with PKCE (OpenID Connect Core, section 3.1; RFC 7636; RFC 9700).

What has to be remembered while somebody is at the issuer's is one secret in the browser itself, from which state, nonce
and verifier all follow. So any server can take him back, and nobody else's browser can bring his answer.
"""

import hmac
import secrets
from asyncio import timeout
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Mapping
from hashlib import sha256
from typing import NamedTuple
from urllib.parse import parse_qsl, quote_plus, urlencode, urlsplit

import httpx
import msgspec
from msgspec import Struct

from sprocket_factory.access.callers import Caller
from sprocket_factory.access.oidc import Issuer, read_header
from sprocket_factory.access.oidc_keys import FETCH_SECONDS, Discovery, Unfit, body_of, client_for, is_local, is_safe
from sprocket_factory.errors import Forbidden, Unavailable, Unusable, WrongCredentials, shown
from sprocket_factory.observe import log, security_log

CALLBACK = "/sign-in/callback"

BASIC, POST = "client_secret_basic", "client_secret_post"

OURS = frozenset({
    "client_id", "client_secret", "code", "code_challenge", "code_challenge_method", "code_verifier", "grant_type",
    "nonce", "redirect_uri", "request", "request_uri", "response_mode", "response_type", "scope", "state",
})  # fmt: skip
"""What is asked of an issuer is ours to say, so that no setting takes it away."""


class Client(NamedTuple):
    """What the issuer knows this service as."""

    id: str
    secret: str
    """Nothing, if it is a public client."""
    public_url: str
    scopes: str
    parameters: tuple[tuple[str, str], ...]
    """What else the issuer is told, to give tokens for this service: `resource` or `audience`, mostly."""


class Tokens(Struct):
    """What is read of the answer to a code."""

    access_token: str
    id_token: str
    token_type: str


class IssuerSignIn:
    """Sends people to the issuer, and takes them back."""

    def __init__(self, issuer: Issuer, client: Client) -> None:
        self.host = urlsplit(issuer.name).netloc
        """What people know the issuer by."""
        self._issuer = issuer
        self._client = client

    async def begin(self) -> tuple[str, str]:
        """Return a new secret, and where to send the browser that keeps it. Raises Unavailable."""
        endpoint = (await self._describe()).authorization_endpoint
        secret = secrets.token_urlsafe(32)
        challenge = sha256(_derived(secret, "verifier").encode()).digest()
        question = {
            "response_type": "code",
            "client_id": self._client.id,
            "redirect_uri": self._client.public_url + CALLBACK,
            "scope": self._client.scopes,
            "state": _derived(secret, "state"),
            "nonce": _derived(secret, "nonce"),
            "code_challenge": urlsafe_b64encode(challenge).rstrip(b"=").decode(),
            "code_challenge_method": "S256",
        }
        query = urlencode([*question.items(), *self._client.parameters])
        return secret, f"{endpoint}{'&' if '?' in endpoint else '?'}{query}"

    async def finish(self, secret: str, answer: Mapping[str, str]) -> Caller:
        """Return who has come back, with this secret in the browser and this answer of the issuer's.

        Raises:
            Forbidden: It is not the answer to what the browser was sent with, or it does not give a role.
            Unavailable: The issuer cannot be reached.
        """
        if not secret or not hmac.compare_digest(_derived(secret, "state").encode(), answer.get("state", "").encode()):
            raise Forbidden("This sign-in was not begun in this browser, or more than ten minutes ago.")
        described = await self._describe()
        is_named = "iss" in answer or described.authorization_response_iss_parameter_supported
        if is_named and answer.get("iss") != self._issuer.name:
            raise Forbidden("This answer is not from the issuer that was asked (RFC 9207).")
        if "code" not in answer or "error" in answer:
            raise Forbidden(f"The issuer did not let you in: {shown(answer.get('error', 'it gives no code'))}.")
        tokens = await self._exchange(described, answer["code"], _derived(secret, "verifier"))
        try:
            return await self._judge(tokens, _derived(secret, "nonce"))
        except WrongCredentials as refusal:
            security_log.warning("the issuer's tokens are not taken", reason=refusal.detail)
            raise Forbidden("The issuer's tokens are not taken here.", hint="The log says why.") from None

    async def _describe(self) -> Discovery:
        described = await self._issuer.keys.describe()
        from_loopback = is_local(self._issuer.name)
        for url in (described.authorization_endpoint, described.token_endpoint):
            if not is_safe(url, from_loopback=from_loopback):
                log.error("the issuer names no address to sign in at that is https", issuer=self._issuer.name)
                raise Unavailable("The issuer does not say where to sign in.", hint="Use a key.")
        return described

    async def _exchange(self, described: Discovery, code: str, verifier: str) -> Tokens:
        """Return what the issuer gives for a code. Raises Forbidden or Unavailable."""
        form = [
            *(("grant_type", "authorization_code"), ("code", code), ("code_verifier", verifier)),
            *(("redirect_uri", self._client.public_url + CALLBACK), ("client_id", self._client.id)),
            *self._client.parameters,
        ]
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        methods = described.token_endpoint_auth_methods_supported
        if self._client.secret and BASIC not in methods and POST in methods:
            form.append(("client_secret", self._client.secret))
        elif self._client.secret:
            pair = f"{quote_plus(self._client.id)}:{quote_plus(self._client.secret)}"  # RFC 6749, section 2.3.1
            headers["Authorization"] = f"Basic {b64encode(pair.encode()).decode()}"
        try:
            async with timeout(FETCH_SECONDS), client_for(self._issuer.name, self._issuer.keys.tls) as client:
                answering = client.stream("POST", described.token_endpoint, content=urlencode(form), headers=headers)
                async with answering as answer:
                    status, text = answer.status_code, await body_of(answer)
            if status == httpx.codes.OK:
                return msgspec.json.decode(text, type=Tokens)
        except (Unfit, TimeoutError, httpx.HTTPError, httpx.InvalidURL, ValueError, RecursionError) as error:
            log.error("the issuer does not give tokens", issuer=self._issuer.name, reason=f"{type(error).__name__}")
            raise Unavailable("The issuer does not answer as it should.", hint="Try again in a moment.") from error
        security_log.warning("the issuer gives no tokens for a code", status=status, said=shown(text.decode("latin-1")))
        if status >= httpx.codes.INTERNAL_SERVER_ERROR:
            raise Unavailable("The issuer does not answer as it should.", hint="Try again in a moment.")
        raise Forbidden("The issuer takes this answer for none, or for one that was used.", hint="Sign in again.")

    async def _judge(self, tokens: Tokens, nonce: str) -> Caller:
        """Return for whom both tokens stand. Raises WrongCredentials, Forbidden or Unavailable."""
        if tokens.token_type.lower() != "bearer":
            raise WrongCredentials("the access token is not for whoever carries it")
        subject = await self._check_id_token(tokens.id_token, nonce)
        caller = await self._issuer.identify(tokens.access_token)
        if caller.id != f"oidc:{self._issuer.name}#{subject}":
            raise WrongCredentials("the tokens are those of two people")
        return caller

    async def _check_id_token(self, token: str, nonce: str) -> str:
        """Return whom the ID token names (OpenID Connect Core, section 3.1.3.7). Raises WrongCredentials."""
        claims = await self._issuer.read_claims(token, read_header(token), self._client.id)
        if claims.get("nonce") != nonce:
            raise WrongCredentials("the ID token is the answer to another sign-in")
        if claims.get("azp", self._client.id) != self._client.id:
            raise WrongCredentials("the ID token is meant for another program")
        return str(claims["sub"])


def read_client(*, client_id: str, secret: str, public_url: str, scopes: str, parameters: str) -> Client:
    """Return the client that settings describe. Raises Unusable."""
    if not public_url or not is_safe(public_url, from_loopback=True):
        raise Unusable(
            "--oidc-client-id needs a --public-url that begins with https://, or with http:// on this machine itself.",
            hint="The issuer sends people back to that address, which nobody else may choose.",
        )
    pairs = parse_qsl(parameters, keep_blank_values=True)
    if bool(parameters) != bool(pairs) or any(name in OURS or not value for name, value in pairs):
        raise Unusable(
            f"--oidc-sign-in-parameters cannot be {parameters!a}.",
            hint="They are like resource=urn:sprocket-factory or audience=https://sprockets.example.",
        )
    if "openid" not in scopes.split():
        raise Unusable("--oidc-scopes has to name openid.")
    return Client(client_id, secret, public_url, scopes, tuple(pairs))


def _derived(secret: str, what: str) -> str:
    """Return 256 bits that follow from the secret and do not tell it: 43 characters, as RFC 7636 has a verifier."""
    digest = hmac.digest(secret.encode(), what.encode(), "sha256")
    return urlsafe_b64encode(digest).rstrip(b"=").decode()
