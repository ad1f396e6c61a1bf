"""Signing in on the board with a key: what a browser is given for it, and what it is not."""

from collections.abc import Iterator
from dataclasses import replace

import httpx
import pytest

from browsers import COOKIE, Browser, cookies_of
from harness import Service
from keyholders import WRONG_KEY, change_key, make_key
from log_lines import Logged
from sprocket_factory.entities.instant import SECOND, now
from sprocket_factory.settings import Settings

HALF_A_DAY = 12 * 3600

PROXY = "127.1.0.1"
"""What comes from there has come over TLS, if it says so."""


@pytest.fixture(scope="module")
def running(settings: Settings) -> Iterator[Service]:
    """Run a service that lets nobody in without a key."""
    with Service(replace(settings, trusted_proxies=PROXY), anonymous_role="none") as running:
        yield running


@pytest.fixture
def browser(service: Service) -> Iterator[Browser]:
    """Return the browser of somebody who has not signed in yet."""
    with Browser(service) as browser:
        yield browser


def test_a_key_opens_the_board_and_the_api(service: Service, browser: Browser) -> None:
    """Who has signed in is led to the board, which knows him, and so does the API."""
    key = make_key(service, "engineer")
    answer = browser.sign_in(key.secret)

    assert (303, "/") == (answer.status_code, answer.headers["Location"])
    assert 200 == browser.get("/").status_code
    assert (200, "the engineer") == (browser.me()[0], browser.me()[1]["name"])


def test_a_page_that_needs_a_role_leads_to_signing_in_and_back(service: Service, browser: Browser) -> None:
    """The address asked for, query and all, is where one is afterwards."""
    asked_for = "/?x=%C3%A4%20b&y=1"
    away = browser.get(asked_for)
    form = browser.get(away.headers["Location"])
    answer = browser.sign_in(make_key(service, "viewer").secret, next=httpx.URL(str(form.url)).params["next"])

    assert (303, 200) == (away.status_code, form.status_code)
    assert "It will be shown next." in form.text
    assert asked_for == answer.headers["Location"]


def test_the_form_needs_no_script_and_is_kept_nowhere(browser: Browser) -> None:
    """A field for the key that does not show it, in a form that goes here; and no cache keeps the page."""
    page = browser.get("/sign-in")

    assert (200, "no-store") == (page.status_code, page.headers["Cache-Control"])
    assert '<form method="post" action="/sign-in">' in page.text
    assert '<input type="password" name="key"' in page.text
    assert "/sign-in/oidc" not in page.text


def test_the_cookie_is_out_of_reach_of_scripts_and_of_other_sites(service: Service, browser: Browser) -> None:
    """HttpOnly, SameSite=Lax, for the whole host, and for as long as the session."""
    cookie = cookies_of(browser.sign_in(make_key(service, "viewer").secret))[COOKIE]
    value, seconds = cookie.pop("value"), int(cookie.pop("max-age"))

    assert {"path": "/", "httponly": "True", "samesite": "Lax"} == cookie
    assert HALF_A_DAY - 5 <= seconds <= HALF_A_DAY
    assert len("sfs_") + 43 == len(value)


def test_over_tls_only_this_host_can_set_the_cookie_and_only_tls_carries_it(service: Service) -> None:
    """__Host- and Secure, as soon as the request came over TLS; the name without them counts there no longer."""
    key = make_key(service, "viewer").secret
    with Browser(service, PROXY) as browser:
        browser.headers["X-Forwarded-Proto"] = "https"
        browser.origin = service.address.replace("http:", "https:")
        given = cookies_of(browser.sign_in(key))[f"__Host-{COOKIE}"]
        by_name = {name: browser.says(f"{name}={given['value']}") for name in (COOKIE, f"__Host-{COOKIE}")}

    assert {"True", "/"} == {given["secure"], given["path"]}
    assert "domain" not in given
    assert {COOKIE: 401, f"__Host-{COOKIE}": 200} == by_name


