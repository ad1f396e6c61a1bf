"""Faults 29, 30, 31 and 35: callers without a right key, guessing, and headers that say what is not so."""

import itertools
import re
import statistics
import time
from collections.abc import Iterator
from hashlib import sha256
from types import SimpleNamespace

import httpx
import pytest

from faults import get, request, status_of
from harness import BASE_PATH, TLS, Client, Service
from keyholders import WRONG_KEY, caller, change_key, make_key
from sprocket_factory.access import limits
from sprocket_factory.entities.key import Role

pytestmark = pytest.mark.closed

INVALID = 'Bearer error="invalid_token"'

MOST_WRONG_KEYS = 20
WINDOW_SECONDS = 60

TIMES = 100
"""Each guess is timed so often, in turn with the others, so that a busy machine falls on all of them."""


class Clock:
    """A clock that goes on only when it is told to. Each begins when all that the last one saw is forgotten."""

    begins = itertools.count(100_000, 100_000)

    def __init__(self) -> None:
        self.seconds = float(next(self.begins))

    def monotonic(self) -> float:
        """Return what it shows."""
        return self.seconds


@pytest.fixture
def stranger(service: Service) -> Iterator[Client]:
    """Return somebody without a key."""
    with caller(service) as client:
        yield client


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Return the clock by which wrong keys are counted."""
    hands = Clock()
    monkeypatch.setattr(limits, "time", SimpleNamespace(monotonic=hands.monotonic))
    return hands


def guess(client: Client, times: int = 1, headers: dict[str, str] | None = None) -> httpx.Response:
    """Try a wrong key so many times and return the last answer."""
    for _ in range(times):
        answer = client.get("/me", headers={"Authorization": f"Bearer {WRONG_KEY}"} | (headers or {}))
    return answer


def said(answer: httpx.Response) -> tuple[int, str, dict[str, object]]:
    """Return what an answer says: its status, its challenge and its body, but for the id of the request."""
    body = {name: value for name, value in answer.json().items() if name != "request_id"}
    return answer.status_code, answer.headers["WWW-Authenticate"], body


def test_fault_29_who_sends_no_key_is_asked_for_one(stranger: Client) -> None:
    """401 with the scheme, and no word of an invalid token: there was none."""
    answer = stranger.get("/sprockets")

    assert (401, "Bearer") == (answer.status_code, answer.headers["WWW-Authenticate"])
    assert "/problems/unauthenticated" == answer.json()["type"]


@pytest.mark.parametrize(
    "credentials",
    [
        "",
        "Bearer",
        "Bearer sfk_",
        f"Bearer {WRONG_KEY}",
        "Bearer " + "A" * 60_000,
        "Bearer null",
        "Bearer \xff\xfe",
        "Bearer ' OR 1=1 --",
        "Bearer eyJhbGciOiJub25lIiwidHlwIjoiYXQrand0In0.eyJzdWIiOiJhZG1pbiIsInJvbGUiOiJhZG1pbiJ9.",
        "Bearer eyJhbGciOiJIUzI1NiIsInR5cCI6ImF0K2p3dCJ9.eyJyb2xlIjoiYWRtaW4ifQ.c2lnbmF0dXJl",
        "{right}",
        "Basic {right}",
        "Token {right}",
        "Digest username={right}",
        "Bearer{right}",
        "Bearer:{right}",
        "Bearer\t{right}",
        "Bearer {right}x",
        "Bearer {right},",
        "Bearer {right}, Bearer {right}",
        "Bearer {right} {right}",
        'Bearer "{right}"',
        "Bearer {shorter}",
        "Bearer {without_prefix}",
        "Bearer {upper}",
        "Bearer {expired}",
        "Bearer {revoked}",
        "Bearer {digest}",
    ],
    ids=lambda text: text[:40],
)
def test_fault_29_whatever_is_no_right_key_gets_one_wording(service: Service, credentials: str) -> None:
    """401 in the same words for all of them, so that nobody learns how near a guess was."""
    right, expired, revoked = (make_key(service, "admin") for _ in range(3))
    change_key(service, expired.id, "expires_at", 1)
    names = {
        "right": right.secret,
        "shorter": right.secret[:-1],
        "without_prefix": right.secret[4:],
        "upper": right.secret.upper(),
        "expired": expired.secret,
        "revoked": revoked.secret,
        "digest": sha256(right.secret.encode()).hexdigest(),
    }
    with caller(service, right.secret) as admin, caller(service) as stranger:
        assert 204 == admin.delete(f"/keys/{revoked.id}").status_code
        filled_in = re.sub(r"{(\w+)}", lambda found: names[found[1]], credentials)
        answer = stranger.get("/me", headers={b"Authorization": filled_in.encode("latin-1")})
        wrong = guess(stranger)

    assert (401, INVALID) == said(answer)[:2]
    assert said(wrong) == said(answer)


def test_fault_29_a_scheme_with_nothing_but_space_behind_it_is_no_key(stranger: Client) -> None:
    """What client libraries refuse to send is refused here, too."""
    answer = stranger.speak(get(b"/me", b"Authorization: Bearer  "))

    assert 401 == status_of(answer)
    assert INVALID.encode() in answer


@pytest.mark.parametrize("credentials", ["Bearer {}", "bearer {}", "BEARER {}", "Bearer   {}"])
def test_the_scheme_knows_no_case(service: Service, stranger: Client, credentials: str) -> None:
    """Names of schemes are written in any case (RFC 9110), with one space or several behind them."""
    secret = make_key(service, "viewer").secret
    answer = stranger.get("/me", headers={"Authorization": credentials.format(secret)})

    assert 200 == answer.status_code


@pytest.mark.parametrize("name", ["key", "access_token", "token", "api_key", "authorization", "secret"])
def test_fault_30_a_key_in_the_query_is_none(service: Service, stranger: Client, name: str) -> None:
    """Addresses stand in logs and histories, so nothing in them is looked at."""
    answer = stranger.get("/me", params={name: make_key(service, "admin").secret})

    assert (401, "Bearer") == (answer.status_code, answer.headers["WWW-Authenticate"])


def test_fault_30_a_key_before_the_host_is_none(service: Service) -> None:
    """What stands there is sent as another scheme."""
    secret = make_key(service, "admin").secret
    address = service.address.replace("://", f"://{secret}@")
    answer = httpx.get(f"{address}{BASE_PATH}/me", trust_env=False, verify=TLS)

    assert (401, INVALID) == (answer.status_code, answer.headers["WWW-Authenticate"])


@pytest.mark.parametrize(
    "header", ["X-API-Key", "Cookie", "Proxy-Authorization", "X-Authorization", "X-Forwarded-Authorization"]
)
def test_fault_30_a_key_in_another_header_is_none(service: Service, stranger: Client, header: str) -> None:
    """One header counts."""
    answer = stranger.get("/me", headers={header: f"Bearer {make_key(service, 'admin').secret}"})

    assert (401, "Bearer") == (answer.status_code, answer.headers["WWW-Authenticate"])


@pytest.mark.parametrize("second", ["{right}", "{other}", WRONG_KEY, ""], ids=["same", "other", "wrong", "empty"])
@pytest.mark.parametrize("order", [1, -1])
def test_fault_30_two_authorization_headers_are_none(
    service: Service, stranger: Client, second: str, order: int
) -> None:
    """Whoever stands in between might look at the one and the service at the other: 401, even if both are right."""
    right, other = (make_key(service, "admin").secret for _ in range(2))
    values = [right, second.format(right=right, other=other)]
    headers = [f"Authorization: Bearer {value}".encode() for value in values[::order]]
    answer = stranger.speak(get(b"/me", *headers))

    assert 401 == status_of(answer)
    assert INVALID.encode() in answer


def test_fault_31_after_twenty_wrong_keys_in_a_minute_an_address_has_to_wait(stranger: Client) -> None:
    """The 21st is 429 and says how long; the 20 before it are 401."""
    before = [guess(stranger).status_code for _ in range(MOST_WRONG_KEYS)]
    answer = guess(stranger)

    assert [401] * MOST_WRONG_KEYS == before
    assert (429, "/problems/too-many") == (answer.status_code, answer.json()["type"])
    assert 1 <= int(answer.headers["Retry-After"]) <= WINDOW_SECONDS + 1


def test_fault_31_every_sort_of_wrong_key_counts(service: Service, stranger: Client) -> None:
    """Guesses that differ, another scheme, an expired key and two headers are wrong keys, too."""
    expired = make_key(service, "admin")
    change_key(service, expired.id, "expires_at", 1)
    for number in range(5):
        guess(stranger, headers={"Authorization": f"Bearer sfk_{number}"})
        guess(stranger, headers={"Authorization": f"Bearer {expired.secret}"})
        stranger.get("/me", headers={"Authorization": "Basic eDp5"})
        stranger.speak(get(b"/me", b"Authorization: Bearer a", b"Authorization: Bearer b"))

    assert 429 == guess(stranger).status_code


@pytest.mark.parametrize("path", ["/sprockets", "/keys", "/me"])
def test_fault_31_a_guess_counts_wherever_it_is_tried(stranger: Client, path: str) -> None:
    """The count is that of the address, whatever it asks for."""
    for method in ("GET", "HEAD", "POST", "DELETE"):
        for _ in range(6):
            stranger.request(
                method,
                f"/sprockets/{method}" if method == "DELETE" else "/keys",
                headers={"Authorization": f"Bearer {WRONG_KEY}"},
            )

    assert 429 == stranger.get(path, headers={"Authorization": f"Bearer {WRONG_KEY}"}).status_code


def test_fault_31_missing_keys_do_not_count(stranger: Client) -> None:
    """A page that is asked for before anybody has signed in is no guess."""
    missing = {stranger.get("/me").status_code for _ in range(2 * MOST_WRONG_KEYS)}

    assert {401} == missing
    assert 401 == guess(stranger).status_code


@pytest.mark.parametrize("role", ["viewer", "admin"])
def test_fault_31_a_right_key_still_passes(service: Service, stranger: Client, role: Role) -> None:
    """Nobody is locked out by his neighbour, and a right key neither counts nor forgives."""
    secret = make_key(service, role).secret
    guess(stranger, MOST_WRONG_KEYS + 1)
    with caller(service, secret) as holder:
        right = {holder.get("/me").status_code for _ in range(2 * MOST_WRONG_KEYS)}

    assert {200} == right
    assert 429 == guess(stranger).status_code


def test_fault_31_who_has_to_wait_may_still_come_without_a_key(service: Service, stranger: Client) -> None:
    """What asks for no key is not refused, and what lacks one is told so."""
    guess(stranger, MOST_WRONG_KEYS + 1)

    assert 200 == stranger.get(f"{service.address}/docs").status_code
    assert 401 == stranger.get("/me").status_code


@pytest.mark.parametrize(("seconds", "expected"), [(WINDOW_SECONDS - 1, 429), (WINDOW_SECONDS + 1, 401)])
def test_fault_31_after_a_minute_it_is_forgotten(stranger: Client, clock: Clock, seconds: int, expected: int) -> None:
    """Not before, and then wholly."""
    guess(stranger, MOST_WRONG_KEYS)
    clock.seconds += seconds

    assert expected == guess(stranger).status_code


@pytest.mark.parametrize("pause", [0, 0.5, 1, 2, 2.9])
def test_fault_31_who_waits_as_long_as_he_is_told_is_heard_again(stranger: Client, clock: Clock, pause: float) -> None:
    """Retry-After is long enough, however the guesses were spread out."""
    for _ in range(MOST_WRONG_KEYS):
        guess(stranger)
        clock.seconds += pause
    waiting = int(guess(stranger).headers["Retry-After"])
    clock.seconds += waiting

    assert 1 <= waiting <= WINDOW_SECONDS + 1
    assert 401 == guess(stranger).status_code


def test_fault_31_guesses_further_apart_are_never_too_many(stranger: Client, clock: Clock) -> None:
    """A machine with an old key that asks every four seconds is told that its key is wrong, for ever."""
    statuses = set()
    for _ in range(3 * MOST_WRONG_KEYS):
        statuses.add(guess(stranger).status_code)
        clock.seconds += 4

    assert {401} == statuses


def test_fault_31_time_tells_nothing(service: Service, stranger: Client, clock: Clock) -> None:
    """A guess that is nearly a key is refused no later and no sooner than one that is far from any."""
    secret, expired = (make_key(service, "admin") for _ in range(2))
    change_key(service, expired.id, "expires_at", 1)
    guesses = [WRONG_KEY, secret.secret[:-1] + "!", secret.secret[:8], expired.secret]
    took: dict[str, list[float]] = {key: [] for key in guesses}
    for _ in range(TIMES):
        for key in guesses:
            clock.seconds += WINDOW_SECONDS
            began = time.perf_counter()
            answer = guess(stranger, headers={"Authorization": f"Bearer {key}"})
            took[key].append(time.perf_counter() - began)
            assert 401 == answer.status_code
    medians = sorted(statistics.median(seconds) for seconds in took.values())

    assert medians[-1] < 1.5 * medians[0]


@pytest.mark.parametrize("header", ["X-Forwarded-For", "X-Real-IP", "Forwarded", "X-Client-IP", "True-Client-IP"])
def test_fault_35_a_forged_address_makes_nobody_another(stranger: Client, header: str) -> None:
    """Wrong keys are counted for the address they come from, whatever a header says of it."""
    for number in range(MOST_WRONG_KEYS):
        address = f"192.0.2.{number}"
        assert (
            401 == guess(stranger, headers={header: f"for={address}" if header == "Forwarded" else address}).status_code
        )

    assert 429 == guess(stranger, headers={header: "198.51.100.1"}).status_code


def test_fault_35_a_forged_address_burdens_no_other(service: Service, stranger: Client) -> None:
    """Another address is not made to wait for what was done in its name."""
    guess(stranger, MOST_WRONG_KEYS + 1, headers={"X-Forwarded-For": "127.0.0.2"})
    with httpx.Client(transport=httpx.HTTPTransport(local_address="127.0.0.2", verify=TLS), trust_env=False) as other:
        answer = other.get(f"{service.address}{BASE_PATH}/me", headers={"Authorization": f"Bearer {WRONG_KEY}"})

    assert 401 == answer.status_code
    assert 429 == guess(stranger).status_code


@pytest.mark.parametrize(
    "host", [b"evil.example", b"127.0.0.1", b"localhost:1", b"[::1]", b"a@b", b"evil.example:99999"]
)
def test_fault_35_a_forged_host_changes_nothing(service: Service, host: bytes) -> None:
    """It is neither believed nor repeated: not for who asks, nor in what is answered."""
    header = f"Authorization: Bearer {make_key(service, 'engineer').secret}".encode()
    body = b'{"name": "Sheffield"}'
    length = b"Content-Length: %d" % len(body)
    with caller(service) as client:
        made = client.speak(
            request(b"POST", b"/factories", b"Host: " + host, header, b"Content-Type: application/json", length) + body
        )
        listed = client.speak(get(b"/factories?limit=1", b"Host: " + host, header))
        refused = client.speak(get(b"/factories", b"Host: " + host))

    assert [201, 200, 401] == [status_of(answer) for answer in (made, listed, refused)]
    assert b"location: /sprocketFactory/v1/factories/1\r\n" in made
    assert [] == [answer for answer in (made, listed, refused) if b"evil" in answer or b"script" in answer]


def test_fault_35_a_forged_host_and_scheme_keep_the_count(stranger: Client) -> None:
    """Wrong keys by many names are those of one address."""
    for number in range(MOST_WRONG_KEYS):
        guess(stranger, headers={"Host": f"{number}.example", "X-Forwarded-Host": f"{number}.example"})

    assert 429 == guess(stranger, headers={"X-Forwarded-Proto": "https"}).status_code


@pytest.mark.parametrize(
    "request_id",
    [
        b"",
        b"a b",
        b"a\tb",
        b"\xc3\xa9",
        b"\xff",
        b"<script>",
        b'"',
        b"a" * 129,
        b"a;b",
        b"a,b",
        b"%0d%0aX: y",
        b"{{7}}",
    ],
)
def test_fault_35_a_request_id_of_insane_characters_is_replaced(stranger: Client, request_id: bytes) -> None:
    """What could forge lines in a log or markup in a page is not repeated; the service gives its own."""
    answer = stranger.speak(get(b"/me", b"X-Request-ID: " + request_id))
    given = re.findall(rb"x-request-id: (.*)\r\n", answer)

    assert 401 == status_of(answer)
    assert [True] == [bool(re.fullmatch(rb"[a-z0-9-]{8,64}", one)) for one in given]
    assert b'"request_id":"%s"' % given[0] in answer


def test_fault_35_a_sane_request_id_is_kept(stranger: Client) -> None:
    """A refusal can be found by the id that its caller gave."""
    answer = stranger.get("/me", headers={"X-Request-ID": "line-7:2021.01+x/y=_"})

    assert ["line-7:2021.01+x/y=_"] * 2 == [answer.headers["X-Request-ID"], answer.json()["request_id"]]
