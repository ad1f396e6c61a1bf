"""Charts of attainment: the numbers of `/attainment` as pictures, and as words for who cannot see them."""

import re
from base64 import b64encode
from collections.abc import Sequence
from hashlib import sha256
from typing import Any
from xml.etree import ElementTree as ET

import httpx
import pytest

from attainments import add_factory_in, attainment, send_records
from harness import Client, pointers
from sprocket_factory.endpoints.charts import Series, draw_chart, draw_spark
from sprocket_factory.entities.attainment_calendar import Bucket
from sprocket_factory.entities.calendar import Span
from sprocket_factory.entities.instant import LATEST, read_instant

SVG = "image/svg+xml"

NAMESPACE = "{http://www.w3.org/2000/svg}"

DAY = {"by": "hour", "time__gte": "2021-01-21T00:00:00Z", "time__lt": "2021-01-22T00:00:00Z"}

HOSTILE = """</title><script>alert("1")</script> & 'x' {{ 7 * 7 }}"""


class Chart:
    """One chart, read as a program reads it."""

    def __init__(self, root: ET.Element) -> None:
        self.root = root
        self.title, self.description = (root.findtext(f"{NAMESPACE}{name}") for name in ("title", "desc"))
        self.texts = [text.text for text in root.iter(f"{NAMESPACE}text")]
        self.bars = [group for group in root.iter(f"{NAMESPACE}g") if group.get("class", "").startswith("bar ")]

    def box(self, bar: ET.Element, name: str) -> tuple[float, float, float, float]:
        """Return x, y, width and height of a part of a bar."""
        (part,) = (one for one in bar if one.get("class") == name)
        x, y, width, height = (float(part.get(attribute, "")) for attribute in ("x", "y", "width", "height"))
        return x, y, width, height

    def labelled(self, kind: str) -> list[str]:
        """Return the texts of one kind."""
        found = [text for text in self.root.iter(f"{NAMESPACE}text") if kind in text.get("class", "").split()]
        return [text.text or "" for text in found]

    def with_class(self, name: str) -> list[ET.Element]:
        """Return the elements of one class."""
        return [one for one in self.root.iter() if name in one.get("class", "").split()]


def asked(client: Client, **parameters: Any) -> httpx.Response:
    """Return the answer with charts."""
    return client.get("/attainment", params={"format": "svg", **parameters}).raise_for_status()


def charts(client: Client, **parameters: Any) -> list[Chart]:
    """Return the charts that are drawn."""
    root = ET.fromstring(asked(client, **parameters).content)  # noqa: S314 - of our own making
    return [Chart(one) for one in root.findall(f"{NAMESPACE}svg")]


def chart(client: Client, **parameters: Any) -> Chart:
    """Return the only chart that is drawn."""
    (only,) = charts(client, **parameters)
    return only


def record(client: Client, factory_id: int, *counts: tuple[str, int, int]) -> None:
    """Store records of a time, an actual and a goal."""
    for time, actual, goal in counts:
        send_records(client, factory_id, time, actual=actual, goal=goal)


def in_words(actual: int, goal: int) -> str:
    """Return what a chart says of these sums."""
    part = f" ({100 * actual / goal:.1f} %)" if goal else ""
    difference = "as planned" if actual == goal else f"{abs(actual - goal):,} {'ahead' if actual > goal else 'behind'}"
    return f"{actual:,} of {goal:,}{part}, {difference}"


@pytest.fixture
def factory_id(engineer: Client) -> int:
    """Return the id of a factory that goes by UTC and has three hours of a day."""
    made = add_factory_in(engineer, "UTC", "Sheffield")
    record(
        engineer,
        made,
        ("2021-01-21T02:10:00Z", 1500, 2000),
        ("2021-01-21T03:10:00Z", 2000, 2000),
        ("2021-01-21T06:10:00Z", 2500, 2000),
    )
    return made


def test_a_chart_tells_the_numbers_of_attainment(engineer: Client, factory_id: int) -> None:
    """Its description has every bucket in words, and their sum: the same numbers as in JSON."""
    told = chart(engineer, **DAY, factory_id=factory_id).description or ""
    given = attainment(engineer, factory_id=factory_id, **DAY)

    assert 3 == len(given)
    assert told.startswith(f"{in_words(6000, 6000)}; no data in 21 of 24.")
    for bucket in given:
        time = bucket["start"][11:16]
        assert f"21 Jan 2021 {time}: {in_words(bucket['actual'], bucket['goal'])}." in told
    assert 21 == told.count(": no data.")


