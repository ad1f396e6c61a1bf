"""Lists as JSON, NDJSON and CSV: what they look like, how one asks for them, and how long ones leave."""

import csv
import io
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from harness import BASE_PATH, Client, Program, Service
from long_lists import (
    VERY_MANY,
    as_many_stopped_readers_as_allowed,
    keep_writing,
    rest_of,
    service_with_many_records,
    stopped_reader,
    upload,
    write_until_readable,
)
from sprocket_factory.database import Transaction
from sprocket_factory.entities.factory import NewFactory, add_factory
from sprocket_factory.entities.sprocket import NewSprocket, add_sprocket
from sprocket_factory.settings import Settings

MEDIA_TYPES = {"json": "application/json", "ndjson": "application/x-ndjson", "csv": "text/csv"}

LISTS = ["/sprockets", "/factories", "/production", "/production/1"]

CELLS: dict[str, Callable[[str], Any]] = {
    "name": lambda cell: cell.removeprefix("'"),
    "time": str,
    "time_zone": str,
    "pitch_diameter": float,
    "outside_diameter": float,
    "pitch": float,
}
"""How a cell is read where it is no whole number."""

DANGEROUS = [
    "=cmd|' /C calc'!A0",
    "=1+1",
    "+44 114 496 0000",
    "-2+3",
    "@SUM(1)",
    "'quoted'",
    "'",
    "''",
    "'=1",
    '=HYPERLINK("http://x,y")',
    "=1,2",
]
HARMLESS = ["a=b", "5-2", "it's", "a@b", 'say "hi"', "Leeds, North", "ends with '", "🦓", '"', ",", "Ünïcode"]

FLAT_BYTES = 24 * 1024 * 1024
"""One list of 200,000 records has about as many bytes as text, and many times that as objects."""


@pytest.fixture(scope="module")
def service(running: Service) -> Service:
    """Return one service with lists that are long, and short where they are filtered. Factory 2 has no production."""
    running.run(running.database.write, make_known, by="test")
    with Client(running.address) as engineer:
        upload(engineer, 2500, factory_ids=[1, 3])
    return running


async def make_known(tx: Transaction) -> None:
    """Store more sprockets and factories than any engine reads at a time."""
    await add_sprocket(tx, NewSprocket(teeth=20, pitch_diameter=5, outside_diameter=6, pitch=1))
    for number in range(1, 1200):
        await add_sprocket(tx, NewSprocket(teeth=20, pitch_diameter=162.37, outside_diameter=175.61, pitch=number / 7))
    for name in ["Factory 1", "Factory 2", *DANGEROUS, *HARMLESS, *(f"Works {number}" for number in range(1200))]:
        await add_factory(tx, NewFactory(name=name))


@pytest.fixture(scope="module")
def viewer(service: Service) -> Iterator[Client]:
    """Return somebody who reads, on one connection for all these tests."""
    with Client(service.address) as client:
        yield client


def cells_of(text: str) -> list[list[str]]:
    """Return the cells of CSV, the header row first."""
    return list(csv.reader(io.StringIO(text, newline=""), strict=True))


def things_in(answer: httpx.Response) -> list[dict[str, Any]]:
    """Return the things in a list of any format, as JSON has them."""
    match answer.headers["Content-Type"].partition(";")[0]:
        case "application/json":
            things: list[dict[str, Any]] = answer.json()
        case "application/x-ndjson":
            things = [json.loads(line) for line in answer.text.split("\n")[:-1]]
        case _:
            header, *rows = cells_of(answer.text)
            things = [
                {name: CELLS.get(name, int)(cell) for name, cell in zip(header, row, strict=True)} for row in rows
            ]
    return things


def type_of(answer: httpx.Response) -> str:
    """Return the media type of an answer."""
    return answer.headers["Content-Type"].partition(";")[0]


@pytest.mark.parametrize("path", LISTS)
@pytest.mark.parametrize("query", ["", "limit=10", "limit=300"])
@pytest.mark.parametrize("name", MEDIA_TYPES)
def test_a_list_says_the_same_in_every_format(viewer: Client, name: str, query: str, path: str) -> None:
    """JSON, NDJSON and CSV hold the same things in the same order, whether asked for by Accept or by `format=`."""
    expected = viewer.get(f"{path}?{query}").json()
    accepted = viewer.get(f"{path}?{query}", headers={"Accept": MEDIA_TYPES[name]})
    named = viewer.get(f"{path}?{query}&format={name}")

    assert [MEDIA_TYPES[name]] * 2 == [type_of(accepted), type_of(named)]
    assert expected == things_in(accepted)
    assert accepted.content == named.content


