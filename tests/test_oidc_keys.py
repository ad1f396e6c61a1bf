"""The keys of an issuer: how they are found, how long they are kept, and what an issuer that fails does to callers."""

import datetime as dt
import json
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from harness import Clock, Service
from keyholders import caller, make_key
from log_lines import Logged
from own_issuer import DISCOVERY, KEYS, Answer, Key, OwnIssuer, ask, ec_key, encode, rsa_key, seal
from sprocket_factory.access import oidc_keys

FRESH_SECONDS = 600
STALE_SECONDS = 1200
KEPT_SECONDS = 4 * 3600
PAUSE_SECONDS = 10
MOST_BYTES = 256 * 1024

INVALID = 'Bearer error="invalid_token"'


@pytest.fixture(scope="module", autouse=True)
def clock() -> Iterator[Clock]:
    """Return the clock by which the age of keys is told."""
    hands = Clock()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(oidc_keys, "time", SimpleNamespace(monotonic=hands.monotonic))
        yield hands


@pytest.fixture(scope="module")
def stopping() -> Iterator[list[Service]]:
    """Keep the services that were told to stop, so that the next test need not wait until the last one has."""
    services: list[Service] = []
    yield services
    for service in services:
        service.wait()


@pytest.fixture
def issuer() -> Iterator[OwnIssuer]:
    """Run an issuer."""
    with OwnIssuer() as running:
        yield running


@pytest.fixture
def service(issuer: OwnIssuer, tmp_path: Path, stopping: list[Service]) -> Iterator[Service]:
    """Run a service that trusts it and knows none of its keys yet."""
    running = trusting(issuer, tmp_path)
    running.start()
    yield running
    running.stop()
    stopping.append(running)


@pytest.fixture(scope="module")
def well_known() -> Iterator[OwnIssuer]:
    """Run an issuer for several tests, each of which may leave it in any state."""
    with OwnIssuer() as running:
        yield running


