"""A certified OpenID Connect provider of the tests' own: `oidc-provider` from npm, on the Node.js of a PyPI wheel.

What it is told beyond that stands in oidc_provider/provider.mjs.
"""

import base64
import re
import subprocess
from hashlib import sha256
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx

from harness import TLS
from npm import NODE, install
from postgresql_server import free_port
from sprocket_factory.settings import Settings

FOLDER = Path(__file__).with_name("oidc_provider")

AUDIENCE = "sprocket-factory"
RESOURCE = "urn:sprocket-factory"

ROLES = "viewer=visitors,operator=press team,engineer=designers"
"""What the service makes of the groups that the provider's people are in."""

CALLBACK = "https://board.example/sign-in/callback"
"""Where the provider sends a browser back to. Nobody goes there: what matters is in the address."""

SECRET = "not much of a secret"


class CertifiedProvider:
    """The provider as a process. It ends with the process that started it, however that ends."""

    def __init__(self) -> None:
        install(FOLDER)
        port = free_port()
        self.issuer = f"http://127.0.0.1:{port}"
        self._process = subprocess.Popen(
            [NODE, "provider.mjs", str(port)],
            cwd=FOLDER,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # it warns that it is no provider for others than tests
            text=True,
            start_new_session=True,
        )
        self._hear("open")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._process.communicate()

    def settings(self, database_url: str, **other: Any) -> Settings:
        """Return the settings of a service that trusts this provider, but for some."""
        given = {"oidc_issuer": self.issuer, "oidc_audience": AUDIENCE, "oidc_roles": ROLES} | other
        return Settings(database_url=database_url, **given)

    def settings_to_sign_in(self, database_url: str, client_id: str, **other: Any) -> Settings:
        """Return the settings of a service by which people sign in here as well, but for some."""
        return self.settings(
            database_url,
            oidc_client_id=client_id,
            oidc_scopes="openid RS256",
            oidc_sign_in_parameters=f"resource={RESOURCE}",
            **other,
        )

    def tell(self, command: str) -> None:
        """Tell it to `rotate` its keys, to `retire` the ones before, to `close` or to `open`; and wait until it did."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{command}\n")
        self._process.stdin.flush()
        self._hear(command)

    def token_for_machine(self, client_id: str, scope: str = "RS256", resource: str | None = RESOURCE) -> str:
        """Return an access token that a program gets for itself. The scope says by which algorithm it is signed."""
        form = {"grant_type": "client_credentials", "scope": scope} | ({"resource": resource} if resource else {})
        with new_browser() as browser:
            answer = browser.post(f"{self.issuer}/token", data=form, auth=(client_id, SECRET))
        assert answer.status_code == 200, answer.text
        token: str = answer.json()["access_token"]
        return token

    def sign_in(self, login: str, resource: str | None = RESOURCE) -> dict[str, Any]:
        """Return what a program gets for a person who signs in: code flow with PKCE (RFC 7636)."""
        verifier = "v" * 43
        asked_for = {"resource": resource} if resource else {}
        question = asked_for | {
            "client_id": "board",
            "response_type": "code",
            "redirect_uri": CALLBACK,
            "scope": "openid RS256",
            "code_challenge": base64.urlsafe_b64encode(sha256(verifier.encode()).digest()).rstrip(b"=").decode(),
            "code_challenge_method": "S256",
            "nonce": "n-0S6",
        }
        (code,) = parse_qs(urlsplit(self.visit(f"{self.issuer}/auth?{urlencode(question)}", login)).query)["code"]
        form = {"grant_type": "authorization_code", "client_id": "board", "code": code, "redirect_uri": CALLBACK}
        with new_browser() as browser:
            answer = browser.post(f"{self.issuer}/token", data=asked_for | form | {"code_verifier": verifier})
        assert answer.status_code == 200, answer.text
        tokens: dict[str, Any] = answer.json()
        return tokens

    def visit(self, address: str, login: str) -> str:
        """Return where a browser is sent in the end that was sent to this address, and in which somebody signs in."""
        with new_browser() as browser:
            page = browser.get(address)
            while not page.headers.get("Location", "").startswith(CALLBACK):
                page = self._go_on(browser, page, login)
        return page.headers["Location"]

    def _go_on(self, browser: httpx.Client, page: httpx.Response, login: str) -> httpx.Response:
        """Follow where a page leads, or send the form that it shows: first who one is, then that one agrees."""
        if page.is_redirect:
            return browser.get(page.url.join(page.headers["Location"]))
        prompt = re.search(r'name="prompt" value="(\w+)"', page.text)
        assert prompt is not None, page.text
        return browser.post(page.url, data={"prompt": prompt[1], "login": login, "password": "any will do"})

    def _hear(self, expected: str) -> None:
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == f"{expected}\n", "the provider has ended"


def new_browser() -> httpx.Client:
    """Return a client that keeps cookies, as a browser does."""
    return httpx.Client(trust_env=False, verify=TLS, timeout=20)
