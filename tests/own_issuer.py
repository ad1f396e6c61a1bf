"""An OpenID Connect issuer that says what a test wants it to say, and tokens that no decent issuer would sign.

Tokens are put together byte by byte, so that no library refuses to make a bad one.
"""

import base64
import itertools
import json
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple, Self, TypeAlias
from urllib.parse import parse_qsl

import httpx
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from harness import BASE_PATH, TLS, Service
from sprocket_factory.settings import Settings

DISCOVERY = "/.well-known/openid-configuration"
KEYS = "/keys"
TOKENS = "/token"

AUDIENCE = "sprocket-factory"

PrivateKey: TypeAlias = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey

HASHES: dict[str, hashes.HashAlgorithm] = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}

CURVES: dict[str, ec.EllipticCurve] = {"P-256": ec.SECP256R1(), "P-384": ec.SECP384R1(), "P-521": ec.SECP521R1()}


class Key(NamedTuple):
    """A private key that an issuer signs with, under an id."""

    id: str
    private: PrivateKey

    def published(self, **more: Any) -> dict[str, Any]:
        """Return its public half as issuers publish it (RFC 7518, section 6; RFC 8037)."""
        match self.private.public_key():
            case rsa.RSAPublicKey() as public:
                numbers = public.public_numbers()
                members = {"kty": "RSA", "n": number(numbers.n), "e": number(numbers.e)}
            case ec.EllipticCurvePublicKey() as public:
                point = public.public_numbers()
                (curve,) = (name for name, curve in CURVES.items() if curve.name == public.curve.name)
                size = (public.curve.key_size + 7) // 8
                members = {"kty": "EC", "crv": curve, "x": number(point.x, size), "y": number(point.y, size)}
            case public:
                members = {"kty": "OKP", "crv": "Ed25519", "x": encode(public.public_bytes_raw())}
        return members | {"kid": self.id} | more

    def secret(self) -> bytes:
        """Return its private half, if it is one on Edwards' curve."""
        assert isinstance(self.private, ed25519.Ed25519PrivateKey)
        return self.private.private_bytes_raw()

    def sign(self, what: bytes, algorithm: str) -> bytes:
        """Return a signature (RFC 7518, section 3)."""
        if isinstance(self.private, ed25519.Ed25519PrivateKey):
            return self.private.sign(what)
        digest = HASHES[algorithm[-3:]]
        if isinstance(self.private, ec.EllipticCurvePrivateKey):
            size = (self.private.curve.key_size + 7) // 8
            pair = decode_dss_signature(self.private.sign(what, ec.ECDSA(digest)))
            return b"".join(part.to_bytes(size, "big") for part in pair)
        if algorithm.startswith("PS"):
            salt = padding.PSS(padding.MGF1(digest), padding.PSS.DIGEST_LENGTH)
            return self.private.sign(what, salt, digest)
        return self.private.sign(what, padding.PKCS1v15(), digest)


@cache
def rsa_key(name: str = "rsa", bits: int = 2048) -> Key:
    """Return the RSA key of this name: the same each time, for making one takes a while."""
    return Key(name, rsa.generate_private_key(public_exponent=65537, key_size=bits))


@cache
def ec_key(curve: str = "P-256", name: str = "") -> Key:
    """Return the key of this name on an elliptic curve."""
    return Key(name or curve, ec.generate_private_key(CURVES[curve]))


@cache
def ed_key() -> Key:
    """Return a key on Edwards' curve."""
    return Key("Ed25519", ed25519.Ed25519PrivateKey.generate())


class Answer(NamedTuple):
    """What the issuer answers with."""

    body: bytes
    status: int = 200
    headers: Mapping[str, str] = {"Content-Type": "application/json"}


