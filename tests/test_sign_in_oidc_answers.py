"""Signing in by an OpenID Connect issuer that says what it should not: nobody comes in, and no page fails.

On SQLite alone: what an issuer says does not depend on the engine.
"""

import base64
import json
from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx
import pytest

from browsers import Browser, cookies_of
from harness import Service
from own_issuer import AUDIENCE, DISCOVERY, TOKENS, Answer, OwnIssuer, rsa_key, sign
from sprocket_factory.app import check_settings
from sprocket_factory.errors import Unusable
from sprocket_factory.settings import Settings

PUBLIC_URL = "https://board.example"


class Visit:
    """Somebody who was sent to an issuer that does what a test says."""

    def __init__(self, issuer: OwnIssuer, browser: Browser) -> None:
        """Have the browser go there."""
        self.issuer = issuer
        self.browser = browser
        away = browser.get("/sign-in/oidc")
        self.asked_for = dict(parse_qsl(urlsplit(away.headers["Location"]).query))

    def give(self, access: dict[str, Any] | None = None, **claims: Any) -> None:
        """Have the issuer give right tokens, but for these claims of the ID token, and of the access token."""
        now = self.issuer.claims()
        own = {"aud": "board", "sub": "alice", "nonce": self.asked_for["nonce"], "iat": now["iat"], "exp": now["exp"]}
        members = {"iss": self.issuer.url} | own | claims
        given = {name: value for name, value in members.items() if value is not None}
        id_token = sign(given, rsa_key(), {"typ": "JWT"})
        access_token = self.issuer.token(**({"sub": "alice"} | (access or {})))
        self.answer(access_token=access_token, id_token=id_token, token_type="Bearer")

    def answer(self, status: int = 200, **members: Any) -> None:
        """Have the issuer answer so to a code."""
        self.issuer.answers[TOKENS] = Answer(json.dumps(members).encode(), status)

    def come_back(self, **other: str) -> httpx.Response:
        """Come back with a right answer, but for these parameters."""
        query = {"code": "c", "state": self.asked_for["state"]} | other
        return self.browser.get(f"/sign-in/callback?{urlencode(query)}")


@pytest.fixture(scope="module")
def own_issuer() -> Iterator[OwnIssuer]:
    """Run an issuer that does what it is told."""
    with OwnIssuer() as issuer:
        yield issuer


@pytest.fixture
def issuer(own_issuer: OwnIssuer) -> OwnIssuer:
    """Return the issuer, which does what is right."""
    own_issuer.mend()
    return own_issuer


@pytest.fixture
def settings(issuer: OwnIssuer, tmp_path: Path) -> Settings:
    """Return the settings of a service that lets people sign in there."""
    url = f"sqlite:///{tmp_path / 'factory.db'}"
    return issuer.settings(database_url=url, oidc_client_id="board", public_url=PUBLIC_URL)


@pytest.fixture
def browser(settings: Settings) -> Iterator[Browser]:
    """Return the browser of somebody who has not signed in yet."""
    with Service(settings, anonymous_role="none") as service, Browser(service) as browser:
        yield browser


@pytest.fixture
def visit(issuer: OwnIssuer, browser: Browser) -> Visit:
    """Send somebody to the issuer."""
    return Visit(issuer, browser)


def test_right_tokens_sign_somebody_in(visit: Visit) -> None:
    """So that what the other tests refuse is refused for what they change. What was asked for at first is proven."""
    visit.give()
    answer = visit.come_back()
    (form,) = visit.issuer.forms
    challenge = base64.urlsafe_b64encode(sha256(form["code_verifier"].encode()).digest()).rstrip(b"=").decode()

    assert (303, "/") == (answer.status_code, answer.headers["Location"])
    assert ("board", "c", "authorization_code", "") == tuple(
        form[name] for name in ("client_id", "code", "grant_type", "Authorization")
    )
    assert (visit.asked_for["code_challenge"], visit.asked_for["redirect_uri"]) == (challenge, form["redirect_uri"])


WRONG_ID_TOKENS: list[dict[str, Any]] = [
    {"nonce": "another"},
    {"nonce": None},
    {"aud": "another"},
    {"aud": AUDIENCE},
    {"iss": "https://login.example"},
    {"exp": 1_600_000_000},
    {"exp": None},
    {"sub": None},
    {"sub": "mallory"},
    {"azp": "another"},
    {"aud": ["board", "another"], "azp": "another"},
]


@pytest.mark.parametrize("claims", WRONG_ID_TOKENS, ids=str)
def test_an_id_token_that_is_not_the_answer_is_refused(visit: Visit, claims: dict[str, Any]) -> None:
    """One of another sign-in, of another program, of another issuer, an old one, or one of somebody else."""
    visit.give(**claims)
    answer = visit.come_back()

    assert (403, 401) == (answer.status_code, visit.browser.me()[0])


