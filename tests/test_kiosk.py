"""The link of a screen on the wall: what it opens, what it does not, and that nobody reads the key in it anywhere."""

from collections.abc import Iterator

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from browsers import COOKIE, Browser, cookies_of, let_it_be_known
from harness import BASE_PATH, Service, a_sprocket
from keyholders import WRONG_KEY, caller, change_key, make_key
from log_lines import Logged
from sprocket_factory.entities.instant import SECOND, now
from sprocket_factory.entities.key import Role
from sprocket_factory.observe_statements import slow
from sprocket_factory.observe_traces import traces

pytestmark = pytest.mark.closed

YEAR_AND_A_MONTH = 400 * 24 * 3600


@pytest.fixture
def screen(service: Service) -> Iterator[Browser]:
    """Return the browser of a screen that has not opened its link yet."""
    with Browser(service) as browser:
        yield browser


def link(key: str) -> str:
    """Return the link that this key makes."""
    return f"/board/kiosk/{key}"


def test_the_link_leads_to_the_wall_and_lets_the_screen_look(service: Service, screen: Browser) -> None:
    """The key is exchanged for a cookie, so that no address that the screen shows has it."""
    answer = screen.get(link(make_key(service, "viewer").secret))
    cookie = cookies_of(answer)[COOKIE]

    assert (303, "/board/wall") == (answer.status_code, answer.headers["Location"])
    assert ("True", "Lax") == (cookie["httponly"], cookie["samesite"])
    assert YEAR_AND_A_MONTH - 5 <= int(cookie["max-age"]) <= YEAR_AND_A_MONTH
    assert 200 == screen.get("/").status_code
    assert (200, "viewer") == (screen.me()[0], screen.me()[1]["role"])


def test_the_answer_is_kept_nowhere_and_sends_no_referrer(service: Service, screen: Browser) -> None:
    """Neither a cache nor the page that follows learns the address, whether the link is right or wrong."""
    key = make_key(service, "viewer").secret
    told = [
        (answer.headers["Cache-Control"], answer.headers["Referrer-Policy"])
        for answer in (screen.get(link(key)), screen.get(link(WRONG_KEY)), screen.head(link(key)))
    ]

    assert [("no-store", "no-referrer")] * 3 == told


@pytest.mark.parametrize("role", ["viewer", "operator", "engineer", "admin"])
def test_a_screen_writes_nothing_whatever_becomes_of_its_key(service: Service, screen: Browser, role: Role) -> None:
    """Also if somebody gives the key another role later, and though a page of ours asks."""
    key = make_key(service, "viewer")
    screen.get(link(key.secret))
    change_key(service, key.id, "role", role)
    let_it_be_known(service)
    record = {"factory_id": 1, "time": 1_611_194_818, "sprocket_production_actual": 1, "sprocket_production_goal": 2}
    refused = [
        screen.post(f"{BASE_PATH}/sprockets", json=a_sprocket(), headers=screen.from_here()),
        screen.post(f"{BASE_PATH}/production", json=record, headers=screen.from_here()),
        screen.post(f"{BASE_PATH}/keys", json={"name": "x", "role": "admin"}, headers=screen.from_here()),
        screen.get(f"{BASE_PATH}/keys"),
        screen.get(f"{BASE_PATH}/changes"),
    ]

    assert [403] * 5 == [answer.status_code for answer in refused]
    assert (200, "viewer") == (screen.me()[0], screen.me()[1]["role"])


def test_revoking_the_key_turns_the_screen_dark(service: Service, screen: Browser) -> None:
    """With the next request, and the link leads nowhere any more."""
    key = make_key(service, "viewer")
    screen.get(link(key.secret))
    with caller(service, make_key(service, "admin").secret) as admin:
        admin.delete(f"/keys/{key.id}")

    assert 401 == screen.me()[0]
    assert 404 == screen.get(link(key.secret)).status_code


@pytest.mark.parametrize("role", ["operator", "engineer", "admin"])
def test_no_other_key_makes_a_link(service: Service, screen: Browser, role: Role) -> None:
    """Addresses are copied and shown: a key that may more than look does not belong there."""
    answer = screen.get(link(make_key(service, role).secret))

    assert (403, {}) == (answer.status_code, cookies_of(answer))
    assert "viewer" in answer.text


