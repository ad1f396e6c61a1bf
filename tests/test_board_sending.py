"""What the board's forms do, in a real browser, where an answer is lost, late, or another than expected."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Dialog, Page, Route, expect

from bulk import PATIENCE_SECONDS
from chromium import Visitor
from harness import BASE_PATH, TLS, Client, Service, wait_in
from sprocket_factory.database import Transaction
from sprocket_factory.entities.production import add_production
from sprocket_factory.entities.sprocket import add_sprocket
from sprocket_factory.settings import Settings

RECORD = "/production/1/2021-01-21T00:00:01Z"


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """Run a service on one engine: nothing here is the database's."""
    with Service(Settings(database_url=f"sqlite:///{tmp_path / 'factory.db'}")) as running:
        yield running


@pytest.fixture
def page(browser: Browser, service: Service, engineer: Client) -> Iterator[Page]:
    """Return a page of somebody's browser, on a board with one factory."""
    engineer.post("/factories", json={"name": "Derby"}).raise_for_status()
    somebody = Visitor(browser, service.address)
    yield somebody.page
    somebody.close()


class Late:
    """A write that is done only when it is let go on; and a browser that does not hear of it."""

    def __init__(self, page: Page, write: Callable[..., Any]) -> None:
        self.go_on = threading.Event()
        self.answers: list[Future[httpx.Response]] = []
        self._begun = threading.Event()
        self._callers = ThreadPoolExecutor(1)
        self._write = write
        page.route(f"**{BASE_PATH}/*", self._lose)

    async def write(self, tx: Transaction, *args: Any) -> Any:
        """Write, and end when it is time."""
        written = await self._write(tx, *args)
        self._begun.set()
        await wait_in(tx, self.go_on)
        return written

    def finish(self) -> int:
        """Let it go on, and return how it was answered."""
        self.go_on.set()
        (answer,) = self.answers
        return answer.result(PATIENCE_SECONDS).status_code

    def _lose(self, route: Route) -> None:
        """Send the first POST on, and lose its connection when it is under way."""
        sent = route.request
        if sent.method != "POST" or self.answers:
            route.fallback()
            return
        headers = {name: value for name, value in sent.headers.items() if name in {"content-type", "idempotency-key"}}
        self.answers.append(self._callers.submit(self._send, sent.url, sent.post_data, headers))
        assert self._begun.wait(PATIENCE_SECONDS)
        route.abort()

    @staticmethod
    def _send(url: str, body: str | None, headers: dict[str, str]) -> httpx.Response:
        return httpx.post(url, content=body, headers=headers, verify=TLS, trust_env=False, timeout=PATIENCE_SECONDS)


@pytest.fixture
def late(page: Page, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, Callable[..., Any]], Late]]:
    """Return what makes a write late, which an endpoint knows by this name."""
    made: list[Late] = []

    def make(name: str, write: Callable[..., Any]) -> Late:
        made.append(Late(page, write))
        monkeypatch.setattr(f"sprocket_factory.endpoints.{name}", made[-1].write)
        return made[-1]

    yield make
    for one in made:
        one.go_on.set()


def record(page: Page, made: int) -> None:
    """Record that so many were made in the first second of a day; anew where the form is there already."""
    form = page.locator("form#record")
    form.get_by_label("Time").fill("00:00:01")
    form.get_by_label("Made").fill(str(made))
    form.get_by_label("Goal").fill("9")
    form.get_by_role("button", name="Record").click()


def put(engineer: Client, made: int) -> None:
    """Store the same record past the board."""
    counts = {"sprocket_production_actual": made, "sprocket_production_goal": 9}
    engineer.put(RECORD, json=counts).raise_for_status()


def stored(engineer: Client) -> int:
    """Return how many were made in that second."""
    made: int = engineer.get(RECORD).json()["sprocket_production_actual"]
    return made


def test_nothing_is_asked_about_a_record_whose_first_sending_is_under_way(
    page: Page, late: Callable[[str, Callable[..., Any]], Late]
) -> None:
    """There is nothing yet that could be replaced: the board says what the service does."""
    asked: list[str] = []

    def decline(dialog: Dialog) -> None:
        asked.append(dialog.message)
        dialog.dismiss()

    page.on("dialog", decline)
    page.goto("/board/factories/1?date=2021-01-21")
    first = late("production_bulk.add_production", add_production)
    record(page, 7)
    alert = page.locator("form#record").get_by_role("alert")
    expect(alert).to_contain_text("The service does not answer")
    record(page, 7)

    expect(alert).to_contain_text("still running")
    assert [] == asked
    assert 201 == first.finish()


def test_what_is_sent_again_while_its_first_sending_is_under_way_is_done_once(
    page: Page, engineer: Client, late: Callable[[str, Callable[..., Any]], Late]
) -> None:
    """However often: it stays one thing until somebody knows what became of it."""
    page.goto("/board/new-sprocket")
    for label, value in {"Teeth": 20, "Pitch diameter": 162.37, "Outside diameter": 175.61, "Pitch": 25.4}.items():
        page.get_by_label(label, exact=True).fill(str(value))
    first = late("sprockets.add_sprocket", add_sprocket)
    add = page.get_by_role("button", name="Add")
    add.click()
    expect(page.get_by_role("alert")).to_contain_text("The service does not answer")
    add.click()
    expect(page.get_by_role("alert")).to_contain_text("still running")
    answered = first.finish()
    add.click()
    page.wait_for_url("**/board/sprockets/*")

    assert (201, 1) == (answered, len(engineer.get("/sprockets").json()))


def test_who_cannot_be_told_what_is_there_may_send_again(page: Page, engineer: Client) -> None:
    """A record that is there and cannot be read is not replaced; the form goes on working."""
    put(engineer, 30)
    page.goto("/board/factories/1?date=2021-01-21")
    page.route(f"**{BASE_PATH}/production/1/*", lambda route: route.abort())
    record(page, 7)
    form = page.locator("form#record")

    expect(form.get_by_role("alert")).to_contain_text("The service does not answer")
    expect(form.get_by_role("button", name="Record")).to_be_enabled()
    assert 30 == stored(engineer)


def test_what_was_corrected_while_somebody_was_asked_is_not_replaced(page: Page, engineer: Client) -> None:
    """Who agrees to replace what he was shown does not agree to replace anything else."""
    put(engineer, 30)

    def agree_late(dialog: Dialog) -> None:
        put(engineer, 31)
        dialog.accept()

    page.goto("/board/factories/1?date=2021-01-21")
    page.on("dialog", agree_late)
    record(page, 7)

    expect(page.locator("form#record").get_by_role("alert")).to_contain_text("Somebody has changed this meanwhile")
    assert 31 == stored(engineer)