def test_bars_are_as_high_as_what_was_made(engineer: Client, factory_id: int) -> None:
    """Up to the goal it is made, and the rest of the difference is told by its shape: below the goal, or above it."""
    drawn = chart(engineer, **DAY, factory_id=factory_id)
    behind, even, ahead = drawn.bars
    heights = [drawn.box(bar, "made")[3] for bar in drawn.bars]
    rests = [drawn.box(bar, "rest") for bar in (behind, ahead)]
    goals = [one.get("d", "") for one in drawn.with_class("goal")][:3]

    assert ["bar behind", "bar even", "bar ahead"] == [bar.get("class") for bar in drawn.bars]
    assert [pytest.approx(heights[1] * 0.75, abs=0.02), heights[1]] == [heights[0], heights[2]]
    assert [pytest.approx(heights[1] * 0.25, abs=0.02)] * 2 == [rest[3] for rest in rests]
    assert 1 == len({re.sub(r"^M\S+ (\S+)h.*", r"\1", goal) for goal in goals})
    assert drawn.box(ahead, "rest")[1] < drawn.box(ahead, "made")[1] == drawn.box(even, "made")[1]
    assert "url(#chart-0-hatch)" == behind.findall(f"{NAMESPACE}rect")[1].get("fill")


def test_where_nothing_is_recorded_there_is_a_gap(engineer: Client, factory_id: int) -> None:
    """A bucket without records has no bar of height zero: there is none, and the place says so."""
    drawn = chart(engineer, factory_id=factory_id, by="hour")
    gaps = drawn.with_class("gap")

    assert 3 == len(drawn.bars)
    assert ["02", "03", "04", "05", "06"] == drawn.labelled("label")
    assert 1 == len(gaps)
    assert ["no data"] == drawn.labelled("nothing")
    assert drawn.box(drawn.bars[1], "made")[0] < float(gaps[0].get("x", "")) < drawn.box(drawn.bars[2], "made")[0]
    assert pytest.approx(2 * (784 - 72) / 5) == float(gaps[0].get("width", ""))


def test_what_has_not_begun_is_no_gap() -> None:
    """Nothing can be missing yet of hours to come."""
    hours = [Bucket(Span(start, start + 1), None) for start in (1, 2, 3)]
    picture = draw_spark(hours, "Sheffield today", 3)
    none = draw_spark(hours, "Sheffield today", 1)

    assert [1, 0] == [one.count('class="missing"') for one in (picture, none)]
    assert 'd="M3.0 56h194.0"' in picture


@pytest.mark.parametrize(
    ("date", "hours"), [("2021-03-28", 23), ("2021-03-29", 24), ("2021-10-31", 25)], ids=["23", "24", "25"]
)
def test_a_day_has_the_hours_that_it_has(engineer: Client, date: str, hours: int) -> None:
    """Where clocks go back an hour comes twice, and has two bars; where they go forward one is not there."""
    factory_id = add_factory_in(engineer, "Europe/London")
    day = attainment_day(engineer, factory_id, date)
    drawn = chart(engineer, by="hour", **day)
    given = attainment(engineer, "hour", **day)
    expected = [bucket["start"][11:13] for bucket in given]

    assert (hours, hours) == (len(given), len(drawn.bars))
    assert expected == drawn.labelled("label")


