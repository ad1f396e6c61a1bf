"""The board follows production in a real browser, on both engines."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from playwright.sync_api import Browser, expect

from chromium import Visitor, open_browser
from harness import Client, Service

WITHIN_MS = 2000


@pytest.fixture(scope="module")
def browser(running: Service) -> Iterator[Browser]:
    """Run a browser beside the service, whose database is there already: making one is not possible meanwhile."""
    del running
    with open_browser() as opened:
        yield opened


@pytest.mark.parametrize("path", ["/", "/board/wall", "/board/factories/1"])
def test_a_record_is_on_the_board_within_two_seconds(
    browser: Browser, service: Service, engineer: Client, path: str
) -> None:
    """Whoever looks need not load the page again; also not for a correction."""
    engineer.post("/factories", json={"name": "Leeds"})
    minute = datetime.now(UTC).replace(second=0, microsecond=0).strftime("%Y-%m-%dT%H:%M:%SZ")
    visitor = Visitor(browser, service.address)
    visitor.page.goto(path)
    expect(visitor.page.get_by_text("No data").first).to_be_visible()

    for actual, variance in ((12, "+2"), (7, "−3")):
        counts = {"sprocket_production_actual": actual, "sprocket_production_goal": 10}
        assert engineer.put(f"/production/1/{minute}", json=counts).is_success
        expect(visitor.page.locator("main")).to_contain_text(variance, timeout=WITHIN_MS)
    visitor.close()

    assert [] == visitor.faults


def test_who_has_a_field_in_hand_keeps_it(browser: Browser, service: Service, engineer: Client) -> None:
    """What is being typed is not taken away by what comes in meanwhile."""
    engineer.post("/factories", json={"name": "Leeds"})
    visitor = Visitor(browser, service.address)
    visitor.page.goto("/board/factories/1")
    form = visitor.page.locator("form#record")
    form.get_by_label("Made").fill("31")
    counts = {"sprocket_production_actual": 12, "sprocket_production_goal": 10}
    engineer.put(f"/production/1/{datetime.now(UTC):%Y-%m-%dT%H:%M}:00Z", json=counts)
    expect(visitor.page.locator("#sums")).to_contain_text("+2", timeout=WITHIN_MS)

    expect(form.get_by_label("Made")).to_have_value("31")
    expect(form.get_by_label("Made")).to_be_focused()
    visitor.close()


def begin_a_day(visitor: Visitor) -> None:
    """Let the page be that of yesterday from now on, and look whether there is something new."""
    visitor.page.evaluate(
        """() => {
            document.querySelector("[data-day]").dataset.day = "2021-01-21";
            document.querySelector("form#record").dataset.date = "2021-01-21";
            document.dispatchEvent(new Event("visibilitychange"));
        }"""
    )


def test_at_midnight_the_page_becomes_that_of_the_new_day(browser: Browser, service: Service, engineer: Client) -> None:
    """Its form is about the day that its rows are of. What is half typed stays, and about the day it was begun for."""
    engineer.post("/factories", json={"name": "Leeds"})
    visitor = Visitor(browser, service.address)
    visitor.page.goto("/board/factories/1")
    form = visitor.page.locator("form#record")
    today = form.get_attribute("data-date") or ""
    begin_a_day(visitor)
    expect(form).to_have_attribute("data-date", today)

    form.get_by_label("Made").fill("31")
    for _ in range(2):  # what the first one says has been heeded once there is a second one
        with visitor.page.expect_response(lambda answer: answer.url.endswith("/board/factories/1")):
            begin_a_day(visitor)
    expect(form).to_have_attribute("data-date", "2021-01-21")
    expect(form.get_by_label("Made")).to_have_value("31")
    visitor.close()


def test_a_board_without_factories_gets_the_first_one(browser: Browser, service: Service, engineer: Client) -> None:
    """Whoever hangs the screen first need not come back."""
    visitor = Visitor(browser, service.address)
    visitor.page.goto("/board/wall")
    expect(visitor.page.get_by_text("There is no factory yet.")).to_be_visible()
    engineer.post("/factories", json={"name": "Leeds"})
    engineer.put(
        f"/production/1/{datetime.now(UTC):%Y-%m-%dT%H:%M}:00Z",
        json={"sprocket_production_actual": 12, "sprocket_production_goal": 10},
    )

    expect(visitor.page.get_by_text("Ahead")).to_be_visible(timeout=WITHIN_MS)
    visitor.close()
