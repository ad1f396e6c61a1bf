"""Many records of which some are wrong: nothing is stored, and one look is enough to mend them."""

import json
import socket
import time

import httpx
import pytest

from bulk import (
    COLUMNS,
    FORMATS,
    HEADER,
    MANY,
    MEGABYTE,
    NOBODY,
    PATIENCE_SECONDS,
    START,
    Row,
    a_row,
    add_factory,
    as_csv,
    as_json,
    faults,
    in_every_format,
    in_pieces,
    send,
    stored,
)
from faults import LITTLE_CPU_SECONDS, begun_body, connected, status_of
from harness import BASE_PATH, Client, Service

BAD = [
    ({"factory_id": 0}, "/factory_id"),
    ({"factory_id": -1}, "/factory_id"),
    ({"factory_id": 2**63}, "/factory_id"),
    ({"factory_id": 1.5}, "/factory_id"),
    ({"factory_id": "Sheffield"}, "/factory_id"),
    ({"factory_id": NOBODY}, "/factory_id"),
    ({"time": "yesterday"}, "/time"),
    ({"time": "2021-01-21T02:06:58"}, "/time"),
    ({"time": "2021-01-21T02:06:60Z"}, "/time"),
    ({"time": "2021-01-21T02:06:58.1234567Z"}, "/time"),
    ({"time": "1979-12-31T23:59:59Z"}, "/time"),
    ({"time": "9999-12-31T23:59:59Z"}, "/time"),
    ({"time": 1611194818000}, "/time"),
    ({"time": ""}, "/time"),
    ({"sprocket_production_actual": -1}, "/sprocket_production_actual"),
    ({"sprocket_production_actual": 2**31}, "/sprocket_production_actual"),
    ({"sprocket_production_actual": 1.5}, "/sprocket_production_actual"),
    ({"sprocket_production_actual": ""}, "/sprocket_production_actual"),
    ({"sprocket_production_actual": " 1"}, "/sprocket_production_actual"),
    ({"sprocket_production_goal": 10**4000}, "/sprocket_production_goal"),
    ({"sprocket_production_goal": "1e3"}, "/sprocket_production_goal"),
    ({"sprocket_production_goal": "+1"}, "/sprocket_production_goal"),
    ({"sprocket_production_goal": "１"}, "/sprocket_production_goal"),  # noqa: RUF001 - a full-width digit is the point
    ({"sprocket_production_goal": "1\0"}, "/sprocket_production_goal"),
]
"""What may be wrong with a row in any format, and where."""


@pytest.fixture(scope="module")
def service(running: Service) -> Service:
    """Return one service for all these tests; each works in a factory of its own."""
    return running


@pytest.fixture
def factory_id(engineer: Client) -> int:
    """Return the id of a factory that nothing was made in yet."""
    return add_factory(engineer)


@pytest.mark.parametrize(("members", "pointer"), BAD, ids=lambda value: str(value)[:60])
@in_every_format
def test_a_bad_row_is_named_with_what_is_wrong_in_it(
    engineer: Client, factory_id: int, media_type: str, members: Row, pointer: str
) -> None:
    """422 names the row, counted from 1, and the member; nothing is stored, of the good rows neither."""
    rows = [a_row(factory_id, 0), a_row(factory_id, 1) | members, a_row(factory_id, 2)]
    answer = send(engineer, media_type, FORMATS[media_type](rows))

    assert 422 == answer.status_code
    assert [(2, pointer)] == faults(answer)
    assert [] == stored(engineer, factory_id)


@in_every_format
def test_everything_wrong_with_a_row_is_named(engineer: Client, factory_id: int, media_type: str) -> None:
    """One look is enough to mend a row."""
    rows = [a_row(factory_id, -1, -1, -1, time="never")]
    answer = send(engineer, media_type, FORMATS[media_type](rows))

    assert {(1, "/time"), (1, "/sprocket_production_actual"), (1, "/sprocket_production_goal")} == set(faults(answer))
    assert [] == stored(engineer, factory_id)


@in_every_format
def test_of_many_bad_rows_the_first_hundred_are_named(engineer: Client, factory_id: int, media_type: str) -> None:
    """`errors_total` counts all that is wrong; a dry run says the same."""
    rows = [a_row(factory_id, number, -(number % 2)) for number in range(1, 501)]
    answers = [send(engineer, media_type, FORMATS[media_type](rows), dry_run=dry_run) for dry_run in ("false", "true")]

    assert [(422, 250)] * 2 == [(answer.status_code, answer.json()["errors_total"]) for answer in answers]
    assert [[(row, "/sprocket_production_actual") for row in range(1, 201, 2)]] * 2 == list(map(faults, answers))
    assert [] == stored(engineer, factory_id)