def attainment_day(engineer: Client, factory_id: int, date: str) -> dict[str, Any]:
    """Store a record in each hour of a day in London, and return what asks for that day."""
    (day,) = _spans(engineer, factory_id, f"{date}T12:00:00Z")
    since, until = (read_instant(day[name], LATEST) for name in ("start", "end"))
    hour = 3600 * 1_000_000
    seconds = [(since + number * hour) // 1_000_000 for number in range((until - since) // hour)]
    send_records(engineer, factory_id, *seconds)  # type: ignore[arg-type] # times are numbers as well
    return {"factory_id": factory_id, "time__gte": since // 1_000_000, "time__lt": until // 1_000_000}


def _spans(engineer: Client, factory_id: int, time: str) -> Sequence[dict[str, Any]]:
    send_records(engineer, factory_id, time)
    days = attainment(engineer, "day", factory_id=factory_id)
    engineer.delete(f"/production/{factory_id}/{time}").raise_for_status()
    return days


@pytest.mark.parametrize(
    ("by", "times", "labels", "groups"),
    [
        (
            "day",
            ("2021-02-27T12:00:00Z", "2021-03-02T12:00:00Z"),
            ["Sat 27", "Sun 28", "Mon 1", "Tue 2"],
            ["Feb 2021", "Mar 2021"],
        ),
        ("week", ("2020-12-27T12:00:00Z", "2021-01-04T12:00:00Z"), ["W52", "W53", "W01"], ["2020", "2021"]),
        ("month", ("2020-11-30T12:00:00Z", "2021-02-01T12:00:00Z"), ["Nov", "Dec", "Jan", "Feb"], ["2020", "2021"]),
        ("total", ("2020-11-30T12:00:00Z", "2021-02-01T12:00:00Z"), [], []),
    ],
)
def test_buckets_are_named_as_people_name_them(
    engineer: Client, by: str, times: Sequence[str], labels: list[str], groups: list[str]
) -> None:
    """Days by weekday and date, ISO weeks by number, months by name; and above them what they are part of."""
    factory_id = add_factory_in(engineer, "UTC")
    send_records(engineer, factory_id, *times)
    drawn = chart(engineer, by=by, factory_id=factory_id)

    assert labels == drawn.labelled("label")
    assert groups == drawn.labelled("group")


def test_the_axis_has_round_numbers_up_to_the_most(engineer: Client) -> None:
    """From 0 in equal steps of 1, 2 or 5 with zeros, the last one not below any bar or goal."""
    found = {}
    for most in (0, 1, 7, 10, 11, 2000, 2_147_483_647):
        factory_id = add_factory_in(engineer, "UTC", f"Most {most}")
        record(engineer, factory_id, ("2021-01-21T02:10:00Z", most, most // 2))
        found[most] = chart(engineer, factory_id=factory_id).labelled("tick")

    assert {
        0: ["0", "1"],
        1: ["0", "1"],
        7: ["0", "2", "4", "6", "8"],
        10: ["0", "2", "4", "6", "8", "10"],
        11: ["0", "5", "10", "15"],
        2000: ["0", "500", "1k", "1.5k", "2k"],
        2_147_483_647: ["0", "500M", "1G", "1.5G", "2G", "2.5G"],
    } == found


@pytest.mark.parametrize(("actual", "goal"), [(0, 0), (5, 0), (0, 5), (2_147_483_647, 1)])
@pytest.mark.parametrize("cumulated", ["true", "false"])
def test_any_counts_can_be_drawn(engineer: Client, actual: int, goal: int, cumulated: str) -> None:
    """Nothing made, nothing to be made, or a hundred million times the goal: all within the picture."""
    factory_id = add_factory_in(engineer, "UTC")
    record(engineer, factory_id, ("2021-01-21T02:10:00Z", actual, goal))
    drawn = chart(engineer, by="hour", factory_id=factory_id, cumulated=cumulated)
    heights = [float(y) for one in drawn.root.iter() for y in re.findall(r"[ML]\S+ ([-\d.]+)", one.get("d", ""))]
    boxes = [drawn.box(bar, "made") for bar in drawn.bars]

    assert in_words(actual, goal) in (drawn.description or "")
    assert all(0 <= height <= 360 for height in heights)
    assert all(86 <= y <= y + height <= 262.01 for _, y, _, height in boxes)


def test_cumulated_sums_are_two_lines(engineer: Client, factory_id: int) -> None:
    """They begin at 0 and end with the sums, and where one crosses the other, what is behind turns to ahead."""
    record(engineer, factory_id, ("2021-01-21T07:10:00Z", 2100, 2000))
    drawn = chart(engineer, by="hour", factory_id=factory_id, cumulated="true")
    actual, goal = (
        [[float(number) for number in corner.split()] for corner in line.get("d", "")[1:].split("L")]
        for kind in ("actual", "goal")
        for line in drawn.with_class(kind)[:1]
    )
    areas = [drawn.with_class(kind)[0].get("d", "") for kind in ("behind", "ahead")]
    scale = (262 - 86) / 10_000

    assert [] == drawn.bars
    assert (7, [72.0, 262.0], [72.0, 262.0]) == (len(actual), actual[0], goal[0])
    assert [pytest.approx(262 - 8100 * scale, abs=0.01), pytest.approx(262 - 8000 * scale, abs=0.01)] == [
        actual[-1][1],
        goal[-1][1],
    ]
    assert [1, 1] == [area.count("M") for area in areas]
    assert "cumulated" in (drawn.title or "")


def test_charts_of_several_factories_stand_one_under_another(engineer: Client, factory_id: int) -> None:
    """By id, each with its name, its zone and its own numbers; up to twelve, and more have to be chosen from."""
    others = [add_factory_in(engineer, "Asia/Kolkata", f"Factory {number}") for number in range(11)]
    send_records(engineer, others[0], "2021-01-21T20:00:00Z")
    drawn = charts(engineer)
    few = charts(engineer, factory_id__in=f"{others[0]},{factory_id},99999")
    add_factory_in(engineer, "UTC", "One more")
    refused = engineer.get("/attainment?format=svg")

    assert 12 == len(drawn)
    assert ["0", "360", "720"] == [one.root.get("y") for one in drawn[:3]]
    assert ["Sheffield", "Factory 0"] == [(one.title or "").partition(":")[0] for one in few]
    assert ["Thu 21", "Fri 22"] == [one.labelled("label")[0] for one in few]
    assert (422, ["factory_id"]) == (refused.status_code, pointers(refused.json()))
    assert "factory_id__in" in refused.json()["detail"] + refused.json()["errors"][0]["detail"]


def test_more_buckets_than_can_be_told_apart_are_refused(engineer: Client, factory_id: int) -> None:
    """400 are drawn, and whoever asks for more is told to choose longer ones."""
    send_records(engineer, factory_id, "2022-02-24T12:00:00Z")
    drawn = chart(engineer, by="day", factory_id=factory_id)
    told = drawn.description or ""
    send_records(engineer, factory_id, "2022-02-25T12:00:00Z")
    refused = engineer.get("/attainment", params={"format": "svg", "by": "day", "factory_id": factory_id})

    assert told.endswith("no data in 398 of 400.")
    assert (422, ["by"]) == (refused.status_code, pointers(refused.json()))
    assert "by=month" in refused.json()["errors"][0]["detail"]


def test_without_any_data_a_chart_says_so(engineer: Client, factory_id: int) -> None:
    """A factory without records, a time without records, no factory at all: nothing is drawn, and that is said."""
    empty = add_factory_in(engineer, "UTC", "Empty")
    drawn = [
        chart(engineer, factory_id=empty),
        chart(engineer, factory_id=empty, **DAY),
        chart(engineer, factory_id=factory_id, by="day", time__lt="2021-01-20T00:00:00Z"),
        chart(engineer, factory_id=99999),
        chart(engineer, factory_id=factory_id, factory_id__in=empty, cumulated="true"),
    ]

    assert [["No data"]] * 5 == [one.labelled("nothing") for one in drawn]
    assert all((one.description or "").startswith("No data.") for one in drawn)
    assert [[]] * 5 == [one.bars for one in drawn]


def test_a_name_is_a_name_and_no_markup(engineer: Client) -> None:
    """Whatever a factory is called is written as it is, in the resource and in a page."""
    factory_id = add_factory_in(engineer, "UTC", HOSTILE)
    send_records(engineer, factory_id, "2021-01-21T02:10:00Z")
    drawn = chart(engineer, factory_id=factory_id)
    inline = draw_chart(Series(HOSTILE, "day", "UTC", ()), 0)
    spark = draw_spark([Bucket(Span(0, 1), None)], HOSTILE, 0)

    assert (drawn.title or "").startswith(HOSTILE)
    assert [] == [one for one in drawn.root.iter() if one.tag.endswith("script")]
    assert HOSTILE in "".join(ET.fromstring(inline).itertext())  # noqa: S314 - of our own making
    assert (ET.fromstring(spark).get("aria-label") or "").startswith(HOSTILE)  # noqa: S314


def test_a_chart_is_told_to_who_cannot_see_it(engineer: Client, factory_id: int) -> None:
    """Each is an image labelled by its title and its description."""
    drawn = charts(engineer, factory_id__in=f"{factory_id},{add_factory_in(engineer, 'UTC', 'Other')}")
    labels = [[one.root[0].get("id"), one.root[1].get("id")] for one in drawn]

    assert ["img", "img"] == [one.root.get("role") for one in drawn]
    assert [" ".join(map(str, pair)) for pair in labels] == [one.root.get("aria-labelledby") for one in drawn]
    assert 4 == len({label for pair in labels for label in pair})
    assert "Sheffield: made against goal by day, 21 Jan 2021" == drawn[0].title


def test_a_chart_is_light_or_dark_and_runs_nothing(engineer: Client, factory_id: int) -> None:
    """Its one style goes by the reader's screen; nothing else is allowed to run or to load, and nothing asks to."""
    answer = asked(engineer, factory_id=factory_id)
    root = ET.fromstring(answer.content)  # noqa: S314 - of our own making
    style = root.findtext(f"{NAMESPACE}style") or ""
    digest = b64encode(sha256(style.encode()).digest()).decode()
    attributes = {name for element in root.iter() for name in element.attrib}

    assert "@media screen and (prefers-color-scheme: dark)" in style
    assert (
        f"default-src 'none'; style-src 'sha256-{digest}'; frame-ancestors 'none'"
        == answer.headers["Content-Security-Policy"]
    )
    assert set() == {name for name in attributes if name.startswith("on") or "href" in name or name == "style"}
    assert "url(" not in style


def test_pages_of_the_same_site_may_show_a_chart(engineer: Client, factory_id: int) -> None:
    """A chart may be embedded by its neighbours, and has a size of its own there; the numbers may not be read."""
    chart_, numbers = asked(engineer, factory_id=factory_id), engineer.get("/attainment")
    root = ET.fromstring(chart_.content)  # noqa: S314 - of our own making

    assert ["same-site", "same-origin"] == [
        answer.headers["Cross-Origin-Resource-Policy"] for answer in (chart_, numbers)
    ]
    assert ("800", "360") == (root.get("width"), root.get("height"))


def test_within_a_page_a_chart_brings_no_style(engineer: Client) -> None:
    """A page allows none but its own files: it loads chart.css, which is the style of the resource."""
    picture = draw_chart(Series("Sheffield", "day", "UTC", ()), 0) + draw_spark([], "Sheffield", 0)
    style = engineer.get(f"{engineer.address}/board/files/chart.css")

    assert ["text/css; charset=utf-8", ".chart"] == [style.headers["Content-Type"], style.text[:6]]
    assert re.search("<style| style=| on[a-z]+=|href", picture) is None


@pytest.mark.parametrize(
    ("accept", "parameters", "media_type"),
    [
        (None, {}, "application/json"),
        ("*/*", {}, "application/json"),
        (SVG, {}, SVG),
        ("image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8", {}, SVG),
        ("text/csv", {"format": "svg"}, SVG),
        (SVG, {"format": "csv"}, "text/csv"),
    ],
)
def test_a_chart_is_drawn_for_who_asks_for_one(
    engineer: Client, factory_id: int, accept: str | None, parameters: dict[str, str], media_type: str
) -> None:
    """A page's `img` gets one without more; the parameter outdoes Accept."""
    headers = {"Accept": accept} if accept else {}
    answer = engineer.get("/attainment", params=parameters | {"factory_id": str(factory_id)}, headers=headers)

    assert (200, media_type, "accept") == (
        answer.status_code,
        answer.headers["Content-Type"],
        answer.headers["Vary"],
    )


@pytest.mark.parametrize(
    ("parameters", "wrong"),
    [
        ({"cumulated": "yes"}, "cumulated"),
        ({"format": "svg", "cumulated": "1"}, "cumulated"),
        ({"format": "png"}, "format"),
    ],
)
def test_what_cannot_be_drawn_is_refused(viewer: Client, parameters: dict[str, str], wrong: str) -> None:
    """What is asked for is never guessed."""
    answer = viewer.get("/attainment", params=parameters)

    assert (422, [wrong]) == (answer.status_code, pointers(answer.json()))


def test_the_same_numbers_have_the_same_chart(engineer: Client, factory_id: int) -> None:
    """Who has it is told so, until a record changes."""
    path = f"/attainment?format=svg&by=hour&factory_id={factory_id}"
    first = engineer.get(path)
    known = engineer.get(path, headers={"If-None-Match": first.headers["ETag"]})
    record(engineer, factory_id, ("2021-01-21T06:11:00Z", 1, 1))
    changed = engineer.get(path, headers={"If-None-Match": first.headers["ETag"]})

    assert [(304, b""), 200] == [(known.status_code, known.content), changed.status_code]
