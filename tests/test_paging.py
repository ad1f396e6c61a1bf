"""Pages: each Link leads to the next, and together they are the list."""

import csv
import io
import string
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from threading import Event
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

import httpx
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from harness import BASE_PATH, Client, Service, a_sprocket
from sprocket_factory.settings import Settings

START = datetime(2021, 1, 21, 2, 6, 58, tzinfo=UTC)

CSV = {"Content-Type": "text/csv"}

COLUMNS = ["factory_id", "time", "sprocket_production_actual", "sprocket_production_goal"]

NAMES = ["Straße", "STRASSE", "50% + 1", "a&b=c#d", "50% off", "Zebra", "zebra", "İ", "☃ & co", "a;b,c"]

FIELDS = {
    "/sprockets": ["id", "teeth", "pitch_diameter", "outside_diameter", "pitch"],
    "/factories": ["id", "name", "time_zone"],
    "/production": ["sprocket_production_actual", "sprocket_production_goal", "time", "factory_id"],
    "/production/2": ["sprocket_production_actual", "time", "factory_id"],
}

SORTS = [(path, sign + field) for path, fields in FIELDS.items() for field in fields for sign in ("", "-")]

SORTS_BY_SEVERAL = [
    ("/sprockets", "-teeth,pitch"),
    ("/sprockets", "teeth,-pitch,outside_diameter"),
    ("/sprockets", "pitch,-id"),
    ("/factories", "time_zone,-name"),
    ("/factories", "-time_zone,id"),
    ("/production", "-time,factory_id"),
    ("/production", "time,-factory_id"),
    ("/production", "-time,-factory_id"),
    ("/production", "factory_id,-time"),
    ("/production", "-sprocket_production_goal,sprocket_production_actual,-factory_id,time"),
    ("/production/2", "sprocket_production_goal,-time"),
]

FILTERED = [
    "/sprockets?teeth=20",
    "/sprockets?teeth__in=20,21&sort=-teeth",
    "/sprockets?pitch__gt=1&pitch__lte=12.7&sort=-pitch",
    "/sprockets?pitch__gte=0.3&pitch__lt=1e6&sort=pitch,-teeth",
    "/sprockets?id__gt=2&id__lt=11",
    "/factories?name__contains=STRAS&sort=-name",
    "/factories?name__contains=%25",
    "/factories?name__contains=%26",
    "/factories?name__gte=50%25+%2B+1&sort=name",
    "/factories?name__in=a%26b%3Dc%23d,Zebra,%E2%98%83 %26 co",
    "/production?sort=time&time__gte=2021-01-21T02:07:58Z&time__lt=2021-01-21T02:10:58Z",
    "/production?sort=-time&time__gte=2021-01-21T02:07:58Z&time__lt=2021-01-21T02:10:58Z",
    "/production?sort=-time&time__lte=2021-01-21T03:09:58+01:00",
    "/production?time__gt=2021-01-21T03:07:58 01:00",
    "/production?time__gt=2021-01-21T03:07:58%2B01:00&sort=factory_id,-time",
    "/production?factory_id__in=3,1&sort=-factory_id,time",
    "/production?factory_id=3&sort=-time",
    "/production?time=1611194818&sort=-factory_id",
    "/production?factory_id__gte=1&factory_id__lt=3&time__gte=1611194818&time__lt=1611195000&sprocket_production_goal__lte=2",
    "/production/2?time__gt=1611194878.25",
    "/production/2?factory_id=2&sort=-factory_id,-time",
]