def test_csv_of_sprockets_is_as_promised(viewer: Client) -> None:
    """A header row in the order of the members, lines that end with CR and LF, and lengths as floats."""
    answer = viewer.get("/sprockets?format=csv&id__lte=2")

    assert (
        b"id,teeth,pitch_diameter,outside_diameter,pitch\r\n"
        b"1,20,5.0,6.0,1.0\r\n"
        b"2,20,162.37,175.61,0.14285714285714285\r\n"
    ) == answer.content


def test_csv_of_production_is_as_promised(viewer: Client) -> None:
    """Times are RFC 3339 in UTC with Z, with microseconds only where they have them."""
    answer = viewer.get("/production/3?format=csv&limit=2")

    assert (
        b"sprocket_production_actual,sprocket_production_goal,time,factory_id\r\n"
        b"0,0,2021-01-21T02:06:58Z,3\r\n"
        b"1,3,2021-01-21T02:06:59.000001Z,3\r\n"
    ) == answer.content


@pytest.mark.parametrize(
    ("name", "cell"),
    [
        ("Leeds, North", '"Leeds, North"'),
        ('say "hi"', '"say ""hi"""'),
        ('"', '""""'),
        (",", '","'),
        ("it's", "it's"),
        ("Ünïcode", "Ünïcode"),
    ],
)
def test_csv_quotes_what_has_to_be_quoted(viewer: Client, name: str, cell: str) -> None:
    """RFC 4180: a cell with a comma or a quotation mark is quoted, and each mark in it doubled."""
    answer = viewer.get("/factories", params={"format": "csv", "name": name})
    factory_id = viewer.get("/factories", params={"name": name}).json()[0]["id"]

    assert f"id,name,time_zone\r\n{factory_id},{cell},UTC\r\n" == answer.content.decode()


def test_ndjson_is_one_object_on_each_line(viewer: Client) -> None:
    """Every line ends with LF, the last one too, and is as the thing stands in JSON."""
    answer = viewer.get("/sprockets?format=ndjson&id__lte=2")

    assert (
        b'{"id":1,"teeth":20,"pitch_diameter":5.0,"outside_diameter":6.0,"pitch":1.0}\n'
        b'{"id":2,"teeth":20,"pitch_diameter":162.37,"outside_diameter":175.61,"pitch":0.14285714285714285}\n'
    ) == answer.content


@pytest.mark.parametrize(
    ("path", "header"),
    [
        ("/sprockets?id=5001", b"id,teeth,pitch_diameter,outside_diameter,pitch\r\n"),
        ("/factories?name=Nobody", b"id,name,time_zone\r\n"),
        ("/production?factory_id=2", b"sprocket_production_actual,sprocket_production_goal,time,factory_id\r\n"),
        ("/production/2?limit=10", b"sprocket_production_actual,sprocket_production_goal,time,factory_id\r\n"),
    ],
)
def test_an_empty_list_is_empty_in_its_format(viewer: Client, path: str, header: bytes) -> None:
    """A list of nothing is `[]` in JSON, no line in NDJSON, and the header row alone in CSV."""
    answers = [viewer.get(f"{path}&format={name}") for name in MEDIA_TYPES]

    assert [(200, b"[]"), (200, b""), (200, header)] == [(answer.status_code, answer.content) for answer in answers]


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("*/*", "json"),
        ("application/*", "json"),
        ("text/*", "csv"),
        ("TEXT/CSV", "csv"),
        ("text/csv; charset=utf-8", "csv"),
        ("text/html, application/x-ndjson;q=0.3", "ndjson"),
        ("text/csv;q=0.5, application/json;q=0.4", "csv"),
        ("application/json;q=0.4, text/csv;q=0.5", "csv"),
        ("text/csv;q=0.5, */*;q=0.1", "csv"),
        ("application/json;q=0.999, text/csv;q=1.000", "csv"),
        ("application/json;q=0, application/x-ndjson;q=0.2, */*;q=0.1", "ndjson"),
        ("text/*;q=0.9, text/csv;q=0.1, application/json;q=0.5", "json"),
        ("text/csv;header=present;q=0.9, application/json;q=0.8", "csv"),
        ("text/csv;Q=0.9, application/json;Q=0.8", "csv"),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "json"),
    ],
)
@pytest.mark.parametrize("path", ["/sprockets?limit=1", "/production"])
def test_the_format_is_the_one_that_its_reader_likes_best(
    viewer: Client, path: str, accept: str, expected: str
) -> None:
    """Accept is weighed as RFC 9110 says: by q, as the most specific range has it; JSON where nothing is preferred."""
    assert MEDIA_TYPES[expected] == type_of(viewer.get(path, headers={"Accept": accept}))