def test_only_the_digest_of_a_cookie_is_stored(service: Service, browser: Browser) -> None:
    """Whoever reads the database cannot go in as somebody who has signed in."""
    browser.sign_in(make_key(service, "viewer").secret)
    rows = service.run(service.database.all, "SELECT digest, caller, key_id, name, role FROM sessions")

    assert 1 == len(rows)
    assert browser.cookie[4:] not in repr(rows)
    assert 32 == len(rows[0][0])


@pytest.mark.parametrize(
    "next_",
    [
        "https://evil.example/",
        "//evil.example/",
        "/\\evil.example/",
        "\\/evil.example",
        "/\t/evil.example/",
        "/\n/evil.example",
        "javascript:alert(1)",
        "evil.example",
        "/board\\..\\",
        "/board\r\nSet-Cookie: a=b",
        "/ü",
        "",
        "/" + "a" * 2000,
        " /",
    ],
)
def test_signing_in_leads_to_no_other_site(service: Service, browser: Browser, next_: str) -> None:
    """Whatever a link to the form says: one comes to the first page."""
    page = browser.get("/sign-in", params={"next": next_})
    answer = browser.sign_in(make_key(service, "viewer").secret, next=next_)

    assert '<input type="hidden" name="next" value="/">' in page.text
    assert (303, "/") == (answer.status_code, answer.headers["Location"])


def test_html_in_where_to_go_on_is_text(browser: Browser) -> None:
    """The form repeats it, and no browser runs it."""
    page = browser.get("/sign-in", params={"next": '/"><script>alert(1)</script>'})

    assert "<script>alert" not in page.text


@pytest.mark.parametrize("key", [WRONG_KEY, "", "x", "' OR 1=1 --", "ключ", "{expired}", "{session}", "a" * 8000])
def test_fault_29_what_is_no_right_key_lets_nobody_in(service: Service, browser: Browser, key: str) -> None:
    """The same page again with 401 and one wording, and no cookie."""
    expired = make_key(service, "admin")
    change_key(service, expired.id, "expires_at", 1)
    with Browser(service) as another:
        another.sign_in(make_key(service, "viewer").secret)
        answer = browser.sign_in(key.format(expired=expired.secret, session=another.cookie), next="/board/x")

    assert (401, "Bearer", "text/html; charset=utf-8") == (
        answer.status_code,
        answer.headers["WWW-Authenticate"].partition(" ")[0],
        answer.headers["Content-Type"],
    )
    assert "These credentials are not valid here." in answer.text
    assert 'name="next" value="/board/x"' in answer.text
    assert COOKIE not in cookies_of(answer)
    assert 401 == browser.me()[0]


def test_fault_31_wrong_keys_in_the_form_count_as_wrong_keys(service: Service, browser: Browser) -> None:
    """After 20 of them 429 with Retry-After; and a right one is let in all the same."""
    answers = [browser.sign_in(WRONG_KEY).status_code for _ in range(20)]
    answer = browser.sign_in(WRONG_KEY)
    right = browser.sign_in(make_key(service, "viewer").secret)

    assert [401] * 20 == answers
    assert 429 == answer.status_code
    assert 0 < int(answer.headers["Retry-After"]) <= 60
    assert 303 == right.status_code


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1"},
        {"Origin": "{origin}", "Sec-Fetch-Site": "cross-site"},
        {"Origin": "{origin}", "Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
        {"Sec-Fetch-Site": "same-origin, cross-site"},
        {"Referer": "{origin}/sign-in"},
    ],
    ids=str,
)
@pytest.mark.parametrize("path", ["/sign-in", "/sign-out"])
def test_no_page_from_elsewhere_signs_anybody_in_or_out(
    service: Service, browser: Browser, path: str, headers: dict[str, str]
) -> None:
    """403 on a page, whatever key it has sent; and who was signed in before is it afterwards."""
    mine, theirs = make_key(service, "viewer"), make_key(service, "engineer")
    browser.sign_in(mine.secret)
    before = browser.cookie
    sent = {name: value.format(origin=service.address) for name, value in headers.items()}
    answer = browser.send_form(path, sent, **({"key": theirs.secret} if path == "/sign-in" else {}))

    assert (403, "text/html; charset=utf-8") == (answer.status_code, answer.headers["Content-Type"])
    assert (before, "the viewer") == (browser.cookie, browser.me()[1]["name"])


