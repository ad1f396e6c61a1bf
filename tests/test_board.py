"""The pages of the board over HTTP: what they say of what is stored, on both engines."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from html import unescape
from typing import Any

import pytest

from harness import BASE_PATH, Client, Service, a_sprocket
from keyholders import caller, make_key
from sprocket_factory.settings import Settings

LORD_HOWE = "Australia/Lord_Howe"
LONDON = "Europe/London"

BY_A_BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


@pytest.fixture(scope="module")
def settings(new_database: Any) -> Settings:
    """Let records be stale after ten minutes."""
    return Settings(database_url=new_database(), stale_after=600)


@pytest.fixture
def page(engineer: Client) -> Callable[[str], str]:
    """Return what gives the text of a page, its tags left out."""

    def text_of(path: str) -> str:
        answer = engineer.get(engineer.address + path)
        assert (200, "text/html; charset=utf-8") == (answer.status_code, answer.headers["Content-Type"])
        return " ".join(unescape(re.sub(r"<[^>]*>", " ", answer.text)).split())

    return text_of


def a_factory(engineer: Client, name: str = "Leeds", time_zone: str = "UTC") -> int:
    """Add a factory and return its id."""
    factory_id: int = engineer.post("/factories", json={"name": name, "time_zone": time_zone}).json()["id"]
    return factory_id


def record(engineer: Client, factory_id: int, time: str | datetime, actual: int, goal: int) -> None:
    """Record production."""
    text = time if isinstance(time, str) else time.strftime("%Y-%m-%dT%H:%M:%SZ")
    counts = {"sprocket_production_actual": actual, "sprocket_production_goal": goal}
    assert engineer.put(f"/production/{factory_id}/{text}", json=counts).is_success


def minutes_ago(minutes: int) -> datetime:
    """Return a moment in the past."""
    return datetime.now(UTC) - timedelta(minutes=minutes)


@pytest.mark.parametrize(
    ("actual", "word", "variance"), [(12, "Ahead", "+2"), (10, "On goal", "±0"), (7, "Behind", "−3")]
)
def test_the_board_says_how_a_factory_stands(
    engineer: Client, page: Callable[[str], str], actual: int, word: str, variance: str
) -> None:
    """Today so far against the goal so far, in a sign and in a word."""
    record(engineer, a_factory(engineer), minutes_ago(0), actual, 10)
    text = page("/")

    assert re.search(rf"Leeds . {word} {actual} of 10 so far today {re.escape(variance)} {actual * 10}\.0 %", text)
    assert "Last record just now" in text


def test_no_data_is_not_zero(engineer: Client, page: Callable[[str], str]) -> None:
    """A factory that has recorded nothing today has made nobody knows how much; one that made nothing has made 0."""
    a_factory(engineer, "silent")
    record(engineer, a_factory(engineer, "idle"), minutes_ago(0), 0, 5)
    text = page("/")

    assert "silent ○ No data today No data today" in text
    assert "idle ▼ Behind 0 of 5 so far today" in text


def test_numbers_that_are_old_are_called_stale(engineer: Client, page: Callable[[str], str]) -> None:
    """Nobody knows how a factory stands that has said nothing for long, however well it stood."""
    record(engineer, a_factory(engineer), minutes_ago(11), 12, 10)
    text = page("/")

    # Shortly after midnight it was yesterday.
    assert "◌ Stale 12 of 10 so far today" in text or "○ No data today" in text
    assert "Last record 11 min ago" in text


def test_the_day_of_a_factory_is_that_of_its_clocks(engineer: Client, page: Callable[[str], str]) -> None:
    """A record of 23:30 UTC belongs to the next day where clocks are ahead."""
    factory_id = a_factory(engineer, time_zone="Asia/Kolkata")
    record(engineer, factory_id, "2021-01-20T23:30:00Z", 12, 10)

    assert "05:00–06:00 10 12 +2 120.0 % 12 +2 1" in page(f"/board/factories/{factory_id}?date=2021-01-21")
    assert "No data. What has no record is not shown as zero." in page(f"/board/factories/{factory_id}?date=2021-01-20")


def test_hours_without_a_record_are_shown_as_that(engineer: Client, page: Callable[[str], str]) -> None:
    """Between two hours with records stands one with no data, and sums go on through it."""
    factory_id = a_factory(engineer)
    record(engineer, factory_id, "2021-01-21T01:00:00Z", 12, 10)
    record(engineer, factory_id, "2021-01-21T03:59:59Z", 5, 10)
    text = page(f"/board/factories/{factory_id}?date=2021-01-21")

    assert (
        "01:00–02:00 10 12 +2 120.0 % 12 +2 1 02:00–03:00 no data 12 +2"
        " 03:00–04:00 10 5 −5 50.0 % 17 −3 1 04:00–05:00 no data"
    ) in text
    assert "Made 17 Goal 20 Difference −3 Attainment 85.0 %" in text


@pytest.mark.parametrize(
    ("time_zone", "date", "hours"),
    [
        (LONDON, "2021-01-21", 24),
        (LONDON, "2021-03-28", 23),
        (LONDON, "2021-10-31", 25),
        (LORD_HOWE, "2021-04-04", 25),
        (LORD_HOWE, "2021-10-03", 24),
    ],
)
def test_a_day_has_as_many_rows_as_hours(
    engineer: Client, page: Callable[[str], str], time_zone: str, date: str, hours: int
) -> None:
    """Also where clocks are changed, by an hour or by half of one; then each row says its offset."""
    factory_id = a_factory(engineer, time_zone=time_zone)
    text = page(f"/board/factories/{factory_id}?date={date}")
    rows = re.findall(r"\d\d:\d\d–\d\d:\d\d( [+-]\d\d:\d\d)? no data", text)

    assert hours == len(rows)
    assert (date == "2021-01-21") == (rows[0] == "")


@pytest.mark.parametrize(
    ("time_zone", "date", "hours"),
    [
        (
            LONDON,
            "2026-10-25",
            ["00:00–01:00 +01:00", "01:00–02:00 +01:00", "01:00–02:00 +00:00", "02:00–03:00 +00:00"],
        ),
        (LONDON, "2026-03-29", ["00:00–01:00 +00:00", "02:00–03:00 +01:00"]),
        (LORD_HOWE, "2021-04-04", ["00:00–01:00 +11:00", "01:00–02:00 +11:00", "01:30–02:00 +10:30"]),
    ],
)
def test_an_hour_ends_by_the_clocks_that_it_began_by(
    engineer: Client, page: Callable[[str], str], time_zone: str, date: str, hours: list[str]
) -> None:
    """Where clocks go back at its end, it does not look as if it had no length; nor longer where they go forward."""
    factory_id = a_factory(engineer, time_zone=time_zone)
    text = page(f"/board/factories/{factory_id}?date={date}")

    assert hours == re.findall(r"\d\d:\d\d–\d\d:\d\d [+-]\d\d:\d\d", text)[: len(hours)]


@pytest.mark.parametrize("period", ["day", "week", "month"])
def test_records_that_clocks_show_alike_are_told_apart(
    engineer: Client, page: Callable[[str], str], period: str
) -> None:
    """By their offsets, wherever clocks are changed within what is shown; and before one is removed."""
    factory_id = a_factory(engineer, time_zone=LONDON)
    for time in ("2021-10-31T00:30:00Z", "2021-10-31T01:30:00Z"):
        record(engineer, factory_id, time, 5, 6)
    text = page(f"/board/factories/{factory_id}?period={period}&date=2021-10-31")
    removal = page(f"/board/factories/{factory_id}/records/2021-10-31T01:30:00Z/removal")

    assert ["+00:00", "+01:00"] == re.findall(r"01:30:00 (\S+) 6 5 −1", text)
    assert "Remove the record of 31 October 2021, 01:30:00 +00:00?" in removal


@pytest.mark.parametrize(
    ("time_zone", "before", "date", "after"),
    [
        ("Pacific/Apia", "2011-12-29", "2011-12-30", "2011-12-31"),
        ("Pacific/Kwajalein", "1993-08-20", "1993-08-21", "1993-08-22"),
    ],
)
def test_a_date_that_a_time_zone_has_left_out_is_none(
    engineer: Client, time_zone: str, before: str, date: str, after: str
) -> None:
    """The page says so, and those beside it lead past it."""
    factory_id = a_factory(engineer, time_zone=time_zone)
    here = f"{engineer.address}/board/factories/{factory_id}"
    answer = engineer.get(here, params={"date": date})
    pages = [engineer.get(here, params={"date": beside}).text for beside in (before, after)]
    links = [re.findall(r'rel="(\w+)" href="[^"]*date=([0-9-]+)"', text) for text in pages]

    assert (404, True) == (answer.status_code, f"There was no {date} in {time_zone}." in answer.text)
    assert ("next", after) in links[0]
    assert ("prev", before) in links[1]


def test_a_date_has_its_own_records_where_clocks_went_back_over_midnight(
    engineer: Client, page: Callable[[str], str]
) -> None:
    """At St. John's two dates took turns on a night of 2009; the page tells them apart as the API does."""
    factory_id = a_factory(engineer, time_zone="America/St_Johns")
    record(engineer, factory_id, "2009-10-31T14:30:00Z", 100, 0)
    record(engineer, factory_id, "2009-11-01T02:30:30Z", 7, 0)
    record(engineer, factory_id, "2009-11-01T03:00:00Z", 1000, 0)
    by_day = engineer.get("/attainment", params={"by": "day", "factory_id": factory_id}).json()
    path = f"/board/factories/{factory_id}?"

    assert [1100, 7] == [day["actual"] for day in by_day]
    assert "Made 1,100 Goal" in page(f"{path}date=2009-10-31")
    assert "Made 7 Goal" in page(f"{path}date=2009-11-01")
    assert "Made 1,100 Goal" in page(f"{path}period=month&date=2009-10-15")
    assert "Made 7 Goal" in page(f"{path}period=month&date=2009-11-15")