def test_a_reader_who_says_nothing_gets_json(viewer: Client) -> None:
    """Without Accept a list is JSON."""
    answer = viewer.speak(
        f"GET {BASE_PATH}/factories?limit=1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()
    )

    assert b"content-type: application/json" in answer.lower().split(b"\r\n\r\n", maxsplit=1)[0].split(b"\r\n")


def test_several_lines_of_accept_are_one(viewer: Client) -> None:
    """A header that comes in several lines is weighed as a whole."""
    headers = [("Accept", "application/json;q=0.1"), ("Accept", "text/csv;q=0.2")]

    assert "text/csv" == type_of(viewer.get("/factories?limit=1", headers=headers))


@pytest.mark.parametrize("accept", [*MEDIA_TYPES.values(), "text/html", "application/json;q=0", "nonsense", ""])
@pytest.mark.parametrize("name", MEDIA_TYPES)
def test_format_wins_over_accept(viewer: Client, name: str, accept: str) -> None:
    """Who cannot set a header names the format in the address, and gets it whatever the header says."""
    answer = viewer.get(f"/factories?limit=3&format={name}", headers={"Accept": accept})

    assert (200, MEDIA_TYPES[name]) == (answer.status_code, type_of(answer))


@pytest.mark.parametrize(
    "accept",
    [
        "text/html",
        "image/png, text/html;q=0.9",
        "application/json;q=0",
        "*/*;q=0",
        "text/csv;q=0, text/*;q=0.0",
        "application/vnd.ms-excel",
        "nonsense",
    ],
)
@pytest.mark.parametrize("path", LISTS)
def test_fault_22_a_reader_who_takes_none_of_the_formats_is_refused(viewer: Client, path: str, accept: str) -> None:
    """A list that its caller cannot read is 406, and the refusal names what can be had."""
    answer = viewer.get(path, headers={"Accept": accept})

    assert (406, "/problems/not-acceptable") == (answer.status_code, answer.json()["type"])
    assert all(media_type in answer.json()["detail"] for media_type in MEDIA_TYPES.values())


@pytest.mark.parametrize("query", ["teeth=many", "sort=colour", "limit=0", "cursor=x", "colour=red"])
def test_a_refusal_is_a_problem_whatever_format_was_wanted(viewer: Client, query: str) -> None:
    """What a program wants as CSV, it is refused in `application/problem+json`."""
    answer = viewer.get(f"/sprockets?{query}&format=csv", headers={"Accept": "text/csv"})

    assert (422, "application/problem+json") == (answer.status_code, answer.headers["Content-Type"])


@pytest.mark.parametrize("path", ["/sprockets", "/factories", "/production", "/production/3"])
@pytest.mark.parametrize("name", MEDIA_TYPES)
def test_a_long_list_is_streamed_in_every_format(viewer: Client, name: str, path: str) -> None:
    """What may be of any length leaves in chunks, so it has no Content-Length and no ETag; If-None-Match is idle."""
    answer = viewer.get(f"{path}?format={name}", headers={"If-None-Match": "*"})

    assert (200, "chunked", None, None) == (
        answer.status_code,
        *(answer.headers.get(header) for header in ("Transfer-Encoding", "Content-Length", "ETag")),
    )