FOREIGN = [
    ("/sprockets", "/factories"),
    ("/sprockets", "/production"),
    ("/sprockets", "/sprockets?sort=-id"),
    ("/sprockets", "/sprockets?sort=teeth"),
    ("/sprockets?sort=teeth", "/sprockets?sort=-teeth"),
    ("/sprockets?sort=teeth", "/sprockets?sort=pitch"),
    ("/sprockets?sort=teeth,pitch", "/sprockets?sort=pitch,teeth"),
    ("/sprockets", "/sprockets?teeth=20"),
    ("/sprockets?teeth=20", "/sprockets?teeth=21"),
    ("/sprockets?teeth=20", "/sprockets"),
    ("/sprockets?teeth__gt=19", "/sprockets?teeth__gte=19"),
    ("/sprockets?teeth__in=20", "/sprockets?teeth=20"),
    ("/sprockets?teeth=20", "/sprockets?id=20"),
    ("/factories?name__contains=e", "/factories?name__contains=z"),
    ("/production", "/production/2"),
    ("/production/1", "/production/2"),
    ("/production?factory_id=1", "/production?factory_id=2"),
    ("/production?time__gte=1611194818", "/production?time__gte=1611194819"),
]

DIGITS = string.ascii_uppercase + string.ascii_lowercase + string.digits + "-_"
"""Of URL-safe base64, in their order."""

MANY = 100_000

MAX_PAGES = 500
"""No list here has so many: the links lead in a circle."""


@pytest.fixture(scope="module")
def service(running: Service) -> Service:
    """Return one service whose things are often equal in one field or another. What a test stores it removes again."""
    with Client(running.address) as engineer:
        for number in range(13):
            sprocket = a_sprocket(teeth=20 + number % 3, pitch=[0.1 + 0.2, 12.7, 0.3, 1e6][number % 4])
            engineer.post("/sprockets", json=sprocket).raise_for_status()
        for number, name in enumerate(NAMES):
            factory = {"name": name, "time_zone": ["UTC", "Europe/Berlin", "Asia/Kolkata"][number % 3]}
            engineer.post("/factories", json=factory).raise_for_status()
        engineer.post("/production", json=[record(id_, minute) for id_ in (1, 2, 3) for minute in range(6)])
    return running


@pytest.fixture(scope="module")
def viewer(service: Service) -> Iterator[Client]:
    """Return somebody who reads, on one connection for all these tests."""
    with Client(service.address) as client:
        yield client


def record(factory_id: int, minute: int) -> dict[str, Any]:
    """Return a record with counts that others have as well."""
    return {
        "factory_id": factory_id,
        "time": (START + timedelta(minutes=minute, microseconds=250_000 * (minute % 2))).isoformat(),
        "sprocket_production_actual": (minute + factory_id) % 2,
        "sprocket_production_goal": minute % 3,
    }


def with_limit(target: str, limit: int) -> str:
    """Return where the first page of a list is."""
    return f"{target}{'&' if '?' in target else '?'}limit={limit}"


def pages(client: Client, target: str) -> Iterator[httpx.Response]:
    """Give this page and every one after it, as the links lead."""
    answer = client.get(target)
    yield answer
    for _ in range(MAX_PAGES):
        if "Link" not in answer.headers:
            return
        answer = client.get(client.address + answer.links["next"]["url"])
        assert 200 == answer.status_code, answer.text
        yield answer
    raise AssertionError(f"{target} has no last page.")


def cursor_of(client: Client, target: str) -> str:
    """Return the cursor of the page after the first."""
    (cursor,) = parse_qs(urlsplit(client.get(with_limit(target, 1)).links["next"]["url"]).query)["cursor"]
    return cursor


def wrong(answer: httpx.Response) -> list[str]:
    """Return which parameters a refusal names, after a look at its status."""
    assert 422 == answer.status_code, answer.text
    return [error["pointer"] for error in answer.json()["errors"]]


@pytest.mark.parametrize("limit", [1, 4])
@pytest.mark.parametrize(("path", "sort"), [*SORTS, *SORTS_BY_SEVERAL])
def test_pages_together_are_the_list_in_every_order(viewer: Client, path: str, sort: str, limit: int) -> None:
    """Whatever a list is sorted by, each way or mixed, its pages give each thing once, where it belongs."""
    whole = viewer.get(path, params={"sort": sort}).json()
    given = [page.json() for page in pages(viewer, f"{path}?sort={sort}&limit={limit}")]

    assert whole == [thing for page in given for thing in page]
    assert [limit] * (len(given) - 1) == [len(page) for page in given[:-1]]


