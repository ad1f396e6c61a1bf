"""Fault 35 behind proxies: whom a request comes from, where the operator has named who may say so. On one engine."""

from collections.abc import Iterator

import httpx
import pytest

from faults import request
from harness import BASE_PATH, TLS, Service
from keyholders import WRONG_KEY, caller
from log_lines import Logged
from sprocket_factory.settings import Settings

TRUSTED = "127.0.0.1, 10.0.0.0/8, 2001:db8:ffff::/48"

MOST_WRONG_KEYS = 20

AUTHORIZATION = {"Authorization": f"Bearer {WRONG_KEY}"}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Run one service that knows proxies; from nowhere are there too many wrong keys."""
    url = f"sqlite:///{tmp_path_factory.mktemp('proxies') / 'factory.db'}"
    settings = Settings(database_url=url, trusted_proxies=TRUSTED, max_wrong_keys=1000)
    with Service(settings, anonymous_role="none") as running:
        yield running


def seen(service: Service, logged: Logged, *headers: bytes) -> str:
    """Return from which address the service says that a request with these headers came."""
    with caller(service) as proxy:
        proxy.speak(request(b"GET", b"/me", b"Authorization: Bearer " + WRONG_KEY.encode(), *headers))
    (line,) = logged.lines("wrong key")
    return str(line["client"])


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("192.0.2.7", "192.0.2.7"),
        (" 192.0.2.7 ", "192.0.2.7"),
        ("192.0.2.7:4711", "192.0.2.7"),
        ("2001:db8::7", "2001:db8::7"),
        ("2001:DB8:0::7", "2001:db8::7"),
        ("[2001:db8::7]", "2001:db8::7"),
        ("[2001:db8::7]:4711", "2001:db8::7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("192.0.2.7, 10.1.2.3", "192.0.2.7"),
        ("192.0.2.7, 10.1.2.3, 2001:db8:ffff::1, 127.0.0.1", "192.0.2.7"),
        ("198.51.100.1, 192.0.2.7", "192.0.2.7"),
        ("10.9.9.9, 192.0.2.7", "192.0.2.7"),
        ("127.0.0.1, 192.0.2.7, 10.1.2.3", "192.0.2.7"),
        ("10.1.1.1, 10.2.2.2", "10.1.1.1"),
    ],
)
def test_fault_35_a_proxy_that_is_named_says_whom_it_speaks_for(
    service: Service, logged: Logged, said: str, expected: str
) -> None:
    """It is the last address that is no proxy's: whatever stands before it, the caller may have written himself."""
    assert expected == seen(service, logged, f"X-Forwarded-For: {said}".encode())


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("", "127.0.0.1"),
        ("unknown", "127.0.0.1"),
        ("_hidden", "127.0.0.1"),
        ("localhost", "127.0.0.1"),
        ("192.0.2.7,", "127.0.0.1"),
        ("192.0.2.7, nonsense, 10.1.2.3", "10.1.2.3"),
        ("192.0.2", "127.0.0.1"),
        ("192.0.2.07", "127.0.0.1"),
        ("192.0.2.7/24", "127.0.0.1"),
        ("3221225991", "127.0.0.1"),
        ("\xff", "127.0.0.1"),
        ("<script>", "127.0.0.1"),
        ("for=192.0.2.7", "127.0.0.1"),
        ("192.0.2.7 " * 5000, "127.0.0.1"),
        ("192.0.2.7, " + "10.1.2.3," * 5000 + "10.4.4.4", "10.1.2.3"),
    ],
    ids=lambda text: ascii(text[:30]),
)
def test_fault_35_what_cannot_be_read_leads_no_farther(
    service: Service, logged: Logged, said: str, expected: str
) -> None:
    """The request came from whoever is known last, and nothing of what was made up is believed or logged."""
    assert expected == seen(service, logged, b"X-Forwarded-For: " + said.encode("latin-1"))


def test_fault_35_several_headers_are_read_as_one(service: Service, logged: Logged) -> None:
    """A caller's own header stands before that of the proxy."""
    headers = [b"X-Forwarded-For: 198.51.100.1", b"X-Forwarded-For: 192.0.2.7", b"X-Forwarded-For: 10.1.2.3"]

    assert "192.0.2.7" == seen(service, logged, *headers)


@pytest.mark.parametrize("header", [b"Forwarded: for=192.0.2.7", b"X-Real-IP: 192.0.2.7", b"Via: 1.1 192.0.2.7"])
def test_fault_35_one_header_counts(service: Service, logged: Logged, header: bytes) -> None:
    """Others are as good as any that a caller makes up: a proxy need not know them."""
    assert "127.0.0.1" == seen(service, logged, header)


def test_fault_35_who_is_no_proxy_is_not_believed(service: Service, logged: Logged) -> None:
    """From an address that nobody has named the header says nothing."""
    transport = httpx.HTTPTransport(local_address="127.0.0.2", verify=TLS)
    headers = AUTHORIZATION | {"X-Forwarded-For": "192.0.2.7"}
    with httpx.Client(transport=transport, trust_env=False) as client:
        client.get(f"{service.address}{BASE_PATH}/me", headers=headers)

    assert ["127.0.0.2"] == [line["client"] for line in logged.lines("wrong key")]


def test_fault_35_behind_a_proxy_wrong_keys_are_counted_for_the_caller(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """One who guesses makes nobody else wait, though all come from the proxy's address."""
    url = f"sqlite:///{tmp_path_factory.mktemp('counted') / 'factory.db'}"
    settings = Settings(database_url=url, trusted_proxies="127.0.0.1")
    sent = ["192.0.2.7"] * (MOST_WRONG_KEYS + 1) + ["192.0.2.8", "192.0.2.7"]
    with Service(settings, anonymous_role="none") as running, caller(running, WRONG_KEY) as proxy:
        statuses = [proxy.get("/me", headers={"X-Forwarded-For": address}).status_code for address in sent]

    assert [401] * MOST_WRONG_KEYS + [429, 401, 429] == statuses


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("https", 1),
        ("HTTPS", 1),
        ("http, https", 1),
        ("https, http", 0),
        ("http", 0),
        ("", 0),
        ("wss", 0),
        ("https\xff", 0),
    ],
)
def test_fault_35_a_proxy_that_is_named_says_over_what_it_was_asked(service: Service, said: str, expected: int) -> None:
    """Where it speaks TLS for the service, browsers are told to stay with it; the last word is that of the proxy."""
    headers = {b"X-Forwarded-Proto": said.encode("latin-1")}
    transport = httpx.HTTPTransport(local_address="127.0.0.2", verify=TLS)
    with caller(service) as proxy, httpx.Client(transport=transport, trust_env=False) as other:
        answers = [client.get(f"{service.address}/docs", headers=headers) for client in (proxy, other)]

    assert [expected, 0] == [len(answer.headers.get_list("Strict-Transport-Security")) for answer in answers]
