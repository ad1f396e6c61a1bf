"""Fault 29 for access tokens: what an issuer signed for this service is taken, and nothing else whatever."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from harness import Service
from keyholders import caller, make_key
from log_lines import Logged
from own_issuer import Key, OwnIssuer, ask, ec_key, ed_key, encode, rsa_key, seal
from sprocket_factory.access import oidc
from sprocket_factory.entities import instant

INVALID = 'Bearer error="invalid_token"'

LEEWAY_SECONDS = 30

SOON = 600

Forge = Callable[[OwnIssuer], str]

FAMILIES: dict[str, Key] = {
    "RS256": rsa_key(),
    "RS384": rsa_key(),
    "RS512": rsa_key(),
    "PS256": rsa_key(),
    "PS384": rsa_key(),
    "PS512": rsa_key(),
    "ES256": ec_key("P-256"),
    "ES384": ec_key("P-384"),
    "ES512": ec_key("P-521"),
    "EdDSA": ed_key(),
}


@pytest.fixture(scope="module")
def issuer() -> Iterator[OwnIssuer]:
    """Run an issuer with a key of each type, and with some that are for other things."""
    with OwnIssuer() as running:
        running.publish(
            *(key.published() for key in {key.id: key for key in FAMILIES.values()}.values()),
            rsa_key("bound").published(alg="PS256", use="sig", key_ops=["verify"]),
            rsa_key("for encryption").published(use="enc"),
            rsa_key("for wrapping").published(key_ops=["wrapKey"]),
            rsa_key("short", 1024).published(),
            ed_key().published(kid="in the open", d=encode(ed_key().secret())),
            {"kty": "oct", "kid": "shared", "k": encode(b"a secret that is published is none")},
            {"kty": "RSA", "kid": "without numbers"},
            {"kty": "RSA", "n": "AQAB", "e": "AQAB"},
            {"kid": 7, "kty": ["RSA"]},
        )
        yield running


@pytest.fixture(scope="module")
def service(issuer: OwnIssuer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Run a service that trusts it. What a token is worth has nothing to do with the database."""
    with trusting(issuer, tmp_path_factory.mktemp("tokens")) as running:
        yield running