@pytest.mark.parametrize("target", FILTERED)
def test_pages_together_are_the_filtered_list(viewer: Client, target: str) -> None:
    """Every page is filtered as the first, whatever characters a filter has."""
    whole = viewer.get(target).json()
    given = [page.json() for page in pages(viewer, with_limit(target, 1))]

    assert len(whole) > 1
    assert [[thing] for thing in whole] == given


@pytest.mark.parametrize("path", FIELDS)
@pytest.mark.parametrize("spare", [0, 1, 9000])
def test_the_last_page_leads_nowhere(viewer: Client, path: str, spare: int) -> None:
    """A page with the end of the list has no Link, also where the end fills it exactly."""
    whole = viewer.get(path).json()
    answer = viewer.get(path, params={"limit": len(whole) + spare})

    assert (whole, None) == (answer.json(), answer.headers.get("Link"))


def test_a_page_short_of_one_thing_leads_to_it(viewer: Client) -> None:
    """One thing more than a page takes is a page of its own."""
    whole = viewer.get("/sprockets").json()
    given = [page.json() for page in pages(viewer, with_limit("/sprockets", len(whole) - 1))]

    assert [whole[:-1], whole[-1:]] == given


def test_a_list_without_limit_has_no_pages(viewer: Client) -> None:
    """Nobody gets a part who did not ask for one."""
    answer = viewer.get("/production")

    assert (18, None) == (len(answer.json()), answer.headers.get("Link"))


def test_the_link_is_what_a_client_follows(viewer: Client) -> None:
    """It is one reference within the server, with everything that was asked for and a cursor that needs no encoding."""
    answer = viewer.get("/production/2?limit=2&sort=-time")
    target, relation = answer.headers["Link"].split("; ")
    parts = urlsplit(target.removeprefix("<").removesuffix(">"))

    assert 'rel="next"' == relation
    assert ("", "", f"{BASE_PATH}/production/2") == (parts.scheme, parts.netloc, parts.path)
    assert {"limit": ["2"], "sort": ["-time"]}.items() <= parse_qs(parts.query).items()
    assert {"limit", "sort", "cursor"} == parse_qs(parts.query).keys()
    assert set(parse_qs(parts.query)["cursor"][0]) <= set(DIGITS)


def test_head_has_the_link_as_well(viewer: Client) -> None:
    """HEAD works where GET does."""
    assert viewer.get("/sprockets?limit=1").headers["Link"] == viewer.head("/sprockets?limit=1").headers["Link"]


@pytest.mark.parametrize("target", FILTERED)
def test_what_was_asked_for_is_kept_from_page_to_page(viewer: Client, target: str) -> None:
    """Filters, order, limit, format and count stand in every Link as they came."""
    links = [
        parse_qsl(urlsplit(page.links["next"]["url"]).query)
        for page in pages(viewer, with_limit(f"{target}&count=true&format=ndjson", 1))
        if page.links
    ]
    asked = [*parse_qsl(urlsplit(target).query), ("count", "true"), ("format", "ndjson"), ("limit", "1")]

    assert links
    assert [asked] * len(links) == [[(name, value) for name, value in link if name != "cursor"] for link in links]


def test_every_page_is_in_the_format_of_the_first(viewer: Client) -> None:
    """CSV by `format=` stays CSV, each page with the header row, whatever Accept says."""
    whole = viewer.get("/factories?format=csv").text.splitlines()
    given = [page.text.splitlines() for page in pages(viewer, "/factories?format=csv&limit=3")]

    assert {whole[0]} == {page[0] for page in given}
    assert whole[1:] == [line for page in given for line in page[1:]]


def test_every_page_counts_the_whole_list(viewer: Client) -> None:
    """X-Total-Count is what the filters leave, not what is left behind this page."""
    answers = list(pages(viewer, "/production?factory_id__in=1,3&limit=5&count=true"))

    assert ["12", "12", "12"] == [answer.headers["X-Total-Count"] for answer in answers]