@in_every_format
def test_a_few_bad_rows_are_counted_as_well(engineer: Client, factory_id: int, media_type: str) -> None:
    """`errors_total` stands beside the errors of many records always, so that nobody has to guess."""
    bad = send(engineer, media_type, FORMATS[media_type]([a_row(factory_id, goal=-1), a_row(factory_id, actual=-1)]))
    clashing = send(engineer, media_type, FORMATS[media_type]([a_row(factory_id), a_row(factory_id, 0, 3)]))

    assert [(422, 2), (409, 1)] == [(answer.status_code, answer.json()["errors_total"]) for answer in (bad, clashing)]
    assert [] == stored(engineer, factory_id)


@pytest.mark.parametrize(
    ("media_type", "body"),
    [
        ("application/json", b"[" + b"1," * (8 * MEGABYTE - 2) + b"1]"),
        ("application/json", b"[" + b"{}," * (5 * MEGABYTE) + b"{}]"),
        ("application/x-ndjson", b"1\n" * (8 * MEGABYTE)),
        ("application/x-ndjson", b"{}\n" * (5 * MEGABYTE)),
        ("text/csv", HEADER + b",,,\n" * (4 * MEGABYTE)),
    ],
    ids=["array of numbers", "array of nothing", "lines of numbers", "lines of nothing", "empty cells"],
)
def test_fault_18_a_body_that_is_wrong_throughout_is_refused_at_little_cost(
    engineer: Client, media_type: str, body: bytes
) -> None:
    """What is wrong is counted up to 100,000; then the rest is not looked at, and the refusal says so."""
    start = time.process_time()
    answer = send(engineer, media_type, body)
    spent = time.process_time() - start

    assert (422, 100, 100_000) == (answer.status_code, len(answer.json()["errors"]), answer.json()["errors_total"])
    assert "What follows it was not looked at." in answer.json()["detail"]
    assert spent < LITTLE_CPU_SECONDS


def test_rows_of_factories_that_may_be_unknown_are_all_looked_at(engineer: Client, factory_id: int) -> None:
    """A factory that is not known yet may be by the end, so there is nothing to give up for."""
    body = HEADER + b"".join(b"%d,%d,1,2\n" % (NOBODY, START + second) for second in range(MANY + 1))
    answer = send(engineer, "text/csv", body)

    assert (422, MANY + 1) == (answer.status_code, answer.json()["errors_total"])
    assert [] == stored(engineer, factory_id)


@in_every_format
def test_an_unknown_factory_is_a_bad_row_among_others(engineer: Client, factory_id: int, media_type: str) -> None:
    """It is named with its row, beside rows that are wrong in other ways; nothing is stored."""
    rows = [a_row(factory_id), a_row(NOBODY), a_row(factory_id, 1, -1), a_row(NOBODY, 2)]
    answer = send(engineer, media_type, FORMATS[media_type](rows))

    assert 422 == answer.status_code
    assert [(2, "/factory_id"), (3, "/sprocket_production_actual"), (4, "/factory_id")] == faults(answer)
    assert [] == stored(engineer, factory_id)


