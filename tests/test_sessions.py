"""Sessions: what somebody may who has signed in, from which pages, and how it ends."""

from collections.abc import Iterator
from typing import Any

import pytest

from browsers import COOKIE, Browser, cookies_of, let_it_be_known
from harness import BASE_PATH, Service, a_sprocket
from keyholders import caller, change_key, make_key
from sprocket_factory.database import Transaction
from sprocket_factory.entities.instant import SECOND, now
from sprocket_factory.entities.session import MAX_SESSIONS

pytestmark = pytest.mark.closed

SPROCKETS = f"{BASE_PATH}/sprockets"


@pytest.fixture
def browser(service: Service) -> Iterator[Browser]:
    """Return the browser of an engineer who has signed in."""
    with Browser(service) as browser:
        assert 303 == browser.sign_in(make_key(service, "engineer").secret).status_code
        yield browser


def change_session(service: Service, column: str, value: Any) -> None:
    """Write to the rows of all sessions past the API, as time does."""

    async def change(tx: Transaction) -> None:
        await tx.run(f"UPDATE sessions SET {column} = :value", value=value)

    service.run(service.database.write, change, by="test")


def count_sessions(service: Service) -> int:
    """Return how many are stored."""
    (count,) = service.run(service.database.one, "SELECT count(*) FROM sessions")
    return int(count)


def test_a_page_of_ours_may_write(service: Service, browser: Browser) -> None:
    """What scripts of the board send counts as the key's own, and the record of changes names it."""
    answer = browser.post(SPROCKETS, json=a_sprocket(), headers=browser.from_here())
    with caller(service, make_key(service, "admin").secret) as admin:
        (change,) = admin.get("/changes?entity=sprocket").json()

    assert 201 == answer.status_code
    assert "the engineer (key:1)" == change["actor"]


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site", "Origin": "{origin}"},
        {"Origin": "{origin}", "Host": "evil.example"},
        {"Origin": "http://evil.example", "X-Forwarded-Host": "evil.example"},
    ],
    ids=str,
)
def test_no_page_from_elsewhere_writes_in_ones_name(browser: Browser, method: str, headers: dict[str, str]) -> None:
    """403 for every method that changes something, and nothing is stored."""
    browser.post(SPROCKETS, json=a_sprocket(), headers=browser.from_here())
    before = browser.get(SPROCKETS).json()
    path = SPROCKETS if method == "POST" else f"{SPROCKETS}/1"
    sent = {name: value.format(origin=browser.origin) for name, value in headers.items()}
    parts: dict[str, Any] = {} if method == "DELETE" else {"json": a_sprocket(teeth=99)}
    answer = browser.request(method, path, headers=sent, **parts)

    assert (403, "/problems/forbidden") == (answer.status_code, answer.json()["type"])
    assert before == browser.get(SPROCKETS).json()


def test_whoever_sends_a_key_needs_no_page(service: Service, browser: Browser) -> None:
    """Authorization outdoes the cookie: who one is, and that no page has to vouch for it."""
    key = {"Authorization": f"Bearer {make_key(service, 'admin').secret}"}
    me = browser.get(f"{BASE_PATH}/me", headers=key).json()
    written = browser.post(SPROCKETS, json=a_sprocket(), headers=key | {"Origin": "https://evil.example"})
    wrong = browser.get(f"{BASE_PATH}/me", headers={"Authorization": "Bearer nothing"})

    assert "admin" == me["role"]
    assert (201, 401) == (written.status_code, wrong.status_code)


def test_fault_34_what_became_of_the_key_is_known_to_its_sessions(service: Service, browser: Browser) -> None:
    """A role that was changed counts with the next request, and so does another name."""
    change_key(service, 1, "role", "viewer")
    change_key(service, 1, "name", "somebody else")
    let_it_be_known(service)
    answer = browser.post(SPROCKETS, json=a_sprocket(), headers=browser.from_here())

    assert 403 == answer.status_code
    assert ("somebody else", "viewer") == (browser.me()[1]["name"], browser.me()[1]["role"])