@pytest.mark.parametrize("target", ["/production?sort=time", "/production?sort=-time", "/production"])
def test_a_page_goes_on_where_its_record_was_removed(viewer: Client, engineer: Client, target: str) -> None:
    """The record that the page before ended with may be gone: nothing after it is skipped or repeated."""
    whole = viewer.get(target).json()
    first = viewer.get(with_limit(target, 7))
    last = first.json()[-1]
    engineer.delete(f"/production/{last['factory_id']}/{last['time']}").raise_for_status()
    second = viewer.get(viewer.address + first.links["next"]["url"])
    engineer.post("/production", json=last).raise_for_status()

    assert whole[7:14] == second.json()


@pytest.mark.parametrize("limit", ["0", "-1", "1000000000", "10001", "", "ten", "1.0", "1e3", "+5", "05", "9" * 5000])
@pytest.mark.parametrize("path", FIELDS)
def test_fault_26_a_limit_out_of_bounds_is_refused(viewer: Client, path: str, limit: str) -> None:
    """A page has 1 to 10,000 things; another number is 422, not a page of another length."""
    assert ["limit"] == wrong(viewer.get(path, params={"limit": limit}))


def test_a_page_may_have_ten_thousand_things(viewer: Client) -> None:
    """The bounds belong to what is allowed."""
    assert [13, 1] == [len(viewer.get("/sprockets", params={"limit": limit}).json()) for limit in (10_000, 1)]


@pytest.mark.parametrize(("own", "foreign"), FOREIGN)
def test_fault_26_a_cursor_of_another_list_is_refused(viewer: Client, own: str, foreign: str) -> None:
    """A cursor holds for its own list, filters and order alone: with others it would skip or repeat."""
    target = with_limit(foreign, 1) + "&" + urlencode({"cursor": cursor_of(viewer, own)})

    assert ["cursor"] == wrong(viewer.get(target))


@pytest.mark.parametrize("target", ["/sprockets", "/sprockets?sort=-pitch", "/factories?sort=name", "/production"])
def test_fault_26_a_cursor_with_one_character_changed_is_refused(viewer: Client, target: str) -> None:
    """Wherever it was tampered with, a cursor leads nowhere: not to another place in the list either."""
    cursor = cursor_of(viewer, target)
    forged = [
        cursor[:place] + DIGITS[(DIGITS.index(digit) + 16) % 64] + cursor[place + 1 :]
        for place, digit in enumerate(cursor)
    ]
    answers = [viewer.get(f"{with_limit(target, 1)}&cursor={text}") for text in forged]

    assert [["cursor"]] * len(forged) == [wrong(answer) for answer in answers]


@pytest.mark.parametrize("target", ["/sprockets", "/factories?sort=name", "/production"])
def test_fault_26_a_truncated_cursor_is_refused(viewer: Client, target: str) -> None:
    """A cursor that lost its end or its beginning leads nowhere."""
    cursor = cursor_of(viewer, target)
    parts = [cursor[:place] for place in range(len(cursor))] + [cursor[place:] for place in range(1, len(cursor))]
    answers = [viewer.get(f"{with_limit(target, 1)}&cursor={part}") for part in parts]

    assert [["cursor"]] * len(parts) == [wrong(answer) for answer in answers]


@pytest.mark.parametrize("addition", ["AAAA", "****", "====", "%20%20%20%20", "%00%00%00%00", "....", "%C3%9F"])
def test_fault_26_a_cursor_with_something_added_is_refused(viewer: Client, addition: str) -> None:
    """A cursor is taken as it was given or not at all."""
    cursor = cursor_of(viewer, "/sprockets")
    forged = [addition + cursor, cursor[:4] + addition + cursor[4:], cursor + addition]
    answers = [viewer.get(f"/sprockets?limit=1&cursor={text}") for text in forged]

    assert [["cursor"]] * 3 == [wrong(answer) for answer in answers]