@pytest.mark.parametrize("parameters", [{"on_conflict": "skip"}, {"on_conflict": "replace"}, {"dry_run": "true"}])
def test_an_unknown_factory_is_refused_whatever_is_done_on_a_conflict(
    engineer: Client, factory_id: int, parameters: dict[str, str]
) -> None:
    """Production needs a factory; of more than a hundred such rows all are counted."""
    rows = [a_row(factory_id), *(a_row(NOBODY, second) for second in range(150))]
    answer = send(engineer, "text/csv", as_csv(rows), **parameters)

    assert (422, 150) == (answer.status_code, answer.json()["errors_total"])
    assert [(row, "/factory_id") for row in range(2, 102)] == faults(answer)
    assert [] == stored(engineer, factory_id)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('{"factory_id": 1}', {"/time", "/sprocket_production_actual", "/sprocket_production_goal"}),
        ("[]", {""}),
        ("7", {""}),
        ("null", {""}),
        ('"row"', {""}),
        ('{"time": 1611194818, "gaol": 1, ACTUAL, GOAL, FACTORY}', {"/gaol"}),
        ('{"time": 1611194818, "time": 1611194819, ACTUAL, GOAL, FACTORY}', {"/time"}),
        ('{"time": [1611194818], ACTUAL, "sprocket_production_goal": null, FACTORY}', {"/time", f"/{COLUMNS[3]}"}),
        ('{"time": 1611194818, "sprocket_production_actual": true, GOAL, FACTORY}', {f"/{COLUMNS[2]}"}),
    ],
)
@pytest.mark.parametrize("media_type", ["application/json", "application/x-ndjson"])
def test_what_is_no_record_is_a_bad_row(
    engineer: Client, factory_id: int, media_type: str, line: str, expected: set[str]
) -> None:
    """Members that are missing, unknown, named twice or of another kind are named with their row."""
    line = line.replace("ACTUAL", '"sprocket_production_actual": 1').replace("GOAL", '"sprocket_production_goal": 1')
    lines = [json.dumps(a_row(factory_id)), line.replace("FACTORY", f'"factory_id": {factory_id}')]
    body = "\n".join(lines) if media_type == "application/x-ndjson" else f"[{','.join(lines)}]"
    answer = send(engineer, media_type, body.encode())

    assert 422 == answer.status_code
    assert {(2, pointer) for pointer in expected} == set(faults(answer))
    assert [] == stored(engineer, factory_id)


def test_a_line_that_is_no_json_is_a_bad_row(engineer: Client, factory_id: int) -> None:
    """Each line of NDJSON is a text of its own: one that cannot be read leaves the others readable."""
    good = json.dumps(a_row(factory_id)).encode()
    answer = send(engineer, "application/x-ndjson", b"\n".join([b"{", good, b"", b"\xff", good, b"NaN"]))

    assert 422 == answer.status_code
    assert [(1, ""), (3, ""), (5, "")] == faults(answer)
    assert [] == stored(engineer, factory_id)


@pytest.mark.parametrize("line", ["", "FACTORY", "FACTORY,1611194818,1", "FACTORY,1611194818,1,2,3", ",,,,", '""'])
def test_a_row_with_more_or_fewer_cells_than_the_header_is_bad(engineer: Client, factory_id: int, line: str) -> None:
    """Nobody can tell which cell is missing, so the row is named; an empty line is none."""
    good = f"{factory_id},1611194818,1,2\n"
    body = HEADER.decode() + good + line.replace("FACTORY", str(factory_id)) + "\n" + good.replace("1,2", "1,-2")
    answer = send(engineer, "text/csv", body.encode())
    last = (3 if line else 2, "/sprocket_production_goal")

    assert 422 == answer.status_code
    assert ([(2, ""), last] if line else [last]) == faults(answer)
    assert [] == stored(engineer, factory_id)


@pytest.mark.parametrize("separator", ["\v", "\f", "\x1c", "\x1d", "\x1e", "\x85", "\u2028", "\u2029"])
def test_a_row_ends_with_a_line_feed_and_with_nothing_else(engineer: Client, factory_id: int, separator: str) -> None:
    """What only looks like the end of a line to some is part of a cell, so rows are counted right."""
    body = f"{HEADER.decode()}{factory_id},1611194818,{separator}1,2\n{factory_id},1611194819,-1,2\n"
    answer = send(engineer, "text/csv", body.encode())

    assert [(1, "/sprocket_production_actual"), (2, "/sprocket_production_actual")] == faults(answer)
    assert [] == stored(engineer, factory_id)


@pytest.mark.parametrize("quoted", ['"1\n"', '"\r\n1"', '"1,2"', '"1""2"'])
def test_a_quoted_cell_may_hold_what_otherwise_ends_it(engineer: Client, factory_id: int, quoted: str) -> None:
    """RFC 4180: line ends, commas and doubled marks within quotation marks belong to the cell, and rows count right."""
    body = f"{HEADER.decode()}{factory_id},1611194818,{quoted},2\n{factory_id},1611194819,-1,2\n"
    answers = [send(engineer, "text/csv", in_pieces(body.encode(), size)) for size in (1, 10_000)]

    assert [[(1, "/sprocket_production_actual"), (2, "/sprocket_production_actual")]] * 2 == list(map(faults, answers))
    assert [] == stored(engineer, factory_id)