@pytest.mark.parametrize(
    "headers", [{"Origin": "{origin}"}, {"Sec-Fetch-Site": "same-origin", "Origin": "null"}], ids=str
)
def test_a_page_of_ours_signs_people_in(service: Service, browser: Browser, headers: dict[str, str]) -> None:
    """A browser says so in one way or the other."""
    sent = {name: value.format(origin=service.address) for name, value in headers.items()}
    answer = browser.send_form("/sign-in", sent, key=make_key(service, "viewer").secret)

    assert 303 == answer.status_code


def test_a_cookie_that_was_there_before_signs_nobody_in_afterwards(service: Service, browser: Browser) -> None:
    """Each sign-in gives a new one: who has put his own into a browser learns nothing (session fixation)."""
    key = make_key(service, "viewer").secret
    browser.sign_in(key)
    first = browser.cookie
    browser.sign_in(key)
    second = browser.cookie
    with Browser(service) as thief:
        statuses = [thief.says(f"{COOKIE}={value}") for value in (first, second)]

    assert [401, 200] == statuses


def test_a_made_up_cookie_is_not_taken_over(service: Service, browser: Browser) -> None:
    """What somebody has put into the browser is replaced, and no session has its name."""
    browser.cookies.set(COOKIE, "sfs_" + "A" * 43, domain="127.0.0.1")
    answer = browser.sign_in(make_key(service, "viewer").secret)
    with Browser(service) as thief:
        status = thief.says(f"{COOKIE}=sfs_{'A' * 43}")

    assert "sfs_" + "A" * 43 != cookies_of(answer)[COOKIE]["value"]
    assert 401 == status


def test_a_key_that_ends_soon_ends_the_session_with_it(service: Service, browser: Browser) -> None:
    """The cookie lasts no longer than its key."""
    key = make_key(service, "viewer")
    change_key(service, key.id, "expires_at", now() + 60 * SECOND)
    cookie = cookies_of(browser.sign_in(key.secret))[COOKIE]

    assert 50 <= int(cookie["max-age"]) <= 60


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b"key=a", "application/json", 415),
        (b"key=a", "multipart/form-data; boundary=x", 415),
        (b"key=a&key=b", "application/x-www-form-urlencoded", 422),
        (b"key=a&name=b", "application/x-www-form-urlencoded", 422),
        (b"key=\xff", "application/x-www-form-urlencoded", 400),
        (b"key=%FF", "application/x-www-form-urlencoded", 400),
        (b"key=" + b"a" * 20_000, "application/x-www-form-urlencoded", 413),
        (b"", "application/x-www-form-urlencoded", 401),
    ],
)
def test_a_form_is_read_strictly(browser: Browser, body: bytes, content_type: str, status: int) -> None:
    """What is no form of ours is refused on a page, and signs nobody in."""
    headers = browser.from_here() | {"Content-Type": content_type}
    answer = browser.post("/sign-in", content=body, headers=headers)

    assert (status, "text/html; charset=utf-8") == (answer.status_code, answer.headers["Content-Type"])
    assert COOKIE not in cookies_of(answer)


def test_the_log_tells_of_it_and_no_secret(service: Service, logged: Logged, browser: Browser) -> None:
    """Who signed in and out, what was wrong, from where; never a key and never a cookie."""
    key = make_key(service, "viewer")
    browser.sign_in(WRONG_KEY)
    browser.sign_in(key.secret)
    cookie = browser.cookie
    browser.sign_out()
    signed_in, signed_out = logged.wait_for("signed in"), logged.wait_for("signed out")

    assert (f"key:{key.id}", "key") == (signed_in["who"], signed_in["by"])
    assert f"key:{key.id}" == signed_out["who"]
    assert 1 == len(logged.lines("wrong key"))
    assert f"key:{key.id}" == logged.wait_for("request", route="/sign-in", status=303)["who"]
    assert [] == [secret for secret in (key.secret, cookie, WRONG_KEY) if secret[4:] in logged.text]
