"""A browser as the tests of signing in have it: it keeps cookies, and says of its forms which page they come from."""

import asyncio
import itertools
from http.cookies import SimpleCookie
from typing import Any

import httpx

from harness import BASE_PATH, TLS, Service
from sprocket_factory.database import Database

COOKIE = "sprocket-factory"

_addresses = itertools.count(2)


class Browser(httpx.Client):
    """Paths are relative to the service's address. Each has an address of its own, so that wrong keys do not add up."""

    def __init__(self, service: Service, address: str = "") -> None:
        near, far = divmod(next(_addresses), 250)
        transport = httpx.HTTPTransport(local_address=address or f"127.1.{near + 1}.{far + 1}", verify=TLS)
        super().__init__(base_url=service.address, transport=transport, trust_env=False, timeout=20)
        self.origin = service.address

    def send_form(self, path: str, headers: dict[str, str] | None = None, **fields: str) -> httpx.Response:
        """Send a form from a page of the service."""
        return self.post(path, data=fields, headers=self.from_here() if headers is None else headers)

    def sign_in(self, key: str, **fields: str) -> httpx.Response:
        """Sign in with a key."""
        return self.send_form("/sign-in", None, key=key, **fields)

    def sign_out(self) -> httpx.Response:
        """Sign out."""
        return self.send_form("/sign-out")

    def from_here(self) -> dict[str, str]:
        """Return what says that a page of the service asks."""
        return {"Origin": self.origin}

    def me(self) -> tuple[int, Any]:
        """Return how the API answers who one is."""
        answer = self.get(f"{BASE_PATH}/me")
        return answer.status_code, answer.json()

    def says(self, cookie: str) -> int:
        """Return the status of what the API answers to this header alone."""
        return self.get(f"{BASE_PATH}/me", headers={"Cookie": cookie}).status_code

    @property
    def cookie(self) -> str:
        """What the cookie of the session holds."""
        return self.cookies.get(COOKIE) or ""


def let_it_be_known(service: Service) -> None:
    """Wait until a server knows what was changed past it. Where others may change it, that takes two seconds."""
    if service.settings.database_url.startswith("postgresql"):
        service.run(_wait_for_another_stamp, service.database)


async def _wait_for_another_stamp(database: Database) -> None:
    stamp = database.stamp()
    while stamp == database.stamp():  # noqa: ASYNC110 - no event tells of it
        await asyncio.sleep(0.02)


def cookies_of(answer: httpx.Response) -> dict[str, dict[str, str]]:
    """Return what an answer has a browser keep: by the name of each cookie its value and its attributes, if given."""
    kept: SimpleCookie = SimpleCookie()
    for header in answer.headers.get_list("Set-Cookie"):
        kept.load(header)
    return {
        name: {"value": cookie.value} | {key: str(value) for key, value in cookie.items() if value}
        for name, cookie in kept.items()
    }