@pytest.mark.parametrize(
    ("header", "pointers"),
    [
        ("factory_id,time,sprocket_production_actual,goal", {"/goal", "/sprocket_production_goal"}),
        ("factory_id,time,sprocket_production_actual", {"/sprocket_production_goal"}),
        ("factory_id,time,sprocket_production_actual,sprocket_production_goal,time", {"/time"}),
        ("factory_id,time,sprocket_production_actual,sprocket_production_goal,shift", {"/shift"}),
        ("factory_id;time;sprocket_production_actual;sprocket_production_goal", {""}),
        ("1,1611194818,1,2", None),
        ("Factory_ID,TIME,sprocket_production_actual,sprocket_production_goal", None),
    ],
)
def test_a_header_row_that_is_none_is_refused(
    engineer: Client, factory_id: int, header: str, pointers: set[str] | None
) -> None:
    """Every column is there once and no other; a wrong one is named, and nothing is stored."""
    answer = send(engineer, "text/csv", f"{header}\n{factory_id},1611194818,1,2\n".encode())
    named = {error["pointer"] for error in answer.json()["errors"]}

    assert 422 == answer.status_code
    assert pointers in (None, named)
    assert [] == stored(engineer, factory_id)


@pytest.mark.parametrize("rows", [1, 40_000])
def test_a_file_whose_line_ends_got_lost_is_told(engineer: Client, factory_id: int, rows: int) -> None:
    """As `curl -d` sends one: the refusal names what keeps them, and nothing is stored."""
    answer = send(engineer, "text/csv", (HEADER + b"1,2021-01-21T02:06:58Z,1,2\n" * rows).replace(b"\n", b""))

    assert answer.status_code in (400, 422)
    assert "--data-binary" in answer.json()["detail"]
    assert [] == stored(engineer, factory_id)


@pytest.mark.parametrize(("separator", "name"), [(b";", "semicolons"), (b"\t", "tabs")])
def test_columns_that_are_separated_otherwise_are_told(engineer: Client, separator: bytes, name: str) -> None:
    """As spreadsheets of many countries write them: the refusal says what to do, and names no column as missing."""
    answer = send(engineer, "text/csv", b"\xef\xbb\xbf" + HEADER.replace(b",", separator))
    told = f"The header row has {name} between its columns. Put commas there, and in every row."

    assert (422, told) == (answer.status_code, answer.json()["detail"])
    assert [{"pointer": "", "detail": told}] == answer.json()["errors"]


def test_a_wrong_column_is_named_with_the_nearest(engineer: Client) -> None:
    """A header row can be mended at one look."""
    answer = send(engineer, "text/csv", HEADER.replace(b"_goal", b"_gaol"))

    assert "sprocket_production_goal?" in answer.json()["errors"][0]["detail"]


@pytest.mark.parametrize("body", [b"", b"\n", b"\r\n\r\n", b"\xef\xbb\xbf"])
def test_csv_without_a_header_row_is_refused(engineer: Client, body: bytes) -> None:
    """A file that lost everything is not taken for one of a quiet day."""
    assert 422 == send(engineer, "text/csv", body).status_code


@pytest.mark.parametrize("body", [b"", b"[", b"[{}", b"[1,]", b"[]]", b"[" * 100_000, b"[nul]"])
def test_an_array_that_is_no_json_is_refused(engineer: Client, body: bytes) -> None:
    """What cannot be read is 400."""
    assert 400 == send(engineer, "application/json", body).status_code


@pytest.mark.parametrize("broken", [b'"1"2', b"\xff", b"\xc3", b"\xed\xa0\x80"])
def test_csv_that_cannot_be_read_is_refused(engineer: Client, factory_id: int, broken: bytes) -> None:
    """Text that is no UTF-8 and quotation marks that fit nothing are 400, and nothing is stored."""
    good = as_csv([a_row(factory_id, second) for second in range(1000)])
    answer = send(engineer, "text/csv", good + b"%d,1611194818,%b,2\r\n" % (factory_id, broken))

    assert 400 == answer.status_code
    assert [] == stored(engineer, factory_id)


@pytest.mark.parametrize("name", ["on_conflict", "dry_run"])
@pytest.mark.parametrize("value", ["", "maybe", "True", "REPLACE", "1"])
@in_every_format
def test_a_parameter_that_says_nothing_known_is_refused(
    engineer: Client, factory_id: int, media_type: str, value: str, name: str
) -> None:
    """`on_conflict` is error, replace or skip, `dry_run` true or false; nothing is stored otherwise."""
    answer = send(engineer, media_type, FORMATS[media_type]([a_row(factory_id)]), **{name: value})

    assert (422, [name]) == (answer.status_code, [error["pointer"] for error in answer.json()["errors"]])
    assert [] == stored(engineer, factory_id)


