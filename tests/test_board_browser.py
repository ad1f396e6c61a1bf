"""The board in a real browser: it shows what is stored, stays current, takes corrections, and keeps nobody out."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, expect

from chromium import Scheme, Visitor
from harness import Client, Service, a_sprocket
from sprocket_factory.commands.demo import make_samples
from sprocket_factory.entities.instant import now
from sprocket_factory.settings import Settings

PAGES = [
    "/",
    "/board/wall",
    "/board/factories/1",
    "/board/factories/2?period=week",
    "/board/factories/3?period=month",
    "/board/factories/1?date=2001-01-01",
    "/board/new-factory",
    "/board/sprockets",
    "/board/sprockets?teeth=20",
    "/board/sprockets/99",
    "/board/sprockets/1/removal",
    "/board/factories/1/removal",
    "/board/factories/4/removal",
    "/board/new-sprocket",
    "/board/keys",
    "/board/changes",
    "/docs",
    "/problems/conflict",
]

LOOKS: list[tuple[int, Scheme]] = [(1280, "light"), (390, "dark")]
"""How wide and in which colours each of them is looked at."""

HOSTILE = "<img src=x onerror=alert(1)>"

WRONG_SPROCKET = {"Teeth": "20", "Pitch diameter": "162.37", "Outside diameter": "17.5", "Pitch": "25.4"}

PICTURES = os.environ.get("BOARD_PICTURES")
"""Where to put the pictures for the README, if they are wanted: `BOARD_PICTURES=docs/pictures bin/test -k pictures`."""

PICTURE_OF: dict[str, tuple[str, int, Scheme]] = {
    "overview": ("/", 440, "light"),
    "factory": ("/board/factories/1", 900, "light"),
    "sprocket": ("/board/sprockets/20", 820, "light"),
    "wall": ("/board/wall", 720, "dark"),
}
"""Which page each picture shows, how much of it from above, and how."""


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Run one service with sample data for all these tests, in which everybody may everything."""
    url = f"sqlite:///{tmp_path_factory.mktemp('board') / 'factory.db'}"
    with Service(Settings(database_url=url), anonymous_role="admin") as running:
        running.run(running.database.write, make_samples, now(), by="test")
        with Client(running.address) as admin:
            admin.post("/sprockets", json=a_sprocket(teeth=5, pitch=1, pitch_diameter=5, outside_diameter=6))
            admin.post("/factories", json={"name": HOSTILE, "time_zone": "Australia/Lord_Howe"})
        yield running


@pytest.mark.parametrize("path", PAGES)
def test_a_page_keeps_nobody_from_reading_it(visitor: Visitor, path: str) -> None:
    """Wide and light, narrow and dark: axe-core finds nothing serious, and no script, style or request fails."""
    visitor.page.goto(path)
    found = {}
    for width, scheme in LOOKS:
        visitor.look(width, scheme)
        found[scheme] = (visitor.axe(), max(visitor.sideways(), 0))

    assert {scheme: ([], 0) for _, scheme in LOOKS} == found


def test_a_name_is_shown_as_it_is(visitor: Visitor) -> None:
    """Fault 28: what looks like HTML in a name is text on every page, and nothing of it runs."""
    visitor.page.goto("/")
    visitor.page.get_by_role("link", name=HOSTILE).click()

    expect(visitor.page.get_by_role("heading", level=1)).to_have_text(HOSTILE)
    assert 0 == visitor.page.locator("img[src=x]").count()


def test_a_board_without_scripts_can_be_read(browser: Browser, board: Service) -> None:
    """All numbers are there, and no button that could not do anything."""
    context = browser.new_context(java_script_enabled=False, base_url=board.address)
    page = context.new_page()
    page.goto("/board/factories/1")

    expect(page.get_by_role("table").first).to_contain_text(re.compile(r"\d\.\d %"))
    expect(page.get_by_role("button", name="Show")).to_be_visible()
    expect(page.get_by_role("button", name="Record", exact=True)).to_be_hidden()
    context.close()