def test_a_record_that_lies_ahead_makes_nothing_fresh(engineer: Client, page: Callable[[str], str]) -> None:
    """A plan that was entered for the evening does not hide that nobody has recorded since morning."""
    factory_id = a_factory(engineer)
    record(engineer, factory_id, minutes_ago(20), 12, 10)
    record(engineer, factory_id, minutes_ago(-120), 12, 10)

    assert "Last record 20 min ago" in page("/")
    assert "◌ Stale" in page("/")


def test_many_factories_stand_on_several_pages(engineer: Client, page: Callable[[str], str]) -> None:
    """Each on one of them, and all are counted on each."""
    for number in range(101):
        a_factory(engineer, f"factory {number}")
    (more,) = re.findall(r'rel="next" href="([^"]*)"', engineer.get(f"{engineer.address}/").text)

    assert "101 without data today" in page("/")
    assert "factory 99 " in page("/")
    assert "factory 100 " not in page("/")
    assert "factory 100 " in page(more)


def test_a_week_is_shown_day_by_day(engineer: Client, page: Callable[[str], str]) -> None:
    """An ISO week, from Monday, whatever day of it was asked for."""
    factory_id = a_factory(engineer)
    record(engineer, factory_id, "2021-01-20T12:00:00Z", 12, 10)
    text = page(f"/board/factories/{factory_id}?period=week&date=2021-01-23")

    assert "Week 03, 2021" in text
    assert "Mon 18 Jan no data Tue 19 Jan no data Wed 20 Jan 10 12 +2 120.0 % 12 +2 1" in text