def test_a_screen_is_dark_once_its_key_has_expired(service: Service, screen: Browser) -> None:
    """The cookie ends with the key, and so does the link."""
    key = make_key(service, "viewer")
    change_key(service, key.id, "expires_at", now() + 60 * SECOND)
    cookie = cookies_of(screen.get(link(key.secret)))[COOKIE]
    change_key(service, key.id, "expires_at", now() - SECOND)
    let_it_be_known(service)

    assert 50 <= int(cookie["max-age"]) <= 60
    assert (401, 404) == (screen.me()[0], screen.get(link(key.secret)).status_code)


@pytest.mark.parametrize("key", [WRONG_KEY, "x", "sfk_", "%00", "%FF", "..", "' OR 1=1 --", "ключ", "a" * 5000])
def test_a_wrong_link_leads_nowhere(screen: Browser, key: str) -> None:
    """404 on a page, without a cookie."""
    answer = screen.get(link(key))

    assert (404, {}) == (answer.status_code, cookies_of(answer))


def test_fault_31_guessing_links_counts_as_guessing_keys(service: Service, screen: Browser) -> None:
    """After 20 of them 429; and the right one is let in all the same."""
    statuses = [screen.get(link(WRONG_KEY)).status_code for _ in range(21)]

    assert [404] * 20 + [429] == statuses
    assert 303 == screen.get(link(make_key(service, "viewer").secret)).status_code


def test_looking_what_a_link_leads_to_begins_no_session(service: Service, screen: Browser) -> None:
    """HEAD is for programs that show what somebody has written to them."""
    answer = screen.head(link(make_key(service, "viewer").secret))
    (count,) = service.run(service.database.one, "SELECT count(*) FROM sessions")

    assert (303, {}, 0) == (answer.status_code, cookies_of(answer), count)


def test_a_screen_that_starts_anew_leaves_no_session_behind(service: Service, screen: Browser) -> None:
    """It opens its link each time; what it had before ends."""
    key = make_key(service, "viewer").secret
    for _ in range(3):
        screen.get(link(key))
    (count,) = service.run(service.database.one, "SELECT count(*) FROM sessions")

    assert 1 == count
    assert 200 == screen.me()[0]


def test_the_key_in_a_link_is_told_nowhere(
    service: Service, screen: Browser, logged: Logged, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No line, span, metric, answer or entry of a change has it: by whatever method, wherever it stands."""
    key = make_key(service, "viewer").secret
    monkeypatch.setattr(slow, "seconds", 0.0)
    spans = InMemorySpanExporter()
    paths = [link(key), f"{link(key)}/", f"{link(key)}/more", f"/board/{key}", f"/{key}"]
    with traces.on(spans):
        answers = [
            screen.request(method, path, headers=screen.from_here() | {"Accept": accept})
            for accept in ("*/*", "text/html")
            for path in paths
            for method in ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS")
        ]
        answers += [screen.get(link(WRONG_KEY)), screen.get("/")]
    with caller(service, make_key(service, "admin").secret) as admin:
        told = [admin.get(f"{service.address}/metrics").text, admin.get("/changes").text, admin.get("/keys").text]
    told += [answer.text for answer in answers]
    told += [str(answer.headers.get("Location")) for answer in answers]
    told += [span.to_json() for span in spans.get_finished_spans()]
    routes = {line["route"] for line in logged.lines("request")}

    assert {"/board/kiosk/{key}", "unmatched"} <= routes
    assert [] == [text for text in [*told, logged.text] if key[4:] in text or WRONG_KEY[4:] in text]


def test_what_nobody_foresaw_tells_no_key_either(
    service: Service, screen: Browser, logged: Logged, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log says at which path, without what makes that path a secret."""

    async def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("sprocket_factory.endpoints.kiosk.let_in", fail)
    key = make_key(service, "viewer").secret
    answer = screen.get(link(key))

    assert 500 == answer.status_code
    assert "/board/kiosk/sfk_..." == logged.wait_for("nobody foresaw this")["path"]
    assert key[4:] not in logged.text + answer.text


def test_the_link_signs_nobody_out(service: Service, screen: Browser) -> None:
    """Who has signed in and follows it sees the wall, and stays who he is: anybody may have sent it."""
    screen.sign_in(make_key(service, "admin").secret)
    answer = screen.get(link(make_key(service, "viewer").secret))

    assert (303, "/board/wall") == (answer.status_code, answer.headers["Location"])
    assert "admin" == screen.me()[1]["role"]


def test_a_screen_outlives_many_that_begin_anew(service: Service, screen: Browser) -> None:
    """Those that keep no cookies open the link whenever they start."""
    key = make_key(service, "viewer").secret
    screen.get(link(key))
    for _ in range(101):
        with Browser(service) as other:
            other.get(link(key))

    assert 200 == screen.me()[0]