@pytest.mark.parametrize(
    "path", ["/sprockets?id__lte=3", "/factories?limit=3", "/production/1?limit=9", "/production/2"]
)
@pytest.mark.parametrize("name", MEDIA_TYPES)
def test_a_reader_who_has_a_short_list_already_is_not_sent_it_again(viewer: Client, name: str, path: str) -> None:
    """A list that is not streamed has an ETag: If-None-Match with it gives 304 without a body, to GET and HEAD."""
    target = f"{path}{'&' if '?' in path else '?'}format={name}"
    known = viewer.get(target).headers["ETag"]
    conditions = [known, "*", f"W/{known}", f'"other", {known}']
    again = [viewer.get(target, headers={"If-None-Match": condition}) for condition in conditions]
    head = viewer.head(target, headers={"If-None-Match": known})

    assert [(304, b"", known)] * 5 == [
        (answer.status_code, answer.content, answer.headers["ETag"]) for answer in [*again, head]
    ]


@pytest.mark.parametrize("condition", ['"other"', '""', 'W/"other"', '"*"'])
def test_a_reader_who_has_another_version_is_sent_the_list(viewer: Client, condition: str) -> None:
    """An ETag that is not this list's changes nothing."""
    plain = viewer.get("/factories?limit=3")
    answer = viewer.get("/factories?limit=3", headers={"If-None-Match": condition})

    assert (200, plain.content) == (answer.status_code, answer.content)


@pytest.mark.parametrize("name", MEDIA_TYPES)
def test_a_short_list_has_another_etag_once_it_changed(viewer: Client, engineer: Client, name: str) -> None:
    """Whoever asks whether anything is new learns of every change, and of its being taken back."""
    target = f"/factories?name__in=Factory 1,Annexe&format={name}"
    before = viewer.get(target)
    made = engineer.post("/factories", json={"name": "Annexe"}).json()
    changed = viewer.get(target, headers={"If-None-Match": before.headers["ETag"]})
    engineer.delete(f"/factories/{made['id']}")
    after = viewer.get(target, headers={"If-None-Match": before.headers["ETag"]})

    assert [200, 200, 304] == [answer.status_code for answer in (before, changed, after)]
    assert before.headers["ETag"] != changed.headers["ETag"]


def test_each_format_has_an_etag_of_its_own(viewer: Client) -> None:
    """A cache that keeps one format by its ETag never gives it out as another, and knows that Accept decides."""
    accepts = [{"Accept": media_type} for media_type in MEDIA_TYPES.values()]
    answers = [viewer.get("/sprockets?limit=3", headers=accept) for accept in accepts]

    assert 3 == len({answer.headers["ETag"] for answer in answers})
    assert [{"accept"}] * 3 == [{answer.headers["Vary"].lower()} for answer in answers]


@pytest.mark.parametrize("name", MEDIA_TYPES)
@pytest.mark.parametrize("path", ["/production", "/production?limit=5", "/production/2?count=true"])
def test_head_of_a_list_is_as_get_without_the_body(viewer: Client, path: str, name: str) -> None:
    """Status and headers are those of GET; how a body is cut up needs no telling."""
    target = f"{path}{'&' if '?' in path else '?'}format={name}"
    passing = {"date", "x-request-id", "transfer-encoding"}
    get, head = (viewer.request(method, target) for method in ("GET", "HEAD"))

    assert (get.status_code, b"") == (head.status_code, head.content)
    assert {pair for pair in get.headers.items() if pair[0] not in passing} == {
        pair for pair in head.headers.items() if pair[0] not in passing
    }


@pytest.mark.parametrize("name", DANGEROUS)
def test_fault_28_a_name_that_a_spreadsheet_would_run_is_defused_in_csv(viewer: Client, name: str) -> None:
    """A cell that begins as a formula does, or with an apostrophe, has one apostrophe before it, and no more."""
    answer = viewer.get("/factories", params={"name__gte": name, "sort": "name", "limit": "1", "format": "csv"})

    assert f"'{name}" == cells_of(answer.text)[1][1]


@pytest.mark.parametrize("name", HARMLESS)
def test_fault_28_a_harmless_name_is_as_it_is_in_csv(viewer: Client, name: str) -> None:
    """What no spreadsheet runs is not touched."""
    answer = viewer.get("/factories", params={"name__gte": name, "sort": "name", "limit": "1", "format": "csv"})

    assert name == cells_of(answer.text)[1][1]