def test_a_sprocket_is_added_corrected_and_removed(visitor: Visitor, admin: Client) -> None:
    """A wrong entry is told where it is, and what is stored is compared with the standard at once."""
    page = visitor.page
    page.goto("/board/sprockets")
    page.get_by_role("link", name="Add a sprocket").click()
    for label, value in WRONG_SPROCKET.items():
        page.get_by_label(label, exact=True).fill(value)
    page.get_by_role("button", name="Add").click()
    expect(page.locator("main")).to_contain_text("Deviates")

    page.get_by_label("Outside diameter").fill("175.61")
    page.get_by_role("button", name="Change").click()
    expect(page.locator("main")).to_contain_text("Fits ASME B29.1")
    sprocket_id = page.url.rsplit("/", 1)[1]
    assert 175.61 == admin.get(f"/sprockets/{sprocket_id}").json()["outside_diameter"]

    page.get_by_role("link", name="Remove").click()
    page.get_by_role("button", name="Remove").click()
    expect(page).to_have_url(f"{visitor.address}/board/sprockets")
    assert 404 == admin.get(f"/sprockets/{sprocket_id}").status_code


def test_what_somebody_else_has_changed_is_not_lost(visitor: Visitor, admin: Client) -> None:
    """The form sends the version that it was made of; a stale one is refused, and says so."""
    location = admin.post("/sprockets", json=a_sprocket()).headers["Location"]
    visitor.page.goto(f"/board/sprockets/{location.rsplit('/', 1)[1]}")
    admin.put(admin.address + location, json=a_sprocket(teeth=77))
    visitor.page.get_by_label("Teeth").fill("78")
    visitor.page.get_by_role("button", name="Change").click()

    expect(visitor.page.get_by_role("alert")).to_contain_text("Somebody has changed this meanwhile")
    assert 77 == admin.get(admin.address + location).json()["teeth"]
    assert ["412"] == [part for fault in visitor.faults for part in fault.split() if part.isdigit()]
    visitor.faults.clear()  # the browser writes every refusal to its console


def test_production_is_recorded_and_corrected(visitor: Visitor, admin: Client) -> None:
    """A record is added; one that is there is not replaced unasked; and a wrong one is corrected in its row."""
    factory = admin.post("/factories", json={"name": "Derby"}).json()["id"]
    page = visitor.page
    page.goto(f"/board/factories/{factory}")
    expect(page.locator("main")).to_contain_text("No data")
    _record(visitor, made="30", goal="31")
    expect(page.locator("#records")).to_contain_text("30")
    expect(page.locator("#sums")).to_contain_text("−1")

    page.once("dialog", lambda dialog: dialog.dismiss())
    _record(visitor, made="5", goal="31")
    expect(page.get_by_role("alert").first).to_contain_text("made 30, goal 31")
    assert [30] == _stored(admin, factory)

    page.get_by_role("button", name="Correct 00:00:01").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Made").fill("33")
    dialog.get_by_role("button", name="Correct").click()
    expect(page.locator("#sums")).to_contain_text("+2")
    assert [33] == _stored(admin, factory)
    visitor.faults[:] = [fault for fault in visitor.faults if "409" not in fault]


def test_a_record_is_removed_without_scripts(browser: Browser, board: Service, admin: Client) -> None:
    """What would be removed is shown and asked for, and can be left; what was changed meanwhile is asked for anew."""
    factory = admin.post("/factories", json={"name": "Goole"}).json()["id"]
    record = f"/production/{factory}/2021-01-21T02:06:58Z"
    admin.put(record, json={"sprocket_production_actual": 30, "sprocket_production_goal": 31})
    context = browser.new_context(java_script_enabled=False, base_url=board.address)
    page = context.new_page()
    page.goto(f"/board/factories/{factory}?date=2021-01-21")
    page.get_by_role("link", name="Remove 02:06:58").click()
    page.get_by_role("link", name="Leave it").click()
    page.get_by_role("link", name="Remove 02:06:58").click()
    admin.patch(record, json={"sprocket_production_actual": 32})
    page.get_by_role("button", name="Remove").click()
    expect(page.get_by_role("alert")).to_contain_text("somebody has changed it meanwhile")
    expect(page.locator("main")).to_contain_text("32")
    assert [32] == _stored(admin, factory)

    page.get_by_role("button", name="Remove").click()
    expect(page.locator("#records")).to_contain_text("There is none.")
    assert [] == _stored(admin, factory)
    context.close()


@pytest.mark.parametrize(("noun", "thing"), [("sprockets", a_sprocket()), ("factories", {"name": "Selby"})])
def test_a_sprocket_or_a_factory_is_removed_without_scripts(
    browser: Browser, board: Service, admin: Client, noun: str, thing: dict[str, object]
) -> None:
    """From its page over the one that asks to the one on which it stood."""
    location = admin.address + admin.post(f"/{noun}", json=thing).headers["Location"]
    context = browser.new_context(java_script_enabled=False, base_url=board.address)
    page = context.new_page()
    page.goto(f"/board/{noun}/{location.rsplit('/', 1)[1]}")
    for summary in page.locator("summary").all():
        summary.click()
    page.get_by_role("link", name="Remove").click()
    assert 200 == admin.get(location).status_code

    page.get_by_role("button", name="Remove").click()
    expect(page.get_by_role("heading", level=1)).to_have_text(noun.capitalize())
    assert 404 == admin.get(location).status_code
    context.close()