@pytest.fixture(scope="module")
def trustful(well_known: OwnIssuer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Run a service that trusts it."""
    with trusting(well_known, tmp_path_factory.mktemp("trustful")) as running:
        yield running


@pytest.fixture
def forgotten(well_known: OwnIssuer, trustful: Service, clock: Clock) -> OwnIssuer:
    """Return the issuer in good order, but with keys that the service does not trust any more, for they are too old."""
    well_known.mend()
    clock.seconds += PAUSE_SECONDS
    assert ask(trustful, well_known.token()).status_code == 200
    clock.seconds += KEPT_SECONDS + 1
    well_known.asked.clear()
    return well_known


def trusting(issuer: OwnIssuer, folder: Path) -> Service:
    """Return a service that trusts this issuer and lets nobody in without a key or a token."""
    return Service(issuer.settings(database_url=f"sqlite:///{folder / 'factory.db'}"), "none")


def said(answer: httpx.Response) -> tuple[int, str, str]:
    """Return what an answer says of a token that cannot be judged."""
    return answer.status_code, answer.json()["type"], answer.headers.get("Retry-After", "")


UNAVAILABLE = (503, "/problems/unavailable", "2")

FAILED = Answer(b"", 500)


def fail_when(event: threading.Event) -> Answer:
    """Fail when it is time to."""
    event.wait(30)
    return FAILED


def wait_for(happened: Callable[[], bool]) -> None:
    """Wait until something has happened that nobody waits for."""
    deadline = time.monotonic() + 10
    while not happened():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.005)


def test_nothing_is_fetched_before_the_first_token_comes(issuer: OwnIssuer, service: Service) -> None:
    """A service starts without its issuer; who has a key or none does not need it either."""
    with caller(service, make_key(service, "viewer").secret) as holder:
        statuses = [holder.get("/me").status_code, ask(service, "sfk_wrong").status_code]

    assert [200, 401] == statuses
    assert [] == issuer.asked


@pytest.mark.parametrize(
    "header",
    [{"alg": "none"}, {"alg": "HS256"}, {"typ": "JWT"}, {"typ": None}, {"kid": None}, {"crit": ["exp"]}],
    ids=str,
)
def test_nothing_is_fetched_for_what_is_no_token_of_ours(
    issuer: OwnIssuer, service: Service, header: dict[str, Any]
) -> None:
    """What can be refused without keys is refused so, even while there are none to be had."""
    issuer.answers.clear()
    token = seal(
        json.dumps({"alg": "RS256", "typ": "at+jwt", "kid": "rsa"} | header).encode(), b"{}", rsa_key(), "RS256"
    )

    assert 401 == ask(service, token).status_code
    assert [] == issuer.asked


def test_the_keys_are_fetched_once_for_many_tokens(issuer: OwnIssuer, service: Service) -> None:
    """Both documents once, however many ask at the same time."""
    tokens = [issuer.token(sub=f"press-{number}") for number in range(20)]
    with ThreadPoolExecutor(10) as callers:
        statuses = list(callers.map(lambda token: ask(service, token).status_code, tokens))

    assert [200] * 20 == statuses
    assert [DISCOVERY, KEYS] == issuer.asked


def test_a_new_key_of_the_issuer_is_found_with_the_first_token_that_names_it(
    issuer: OwnIssuer, service: Service, clock: Clock
) -> None:
    """An issuer may change its keys at any time; who was let in before still is, as long as the old key is there."""
    before = issuer.token()
    first = ask(service, before).status_code
    issuer.publish(ec_key().published(), rsa_key().published())
    clock.seconds += PAUSE_SECONDS
    after = ask(service, issuer.token(ec_key(), {"alg": "ES256"})).status_code

    assert [200, 200, 200] == [first, after, ask(service, before).status_code]
    assert [DISCOVERY, KEYS] * 2 == issuer.asked


def test_fault_29_a_flood_of_unknown_keys_does_not_reach_the_issuer(
    issuer: OwnIssuer, service: Service, clock: Clock
) -> None:
    """It is asked once in ten seconds, whatever keys tokens name; all of them are 401 meanwhile."""
    ask(service, issuer.token())
    clock.seconds += PAUSE_SECONDS
    flood = [issuer.token(Key(f"odd {number}", rsa_key().private)) for number in range(50)]
    with ThreadPoolExecutor(10) as callers:
        statuses = set(callers.map(lambda token: ask(service, token).status_code, flood))
    clock.seconds += PAUSE_SECONDS - 0.1
    statuses |= {ask(service, token).status_code for token in flood[:5]}

    assert {401} == statuses
    assert [DISCOVERY, KEYS] * 2 == issuer.asked


def test_keys_are_fetched_anew_and_nobody_waits_for_it(issuer: OwnIssuer, service: Service, clock: Clock) -> None:
    """After ten minutes, while who comes meanwhile is judged by the keys that are known."""
    go_on = threading.Event()
    ask(service, issuer.token())
    published = issuer.answers[KEYS]
    assert isinstance(published, Answer)
    issuer.answers[KEYS] = lambda: published if go_on.wait(10) else FAILED
    clock.seconds += FRESH_SECONDS + 1
    meanwhile = [ask(service, issuer.token(sub=name)).status_code for name in ("press-1", "press-2")]
    go_on.set()

    wait_for(lambda: issuer.asked == [DISCOVERY, KEYS] * 2)

    assert [200, 200] == meanwhile


@pytest.mark.parametrize("seconds", [FRESH_SECONDS + 1, STALE_SECONDS + 1, KEPT_SECONDS + 1])
def test_a_token_of_a_key_that_was_withdrawn_is_refused_after_a_while(
    issuer: OwnIssuer, service: Service, clock: Clock, seconds: float
) -> None:
    """Even if it was verified before: ten minutes later with the second request at the latest, later with the first."""
    token = issuer.token()
    before = ask(service, token).status_code
    issuer.publish(ec_key().published())
    clock.seconds += seconds
    first = ask(service, token).status_code
    wait_for(lambda: len(issuer.asked) == 4)
    wait_for(lambda: ask(service, token).status_code == 401)

    assert 200 == before
    assert (401 if seconds > STALE_SECONDS else 200) == first


def test_within_ten_minutes_nothing_is_fetched_again(issuer: OwnIssuer, service: Service, clock: Clock) -> None:
    """The issuer is spared."""
    ask(service, issuer.token())
    clock.seconds += FRESH_SECONDS - 1
    ask(service, issuer.token(sub="press-2"))

    assert [DISCOVERY, KEYS] == issuer.asked


@pytest.mark.parametrize("seconds", [0, FRESH_SECONDS + 1, STALE_SECONDS + 1, KEPT_SECONDS - 1])
def test_while_the_issuer_fails_the_keys_that_are_known_stay_in_use(
    issuer: OwnIssuer, service: Service, clock: Clock, seconds: float
) -> None:
    """Tokens that were verified and new ones are taken, for four hours."""
    known = issuer.token()
    ask(service, known)
    issuer.answers.clear()
    clock.seconds += seconds
    statuses = [ask(service, token).status_code for token in (known, issuer.token(sub="press-2"), known)]

    assert [200] * 3 == statuses


def test_after_four_hours_without_the_issuer_nobody_can_say_what_a_token_is_worth(
    issuer: OwnIssuer, service: Service, clock: Clock
) -> None:
    """503, and not 401: the token may be right. As soon as the issuer answers again, it is."""
    token = issuer.token()
    ask(service, token)
    answers = dict(issuer.answers)
    issuer.answers.clear()
    clock.seconds += KEPT_SECONDS + 1
    without = ask(service, token)
    issuer.answers |= answers
    clock.seconds += int(without.headers["Retry-After"])

    assert UNAVAILABLE == said(without)
    assert 200 == ask(service, token).status_code


def test_an_unknown_key_cannot_be_judged_while_the_issuer_fails(
    issuer: OwnIssuer, service: Service, clock: Clock
) -> None:
    """It may be a new one: 503, and 401 or 200 as soon as the issuer answers again."""
    ask(service, issuer.token())
    answers = dict(issuer.answers)
    issuer.answers.clear()
    clock.seconds += PAUSE_SECONDS
    odd = issuer.token(Key("odd", rsa_key().private))
    without = ask(service, odd)
    issuer.answers |= answers
    clock.seconds += int(without.headers["Retry-After"])

    assert UNAVAILABLE == said(without)
    assert 401 == ask(service, odd).status_code


def test_an_issuer_that_fails_is_left_alone_for_two_seconds(issuer: OwnIssuer, service: Service, clock: Clock) -> None:
    """Whoever waits as long as Retry-After says makes the next attempt."""
    issuer.answers.clear()
    statuses = {ask(service, issuer.token()).status_code for _ in range(10)}
    once = list(issuer.asked)
    clock.seconds += 2
    ask(service, issuer.token())

    assert {503} == statuses
    assert [[DISCOVERY], [DISCOVERY] * 2] == [once, issuer.asked]


def test_what_cannot_be_judged_is_no_wrong_key(issuer: OwnIssuer, service: Service) -> None:
    """Who comes while the issuer fails is not made to wait for it afterwards."""
    issuer.answers.clear()
    with caller(service, issuer.token()) as machine, caller(service, "sfk_wrong") as guesser:
        statuses = {machine.get("/me").status_code for _ in range(30)}

        assert 401 == guesser.get("/me").status_code
    assert {503} == statuses


def test_what_is_wrong_with_the_issuer_is_logged_once(
    issuer: OwnIssuer, service: Service, clock: Clock, logged: Logged
) -> None:
    """The operator reads what happened and when it was over, and not a line for each attempt."""
    answers = dict(issuer.answers)
    issuer.answers.clear()
    for _ in range(5):
        ask(service, issuer.token())
        clock.seconds += 2
    issuer.answers |= answers
    ask(service, issuer.token())
    failed = logged.wait_for("the issuer's keys cannot be fetched", level="error")
    logged.wait_for("the issuer's keys are fetched again", level="info", issuer=issuer.url)

    assert (issuer.url, f"Unfit: {issuer.url}{DISCOVERY} answers with 404.") == (failed["issuer"], failed["reason"])


def test_others_are_served_while_the_issuer_takes_its_time(issuer: OwnIssuer, service: Service) -> None:
    """Who waits for the issuer holds up nobody who does not."""
    go_on = threading.Event()
    issuer.answers[DISCOVERY] = partial(fail_when, go_on)
    with ThreadPoolExecutor(5) as callers, caller(service, make_key(service, "viewer").secret) as holder:
        waiting = [callers.submit(ask, service, issuer.token()) for _ in range(5)]
        wait_for(lambda: issuer.asked == [DISCOVERY])
        meanwhile = {holder.get("/me").status_code for _ in range(20)}
        still_waiting = [not each.done() for each in waiting]
        go_on.set()
        afterwards = {each.result().status_code for each in waiting}

    assert ({200}, [True] * 5, {503}) == (meanwhile, still_waiting, afterwards)
    assert [DISCOVERY] == issuer.asked


def test_who_has_a_known_key_waits_for_no_issuer_that_failed_before(
    issuer: OwnIssuer, service: Service, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first who comes with old keys waits for the issuer, and if that does not answer nobody else does."""
    monkeypatch.setattr(oidc_keys, "FETCH_SECONDS", 60)
    token = issuer.token()
    ask(service, token)
    issuer.answers.clear()
    clock.seconds += STALE_SECONDS + 1
    first = ask(service, token).status_code
    go_on = threading.Event()
    issuer.answers[DISCOVERY] = partial(fail_when, go_on)
    clock.seconds += 2
    others = [ask(service, token).status_code for _ in range(3)]
    go_on.set()

    assert [200] * 4 == [first, *others]


@pytest.mark.parametrize("path", [DISCOVERY, KEYS])
def test_an_issuer_that_takes_too_long_is_given_up(
    issuer: OwnIssuer, service: Service, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    """503 after five seconds, here after a tenth of one."""
    monkeypatch.setattr(oidc_keys, "FETCH_SECONDS", 0.1)
    go_on = threading.Event()
    issuer.answers[path] = partial(fail_when, go_on)
    answer = ask(service, issuer.token())
    go_on.set()

    assert UNAVAILABLE == said(answer)


def test_an_issuer_that_drips_is_given_up(issuer: OwnIssuer, service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """The time is for all of both documents, and not for each piece of them."""
    monkeypatch.setattr(oidc_keys, "FETCH_SECONDS", 0.3)
    issuer.pause_seconds = 0.05
    began = time.monotonic()
    answer = ask(service, issuer.token())

    assert UNAVAILABLE == said(answer)
    assert time.monotonic() - began < 5


def answering(issuer: OwnIssuer, path: str, answer: Answer) -> None:
    """Let the issuer answer so at this path."""
    issuer.answers[path] = answer


def grow(issuer: OwnIssuer, path: str) -> None:
    """Let the issuer say the right thing at this path in too many bytes."""
    answer = issuer.answers[path]
    assert isinstance(answer, Answer)
    issuer.answers[path] = Answer(b" " * (MOST_BYTES + 1) + answer.body)


UNFIT: dict[str, Callable[[OwnIssuer], Any]] = {
    "another name": lambda issuer: issuer.describe(issuer="https://issuer.example"),
    "its name with a slash": lambda issuer: issuer.describe(issuer=issuer.url + "/"),
    "its name as localhost": lambda issuer: issuer.describe(issuer=issuer.url.replace("127.0.0.1", "localhost")),
    "no name": lambda issuer: issuer.describe(issuer=None),
    "no address of keys": lambda issuer: issuer.describe(jwks_uri=None),
    "keys in the clear elsewhere": lambda issuer: issuer.describe(jwks_uri="http://keys.example/keys"),
    "keys in a file": lambda issuer: issuer.describe(jwks_uri="file:///etc/passwd"),
    "keys in the answer": lambda issuer: issuer.describe(jwks_uri='data:application/json,{"keys":[]}'),
    "keys at no address": lambda issuer: issuer.describe(jwks_uri="https://"),
    "keys at half an address": lambda issuer: issuer.describe(jwks_uri="http://[::1"),
    "keys at an odd address": lambda issuer: issuer.describe(jwks_uri="https://\x00/"),
    "keys at an odd port": lambda issuer: issuer.describe(jwks_uri="https://127.0.0.1:99999/"),
    "keys at nobody's port": lambda issuer: issuer.describe(jwks_uri="https://127.0.0.1:1/"),
    "no key": lambda issuer: issuer.publish(),
    "keys for encryption alone": lambda issuer: issuer.publish(rsa_key().published(use="enc")),
    "a shared key": lambda issuer: issuer.publish({"kty": "oct", "kid": "rsa", "k": encode(b"secret")}),
    "keys without ids": lambda issuer: issuer.publish(rsa_key().published(kid=None)),
    "keys that are none": lambda issuer: issuer.publish({"kty": "RSA", "kid": "rsa", "n": "!", "e": "AQAB"}),
    "texts for keys": lambda issuer: issuer.publish("rsa"),
    "too many keys": lambda issuer: issuer.publish(*[rsa_key().published()] * 101),
    "much of itself": partial(grow, path=DISCOVERY),
    "much of its keys": partial(grow, path=KEYS),
    **{
        f"{what} for {path}": partial(answering, path=path, answer=answer)
        for path in (DISCOVERY, KEYS)
        for what, answer in {
            "404": Answer(b"{}", 404),
            "500": Answer(b"{}", 500),
            "204": Answer(b"", 204),
            "nothing": Answer(b""),
            "a page": Answer(b"<!DOCTYPE html>", headers={"Content-Type": "text/html"}),
            "a list": Answer(b"[]"),
            "no UTF-8": Answer(b'{"issuer":"\xff\xed\xa0\x80"}'),
            "depth": Answer(b'{"a":' + b"[" * 100_000),
            "what is compressed": Answer(b"\x1f\x8b\x08", headers={"Content-Encoding": "gzip"}),
        }.items()
    },
}


@pytest.mark.parametrize("what", UNFIT)
def test_an_issuer_that_says_something_else_vouches_for_nobody(
    forgotten: OwnIssuer, trustful: Service, clock: Clock, what: str
) -> None:
    """503, for nobody knows what its tokens are worth. As soon as it says the right thing they are taken."""
    UNFIT[what](forgotten)
    without = ask(trustful, forgotten.token())
    forgotten.mend()
    clock.seconds += int(without.headers["Retry-After"])

    assert UNAVAILABLE == said(without)
    assert 200 == ask(trustful, forgotten.token()).status_code


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("path", [DISCOVERY, KEYS])
def test_a_redirect_is_not_followed(forgotten: OwnIssuer, trustful: Service, path: str, status: int) -> None:
    """Whoever can make an issuer redirect cannot vouch for tokens."""
    with OwnIssuer() as other:
        other.describe(issuer=forgotten.url, jwks_uri=other.url + KEYS)
        forgotten.answers[path] = Answer(b"", status, {"Location": other.url + path})
        answer = ask(trustful, forgotten.token())

    assert UNAVAILABLE == said(answer)
    assert path in forgotten.asked
    assert [] == other.asked


def test_keys_may_be_at_another_address_that_the_issuer_names(issuer: OwnIssuer, service: Service) -> None:
    """Large issuers keep them on a host of their own."""
    with OwnIssuer() as other:
        issuer.describe(jwks_uri=other.url + KEYS)
        answer = ask(service, issuer.token())

    assert 200 == answer.status_code
    assert ([DISCOVERY], [KEYS]) == (issuer.asked, other.asked)


def test_one_key_that_is_not_understood_does_not_spoil_the_others(issuer: OwnIssuer, service: Service) -> None:
    """An issuer may publish keys for purposes that are newer than this program."""
    unknown = {"kty": "AKP", "kid": "new", "alg": "ML-DSA-65", "pub": "AAAA"}
    issuer.publish(unknown, {"kid": 7, "kty": ["RSA"]}, {}, rsa_key().published(x5u=7, ext=True))

    assert 200 == ask(service, issuer.token()).status_code


def certificate(folder: Path) -> ssl.SSLContext:
    """Make a certificate that vouches for itself, `certificate.pem`, and return what a server needs to show it."""
    key = ec_key(name="tls").private
    assert isinstance(key, EllipticCurvePrivateKey)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "an issuer")])
    names = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1")), x509.DNSName("login.example")])
    now = dt.datetime.now(dt.UTC)
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now + dt.timedelta(1))
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, SHA256())
    )
    (folder / "certificate.pem").write_bytes(signed.public_bytes(Encoding.PEM))
    (folder / "key.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "certificate.pem", folder / "key.pem")
    return context


@pytest.mark.parametrize(("trusted", "expected"), [(True, 200), (False, 503)])
def test_an_issuer_has_to_show_a_certificate_that_the_machine_trusts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, expected: int, *, trusted: bool
) -> None:
    """The machine's own certificates count, or those that SSL_CERT_FILE names; nothing turns the check off."""
    tls = certificate(tmp_path)
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "certificate.pem"))
    with OwnIssuer(tls) as issuer, trusting(issuer, tmp_path) as service:
        answer = ask(service, issuer.token())

    assert expected == answer.status_code
    assert ([DISCOVERY, KEYS] if trusted else []) == issuer.asked