@pytest.mark.parametrize("name", ["json", "ndjson"])
def test_fault_28_names_are_as_they_are_outside_csv(viewer: Client, name: str) -> None:
    """No spreadsheet runs JSON, so nothing is put before anything."""
    answer = viewer.get(f"/factories?id__gt=2&limit={len(DANGEROUS + HARMLESS)}&format={name}")

    assert DANGEROUS + HARMLESS == [factory["name"] for factory in things_in(answer)]


def test_fault_28_every_name_can_be_told_from_its_cell(viewer: Client) -> None:
    """Whoever takes one apostrophe off the beginning of a cell has the name again, in a list of any length."""
    cells = [row[1] for row in cells_of(viewer.get("/factories?format=csv").text)[1:]]

    assert [factory["name"] for factory in viewer.get("/factories").json()] == [
        cell.removeprefix("'") for cell in cells
    ]


@pytest.mark.parametrize("name", ["\t=1+1", "\r=1+1", "\n=1+1", " =1+1", "=1+1\r\n2"])
def test_fault_28_a_name_with_a_tab_or_a_line_end_is_refused(viewer: Client, engineer: Client, name: str) -> None:
    """What hides a formula behind white space is no name, and nothing is stored."""
    before = viewer.get("/factories").json()
    answer = engineer.post("/factories", json={"name": name})

    assert (422, ["/name"]) == (answer.status_code, [error["pointer"] for error in answer.json()["errors"]])
    assert before == viewer.get("/factories").json()


@pytest.mark.parametrize("name", MEDIA_TYPES)
def test_production_can_be_carried_to_another_service(viewer: Client, database_url: str, name: str) -> None:
    """What is listed can be posted where the factories have the same ids, and is listed there byte for byte."""
    listed = viewer.get(f"/production?format={name}").content
    with (
        Service(Settings(database_url=database_url)) as other,
        Client(other.address) as engineer,
    ):
        for number in range(1, 4):
            engineer.post("/factories", json={"name": f"Other {number}"}).raise_for_status()
        posted = engineer.post("/production", content=listed, headers={"Content-Type": MEDIA_TYPES[name]})
        again = engineer.get(f"/production?format={name}").content

    assert (200, 5000) == (posted.status_code, posted.json()["created"])
    assert listed == again


def resident_bytes(process_id: int) -> int:
    """Return how much memory a process has."""
    return int(Path(f"/proc/{process_id}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_fault_39_readers_who_stop_hold_up_nobody_and_are_cut_off(database_url: str) -> None:
    """While as many as are allowed stand still, writes are answered; then they are cut off, and their places free."""
    with (
        service_with_many_records(Settings(database_url=database_url, stalled_seconds=2)) as running,
        Client(running.address) as operator,
        as_many_stopped_readers_as_allowed(operator) as (first, *_),
    ):
        refused = operator.get("/production")
        written = write_until_readable(operator)
        end = rest_of(first)
        again = operator.head("/production")

    assert (503, "/problems/busy") == (refused.status_code, refused.json()["type"])
    assert {200} == set(written)
    assert not end.endswith(b"0\r\n\r\n")
    assert 200 == again.status_code


def test_fault_39_memory_stays_flat_whoever_stops_reading(start: Callable[..., Program], database_url: str) -> None:
    """Readers who stop and readers who go on cost the process next to nothing, however long the list."""
    limits = ["--database-connections", "60", "--max-lists", "16"]  # half of them for one caller
    program = start("serve", "--port", "0", "--database-url", database_url, *limits)
    address = program.wait_for_address()
    with Client(address) as operator:
        for number in range(1, 3):
            operator.post("/factories", json={"name": f"Factory {number}"}).raise_for_status()
        upload(operator, VERY_MANY // 2, factory_ids=[1, 2])
        before = resident_bytes(program.process.pid)
        readers = [stopped_reader(address, f"/production?format={name}") for name in [*MEDIA_TYPES, *MEDIA_TYPES]]
        with operator.stream("GET", "/production") as answer:
            length = sum(len(data) for data in answer.iter_raw())
        written = keep_writing(operator, 200)
        after = resident_bytes(program.process.pid)
        for reader in readers:
            reader.close()

    assert length > VERY_MANY * 100
    assert {200} == set(written)
    assert after - before < FLAT_BYTES