def test_on_paper_a_record_has_no_column_for_what_is_done_with_it(visitor: Visitor, admin: Client) -> None:
    """Neither the cells of one nor its heads."""
    factory = admin.post("/factories", json={"name": "Thorne"}).json()["id"]
    counts = {"sprocket_production_actual": 30, "sprocket_production_goal": 31}
    admin.put(f"/production/{factory}/2021-01-21T02:06:58Z", json=counts)
    page = visitor.page
    page.goto(f"/board/factories/{factory}?date=2021-01-21")
    page.emulate_media(media="print")
    rows = page.locator("#records tr").all()

    assert [4, 4] == [row.locator(":is(th, td):visible").count() for row in rows]


def test_on_a_phone_what_can_be_done_with_a_row_is_in_view(visitor: Visitor, admin: Client) -> None:
    """Nobody has to push the table aside to find it."""
    factory = admin.post("/factories", json={"name": "Selby"}).json()["id"]
    counts = {"sprocket_production_actual": 123_456, "sprocket_production_goal": 123_457}
    admin.put(f"/production/{factory}/2021-01-21T02:06:58Z", json=counts)
    key = admin.post("/keys", json={"name": "press line of the second hall", "role": "viewer"}).json()["id"]
    page = visitor.page
    visitor.look(390, "light")
    page.goto(f"/board/factories/{factory}?date=2021-01-21")
    page.get_by_role("rowheader", name="02:06:58").scroll_into_view_if_needed()
    expect(page.get_by_role("button", name="Correct 02:06:58")).to_be_in_viewport(ratio=1)
    expect(page.get_by_role("link", name="Remove 02:06:58")).to_be_in_viewport(ratio=1)

    page.goto("/board/keys")
    page.get_by_role("rowheader", name=str(key), exact=True).scroll_into_view_if_needed()
    expect(page.get_by_role("button", name=f"Revoke {key}", exact=True)).to_be_in_viewport(ratio=1)


def test_a_factory_is_added_changed_and_removed(visitor: Visitor, admin: Client) -> None:
    """A name that another has is refused in words; a new zone counts anew."""
    page = visitor.page
    page.goto("/board/new-factory")
    page.get_by_label("Name").fill("Sheffield")
    page.get_by_role("button", name="Add").click()
    expect(page.get_by_role("alert")).to_contain_text("has this name already")
    visitor.faults.clear()

    page.get_by_label("Name").fill("Hull")
    page.get_by_label("Time zone").fill("Europe/London")
    page.get_by_role("button", name="Add").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Hull")

    page.get_by_text("Change this factory").click()
    page.get_by_label("Time zone").fill("Australia/Lord_Howe")
    page.get_by_role("button", name="Change").click()
    expect(page.locator("main")).to_contain_text("Australia/Lord_Howe")
    assert "Australia/Lord_Howe" in [one["time_zone"] for one in admin.get("/factories?name=Hull").json()]

    page.get_by_text("Change this factory").click()
    page.get_by_role("link", name="Remove").click()
    page.get_by_role("button", name="Remove").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Factories")
    assert [] == admin.get("/factories?name=Hull").json()


def test_a_key_is_made_shown_once_and_revoked(visitor: Visitor, board: Service) -> None:
    """What is shown works, and no longer once it is revoked; a viewer's comes with a link for a screen."""
    page = visitor.page
    page.goto("/board/keys")
    page.get_by_label("Name").fill("hall 2")
    page.get_by_role("button", name="Make a key").click()
    expect(page.locator("[data-secret]")).to_contain_text("sfk_")
    secret = page.locator("[data-secret]").inner_text()
    me = f"{board.address}/sprocketFactory/v1/me"
    headers = {"Authorization": f"Bearer {secret}"}
    assert "hall 2" == httpx.get(me, headers=headers).json()["name"]
    expect(page.get_by_text(f"{board.address}/board/kiosk/{secret}")).to_be_visible()

    page.get_by_role("link", name="Done").click()
    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_role("row", name="hall 2").get_by_role("button").click()
    expect(page.get_by_role("row", name="hall 2")).to_have_count(0)
    assert 401 == httpx.get(me, headers=headers).status_code