@pytest.mark.parametrize("parameter", ["on_conflict=maybe", "dry_run=1"])
@pytest.mark.parametrize("media_type", ["text/csv", "application/x-ndjson"])
def test_a_wrong_parameter_is_told_before_the_rows_are_sent(engineer: Client, media_type: str, parameter: str) -> None:
    """Nobody uploads for minutes to hear of a slip in the address."""
    with connected(engineer.address) as connection:
        connection.sendall(begun_body(media_type, path=f"/production?{parameter}"))
        answer = connection.recv(10_000)

    assert 422 == status_of(answer)


@pytest.mark.parametrize("parameters", [{"on_conflict": "skip"}, {"on_conflict": "error"}, {"dry_run": "true"}])
def test_one_record_takes_no_parameter_for_many(engineer: Client, factory_id: int, parameters: dict[str, str]) -> None:
    """A single object with `on_conflict` or `dry_run` is refused and not stored: it was meant as an array."""
    answer = engineer.post("/production", json=a_row(factory_id), params=parameters)

    assert (422, [*parameters]) == (answer.status_code, [error["pointer"] for error in answer.json()["errors"]])
    assert [] == stored(engineer, factory_id)


@pytest.mark.parametrize("media_type", ["application/json", "application/x-ndjson"])
@pytest.mark.parametrize("member", ['"time": "%s"', '"time": [[%s]]', '"%s": 1'])
@pytest.mark.parametrize("size", [50_000, 3 * MEGABYTE])
def test_a_record_of_over_a_megabyte_is_refused(
    engineer: Client, factory_id: int, media_type: str, member: str, size: int
) -> None:
    """In whatever pieces it comes it is 400, whatever is wrong with it besides: no record is as large."""
    row = json.dumps(a_row(factory_id, 1)).replace("}", f", {member % ('1' * MEGABYTE)}}}").encode()
    body = b"\n".join([json.dumps(a_row(factory_id)).encode(), row])
    content = in_pieces(body if "nd" in media_type else b"[" + body.replace(b"\n", b",") + b"]", size)
    answer = send(engineer, media_type, content)

    assert 400 == answer.status_code
    assert "Row 2 is longer than 1,048,576 bytes" in answer.json()["detail"]
    assert [] == stored(engineer, factory_id)


def test_an_array_of_up_to_16_mb_is_read(engineer: Client, factory_id: int) -> None:
    """The bound belongs to what is allowed; one byte more is 413, stores nothing, and says what to use instead."""
    longest = as_json([a_row(factory_id)]).ljust(16 * MEGABYTE)
    refused = send(engineer, "application/json", longest + b" ")
    after_refused = stored(engineer, factory_id)
    read = send(engineer, "application/json", longest)

    assert (413, "/problems/too-large") == (refused.status_code, refused.json()["type"])
    assert all(media_type in refused.json()["detail"] for media_type in ("text/csv", "application/x-ndjson"))
    assert [] == after_refused
    assert (200, 1) == (read.status_code, read.json()["created"])


@pytest.mark.parametrize("endless", [b'"' + b"1\n" * MEGABYTE, b'"' + b"1" * (2 * MEGABYTE), b"1" * (2 * MEGABYTE)])
def test_a_row_without_an_end_is_refused_before_the_upload_ends(
    engineer: Client, factory_id: int, endless: bytes
) -> None:
    """A row over 1 MB is 400 at once, also within quotation marks: nobody fills the memory with one."""
    url = httpx.URL(engineer.address)
    headers = "Host: x\r\nContent-Type: text/csv\r\nTransfer-Encoding: chunked\r\n\r\n"
    head = f"POST {BASE_PATH}/production HTTP/1.1\r\n{headers}"
    piece = HEADER + endless
    with socket.create_connection((url.host, url.port or 80), timeout=PATIENCE_SECONDS) as connection:
        connection.sendall(head.encode() + b"%x\r\n%b\r\n" % (len(piece), piece))
        answer = connection.recv(65536)

    assert answer.startswith(b"HTTP/1.1 400 ")
    assert [] == stored(engineer, factory_id)
