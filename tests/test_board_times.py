"""Times on the board, in a real browser: on the days on which clocks are changed, too, a record gets the right one."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Locator, expect

from chromium import Visitor
from harness import Client, Service
from sprocket_factory.settings import Settings

BACK, FORWARD = "2026-10-25", "2026-03-29"
"""The days of 2026 on which London's clocks go back at 02:00, and forward at 01:00."""


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Run one service for all these tests; its clock does not mind records of any day."""
    url = f"sqlite:///{tmp_path_factory.mktemp('board') / 'factory.db'}"
    with Service(Settings(database_url=url, max_ahead_seconds=10**9), anonymous_role="admin") as running:
        yield running


@pytest.fixture
def factory(admin: Client, request: pytest.FixtureRequest) -> int:
    """Add a factory of the test's own in London and return its id."""
    new = {"name": request.node.name, "time_zone": "Europe/London"}
    factory_id: int = admin.post("/factories", json=new).raise_for_status().json()["id"]
    return factory_id


def open_form(visitor: Visitor, factory: int, date: str) -> Locator:
    """Open the day's page and return its form."""
    visitor.page.goto(f"/board/factories/{factory}?date={date}")
    return visitor.page.locator("form#record")


def record(form: Locator, time: str) -> None:
    """Fill in a time and counts, and send them."""
    form.get_by_label("Time").fill(time)
    form.get_by_label("Made").fill("5")
    form.get_by_label("Goal").fill("6")
    form.get_by_role("button", name="Record").click()


def stored(admin: Client, factory: int) -> list[str]:
    """Return the times that are stored."""
    return [one["time"] for one in admin.get(f"/production/{factory}").json()]


@pytest.mark.parametrize(
    ("shown", "instant"),
    [
        (f"{BACK} 00:59:59", "2026-10-24T23:59:59Z"),
        (f"{BACK} 02:00", "2026-10-25T02:00:00Z"),
        (f"{BACK} 18:00", "2026-10-25T18:00:00Z"),
        (f"{FORWARD} 00:59:59", "2026-03-29T00:59:59Z"),
        (f"{FORWARD} 02:00", "2026-03-29T01:00:00Z"),
        (f"{FORWARD} 18:00", "2026-03-29T17:00:00Z"),
        ("2026-07-01 18:00", "2026-07-01T17:00:00Z"),
    ],
)
def test_a_time_that_clocks_show_once_has_one_offset(
    visitor: Visitor, admin: Client, factory: int, shown: str, instant: str
) -> None:
    """Nobody is asked for it."""
    date, time = shown.split()
    form = open_form(visitor, factory, date)
    record(form, time)
    expect(form.get_by_role("status")).to_contain_text("Recorded")

    expect(form.get_by_label("Offset")).to_be_hidden()
    assert [instant] == stored(admin, factory)


@pytest.mark.parametrize(
    ("choice", "instant"), [("+01:00", "2026-10-25T00:30:00Z"), ("+00:00", "2026-10-25T01:30:00Z")]
)
def test_a_time_that_clocks_show_twice_is_asked_about(
    visitor: Visitor, admin: Client, factory: int, choice: str, instant: str
) -> None:
    """Nothing is chosen beforehand, nor by what was chosen for another record; without an answer nothing is stored."""
    form = open_form(visitor, factory, BACK)
    record(form, "01:30")
    expect(form.get_by_role("alert")).to_contain_text("On this day clocks show 01:30 twice")
    assert [] == stored(admin, factory)

    form.get_by_label("Offset").select_option(choice)
    form.get_by_role("button", name="Record").click()
    expect(form.get_by_role("status")).to_contain_text("Recorded")
    assert [instant] == stored(admin, factory)

    form.get_by_label("Time").fill("18:00")
    expect(form.get_by_label("Offset")).to_be_hidden()
    form.get_by_label("Time").fill("01:45")
    expect(form.get_by_label("Offset")).to_have_value("")


def test_a_time_that_clocks_leave_out_is_refused(visitor: Visitor, admin: Client, factory: int) -> None:
    """It is not taken for another one."""
    form = open_form(visitor, factory, FORWARD)
    record(form, "01:30")

    expect(form.get_by_role("alert")).to_contain_text("On this day clocks never show 01:30")
    expect(form.get_by_label("Time")).to_have_attribute("aria-invalid", "true")
    assert [] == stored(admin, factory)


def test_of_two_records_that_clocks_show_alike_the_right_one_is_corrected(
    visitor: Visitor, admin: Client, factory: int
) -> None:
    """Their offsets tell them apart, and so does the form's heading."""
    counts = {"sprocket_production_actual": 5, "sprocket_production_goal": 6}
    for time in ("2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z"):
        admin.put(f"/production/{factory}/{time}", json=counts).raise_for_status()
    open_form(visitor, factory, BACK)
    page = visitor.page
    page.get_by_role("button", name="Correct 01:30:00 +01:00").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("heading")).to_have_text("Correct the record of 01:30:00 +01:00 on 25 October")
    dialog.get_by_label("Made").fill("7")
    dialog.get_by_role("button", name="Correct").click()
    expect(page.get_by_role("row", name="01:30:00 +01:00")).to_contain_text("+1")

    assert [7, 5] == [one["sprocket_production_actual"] for one in admin.get(f"/production/{factory}").json()]
