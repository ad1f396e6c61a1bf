"""Signing in on the board by a certified OpenID Connect provider that runs beside the service."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest

from browsers import COOKIE, Browser, cookies_of
from certified_provider import RESOURCE, CertifiedProvider
from harness import BASE_PATH, NewDatabase, Service, a_sprocket
from keyholders import caller, make_key
from log_lines import Logged
from sprocket_factory.settings import Settings

pytestmark = pytest.mark.closed

PUBLIC_URL = "https://board.example"

ATTEMPT = f"{COOKIE}-sign-in"

CONFIDENTIAL = "not: much +of a secret%"


@pytest.fixture(scope="module")
def settings(new_database: NewDatabase, provider: CertifiedProvider) -> Settings:
    """Return the settings of a service that trusts the provider, and is known to it."""
    return provider.settings_to_sign_in(new_database(), "board", public_url=PUBLIC_URL)


@pytest.fixture
def browser(service: Service) -> Iterator[Browser]:
    """Return the browser of somebody who has not signed in yet."""
    with Browser(service) as browser:
        yield browser


def leave(browser: Browser, next_: str = "/") -> str:
    """Return where one is sent to sign in."""
    answer = browser.get("/sign-in/oidc", params={"next": next_})
    assert 303 == answer.status_code, answer.text
    return answer.headers["Location"]


def come_back(browser: Browser, address: str) -> httpx.Response:
    """Follow where the issuer leads to."""
    return browser.get(address.removeprefix(PUBLIC_URL))


def query_of(address: str) -> dict[str, str]:
    """Return what an address asks for."""
    return dict(parse_qsl(urlsplit(address).query))


def test_who_signs_in_at_the_provider_is_signed_in_here(
    service: Service, provider: CertifiedProvider, browser: Browser
) -> None:
    """With the name and the role that its token says, where one wanted to go; and one may do what the role may."""
    answer = come_back(browser, provider.visit(leave(browser, "/board/sprockets?teeth=20"), "alice"))
    written = browser.post(f"{BASE_PATH}/sprockets", json=a_sprocket(), headers=browser.from_here())
    with caller(service, make_key(service, "admin").secret) as admin:
        (change,) = admin.get("/changes?entity=sprocket").json()

    assert (303, "/board/sprockets?teeth=20") == (answer.status_code, answer.headers["Location"])
    assert ("Alice Sheffield", "engineer") == (browser.me()[1]["name"], browser.me()[1]["role"])
    assert (201, f"Alice Sheffield (oidc:{provider.issuer}#alice)") == (written.status_code, change["actor"])


def test_the_page_to_sign_in_names_the_issuer(provider: CertifiedProvider, browser: Browser) -> None:
    """A link, with where one wanted to go."""
    page = browser.get("/sign-in?next=/board/wall").text

    assert f'href="/sign-in/oidc?next=/board/wall">Sign in with {urlsplit(provider.issuer).netloc}</a>' in page


def test_what_the_issuer_is_asked_is_bound_to_this_browser(provider: CertifiedProvider, browser: Browser) -> None:
    """Code flow with PKCE, state and nonce: new ones each time, and none of them is what the cookie holds."""
    first, second = (query_of(leave(browser)) for _ in range(2))
    secrets = {browser.cookies[ATTEMPT].partition(".")[0]}
    secrets |= {asked[name] for asked in (first, second) for name in ("state", "nonce", "code_challenge")}

    assert ("code", "S256", "board", RESOURCE) == tuple(
        first[name] for name in ("response_type", "code_challenge_method", "client_id", "resource")
    )
    assert f"{PUBLIC_URL}/sign-in/callback" == first["redirect_uri"]
    assert leave(browser).startswith(f"{provider.issuer}/auth?")
    assert 7 == len(secrets)


def test_what_is_remembered_meanwhile_is_in_a_cookie_for_ten_minutes(browser: Browser) -> None:
    """Out of reach of scripts, and sent along when the issuer leads back."""
    cookie = cookies_of(browser.get("/sign-in/oidc"))[ATTEMPT]

    assert ("600", "True", "Lax", "/") == tuple(cookie[name] for name in ("max-age", "httponly", "samesite", "path"))


def test_another_server_takes_somebody_back(service: Service, provider: CertifiedProvider, browser: Browser) -> None:
    """Servers in front of one database need not know one another: nothing of it is in the memory of one."""
    back = provider.visit(leave(browser), "alice")
    with Service(service.settings, anonymous_role="none") as other, Browser(other) as same:
        same.cookies.update(browser.cookies)
        answer = come_back(same, back)

    assert (303, "/") == (answer.status_code, answer.headers["Location"])


def test_a_client_with_a_secret_proves_who_it_is(
    provider: CertifiedProvider, settings: Settings, tmp_path: Path
) -> None:
    """Whatever characters the secret has, which stands in a file."""
    secret = tmp_path / "secret"
    secret.write_text(f"{CONFIDENTIAL}\n")
    statuses = []
    for file in (str(secret), ""):
        other = replace(settings, oidc_client_id="confidential", oidc_client_secret_file=file)
        with Service(other, anonymous_role="none") as service, Browser(service) as browser:
            statuses.append(come_back(browser, provider.visit(leave(browser), "alice")).status_code)

    assert [303, 403] == statuses


def test_whoever_has_no_role_is_told_so(provider: CertifiedProvider, browser: Browser) -> None:
    """403 on a page with another way in, and no session."""
    answer = come_back(browser, provider.visit(leave(browser), "canteen"))

    assert (403, "text/html; charset=utf-8") == (answer.status_code, answer.headers["Content-Type"])
    assert "gives no role here" in answer.text
    assert 'action="/sign-in"' in answer.text
    assert COOKIE not in cookies_of(answer)


def test_an_answer_is_good_once(provider: CertifiedProvider, browser: Browser) -> None:
    """A code that was used is refused by the provider, also in the browser that has brought it first."""
    away = leave(browser)
    attempt = browser.cookies[ATTEMPT]
    back = provider.visit(away, "alice")
    first = come_back(browser, back)
    with_cookie = browser.get(back.removeprefix(PUBLIC_URL), headers={"Cookie": f"{ATTEMPT}={attempt}"})
    without = come_back(browser, back)

    assert [303, 403, 403] == [answer.status_code for answer in (first, with_cookie, without)]


def test_nobody_elses_browser_brings_an_answer(service: Service, provider: CertifiedProvider, browser: Browser) -> None:
    """Whoever is lured to the answer of another is not signed in as that one (login CSRF)."""
    back = provider.visit(leave(browser), "alice")
    with Browser(service) as victim, Browser(service) as begun:
        leave(begun)
        statuses = [come_back(victim, back).status_code, come_back(begun, back).status_code]

    assert [403, 403] == statuses
    assert 303 == come_back(browser, back).status_code


def test_a_service_that_does_not_trust_the_issuer_any_more_ends_its_sessions(
    service: Service, provider: CertifiedProvider, browser: Browser
) -> None:
    """Those are as good as the setting that named it."""
    come_back(browser, provider.visit(leave(browser), "alice"))
    settings = Settings(database_url=service.settings.database_url)
    with Service(settings, anonymous_role="none") as other, Browser(other) as same:
        status = same.says(f"{COOKIE}={browser.cookie}")

    assert (200, 401) == (browser.me()[0], status)


def test_a_session_lasts_as_long_as_the_setting_says(provider: CertifiedProvider, browser: Browser) -> None:
    """Longer than the token, which is not kept."""
    cookie = cookies_of(come_back(browser, provider.visit(leave(browser), "alice")))[COOKIE]

    assert 12 * 3600 - 5 <= int(cookie["max-age"]) <= 12 * 3600


def test_no_token_and_no_code_is_in_the_log(provider: CertifiedProvider, browser: Browser, logged: Logged) -> None:
    """Who has signed in and by what; what a thief could use is not there."""
    back = provider.visit(leave(browser), "alice")
    attempt = browser.cookies[ATTEMPT].partition(".")[0]
    come_back(browser, back)
    line = logged.wait_for("signed in")
    secrets = [attempt, browser.cookie[4:], query_of(back)["code"], query_of(back)["state"]]

    assert ("issuer", f"oidc:{provider.issuer}#alice") == (line["by"], line["who"])
    assert [] == [secret for secret in secrets if secret in logged.text]


def test_a_provider_that_is_away_is_said_on_a_page(settings: Settings, provider: CertifiedProvider) -> None:
    """503 with Retry-After and another way in, whether somebody is about to go or comes back; and it mends itself."""
    with Service(settings, anonymous_role="none") as service, Browser(service) as browser:
        back = provider.visit(leave(browser), "alice")
        provider.tell("close")
        try:
            answer = come_back(browser, back)
        finally:
            provider.tell("open")
        again = come_back(browser, provider.visit(leave(browser), "alice"))

    assert (503, "2") == (answer.status_code, answer.headers["Retry-After"])
    assert 'action="/sign-in"' in answer.text
    assert 303 == again.status_code