@pytest.fixture(scope="module")
def lax(issuer: OwnIssuer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Run a service that takes tokens of the type JWT, too."""
    with trusting(issuer, tmp_path_factory.mktemp("lax"), oidc_token_types="at+jwt, JWT") as running:
        yield running


def trusting(issuer: OwnIssuer, folder: Path, **settings: Any) -> Service:
    """Return a service that trusts this issuer and lets nobody in without a key or a token."""
    return Service(issuer.settings(database_url=f"sqlite:///{folder / 'factory.db'}", **settings), "none")


def after(seconds: float) -> float:
    """Return the time so many seconds from now, as tokens say it."""
    return int(time.time()) + seconds


def change(token: str, place: int, **members: Any) -> str:
    """Return the token with other members in its header (0) or its claims (1), under the signature it had."""
    parts = token.split(".")
    document = json.loads(base64.urlsafe_b64decode(parts[place] + "==")) | members
    return ".".join([*parts[:place], encode(json.dumps(document).encode()), *parts[place + 1 :]])


def unsigned(issuer: OwnIssuer, algorithm: str, signature: str = "") -> str:
    """Return a token of an administrator that nobody signed."""
    head = {"alg": algorithm, "typ": "at+jwt", "kid": "rsa"}
    payload = issuer.claims(roles=["boss"])
    return f"{encode(json.dumps(head).encode())}.{encode(json.dumps(payload).encode())}.{signature}"


def signed_by_secret(issuer: OwnIssuer, secret: bytes, algorithm: str = "HS256", kid: str = "rsa") -> str:
    """Return a token that is signed with what everybody can know: the issuer's public key as if it were a password."""
    head = {"alg": algorithm, "typ": "at+jwt", "kid": kid}
    signed = f"{encode(json.dumps(head).encode())}.{encode(json.dumps(issuer.claims()).encode())}"
    digest = getattr(hashlib, f"sha{algorithm[-3:]}")
    return f"{signed}.{encode(hmac.digest(secret, signed.encode(), digest))}"


def public(encoding: Encoding, form: PublicFormat) -> bytes:
    """Return the public key of the issuer as it is written in files."""
    return rsa_key().private.public_key().public_bytes(encoding, form)


def in_der(issuer: OwnIssuer) -> str:
    """Return a token with a signature on a curve in the form of certificates, which is not that of tokens."""
    signed, _, signature = issuer.token(ec_key(), {"alg": "ES256"}).rpartition(".")
    raw = base64.urlsafe_b64decode(signature + "==")
    pair = encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
    return f"{signed}.{encode(pair)}"


def with_signature(token: str, signature: bytes) -> str:
    """Return the token under another signature."""
    return f"{token.rpartition('.')[0]}.{encode(signature)}"


def sealed(_: OwnIssuer, head: bytes, payload: bytes = b"{}") -> str:
    """Return a token of these bytes, signed by the issuer."""
    return seal(head, payload, rsa_key(), "RS256")


def stranger_key(kid: str = "rsa") -> Key:
    """Return a key that is not the issuer's, under an id that is."""
    return Key(kid, rsa_key("a stranger's").private)


UNSIGNED: dict[str, Forge] = {
    **{
        f"alg={name}, {what}": partial(unsigned, algorithm=name, signature=signature)
        for name in ("none", "None", "NONE", "nOnE", "", "null")
        for what, signature in (("no signature", ""), ("some signature", "c2ln"))
    },
    "alg is null": lambda issuer: change(issuer.token(), 0, alg=None),
    "alg is a list": lambda issuer: change(issuer.token(), 0, alg=["RS256"]),
    "alg is missing": lambda issuer: issuer.token(header={"alg": None}),
    "signature cut off": lambda issuer: issuer.token().rpartition(".")[0] + ".",
    "signature left out": lambda issuer: issuer.token().rpartition(".")[0],
}

BY_A_SECRET: dict[str, Forge] = {
    **{
        f"{algorithm} by the public key {what}": partial(signed_by_secret, secret=public(*form), algorithm=algorithm)
        for algorithm in ("HS256", "HS384", "HS512")
        for what, form in (
            ("in PEM", (Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)),
            ("in PEM of RSA", (Encoding.PEM, PublicFormat.PKCS1)),
            ("in DER", (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)),
        )
    },
    "HS256 by the public key as published": lambda issuer: signed_by_secret(
        issuer, json.dumps(rsa_key().published()).encode()
    ),
    "HS256 by the modulus": lambda issuer: signed_by_secret(issuer, rsa_key().published()["n"].encode()),
    "HS256 by nothing": lambda issuer: signed_by_secret(issuer, b""),
    "HS256 by the client's secret": lambda issuer: signed_by_secret(issuer, b"not much of a secret"),
    "HS256 by a shared key that is published": lambda issuer: signed_by_secret(
        issuer, b"a secret that is published is none", kid="shared"
    ),
}

BY_ANOTHER_KEY: dict[str, Forge] = {
    "a stranger's key under the issuer's id": lambda issuer: issuer.token(stranger_key()),
    "an unknown id": lambda issuer: issuer.token(stranger_key("unknown")),
    "an empty id": lambda issuer: issuer.token(header={"kid": ""}),
    "no id": lambda issuer: issuer.token(header={"kid": None}),
    "id is a number": lambda issuer: issuer.token(header={"kid": 7}),
    "id is a list": lambda issuer: issuer.token(header={"kid": ["rsa"]}),
    "id is a path": lambda issuer: issuer.token(stranger_key("../../../../dev/null")),
    "id is SQL": lambda issuer: issuer.token(stranger_key("' UNION SELECT 'rsa' --")),
    "id in capitals": lambda issuer: issuer.token(header={"kid": "RSA"}),
    "id of 10 kB": lambda issuer: issuer.token(header={"kid": "a" * 10_000}),
    "id with NUL": lambda issuer: issuer.token(header={"kid": "rsa\0"}),
    "id of a key of another type": lambda issuer: issuer.token(header={"kid": "P-256"}),
    "another of the issuer's keys": lambda issuer: issuer.token(Key("bound", rsa_key().private), {"alg": "PS256"}),
    "a key in the header": lambda issuer: issuer.token(stranger_key(), {"jwk": stranger_key().published()}),
    "a key in the header, without id": lambda issuer: issuer.token(
        stranger_key(), {"kid": None, "jwk": stranger_key().published()}
    ),
    "a certificate in the header": lambda issuer: issuer.token(stranger_key(), {"x5c": ["MIIB"], "x5t": "AAAA"}),
    "a key for encryption": lambda issuer: issuer.token(rsa_key("for encryption")),
    "a key for wrapping": lambda issuer: issuer.token(rsa_key("for wrapping")),
    "a short key": lambda issuer: issuer.token(rsa_key("short", 1024)),
    "a key whose private half is published": lambda issuer: issuer.token(
        Key("in the open", ed_key().private), {"alg": "EdDSA"}
    ),
    "a key that is bound to another algorithm": lambda issuer: issuer.token(rsa_key("bound")),
    "an algorithm of the wrong curve": lambda issuer: issuer.token(ec_key("P-384"), {"alg": "ES256"}),
    "an algorithm of the wrong type": lambda issuer: change(issuer.token(ec_key(), {"alg": "ES256"}), 0, alg="RS256"),
    "an algorithm that was changed": lambda issuer: change(issuer.token(), 0, alg="PS256"),
    "an algorithm that is not taken": lambda issuer: change(issuer.token(ec_key(), {"alg": "ES256"}), 0, alg="ES256K"),
    "an algorithm in small letters": lambda issuer: change(issuer.token(), 0, alg="rs256"),
    "a signature of zeroes": lambda issuer: with_signature(issuer.token(ec_key(), {"alg": "ES256"}), bytes(64)),
    "a signature in DER": in_der,
    "a signature with a byte too many": lambda issuer: issuer.token() + "AA",
    "a signature over other claims": lambda issuer: change(issuer.token(), 1, roles=["boss"]),
    "a signature over another header": lambda issuer: change(issuer.token(), 0, typ="application/at+jwt"),
}

FOR_OTHERS: dict[str, Forge] = {
    "another issuer": lambda issuer: issuer.token(iss="https://issuer.example"),
    "the issuer with a slash": lambda issuer: issuer.token(iss=issuer.url + "/"),
    "the issuer in a list": lambda issuer: issuer.token(iss=[issuer.url]),
    "the beginning of the issuer": lambda issuer: issuer.token(iss="http://127.0.0.1"),
    "no issuer": lambda issuer: issuer.token(iss=None),
    "another audience": lambda issuer: issuer.token(aud="sprocket-factory-test"),
    "the beginning of the audience": lambda issuer: issuer.token(aud="sprocket"),
    "the audience in capitals": lambda issuer: issuer.token(aud="Sprocket-Factory"),
    "other audiences": lambda issuer: issuer.token(aud=["a", "b"]),
    "no audience among them": lambda issuer: issuer.token(aud=[]),
    "an audience that is none": lambda issuer: issuer.token(aud={"sprocket-factory": 1}),
    "an audience in a list of lists": lambda issuer: issuer.token(aud=[["sprocket-factory"]]),
    "no audience": lambda issuer: issuer.token(aud=None),
    "bound to a key": lambda issuer: issuer.token(cnf={"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}),
    "the type JWT": lambda issuer: issuer.token(header={"typ": "JWT"}),
    "no type": lambda issuer: issuer.token(header={"typ": None}),
    "an empty type": lambda issuer: issuer.token(header={"typ": ""}),
    "a type that is a number": lambda issuer: issuer.token(header={"typ": 1}),
    "a logout token": lambda issuer: issuer.token(header={"typ": "logout+jwt"}),
    "a proof of possession": lambda issuer: issuer.token(header={"typ": "dpop+jwt"}),
    "nearly the type": lambda issuer: issuer.token(header={"typ": "at+jwt+x"}),
    "the type twice prefixed": lambda issuer: issuer.token(header={"typ": "application/application/at+jwt"}),
}

AT_ANOTHER_TIME: dict[str, Forge] = {
    "expired": lambda issuer: issuer.token(exp=after(-LEEWAY_SECONDS - 1)),
    "expired long ago": lambda issuer: issuer.token(exp=1),
    "expired before 1970": lambda issuer: issuer.token(exp=-1),
    "never expires": lambda issuer: issuer.token(exp=None),
    "expires after the calendar": lambda issuer: issuer.token(exp=10**12),
    "expires at infinity": lambda issuer: issuer.token(exp=float("inf")),
    "expires at no number": lambda issuer: issuer.token(exp=float("nan")),
    "expires at a text": lambda issuer: issuer.token(exp=str(after(SOON))),
    "expires at true": lambda issuer: issuer.token(exp=True),
    "expires at a list": lambda issuer: issuer.token(exp=[after(SOON)]),
    "expires in milliseconds": lambda issuer: issuer.token(exp=after(SOON) * 1000),
    "not yet valid": lambda issuer: issuer.token(nbf=after(LEEWAY_SECONDS + 5)),
    "valid from a text": lambda issuer: issuer.token(nbf="tomorrow"),
    "issued in the future": lambda issuer: issuer.token(iat=after(LEEWAY_SECONDS + 5)),
    "issued at a text": lambda issuer: issuer.token(iat="today"),
}

NO_SUBJECTS: list[Any] = [
    *(None, 7, True, ["a"], {"a": 1}),
    *("", " ", " a", "a ", "a\0b", "a\nb", "a\n", "a\x7f", "\ud800", "\u202eevil", "J\u00f6rg", "a" * 256),
]

NO_CLAIMS = {
    "a list": b"[]",
    "a text": b'"iss"',
    "null": b"null",
    "no JSON": b"{",
    "no UTF-8": b'{"iss":"\xff"}',
    "empty": b"",
    "none": b"{}",
    "deep": b'{"a":' + b"[" * 3000 + b"]" * 3000 + b"}",
}

WITHOUT_SENSE: dict[str, Forge] = {
    **{f"sub is {sub!a:.20}": partial(OwnIssuer.token, sub=sub) for sub in NO_SUBJECTS},
    "a critical extension": lambda issuer: issuer.token(header={"crit": ["exp"], "exp": after(SOON)}),
    "no critical extension": lambda issuer: issuer.token(header={"crit": []}),
    "a payload that is not encoded": lambda issuer: issuer.token(header={"crit": ["b64"], "b64": False}),
    "a payload that is encoded, critically": lambda issuer: issuer.token(header={"crit": ["b64"], "b64": True}),
    "one dot": lambda issuer: issuer.token().replace(".", "", 1),
    "dots alone": lambda _: "..",
    "one dot alone": lambda _: ".",
    "letters": lambda _: "a.b.c",
    "four parts": lambda issuer: f"{issuer.token()}.",
    "an encrypted token": lambda _: encode(b'{"alg":"dir","enc":"A128GCM","typ":"at+jwt","kid":"rsa"}') + "..a.b.c",
    "huge": lambda issuer: issuer.token(filler="a" * 20_000),
    "a huge header": lambda _: "a" * 60_000 + ".b.c",
    "many dots": lambda _: "." * 60_000,
    "the token twice": lambda issuer: f"{issuer.token()} {issuer.token()}",
    "with something behind it": lambda issuer: f"{issuer.token()},",
    "in quotes": lambda issuer: f'"{issuer.token()}"',
    "letters that base64 has not": lambda issuer: issuer.token().replace(".", "!.", 1),
    "a line break in it": lambda issuer: issuer.token().replace(".", "\t.", 1),
    "letters beyond ASCII": lambda issuer: issuer.token() + "\u00e9",
    "a header that is a list": partial(sealed, head=b"[]"),
    "a header that is no JSON": partial(sealed, head=b"{"),
    "a header of no UTF-8": partial(sealed, head=b'{"alg":"\xff"}'),
    "a deep header": partial(sealed, head=b'{"alg":' + b"[" * 5000),
    "a deep member that is passed over": partial(
        sealed, head=b'{"alg":"RS256","typ":"at+jwt","kid":"rsa","a":' + b"[" * 5000 + b"]" * 5000 + b"}"
    ),
    "an empty header": partial(sealed, head=b""),
    **{
        f"claims that are {what}": partial(sealed, head=b'{"alg":"RS256","typ":"at+jwt","kid":"rsa"}', payload=payload)
        for what, payload in NO_CLAIMS.items()
    },
}

BAD = UNSIGNED | BY_A_SECRET | BY_ANOTHER_KEY | FOR_OTHERS | AT_ANOTHER_TIME | WITHOUT_SENSE


@pytest.mark.parametrize("what", BAD)
def test_fault_29_a_token_that_is_not_right_gets_the_one_wording(
    service: Service, issuer: OwnIssuer, what: str
) -> None:
    """401 in the words that a wrong key gets, whatever is wrong with it."""
    answer = ask(service, BAD[what](issuer))
    wrong_key = ask(service, "sfk_" + "A" * 43)

    assert (401, INVALID) == (answer.status_code, answer.headers["WWW-Authenticate"])
    assert without_id(wrong_key.json()) == without_id(answer.json())


def without_id(body: dict[str, Any]) -> dict[str, Any]:
    """Return what a refusal says, but for the id of its request."""
    return {name: value for name, value in body.items() if name != "request_id"}


@pytest.mark.parametrize("algorithm", FAMILIES)
def test_a_token_of_each_algorithm_is_taken(service: Service, issuer: OwnIssuer, algorithm: str) -> None:
    """RSA with both paddings, the three curves, and Edwards' curve: as the type of the issuer's key has it."""
    answer = ask(service, issuer.token(FAMILIES[algorithm], {"alg": algorithm}))

    assert (200, "press-1", "viewer") == (answer.status_code, answer.json()["name"], answer.json()["role"])


def test_a_key_that_names_its_one_algorithm_is_taken_with_that(service: Service, issuer: OwnIssuer) -> None:
    """The key that RS256 is refused with is good for PS256, which it names."""
    answer = ask(service, issuer.token(rsa_key("bound"), {"alg": "PS256"}))

    assert 200 == answer.status_code


@pytest.mark.parametrize("type_", ["at+jwt", "AT+JWT", "application/at+jwt", "Application/At+Jwt"])
def test_the_type_knows_no_case_and_may_be_written_in_full(service: Service, issuer: OwnIssuer, type_: str) -> None:
    """As RFC 7515 has it (section 4.1.9)."""
    answer = ask(service, issuer.token(header={"typ": type_}))

    assert 200 == answer.status_code


RIGHT: dict[str, Forge] = {
    "several audiences": lambda issuer: issuer.token(aud=["https://other.example", "sprocket-factory"]),
    "a fraction of a second": lambda issuer: issuer.token(exp=after(SOON) + 0.5),
    "just expired": lambda issuer: issuer.token(exp=after(10 - LEEWAY_SECONDS)),
    "just not yet valid": lambda issuer: issuer.token(nbf=after(LEEWAY_SECONDS - 10)),
    "just not yet issued": lambda issuer: issuer.token(iat=after(LEEWAY_SECONDS - 10)),
    "no more than it has to": lambda issuer: issuer.token(iat=None, jti=None, client_id=None),
    "a claim that is not asked for": lambda issuer: issuer.token(nonce="n-0S6"),
    "a long subject": lambda issuer: issuer.token(sub="a" * 255),
    "a subject with signs": lambda issuer: issuer.token(sub="auth0|5f7c8ec7c33c6c004bbafe82"),
}


@pytest.mark.parametrize("what", RIGHT)
def test_what_a_right_token_may_say(service: Service, issuer: OwnIssuer, what: str) -> None:
    """Several audiences, clocks that differ a little, fractions of seconds, and claims that are not asked for."""
    answer = ask(service, RIGHT[what](issuer))

    assert 200 == answer.status_code


def test_fault_29_a_foreign_address_of_keys_is_never_asked(service: Service, issuer: OwnIssuer) -> None:
    """`jku` and `x5u` name a server that would vouch for the token: it is refused, and that server hears nothing."""
    with OwnIssuer() as foreign:
        foreign.publish(stranger_key().published())
        headers = [{name: f"{foreign.url}/keys"} for name in ("jku", "x5u")]
        forged = [issuer.token(stranger_key(), header | extra) for header in headers for extra in ({}, {"kid": "new"})]
        forged += [issuer.token(stranger_key(), iss=foreign.url), issuer.token(stranger_key("new"), iss=foreign.url)]
        statuses = [ask(service, token).status_code for token in forged]

    assert [401] * len(forged) == statuses
    assert [] == foreign.asked


def test_fault_31_wrong_tokens_count_as_wrong_keys_do(service: Service, issuer: OwnIssuer) -> None:
    """After 20 of them within a minute an address gets 429; a right token from there is let through all the same."""
    with caller(service, issuer.token(stranger_key())) as guesser, caller(service, issuer.token()) as holder:
        wrong = [guesser.get("/me").status_code for _ in range(21)]
        right = holder.get("/me").status_code

    assert [401] * 20 + [429] == wrong
    assert 200 == right


def test_fault_29_a_token_that_was_good_is_refused_once_it_has_expired(
    service: Service, issuer: OwnIssuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That it was verified is remembered only as long as it is good."""
    token = issuer.token()
    before = ask(service, token).status_code
    monkeypatch.setattr(oidc, "now", lambda: instant.now() + (SOON + LEEWAY_SECONDS + 1) * instant.SECOND)

    assert [200, 401] == [before, ask(service, token).status_code]


def test_fault_30_two_tokens_are_none(service: Service, issuer: OwnIssuer) -> None:
    """Two headers are refused, even if both are right, or one and the same."""
    token = issuer.token()
    beside = [token, issuer.token(sub="press-2"), make_key(service, "admin").secret]

    assert [401] * len(beside) == [ask(service, token, other).status_code for other in beside]


@pytest.mark.parametrize("scheme", ["Basic", "Token", "DPoP", "JWT"])
def test_fault_29_a_token_under_another_scheme_is_none(service: Service, issuer: OwnIssuer, scheme: str) -> None:
    """A token is for whoever bears it."""
    answer = ask(service, issuer.token(), scheme=scheme)

    assert (401, INVALID) == (answer.status_code, answer.headers["WWW-Authenticate"])


def test_fault_30_no_part_of_a_token_is_logged(service: Service, issuer: OwnIssuer, logged: Logged) -> None:
    """What is wrong with a token stands in the log for the operator, and nothing that the token holds."""
    tokens = [
        issuer.token(),
        issuer.token(exp=1, sub="secret-subject"),
        issuer.token(stranger_key("secret-key-id")),
        issuer.token(aud="secret-audience"),
        issuer.token(header={"typ": "secret-type"}),
        issuer.token(sub="secret-sub\n"),
    ]
    statuses = [ask(service, token).status_code for token in tokens]
    what = [line["what"] for line in logged.lines("wrong key")]

    assert [200, 401, 401, 401, 401, 401] == statuses
    assert {"token (it is not valid: ExpiredSignatureError)", "token (its issuer has no such key)"} <= set(what)
    assert [] == [part for token in tokens for part in [*token.split("."), "secret"] if part in logged.text]


ACCESS_TOKENS: dict[str, dict[str, Any]] = {
    "Keycloak": {"typ": "Bearer", "azp": "board", "client_id": None, "scope": "email profile", "sid": "1", "acr": "1"},
    "Keycloak for a machine": {"typ": "Bearer", "azp": "press-1", "client_id": "press-1", "scope": "email"},
    "Entra ID": {"client_id": None, "azp": "6731de76", "scp": "access_as_user", "ver": "2.0", "tid": "1", "oid": "2"},
    "Entra ID for its own page": {"client_id": None, "azp": "sprocket-factory", "scp": "access_as_user", "ver": "2.0"},
    "Entra ID for a machine": {"client_id": None, "azp": "6731de76", "azpacr": "1", "ver": "2.0"},
    "Auth0": {"client_id": None, "azp": "my_client_id", "scope": "openid profile"},
    "Auth0 for a machine": {"client_id": None, "azp": "my_client_id", "gty": "client-credentials"},
    "Cognito": {"token_use": "access", "scope": "openid", "client_id": "board"},
    "Okta": {"client_id": None, "cid": "board", "scp": ["openid"], "ver": 1},
}

OTHER_TOKENS: dict[str, dict[str, Any]] = {
    "an ID token": {"client_id": None},
    "an ID token with a nonce": {"client_id": None, "azp": "board", "nonce": "n-0S6", "scope": "openid"},
    "an ID token beside an access token": {"client_id": None, "azp": "board", "at_hash": "x", "scope": "openid"},
    "an ID token beside a code": {"client_id": None, "azp": "board", "c_hash": "x", "scope": "openid"},
    "an ID token for its client": {"client_id": None, "azp": "sprocket-factory"},
    "an ID token for two": {"client_id": None, "azp": "sprocket-factory", "aud": ["x", "sprocket-factory"]},
    "Keycloak's ID token": {"client_id": None, "typ": "ID", "azp": "board", "sid": "1"},
    "Keycloak's token to refresh": {"client_id": None, "typ": "Refresh", "azp": "board", "scope": "openid"},
    "Keycloak's offline token": {"client_id": None, "typ": "Offline", "azp": "board", "scope": "openid"},
    "Entra ID's ID token": {"client_id": None, "ver": "2.0", "tid": "1", "oid": "2", "name": "Alice"},
    "Cognito's ID token": {"client_id": None, "token_use": "id", "azp": "board", "scope": "openid"},
    "a logout token": {"client_id": "board", "events": {"http://schemas.openid.net/event/backchannel-logout": {}}},
    "a type that is a number": {"typ": 1, "azp": "board", "scope": "openid"},
}


@pytest.mark.parametrize("type_", ["JWT", "jwt", "application/jwt", None])
@pytest.mark.parametrize("shape", ACCESS_TOKENS)
def test_an_access_token_of_the_type_jwt_is_taken_where_that_is_allowed(
    lax: Service, issuer: OwnIssuer, shape: str, type_: str | None
) -> None:
    """As the issuers that are widely used shape them; one without any type counts as JWT."""
    answer = ask(lax, issuer.token(header={"typ": type_}, **ACCESS_TOKENS[shape]))

    assert 200 == answer.status_code


@pytest.mark.parametrize("type_", ["JWT", None])
@pytest.mark.parametrize("shape", OTHER_TOKENS)
def test_fault_29_an_id_token_is_never_taken(lax: Service, issuer: OwnIssuer, shape: str, type_: str | None) -> None:
    """Nor is another token that its issuer signed for this audience, but not for access."""
    answer = ask(lax, issuer.token(header={"typ": type_}, **OTHER_TOKENS[shape]))

    assert (401, INVALID) == (answer.status_code, answer.headers["WWW-Authenticate"])


def test_where_the_type_jwt_is_allowed_the_other_still_is(lax: Service, issuer: OwnIssuer) -> None:
    """Both types are taken side by side."""
    assert 200 == ask(lax, issuer.token()).status_code


def test_where_the_type_jwt_alone_is_allowed_the_other_is_not(issuer: OwnIssuer, tmp_path: Path) -> None:
    """What the setting does not name is not taken."""
    with trusting(issuer, tmp_path, oidc_token_types="JWT") as strict:
        statuses = [ask(strict, issuer.token(header={"typ": type_})).status_code for type_ in ("at+jwt", "JWT")]

    assert [401, 200] == statuses


def test_without_an_issuer_no_token_is_taken(issuer: OwnIssuer, tmp_path: Path) -> None:
    """A service that was told of none asks none."""
    asked = len(issuer.asked)
    with trusting(issuer, tmp_path, oidc_issuer="", oidc_audience="", oidc_roles="") as service:
        answer = ask(service, issuer.token())

    assert (401, asked) == (answer.status_code, len(issuer.asked))


def test_the_clocks_may_differ_as_far_as_the_setting_says(issuer: OwnIssuer, tmp_path: Path) -> None:
    """With no leeway at all a token is good to the second."""
    with trusting(issuer, tmp_path, oidc_leeway_seconds=0) as strict:
        late = [ask(strict, issuer.token(exp=after(seconds))).status_code for seconds in (-2, 60)]

    assert [401, 200] == late