@pytest.mark.parametrize(
    "claims",
    [{"aud": "board"}, {"exp": 1_600_000_000}, {"iss": "https://login.example"}, {"sub": "mallory"}, {"roles": []}],
    ids=str,
)
def test_an_access_token_that_the_api_does_not_take_signs_nobody_in(visit: Visit, claims: dict[str, Any]) -> None:
    """It is judged as one that comes in a header."""
    visit.give(access=claims)
    answer = visit.come_back()

    assert (403, 401) == (answer.status_code, visit.browser.me()[0])


@pytest.mark.parametrize(
    "query",
    [
        {"state": "another"},
        {"state": ""},
        {"iss": "https://login.example"},
        {"iss": ""},
        {"error": "access_denied"},
        {"error": "<script>alert(1)</script>"},
    ],
    ids=str,
)
def test_an_answer_that_is_none_signs_nobody_in(visit: Visit, query: dict[str, str]) -> None:
    """403 on a page that runs nothing, and the issuer is not even asked for tokens."""
    visit.give()
    answer = visit.come_back(**query)

    assert (403, 401) == (answer.status_code, visit.browser.me()[0])
    assert "<script>alert" not in answer.text
    assert [] == visit.issuer.forms


def test_the_right_issuer_may_say_who_it_is_and_more(visit: Visit) -> None:
    """What RFC 9207 has it say is checked, and what nobody knows is passed over (RFC 6749)."""
    visit.give()

    assert 303 == visit.come_back(iss=visit.issuer.url, session_state="x", whatever="y").status_code


def test_an_issuer_that_says_who_it_is_always_does(issuer: OwnIssuer, browser: Browser) -> None:
    """Where its description promises that, an answer without it is from somebody else."""
    issuer.describe(authorization_response_iss_parameter_supported=True)
    statuses = []
    for named in ({}, {"iss": issuer.url}):
        visit = Visit(issuer, browser)
        visit.give()
        statuses.append(visit.come_back(**named).status_code)

    assert [403, 303] == statuses


@pytest.mark.parametrize(
    ("methods", "is_in_form"),
    [
        (None, False),
        (["client_secret_basic", "client_secret_post"], False),
        (["client_secret_post"], True),
        (["private_key_jwt"], False),
    ],
    ids=str,
)
def test_a_secret_is_sent_as_the_issuer_takes_it(
    issuer: OwnIssuer, settings: Settings, tmp_path: Path, methods: list[str] | None, *, is_in_form: bool
) -> None:
    """In a header, unless it takes it in the form alone; encoded as RFC 6749 has it, and never both."""
    issuer.describe(**({} if methods is None else {"token_endpoint_auth_methods_supported": methods}))
    secret = tmp_path / "secret"
    secret.write_text("a b:c%\n")
    with (
        Service(replace(settings, oidc_client_secret_file=str(secret)), anonymous_role="none") as service,
        Browser(service) as browser,
    ):
        visit = Visit(issuer, browser)
        visit.give()
        answer = visit.come_back()
    (form,) = issuer.forms
    header = f"Basic {base64.b64encode(b'board:a+b%3Ac%25').decode()}"

    assert 303 == answer.status_code
    assert (("a b:c%", "") if is_in_form else ("", header)) == (form.get("client_secret", ""), form["Authorization"])


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("code=a&code=b&state={state}", 422),
        ("code=a&state={state}&state={state}", 422),
        ("code=%FF&state={state}", 422),
        ("state={state}", 403),
        ("", 403),
    ],
)
def test_an_answer_is_read_strictly(visit: Visit, query: str, status: int) -> None:
    """What is there twice, or not at all, or unreadable: a page says so, and nobody is signed in."""
    visit.give()
    answer = visit.browser.get("/sign-in/callback?" + query.format(state=visit.asked_for["state"]))

    assert (status, "text/html; charset=utf-8") == (answer.status_code, answer.headers["Content-Type"])
    assert 401 == visit.browser.me()[0]


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (Answer(b'{"error": "invalid_grant"}', 400), 403),
        (Answer(b'{"error": "invalid_client"}', 401), 403),
        (Answer(b"", 500), 503),
        (Answer(b"{", 200), 503),
        (Answer(b"[]", 200), 503),
        (Answer(b"{}", 200), 503),
        (Answer(b'{"access_token": 1, "id_token": 2, "token_type": "Bearer"}', 200), 503),
        (Answer(b'{"access_token": "a", "id_token": "b", "token_type": "Bearer"}', 200), 403),
        (Answer(b'{"access_token": "a", "id_token": "b", "token_type": "DPoP"}', 200), 403),
        (Answer(b"[" * 100_000, 200), 503),
        (Answer(b'{"a": "' + b"a" * 300_000 + b'"}', 200), 503),
        (Answer(b"", 302, {"Location": "/elsewhere"}), 403),
    ],
    ids=lambda value: str(value)[:80],
)
def test_an_issuer_that_gives_no_tokens_signs_nobody_in(visit: Visit, answer: Answer, status: int) -> None:
    """Whatever it says instead: a page, never a 500, and no redirect is followed."""
    visit.issuer.answers[TOKENS] = answer
    got = visit.come_back()

    assert (status, "text/html; charset=utf-8") == (got.status_code, got.headers["Content-Type"])
    assert "/elsewhere" not in visit.issuer.asked
    assert 401 == visit.browser.me()[0]