class OwnIssuer:
    """An issuer on loopback, over HTTPS if it is given what that needs. It keeps book of what it was asked for."""

    pause_seconds = 0.0
    """How long it waits before each byte, if it is to be slow."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.asked: list[str] = []
        self.forms: list[dict[str, str]] = []
        """What was sent to it: the fields, and by which Authorization."""
        self.answers: dict[str, Callable[[], Answer] | Answer] = {}
        """What it answers at each path; a function is called, and may take its time."""
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                form = self.rfile.read(int(self.headers["Content-Length"])).decode()
                issuer.forms.append(dict(parse_qsl(form)) | {"Authorization": self.headers.get("Authorization", "")})
                self.do_GET()

            def do_GET(self) -> None:
                issuer.asked.append(self.path)
                answer = issuer.answers.get(self.path, Answer(b"", 404))
                body, status, headers = answer() if callable(answer) else answer
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                for piece in (
                    [body[place : place + 1] for place in range(len(body))] if issuer.pause_seconds else [body]
                ):
                    time.sleep(issuer.pause_seconds)
                    self.wfile.write(piece)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name that is overridden
                """Say nothing."""

        class Server(ThreadingHTTPServer):
            def handle_error(self, request: Any, client_address: Any) -> None:
                """Say nothing: who does not take what is sent leaves early."""

        self._server = Server(("127.0.0.1", 0), Handler)
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self._server.server_port}"
        self.mend()

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=[0.01], daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def mend(self) -> None:
        """Answer as an issuer has to, with one key, and begin a new book."""
        self.describe()
        self.publish(rsa_key().published())
        self.asked.clear()
        self.forms.clear()

    def describe(self, **other: Any) -> None:
        """Say of itself what an issuer says, but for some members."""
        own = {"issuer": "", "jwks_uri": KEYS, "authorization_endpoint": "/auth", "token_endpoint": TOKENS}
        members = {name: self.url + path for name, path in own.items()} | other
        self.answers[DISCOVERY] = Answer(json.dumps(members).encode())

    def publish(self, *keys: Any) -> None:
        """Have these keys from now on."""
        self.answers[KEYS] = Answer(json.dumps({"keys": keys}).encode())

    def settings(self, **other: Any) -> Settings:
        """Return the settings of a service that trusts this issuer, but for some."""
        given = {"oidc_issuer": self.url, "oidc_audience": AUDIENCE, "oidc_roles": "viewer=reader,admin=boss"} | other
        return Settings(**given)

    def claims(self, **other: Any) -> dict[str, Any]:
        """Return what a right token says, but for some claims; one that is None is left out."""
        now = int(time.time())
        members = {
            "iss": self.url,
            "aud": AUDIENCE,
            "sub": "press-1",
            "client_id": "press-1",
            "iat": now,
            "exp": now + 600,
            "jti": "1",
            "roles": ["reader"],
        }
        return {name: value for name, value in (members | other).items() if value is not None}

    def token(self, key: Key | None = None, header: Mapping[str, Any] | None = None, **claims: Any) -> str:
        """Return a right token, but for what is given of its header and claims."""
        return sign(self.claims(**claims), key or rsa_key(), header)


def sign(payload: Any, key: Key, header: Mapping[str, Any] | None = None) -> str:
    """Return a token with this payload; a member of the header that is None is left out."""
    members = {"alg": "RS256", "typ": "at+jwt", "kid": key.id} | dict(header or {})
    head = {name: value for name, value in members.items() if value is not None}
    return seal(json.dumps(head).encode(), json.dumps(payload).encode(), key, head.get("alg", "RS256"))


def seal(head: bytes, payload: bytes, key: Key, algorithm: str) -> str:
    """Return a token of these bytes, signed."""
    signed = f"{encode(head)}.{encode(payload)}"
    return f"{signed}.{encode(key.sign(signed.encode(), algorithm))}"


def encode(data: bytes) -> str:
    """Return the base64 of tokens: with - and _, and without = (RFC 7515, section 2)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def number(value: int, size: int = 0) -> str:
    """Return a number as keys hold it: big-endian, in base64."""
    return encode(value.to_bytes(size or (value.bit_length() + 7) // 8, "big"))


_addresses = itertools.count(2)


def ask(service: Service, token: str, *more: str, scheme: str = "Bearer") -> httpx.Response:
    """Ask who one is with this token, or with several, from an address of its own, so that wrong ones do not add up."""
    near, far = divmod(next(_addresses), 250)
    transport = httpx.HTTPTransport(local_address=f"127.0.{near + 1}.{far + 1}", verify=TLS)
    with httpx.Client(transport=transport, trust_env=False, timeout=20) as stranger:
        headers = [(b"Authorization", f"{scheme} {each}".encode("latin-1")) for each in (token, *more)]
        return stranger.get(f"{service.address}{BASE_PATH}/me", headers=headers)
