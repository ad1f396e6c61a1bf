"""A real browser for the tests: the system's Chromium, driven by Playwright, which lets nothing leave the machine."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, Route, sync_playwright

from npm import install

CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")

HOW_TO_GET_IT = (
    "The tests in a browser were skipped: there is no Chromium here. `apt-get install chromium` gets it, or name one"
    " as CHROMIUM=/path/to/chromium."
)

REQUIRED = "CHROMIUM_REQUIRED"
"""The variable under which a missing Chromium is a failure. `.ci/run` sets it."""

Scheme = Literal["light", "dark"]

HEIGHT = 900


@cache
def find_chromium() -> str | None:
    """Return the path of a Chromium, or None where there is none."""
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, CHROMIUM_NAMES)), None)


@contextmanager
def open_browser() -> Iterator[Browser]:
    """Run a browser. Without Chromium the test is skipped, or fails where one is required."""
    path = find_chromium()
    if path is None:
        if REQUIRED in os.environ:
            pytest.fail(HOW_TO_GET_IT)
        pytest.skip(HOW_TO_GET_IT)
    with sync_playwright() as playwright:
        # As root it has no sandbox, and in a container little shared memory.
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-dev-shm-usage"])
        yield browser
        browser.close()


class Visitor:
    """Somebody who looks at the board. Whatever goes wrong in the browser meanwhile is collected."""

    def __init__(
        self, browser: Browser, address: str, *, width: int = 1280, height: int = HEIGHT, scheme: Scheme = "light"
    ) -> None:
        self.address = address
        self.faults: list[str] = []
        self._context = browser.new_context(
            viewport={"width": width, "height": height}, color_scheme=scheme, base_url=address
        )
        self._context.route("**/*", self._keep_within)
        self.page: Page = self._context.new_page()
        self.page.on("console", lambda line: self._note(line.type, line.text))
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))

    def close(self) -> None:
        """Close everything."""
        self._context.close()

    def look(self, width: int, scheme: Scheme) -> None:
        """Look at the page in a window that is as wide, and in these colours."""
        self.page.set_viewport_size({"width": width, "height": HEIGHT})
        self.page.emulate_media(color_scheme=scheme)

    def axe(self) -> list[dict[str, Any]]:
        """Return what axe-core finds on the page that is serious or worse."""
        # Past the policy of the page, which lets nobody run anything else: the script comes through the debugger.
        self.page.evaluate(axe_script())
        found: list[dict[str, Any]] = self.page.evaluate(
            """async () => (await axe.run()).violations
                .filter(({impact}) => impact === "serious" || impact === "critical")
                .map(({id, help, nodes}) => ({id, help, where: nodes.map(({html}) => html)}))"""
        )
        return found

    def sideways(self) -> int:
        """Return by how much the page is wider than the window."""
        wider: int = self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        return wider

    def _note(self, kind: str, text: str) -> None:
        if kind in {"error", "warning"}:
            self.faults.append(f"{kind}: {text}")

    def _keep_within(self, route: Route) -> None:
        if urlsplit(route.request.url).hostname != urlsplit(self.address).hostname:
            self.faults.append(f"asked for {route.request.url}")
            route.abort()
        else:
            route.continue_()


@cache
def axe_script() -> str:
    """Return axe-core, which looks for what keeps people from using a page."""
    folder = install(Path(__file__).with_name("axe"))
    return (folder / "axe-core" / "axe.min.js").read_text(encoding="utf-8")
