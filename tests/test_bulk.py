"""Many records of production in one request: all of them or none."""

import csv
import itertools
import json

import pytest

from bulk import (
    COLUMNS,
    FORMATS,
    HEADER,
    Row,
    a_row,
    add_factory,
    as_csv,
    counted,
    faults,
    in_every_format,
    in_pieces,
    send,
    stored,
)
from harness import Client, Service


@pytest.fixture(scope="module")
def service(running: Service) -> Service:
    """Return one service for all these tests; each works in a factory of its own."""
    return running


@pytest.fixture
def factory_id(engineer: Client) -> int:
    """Return the id of a factory that nothing was made in yet."""
    return add_factory(engineer)


@in_every_format
def test_many_records_are_stored_at_once(engineer: Client, factory_id: int, media_type: str) -> None:
    """They may come in any order, of several factories, with times in any form; each is created and listed."""
    other = add_factory(engineer)
    rows = [
        a_row(factory_id, 2, 3, 4),
        a_row(other, 0, 0, 2_147_483_647),
        a_row(factory_id, 0),
        a_row(factory_id, time="2021-01-21T03:07:00.25+01:00"),
    ]
    answer = send(engineer, media_type, FORMATS[media_type](rows))

    assert (200, counted(4, created=4)) == (answer.status_code, answer.json())
    assert [("02:06:58", 1, 2), ("02:07:00", 3, 4), ("02:07:00.250000", 1, 2)] == stored(engineer, factory_id)
    assert [("02:06:58", 0, 2_147_483_647)] == stored(engineer, other)


@in_every_format
def test_many_records_sent_again_change_nothing(engineer: Client, factory_id: int, media_type: str) -> None:
    """A batch whose answer was lost may be sent again: every record counts as unchanged."""
    body = FORMATS[media_type]([a_row(factory_id, second) for second in range(3)])
    send(engineer, media_type, body)
    again = send(engineer, media_type, body)

    assert (200, counted(3, unchanged=3)) == (again.status_code, again.json())
    assert 3 == len(stored(engineer, factory_id))


def test_an_array_of_one_is_many(engineer: Client, factory_id: int) -> None:
    """An array is answered with counts, however few records it has."""
    answer = engineer.post("/production", json=[a_row(factory_id)])

    assert (200, counted(1, created=1)) == (answer.status_code, answer.json())


@pytest.mark.parametrize("columns", list(itertools.permutations(COLUMNS)), ids="-".join)
def test_the_columns_of_csv_come_in_any_order(engineer: Client, factory_id: int, columns: tuple[str, ...]) -> None:
    """The header row says which column is which."""
    answer = send(engineer, "text/csv", as_csv([a_row(factory_id, 0, 3, 4), a_row(factory_id, 1, 5, 6)], columns))

    assert (200, 2) == (answer.status_code, answer.json()["created"])
    assert [("02:06:58", 3, 4), ("02:06:59", 5, 6)] == stored(engineer, factory_id)


@pytest.mark.parametrize(
    ("before", "end", "quoting", "last"),
    [
        (b"", "\n", csv.QUOTE_MINIMAL, True),
        (b"", "\r\n", csv.QUOTE_MINIMAL, True),
        (b"", "\n", csv.QUOTE_MINIMAL, False),
        (b"", "\r\n", csv.QUOTE_MINIMAL, False),
        (b"", "\n", csv.QUOTE_ALL, True),
        (b"", "\r\n", csv.QUOTE_ALL, False),
        (b"", "\n", csv.QUOTE_NONNUMERIC, False),
        (b"\xef\xbb\xbf", "\n", csv.QUOTE_MINIMAL, True),
        (b"\xef\xbb\xbf", "\r\n", csv.QUOTE_ALL, False),
    ],
)
@pytest.mark.parametrize("size", [1, 2, 5, 1000])
def test_csv_is_read_in_every_form_and_in_pieces_of_every_size(  # noqa: PLR0913, PLR0917 - what a form is
    engineer: Client, factory_id: int, size: int, before: bytes, end: str, quoting: int, *, last: bool
) -> None:
    """With or without a byte order mark, quotation marks, CR and a last line end, whole or cut up anywhere."""
    rows = [a_row(factory_id, second, second, time=f"2021-01-21T02:06:0{second}Z") for second in range(3)]
    body = before + as_csv(rows, end=end, quoting=quoting)
    body = body if last else body.removesuffix(end.encode())
    answer = send(engineer, "text/csv", in_pieces(body, size))

    assert (200, counted(3, created=3)) == (answer.status_code, answer.json())
    assert [("02:06:00", 0, 2), ("02:06:01", 1, 2), ("02:06:02", 2, 2)] == stored(engineer, factory_id)