@pytest.mark.parametrize(
    "forged",
    [
        b"",
        b"\x00",
        b"\xc1",
        b"\x92\xc4\x08" + bytes(8) + b"\x91" * 3000 + b"\x01",
        b"\x92\xc4\x08" + bytes(8) + b"\x81\x01" * 3000 + b"\x01",
        b"\x91" * 3000,
        b"\x92\xc4\x08" + bytes(8) + b"\xdd\xff\xff\xff\xff",
        b"\x92\xc6\xff\xff\xff\xff",
        b"\x92\xc4\x08" + bytes(8) + b"\x91\xd7\xff" + b"\xff" * 8,
        b"[1]",
        b'{"id": 1}',
        b"1 OR 1=1",
    ],
    ids=lambda forged: forged[:16].hex(),
)
@pytest.mark.parametrize("path", ["/sprockets", "/production"])
def test_fault_26_a_cursor_made_of_something_else_is_refused(viewer: Client, path: str, forged: bytes) -> None:
    """Whatever is packed into a cursor, however deep, it is 422."""
    cursor = urlsafe_b64encode(forged).rstrip(b"=").decode()

    assert ["cursor"] == wrong(viewer.get(path, params={"limit": 1, "cursor": cursor}))


@hypothesis_settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.binary(max_size=40) | st.binary(max_size=40).map(lambda end: b"\x92\xc4\x08" + bytes(8) + end))
def test_fault_26_a_cursor_of_random_bytes_is_refused(viewer: Client, forged: bytes) -> None:
    """No bytes but those of a cursor of this list lead anywhere, and none give a 500."""
    answer = viewer.get("/production", params={"limit": 1, "cursor": urlsafe_b64encode(forged).decode()})

    assert ["cursor"] == wrong(answer)


def keep_changing(address: str, done: Event) -> int:
    """Add and remove records between the whole seconds, all over the range, until it is done; return how many."""
    changes = 0
    with Client(address) as operator:
        while not done.is_set():
            second = (changes + 1) * 7919 % (MANY // 4)
            time = (START + timedelta(seconds=second, milliseconds=500)).isoformat()
            path = f"/production/{second % 4 + 1}/{time.replace('+00:00', 'Z')}"
            counts = {"sprocket_production_actual": 1, "sprocket_production_goal": 1}
            assert 201 == operator.put(path, json=counts).status_code
            if changes % 3:
                assert 204 == operator.delete(path).status_code
            changes += 1
    return changes


def test_pages_by_time_neither_skip_nor_repeat_while_records_come_and_go(database_url: str) -> None:
    """Of 100,000 records, each that is there throughout comes exactly once and in order, whatever others do."""
    rows = [
        (factory_id, START + timedelta(seconds=second)) for second in range(MANY // 4) for factory_id in range(1, 5)
    ]
    file = io.StringIO()
    csv.writer(file).writerows([COLUMNS, *((factory_id, time.isoformat(), 1, 2) for factory_id, time in rows)])
    done = Event()
    with (
        Service(Settings(database_url=database_url)) as running,
        Client(running.address) as viewer,
        ThreadPoolExecutor() as others,
    ):
        for number in range(1, 5):
            viewer.post("/factories", json={"name": f"Factory {number}"}).raise_for_status()
        viewer.post("/production", content=file.getvalue().encode(), headers=CSV).raise_for_status()
        changing = others.submit(keep_changing, running.address, done)
        try:
            found = [
                (each["factory_id"], datetime.fromisoformat(each["time"]))
                for page in pages(viewer, "/production?sort=time&limit=1000")
                for each in page.json()
            ]
        finally:
            done.set()

    assert rows == [(factory_id, time) for factory_id, time in found if not time.microsecond]
    assert all((earlier[1], earlier[0]) < (later[1], later[0]) for earlier, later in pairwise(found))
    assert 0 < changing.result()