def test_fault_34_a_revoked_key_ends_its_sessions_with_the_next_request(service: Service, browser: Browser) -> None:
    """On the server that has revoked it at once, and nothing of the session is left."""
    assert 200 == browser.me()[0]
    with caller(service, make_key(service, "admin").secret) as admin:
        admin.delete("/keys/1")
        status = browser.me()[0]

    assert 401 == status
    assert 0 == count_sessions(service)


def test_a_session_is_limited_as_its_key_is(service: Service) -> None:
    """Who may write for some factories may so by a cookie, too, and for no others."""
    with caller(service, make_key(service, "engineer").secret) as engineer:
        for name in ("Sheffield", "Rotherham"):
            engineer.post("/factories", json={"name": name})
    with Browser(service) as browser:
        browser.sign_in(make_key(service, "operator", 1).secret)
        counts = {"sprocket_production_actual": 1, "sprocket_production_goal": 2}
        statuses = [
            browser.put(
                f"{BASE_PATH}/production/{factory}/2021-01-21T02:06:58Z", json=counts, headers=browser.from_here()
            ).status_code
            for factory in (1, 2)
        ]

    assert [201, 403] == statuses


def test_signing_out_ends_the_session_for_whoever_has_its_cookie(service: Service, browser: Browser) -> None:
    """The browser is told to forget it, and it is good for nothing any more."""
    cookie = browser.cookie
    answer = browser.sign_out()

    assert (303, "/sign-in") == (answer.status_code, answer.headers["Location"])
    assert ("", "0") == (cookies_of(answer)[COOKIE]["value"], cookies_of(answer)[COOKIE]["max-age"])
    assert 401 == browser.says(f"{COOKIE}={cookie}")
    assert 0 == count_sessions(service)


def test_other_servers_know_of_a_session_and_of_its_end(service: Service, browser: Browser) -> None:
    """Who signs in on one is known to all on the same database, and who signs out as well, within two seconds."""
    cookie = f"{COOKIE}={browser.cookie}"
    with Service(service.settings, anonymous_role="none") as other, Browser(other) as elsewhere:
        before = elsewhere.says(cookie)
        browser.sign_out()
        let_it_be_known(other)
        after = elsewhere.says(cookie)

    assert (200, 401) == (before, after)


def test_signing_out_twice_does_no_harm(browser: Browser) -> None:
    """Who is not signed in comes to the same page."""
    statuses = [browser.sign_out().status_code for _ in range(2)]

    assert [303, 303] == statuses


def test_signing_out_ends_no_other_session(service: Service, browser: Browser) -> None:
    """The same key elsewhere stays signed in."""
    with Browser(service) as another:
        another.sign_in(make_key(service, "viewer").secret)
        browser.sign_out()
        status = another.me()[0]

    assert 200 == status


def test_a_session_ends_in_time(service: Service, browser: Browser) -> None:
    """Whatever the browser thinks of it; and with the next sign-in it is forgotten."""
    before = browser.me()[0]
    change_session(service, "expires_at", now() - SECOND)
    let_it_be_known(service)
    after = browser.me()[0]
    with Browser(service) as another:
        another.sign_in(make_key(service, "viewer").secret)

    assert (200, 401) == (before, after)
    assert 1 == count_sessions(service)


def test_a_key_that_has_expired_ends_its_session(service: Service, browser: Browser) -> None:
    """Without anybody revoking it."""
    change_key(service, 1, "expires_at", now() - SECOND)
    let_it_be_known(service)

    assert 401 == browser.me()[0]