@pytest.mark.parametrize("size", [1, 2, 5, 1000])
@pytest.mark.parametrize(
    ("media_type", "end"),
    [
        ("application/x-ndjson", b"\n"),
        ("application/x-ndjson", b"\r\n"),
        ("application/x-ndjson", b"\n\n"),
        ("application/json", b" \n"),
    ],
)
def test_json_is_read_in_pieces_of_every_size(
    engineer: Client, factory_id: int, media_type: str, end: bytes, size: int
) -> None:
    """Lines may end with CR and LF, blank ones and a missing last line end do no harm, whole or cut up anywhere."""
    rows = [a_row(factory_id, second, second) for second in range(3)]
    body = FORMATS[media_type](rows).rstrip().replace(b"\n", end)
    answer = send(engineer, media_type, in_pieces(body, size))

    assert (200, counted(3, created=3)) == (answer.status_code, answer.json())
    assert [("02:06:58", 0, 2), ("02:06:59", 1, 2), ("02:07:00", 2, 2)] == stored(engineer, factory_id)


@pytest.mark.parametrize("size", [1, 2, 3, 5])
@in_every_format
def test_a_character_that_is_cut_through_is_read_whole(
    engineer: Client, factory_id: int, media_type: str, size: int
) -> None:
    """What is said of a body is the same in whatever pieces it came, also where they cut through characters."""
    rows = [a_row(factory_id), a_row(factory_id, time="Größe"), a_row(factory_id, time="🦓€")]
    body = FORMATS[media_type](rows) if media_type == "text/csv" else json.dumps(rows, ensure_ascii=False).encode()
    body = body.strip(b"[]").replace(b"}, {", b"}\n{") if media_type == "application/x-ndjson" else body
    whole = send(engineer, media_type, body)
    cut = send(engineer, media_type, in_pieces(body, size))

    assert [(2, "/time"), (3, "/time")] == faults(cut)
    assert (whole.status_code, whole.json()["errors"]) == (cut.status_code, cut.json()["errors"])
    assert [] == stored(engineer, factory_id)


@pytest.mark.parametrize("content_type", ["text/csv; charset=utf-8", "text/csv;header=present", "TEXT/CSV"])
def test_csv_may_be_declared_in_every_way_that_is_allowed(engineer: Client, factory_id: int, content_type: str) -> None:
    """Names of media types know no case, and what is the case anyhow may be said."""
    assert 200 == send(engineer, content_type, as_csv([a_row(factory_id)])).status_code


def mixed(factory_id: int) -> list[Row]:
    """Return rows for a factory with records at 0 and 1: equal, different, new, and the new one three times more."""
    return [
        a_row(factory_id, 0),
        a_row(factory_id, 1, 9, 9),
        a_row(factory_id, 2, 5, 5),
        a_row(factory_id, 2, 5, 5),
        a_row(factory_id, 2, 6, 6),
        a_row(factory_id, 2, 7, 7),
    ]