def test_the_last_key_of_an_administrator_stays(visitor: Visitor, admin: Client) -> None:
    """Whoever revokes it is told what to do first."""
    key_id = admin.post("/keys", json={"name": "the boss", "role": "admin"}).json()["id"]
    page = visitor.page
    page.goto("/board/keys")
    page.on("dialog", lambda dialog: dialog.accept())
    row = page.get_by_role("row", name="the boss")
    row.get_by_role("button").click()

    expect(row.get_by_role("alert")).to_contain_text("Make one first")
    assert "admin" == admin.get(f"/keys/{key_id}").json()["role"]
    visitor.faults[:] = [fault for fault in visitor.faults if "409" not in fault]


def test_the_record_of_changes_is_searched(visitor: Visitor, admin: Client) -> None:
    """Who did what, from what to what."""
    location = admin.post("/sprockets", json=a_sprocket(teeth=31)).headers["Location"]
    admin.patch(admin.address + location, json={"teeth": 32})
    page = visitor.page
    page.goto("/board/changes")
    page.get_by_label("Entity").select_option("sprocket")
    page.get_by_label("Action").select_option("update")
    page.get_by_role("button", name="Search").click()

    row = page.get_by_role("row", name=f"update sprocket {location.rsplit('/', 1)[1]}")
    expect(row).to_contain_text("teeth 31")
    expect(row).to_contain_text("teeth 32")


def test_a_table_is_sorted(visitor: Visitor) -> None:
    """By a press of a head, and the other way round by another."""
    page = visitor.page
    page.goto("/board/factories/2?period=month")
    head = page.locator("#rows").get_by_role("columnheader", name="Made", exact=True)
    head.get_by_role("button").click()
    expect(head).to_have_attribute("aria-sort", "ascending")
    rising = _column(visitor)
    head.get_by_role("button").click()
    expect(head).to_have_attribute("aria-sort", "descending")

    assert sorted(rising) == rising
    assert rising[::-1] == _column(visitor)


def test_the_keyboard_alone_reaches_the_content(visitor: Visitor) -> None:
    """The first stop leads past the navigation."""
    visitor.page.goto("/")
    visitor.page.keyboard.press("Tab")
    expect(visitor.page.get_by_role("link", name="Skip to the content")).to_be_focused()
    visitor.page.keyboard.press("Enter")
    expect(visitor.page.locator("main")).to_be_focused()


def test_a_wall_whose_line_is_cut_says_so(browser: Browser, tmp_path: Path) -> None:
    """Old numbers are not shown as if they were new."""
    with Service(Settings(database_url=f"sqlite:///{tmp_path / 'cut.db'}"), anonymous_role="viewer") as service:
        visitor = Visitor(browser, service.address)
        visitor.page.clock.install()
        visitor.page.goto("/board/wall")
        expect(visitor.page.get_by_role("status")).to_be_hidden()
    visitor.page.clock.run_for(30_000)

    expect(visitor.page.get_by_text("The line to the service is cut")).to_be_visible()
    visitor.close()


def test_pictures(browser: Browser, tmp_path: Path) -> None:
    """The pictures in the README are of the board as the demo shows it."""
    folder = Path(PICTURES) if PICTURES else tmp_path
    with Service(Settings(database_url=f"sqlite:///{tmp_path / 'demo.db'}"), anonymous_role="viewer") as demo:
        demo.run(demo.database.write, make_samples, now(), by="demo")
        for name, (path, height, scheme) in PICTURE_OF.items():
            visitor = Visitor(browser, demo.address, height=height, scheme=scheme)
            visitor.page.goto(path)
            visitor.page.screenshot(path=folder / f"{name}.png")
            visitor.close()
            assert [] == visitor.faults

    assert PICTURE_OF.keys() == {path.stem for path in folder.glob("*.png")}


def _record(visitor: Visitor, made: str, goal: str) -> None:
    form = visitor.page.locator("form#record")
    form.get_by_label("Time").fill("00:00:01")
    form.get_by_label("Made").fill(made)
    form.get_by_label("Goal").fill(goal)
    form.get_by_role("button", name="Record").click()


def _stored(admin: Client, factory_id: int) -> list[int]:
    return [record["sprocket_production_actual"] for record in admin.get(f"/production/{factory_id}").json()]


def _column(visitor: Visitor) -> list[int]:
    cells = visitor.page.locator("#rows tbody tr:not(.none) td:nth-child(3)").all_inner_texts()
    return [int(text.replace(",", "")) for text in cells]