@pytest.mark.parametrize(
    "cookie",
    [
        "",
        f"{COOKIE}",
        f"{COOKIE}=",
        f"{COOKIE}=sfs_{'A' * 43}",
        f"{COOKIE}=' OR 1=1 --",
        f"{COOKIE}=\xff\xfe",
        f"{COOKIE}={'A' * 20_000}",
        f"{COOKIE}={{key}}",
        f"{COOKIE}={{right}}x",
        f'{COOKIE}="{{right}}"',
        f"__Host-{COOKIE}={{right}}",
        f"{COOKIE.upper()}={{right}}",
        f"x{COOKIE}={{right}}",
        f"{COOKIE}={{right}}; {COOKIE}={{right}}",
        f"{COOKIE}={{right}}; {COOKIE}=other",
        f"{COOKIE}=other; a=b; {COOKIE}={{right}}",
    ],
    ids=lambda text: text[:50],
)
def test_what_is_no_right_cookie_is_nobodys(service: Service, cookie: str) -> None:
    """It is as if there was none, also of two where one is right: then somebody else has put the other one there."""
    key = make_key(service, "admin").secret
    with Browser(service) as browser, Browser(service) as stranger:
        browser.sign_in(key)
        header = cookie.format(right=browser.cookie, key=key).encode("latin-1")
        answer = stranger.get(f"{BASE_PATH}/me", headers={b"Cookie": header})

    assert (401, "Bearer") == (answer.status_code, answer.headers["WWW-Authenticate"])


def test_other_cookies_beside_ours_do_not_matter(service: Service, browser: Browser) -> None:
    """Whatever else there is for this host, in one header or in several."""
    pair = f"{COOKIE}={browser.cookie}"
    with Browser(service) as another:
        statuses = [another.says(header) for header in (f"a=b; {pair}; c", f";;{pair}", f"a = b;{pair} ;c=d=e")]
        headers = [(b"Cookie", b"a=b"), (b"Cookie", pair.encode())]
        statuses.append(another.get(f"{BASE_PATH}/me", headers=headers).status_code)

    assert [200] * 4 == statuses


def test_wrong_cookies_are_no_wrong_keys(service: Service) -> None:
    """Cookies that have ended come by the hundred from a page that is still open: nobody has guessed anything."""
    with Browser(service) as browser:
        statuses = {browser.says(f"{COOKIE}=sfs_{'A' * 43}") for _ in range(30)}

    assert {401} == statuses


def test_a_page_takes_a_cookie_away_that_is_good_for_nothing(service: Service, browser: Browser) -> None:
    """Where one has to sign in anew the browser forgets it."""
    with caller(service, make_key(service, "admin").secret) as admin:
        admin.delete("/keys/1")
    answer = browser.get("/")

    assert (303, "/sign-in") == (answer.status_code, answer.headers["Location"])
    assert "0" == cookies_of(answer)[COOKIE]["max-age"]
    assert "" == browser.cookie


def test_a_page_says_who_has_signed_in_and_lets_him_go(browser: Browser) -> None:
    """By name, with a form to sign out."""
    page = browser.get("/").text

    assert "the engineer" in page
    assert '<form method="post" action="/sign-out">' in page


def test_one_key_has_no_end_of_sessions(service: Service) -> None:
    """With one too many the one that has least time left ends: nobody fills the database by signing in."""
    key = make_key(service, "viewer").secret
    with Browser(service) as first, Browser(service) as second:
        first.sign_in(key)
        change_session(service, "expires_at", now() + 60 * SECOND)
        for _ in range(MAX_SESSIONS - 1):
            second.cookies.clear()
            second.sign_in(key)
        before = first.me()[0]
        second.cookies.clear()
        second.sign_in(key)
        after = first.me()[0]

    assert (200, 401) == (before, after)
    assert MAX_SESSIONS == count_sessions(service)


def test_a_session_counts_as_its_key_does(service: Service, browser: Browser) -> None:
    """A repeated POST is known again whether it comes with the key or with the cookie."""
    key = make_key(service, "engineer").secret
    browser.sign_in(key)
    once = {"Idempotency-Key": "once"}
    first = browser.post(SPROCKETS, json=a_sprocket(), headers=once | browser.from_here())
    with caller(service, key) as engineer:
        again = engineer.post("/sprockets", json=a_sprocket(), headers=once)

    assert (201, 201, "true") == (first.status_code, again.status_code, again.headers["Idempotent-Replayed"])