def times_shown(text: str) -> list[str]:
    """Return the times of the records on a page."""
    return re.findall(r'<th scope="row"><time datetime="([^"]*)"', text)


def leads_to(text: str, link: str) -> str:
    """Return where the link with this text leads, or nothing where there is none."""
    return "".join(unescape(path) for path in re.findall(rf'href="([^"]*)">{link}</a>', text))


@pytest.mark.parametrize("period", ["day", "week"])
def test_every_record_of_a_period_can_be_come_to(engineer: Client, period: str) -> None:
    """The last ones first, each once, also where two are less than a second apart; and back to the last ones."""
    factory_id = a_factory(engineer)
    times = [f"2021-01-21T10:00:{second:02}.500000Z" for second in range(37)] + ["2021-01-21T10:00:22.499999Z"]
    for time in ("2021-01-17T23:59:59Z", *times):
        record(engineer, factory_id, time, 1, 1)
    last = engineer.get(f"{engineer.address}/board/factories/{factory_id}?period={period}&date=2021-01-21").text
    before = engineer.get(engineer.address + leads_to(last, "Earlier")).text
    first = engineer.get(engineer.address + leads_to(before, "Earlier")).text
    again = engineer.get(engineer.address + leads_to(first, "The last ones")).text

    assert [15, 15, 8] == [len(times_shown(text)) for text in (last, before, first)]
    assert sorted(times, reverse=True) == times_shown(last) + times_shown(before) + times_shown(first)
    assert times_shown(last) == times_shown(again)
    assert ("", "") == (leads_to(last, "The last ones"), leads_to(first, "Earlier"))