class Proxy(BaseHTTPRequestHandler):
    """Connects whoever asks for a host by its name with the issuer of the test (RFC 9110, section 9.3.6)."""

    asked: ClassVar[list[str]] = []
    issuer_port: ClassVar[int] = 0

    def do_CONNECT(self) -> None:
        """Let bytes pass in both directions until one side has no more."""
        self.asked.append(self.path)
        self.send_response(200)
        self.end_headers()
        with socket.create_connection(("127.0.0.1", self.issuer_port)) as issuer:
            ways = {self.connection: issuer, issuer: self.connection}
            while True:
                for side in select.select(list(ways), [], [])[0]:
                    data = side.recv(65536)
                    if not data:
                        return
                    ways[side].sendall(data)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name that is overridden
        """Say nothing."""


@pytest.fixture
def far(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[OwnIssuer]:
    """Run an issuer that is not on this machine, as far as the service can see: it is reached through a proxy."""
    monkeypatch.setattr(Proxy, "asked", [])
    with OwnIssuer(certificate(tmp_path)) as issuer, ThreadingHTTPServer(("127.0.0.1", 0), Proxy) as proxy:
        threading.Thread(target=proxy.serve_forever, args=[0.01], daemon=True).start()
        monkeypatch.setattr(Proxy, "issuer_port", int(issuer.url.rpartition(":")[2]))
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "certificate.pem"))
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.server_port}")
        issuer.url = "https://login.example"
        issuer.mend()
        yield issuer
        proxy.shutdown()


def test_an_issuer_beyond_a_proxy_is_reached_through_it(far: OwnIssuer, tmp_path: Path) -> None:
    """As HTTPS_PROXY says; the certificate is that of the issuer, so the proxy can change nothing."""
    with trusting(far, tmp_path) as service:
        answer = ask(service, far.token())

    assert 200 == answer.status_code
    assert [DISCOVERY, KEYS] == far.asked
    assert {"login.example:443"} == set(Proxy.asked)


def test_an_issuer_elsewhere_may_not_point_at_this_machine(far: OwnIssuer, issuer: OwnIssuer, tmp_path: Path) -> None:
    """It cannot make the service ask what only this machine can reach, nor take keys that travelled in the clear."""
    far.describe(jwks_uri=issuer.url + KEYS)
    with trusting(far, tmp_path) as service:
        answer = ask(service, far.token())

    assert UNAVAILABLE == said(answer)
    assert ([DISCOVERY], []) == (far.asked, issuer.asked)