@pytest.mark.parametrize("address", ["https://login.example:99999/", "https://login.example:port/"])
def test_an_issuer_that_names_no_address_for_tokens_signs_nobody_in(
    issuer: OwnIssuer, browser: Browser, address: str
) -> None:
    """503 on a page, as where that cannot be reached."""
    issuer.describe(token_endpoint=address)
    answer = Visit(issuer, browser).come_back()

    assert (503, "2") == (answer.status_code, answer.headers["Retry-After"])
    assert 'action="/sign-in"' in answer.text


def test_a_refusal_is_told_whatever_its_reader_has_already(visit: Visit) -> None:
    """A condition is looked at where the answer would be what was asked for (RFC 9110, section 13.2.1)."""
    answer = visit.browser.get("/sign-in/callback?code=c&state=another", headers={"If-None-Match": "*"})

    assert (403, True) == (answer.status_code, "not begun in this browser" in answer.text)


@pytest.mark.parametrize("endpoint", ["authorization_endpoint", "token_endpoint"])
@pytest.mark.parametrize("address", ["", "http://login.example/x", "javascript:alert(1)"])
def test_nobody_is_sent_where_others_can_listen(
    issuer: OwnIssuer, browser: Browser, endpoint: str, address: str
) -> None:
    """503 with another way in: the issuer does not describe itself as it has to."""
    issuer.describe(**{endpoint: address})
    answer = browser.get("/sign-in/oidc")

    assert (503, "2") == (answer.status_code, answer.headers["Retry-After"])
    assert 'action="/sign-in"' in answer.text


@pytest.mark.parametrize("document", [Answer(b"", 500), Answer(b"{", 200), Answer(b'{"issuer": "another"}')], ids=str)
def test_an_issuer_that_was_never_reached_is_said_on_a_page(
    issuer: OwnIssuer, browser: Browser, document: Answer
) -> None:
    """503 with another way in, and no cookie: nobody has left."""
    issuer.answers[DISCOVERY] = document
    answer = browser.get("/sign-in/oidc?next=/board/wall")

    assert (503, "2") == (answer.status_code, answer.headers["Retry-After"])
    assert 'name="next" value="/board/wall"' in answer.text
    assert {"0"} == {cookie["max-age"] for cookie in cookies_of(answer).values()}


@pytest.mark.parametrize("path", ["/sign-in/oidc", "/sign-in/callback?code=a&state=b"])
def test_without_an_issuer_there_is_no_way_to_it(tmp_path: Path, path: str) -> None:
    """404 on a page."""
    settings = Settings(database_url=f"sqlite:///{tmp_path / 'factory.db'}")
    with Service(settings, anonymous_role="none") as service, Browser(service) as browser:
        answer = browser.get(path)

    assert (404, "text/html; charset=utf-8") == (answer.status_code, answer.headers["Content-Type"])


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ({"oidc_issuer": "", "oidc_audience": "", "oidc_roles": ""}, "--oidc-client-id says nothing without"),
        ({"public_url": ""}, "--oidc-client-id needs a --public-url"),
        ({"public_url": "http://board.example"}, "--oidc-client-id needs a --public-url"),
        ({"public_url": "https://board.example/"}, "--public-url cannot be"),
        ({"public_url": "https://board.example,https://b.example"}, "--public-url cannot be"),
        ({"public_url": "board.example"}, "--public-url cannot be"),
        ({"oidc_scopes": "profile"}, "--oidc-scopes has to name openid"),
        ({"oidc_sign_in_parameters": "resource"}, "--oidc-sign-in-parameters cannot be"),
        ({"oidc_sign_in_parameters": "state=a"}, "--oidc-sign-in-parameters cannot be"),
        ({"oidc_sign_in_parameters": "resource=a&redirect_uri=b"}, "--oidc-sign-in-parameters cannot be"),
        ({"oidc_client_secret_file": "missing"}, "The file missing with a secret cannot be read"),
    ],
    ids=str,
)
def test_settings_that_cannot_be_meant_are_refused(wrong: dict[str, Any], complaint: str) -> None:
    """The sentence says which, before anything is made."""
    right = Settings(
        oidc_issuer="https://login.example",
        oidc_audience=AUDIENCE,
        oidc_roles="viewer=reader",
        oidc_client_id="board",
        public_url=PUBLIC_URL,
    )
    check_settings(right)

    with pytest.raises(Unusable, match=f"^{complaint}"):
        check_settings(replace(right, **wrong))