def test_the_rows_are_those_of_the_api(engineer: Client) -> None:
    """The link to the CSV gives the numbers of the page: there is one calculation."""
    factory_id = a_factory(engineer, time_zone=LONDON)
    record(engineer, factory_id, "2021-07-21T23:10:00Z", 7, 9)
    answer = engineer.get(f"{engineer.address}/board/factories/{factory_id}?date=2021-07-22")
    (link,) = re.findall(rf'href="({BASE_PATH}/attainment[^"]*)"', answer.text)

    assert [f"{factory_id},2021-07-22T00:00:00+01:00,2021-07-22T01:00:00+01:00,7,9,-2"] == [
        line.split(",0.")[0] for line in engineer.get(engineer.address + unescape(link)).text.splitlines()[1:]
    ]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/board/factories/99", 404),
        ("/board/factories/1?before=noon", 422),
        ("/board/factories/abc", 404),
        ("/board/sprockets/99", 404),
        ("/board/factories/1?date=yesterday", 422),
        ("/board/factories/1?date=1979-12-31", 422),
        ("/board/factories/1?date=9999-12-31", 422),
        ("/board/factories/1?period=year", 422),
        ("/board/factories/1?perid=day", 422),
        ("/board/sprockets?teeth=many", 422),
        ("/board/sprockets?cursor=forged", 422),
    ],
)
def test_a_page_that_cannot_be_shown_says_why(engineer: Client, path: str, status: int) -> None:
    """In words, on a page that leads on; no input gives a 500."""
    a_factory(engineer)
    answer = engineer.get(engineer.address + path)

    assert (status, "text/html; charset=utf-8") == (answer.status_code, answer.headers["Content-Type"])
    assert 'href="/"' in answer.text


@pytest.mark.parametrize(
    "path",
    [
        "/nothing",
        "/board",
        "/board/nothing",
        "/board/sprockets/1/nothing",
        "/problems/no",
        "/sprocketFactory",
        "/sprocketFactory/v1x",
    ],
)
def test_an_address_that_leads_nowhere_is_told_on_a_page(engineer: Client, path: str) -> None:
    """To a browser, in the style of the board, and it leads on; a program is told in JSON. No cache mixes them up."""
    page, data = [engineer.get(engineer.address + path, headers={"Accept": accept}) for accept in (BY_A_BROWSER, "*/*")]

    assert (404, "text/html; charset=utf-8") == (page.status_code, page.headers["Content-Type"])
    assert "style-src 'self'" in page.headers["Content-Security-Policy"]
    assert "<h1>There is no such thing</h1>" in page.text
    assert 'class="button" href="/"' in page.text
    assert (404, "application/problem+json") == (data.status_code, data.headers["Content-Type"])
    assert ["accept"] * 2 == [page.headers["Vary"], data.headers["Vary"]]


@pytest.mark.parametrize("path", ["/sprocketFactory/v1/nothing", "/sprocketFactory/v1", "/sprocketFactory/v1/"])
def test_the_api_tells_a_browser_what_it_tells_a_program(engineer: Client, path: str) -> None:
    """Its refusals have one body."""
    answer = engineer.get(engineer.address + path, headers={"Accept": BY_A_BROWSER})

    assert (404, "application/problem+json") == (answer.status_code, answer.headers["Content-Type"])
    assert "Vary" not in answer.headers


def test_a_method_that_a_page_has_not_is_refused_on_a_page(engineer: Client) -> None:
    """Whoever types the address to which a form is sent is told so."""
    answer = engineer.get(f"{engineer.address}/sign-out", headers={"Accept": BY_A_BROWSER})

    assert (405, "POST") == (answer.status_code, answer.headers["Allow"].replace("OPTIONS", "").strip(", "))
    assert 'href="/"' in answer.text
    assert "accept" == answer.headers["Vary"]


def test_who_may_not_see_a_page_is_told_who_may(service: Service) -> None:
    """403 leads to signing in with another key."""
    with caller(service, make_key(service, "viewer").secret) as viewer:
        answer = viewer.get(f"{service.address}/board/keys")

    assert (403, True) == (answer.status_code, 'href="/sign-in">sign in with another key' in answer.text)