@pytest.mark.parametrize(
    ("on_conflict", "expected", "left"),
    [
        (
            "replace",
            counted(6, created=1, replaced=3, unchanged=2),
            [("02:06:58", 1, 2), ("02:06:59", 9, 9), ("02:07:00", 7, 7)],
        ),
        (
            "skip",
            counted(6, created=1, skipped=3, unchanged=2),
            [("02:06:58", 1, 2), ("02:06:59", 1, 2), ("02:07:00", 5, 5)],
        ),
    ],
)
@in_every_format
def test_what_differs_is_replaced_or_skipped_as_told(  # noqa: PLR0913, PLR0917 - a row of the table
    engineer: Client,
    factory_id: int,
    media_type: str,
    on_conflict: str,
    expected: dict[str, int],
    left: list[tuple[str, int, int]],
) -> None:
    """Under `replace` the last of several wins, under `skip` the first; equal ones count as unchanged."""
    engineer.post("/production", json=[a_row(factory_id, 0), a_row(factory_id, 1)])
    rows = FORMATS[media_type](mixed(factory_id))
    dry = send(engineer, media_type, rows, on_conflict=on_conflict, dry_run="true")
    before = stored(engineer, factory_id)
    answer = send(engineer, media_type, rows, on_conflict=on_conflict, dry_run="false")

    assert (200, expected) == (answer.status_code, answer.json())
    assert left == stored(engineer, factory_id)
    assert (200, expected) == (dry.status_code, dry.json())
    assert [("02:06:58", 1, 2), ("02:06:59", 1, 2)] == before


@pytest.mark.parametrize("parameters", [{}, {"on_conflict": "error"}, {"dry_run": "true"}])
@in_every_format
def test_what_differs_is_a_clash_unless_told_otherwise(
    engineer: Client, factory_id: int, media_type: str, parameters: dict[str, str]
) -> None:
    """409 lists each clash with its row, what is stored and what the row says; nothing is stored, no new one either."""
    engineer.post("/production", json=[a_row(factory_id, 0), a_row(factory_id, 1)])
    answer = send(engineer, media_type, FORMATS[media_type](mixed(factory_id)), **parameters)

    assert (409, "/problems/conflict") == (answer.status_code, answer.json()["type"])
    assert [2, 5, 6] == [error["row"] for error in answer.json()["errors"]]
    assert "actual 1, goal 2; the row says 9, 9" in answer.json()["errors"][0]["detail"]
    assert [("02:06:58", 1, 2), ("02:06:59", 1, 2)] == stored(engineer, factory_id)


@pytest.mark.parametrize("dry_run", ["false", "true"])
def test_of_many_clashes_the_first_hundred_are_listed(engineer: Client, factory_id: int, dry_run: str) -> None:
    """`errors_total` says how many there are."""
    send(engineer, "text/csv", as_csv([a_row(factory_id, second) for second in range(150)]))
    answer = send(
        engineer, "text/csv", as_csv([a_row(factory_id, 149 - second, 3) for second in range(151)]), dry_run=dry_run
    )

    assert (409, 150) == (answer.status_code, answer.json()["errors_total"])
    assert list(range(1, 101)) == [error["row"] for error in answer.json()["errors"]]
    assert {1} == {actual for _, actual, _ in stored(engineer, factory_id)}


@pytest.mark.parametrize(
    ("media_type", "body"),
    [
        ("application/json", b"[]"),
        ("application/json", b" [ ]\n"),
        ("application/x-ndjson", b""),
        ("application/x-ndjson", b"\n\r\n"),
        ("text/csv", HEADER),
        ("text/csv", HEADER.rstrip()),
        ("text/csv", b"\xef\xbb\xbf" + HEADER),
    ],
)
@pytest.mark.parametrize("parameters", [{}, {"on_conflict": "replace"}, {"dry_run": "true"}])
def test_no_records_at_all_are_fine(engineer: Client, media_type: str, body: bytes, parameters: dict[str, str]) -> None:
    """An export of a quiet day is stored: every count is zero."""
    answer = send(engineer, media_type, body, **parameters)

    assert (200, counted(0)) == (answer.status_code, answer.json())