def test_a_field_that_was_left_empty_filters_nothing(engineer: Client, page: Callable[[str], str]) -> None:
    """A form sends every field; those without a value say nothing."""
    engineer.post("/sprockets", json=a_sprocket(teeth=19))
    engineer.post("/sprockets", json=a_sprocket(teeth=20))
    text = page("/board/sprockets?teeth=20&pitch=&pitch_diameter__gte=&pitch_diameter__lte=")

    assert "20 teeth" in text
    assert "19 teeth" not in text


def test_the_catalogue_is_paged(engineer: Client) -> None:
    """Each sprocket stands on exactly one page."""
    for _ in range(30):
        engineer.post("/sprockets", json=a_sprocket())
    first = engineer.get(f"{engineer.address}/board/sprockets?teeth=").text
    (more,) = re.findall(r'rel="next" href="([^"]*)"', first)
    second = engineer.get(engineer.address + unescape(more)).text
    ids = [re.findall(r'href="/board/sprockets/(\d+)"', text) for text in (first, second)]

    assert list(map(str, range(1, 31))) == ids[0] + ids[1]
    assert 'rel="next"' not in second


def test_a_change_is_on_its_page_at_once(service: Service, engineer: Client) -> None:
    """As in the record itself: whoever has just been answered finds what was written."""
    with caller(service, make_key(service, "admin").secret) as admin:
        a_factory(engineer, "Just made")
        text = admin.get(f"{service.address}/board/changes").text

    assert "Just made" in text


def test_fault_28_html_in_a_name_is_text_on_every_page(service: Service, engineer: Client) -> None:
    """Names of factories and of keys, and what the record of changes tells of them."""
    hostile = "<script>alert('1')</script>"
    factory_id = a_factory(engineer, hostile)
    with caller(service, make_key(service, "admin").secret) as admin:
        admin.post("/keys", json={"name": hostile, "role": "viewer"})
        pages = [
            admin.get(service.address + path).text
            for path in ("/", "/board/wall", f"/board/factories/{factory_id}", "/board/keys", "/board/changes")
        ]

    assert [True] * 5 == ["&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;" in text for text in pages]
    assert [False] * 5 == ["<script>alert" in text for text in pages]


def test_fault_28_a_page_runs_no_script_but_ours(engineer: Client) -> None:
    """Its policy allows nothing inline and nothing from elsewhere, and the page has nothing of the kind."""
    answer = engineer.get(f"{engineer.address}/")
    policy = dict(part.split(maxsplit=1) for part in answer.headers["Content-Security-Policy"].split("; "))

    assert {"default-src": "'none'", "script-src": "'self'", "style-src": "'self'"}.items() <= policy.items()
    assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:|<script(?! type=\"module\" src=\"/board/)", answer.text)
    assert not re.search(r"(?:src|href)=\"(?:https?:)?//", answer.text)


def test_a_limited_key_sees_the_form_for_its_own_factory_alone(service: Service, engineer: Client) -> None:
    """Who may not record for a factory is not asked to."""
    ours, theirs = a_factory(engineer, "ours"), a_factory(engineer, "theirs")
    with caller(service, make_key(service, "operator", ours).secret) as operator:
        forms = [
            'id="record"' in operator.get(f"{service.address}/board/factories/{factory_id}").text
            for factory_id in (ours, theirs)
        ]

    assert [True, False] == forms


@pytest.mark.parametrize(("role", "expected"), [("viewer", False), ("operator", False), ("engineer", True)])
def test_who_may_not_change_the_catalogue_is_not_asked_to(
    service: Service,
    engineer: Client,
    role: str,
    expected: bool,  # noqa: FBT001 - what is expected
) -> None:
    """Forms and links are those of the role."""
    engineer.post("/sprockets", json=a_sprocket())
    with caller(service, make_key(service, role).secret) as somebody:  # type: ignore[arg-type]
        pages = [somebody.get(service.address + path).text for path in ("/board/sprockets/1", "/board/sprockets")]

    assert expected == ("data-send" in pages[0])
    assert expected == ("Add a sprocket" in pages[1])


def test_a_page_that_has_not_changed_is_not_sent_again(engineer: Client) -> None:
    """A board that looks again and again costs little where nothing has happened."""
    first = engineer.get(f"{engineer.address}/board/sprockets")
    again = engineer.get(f"{engineer.address}/board/sprockets", headers={"If-None-Match": first.headers["ETag"]})

    assert (304, b"") == (again.status_code, again.content)
