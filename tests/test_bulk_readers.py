"""The readers of many records: what they read at once they read as they would have row by row.

Which of the two ways a row has gone cannot be seen over HTTP, so the readers are asked themselves.
"""

import csv
import io
import json
import tracemalloc
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bulk import COLUMNS, HEADER, MEGABYTE
from faults import JSON_VALUES, patiently
from sprocket_factory.endpoints import formats_reading, formats_reading_csv, formats_reading_json
from sprocket_factory.endpoints.formats_reading import RecordReader
from sprocket_factory.endpoints.formats_reading_csv import CsvReader
from sprocket_factory.endpoints.formats_reading_json import ArrayReader, NdjsonReader
from sprocket_factory.endpoints.reading import unreadable
from sprocket_factory.entities.instant import EARLIEST, InstantReader, read_instant, to_text
from sprocket_factory.entities.production_import import Spool
from sprocket_factory.errors import Forbidden, Invalid, Refusal

LATEST = 2_000_000_000_000_000

MINE, ANOTHERS, NOBODYS = 1, 2, 3

Outcome = list[tuple[int, ...]] | tuple[Any, ...]

Strings = st.SearchStrategy[str]


class CarefulCsvReader(CsvReader):
    """Reads every row by itself."""

    def _take_block(self, _rows: list[list[str]]) -> bool:
        return False


class CarefulNdjsonReader(NdjsonReader):
    """Reads every line by itself."""

    def _take_records(self, _records: bytes) -> bool:
        return False


class CarefulArrayReader(ArrayReader):
    """Reads every element by itself, and all of them are in memory at once."""

    def feed(self, data: bytes) -> Iterator[None]:
        """Read the array. Raises Unreadable."""
        try:
            elements = msgspec.json.decode(data, type=list[msgspec.Raw])
        except msgspec.DecodeError as error:
            raise unreadable(error) from error
        yield from self._take_each(map(bytes, elements), self._take_row)


@pytest.fixture(scope="module", autouse=True)
def small_blocks() -> Iterator[None]:
    """Let few rows fill a block, so that rows of one kind stand in one with those of another, and in the next."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(formats_reading_csv, "BLOCK_ROWS", 4)
        patch.setattr(formats_reading_json, "BLOCK_BYTES", 300)
        patch.setattr(formats_reading, "MAX_COUNTED", 30)
        yield


def check_factory(factory_id: int) -> None:
    """Refuse what is another's."""
    if factory_id == ANOTHERS:
        raise Forbidden("That factory is another's.")


def outcome(reader_type: type[RecordReader], pieces: Sequence[bytes], *, is_loaded: bool = False) -> Outcome:
    """Return the rows that a reader makes of a body or of a file to load, or all that it says against it."""
    with closing(Spool()) as spool:
        known = () if is_loaded else (frozenset({MINE, ANOTHERS}), check_factory)
        reader = reader_type(spool, LATEST, *known)
        try:
            for piece in pieces:
                deque(reader.feed(piece), maxlen=0)
            deque(reader.finish(), maxlen=0)
        except Refusal as refusal:
            return type(refusal), str(refusal), refusal.faults, refusal.faults_total
        numbers = [number for block in spool.blocks() for number in block]
        return list(zip(*[iter(numbers)] * 5, strict=True))


def mostly(usual: Strings, unusual: Strings) -> Strings:
    """Return a strategy for texts that are unusual now and then."""
    return st.integers(0, 14).flatmap(lambda dice: usual if dice else unusual)


@st.composite
def cut_up(draw: st.DrawFn, body: bytes) -> list[bytes]:
    """Return a body in pieces."""
    places = sorted(draw(st.lists(st.integers(0, len(body)), max_size=4)))
    return [body[start:end] for start, end in zip([0, *places], [*places, len(body)], strict=True)]


@st.composite
def damaged(draw: st.DrawFn, body: bytes) -> bytes:
    """Return a body of which, now and then, a few bytes are others."""
    if draw(st.integers(0, 3)):
        return body
    place = draw(st.integers(0, len(body)))
    junk = draw(st.sampled_from([b'"', b'""', b"\r", b"\n", b"\0", b",", b"\xff", b"{", b"]", b"\\", b" ", b"-", b"9"]))
    return body[:place] + junk + body[place + draw(st.integers(0, 2)) :]


TIMES = st.integers(EARLIEST, LATEST).map(to_text) | st.integers(EARLIEST // 10**6, LATEST // 10**6).map(
    lambda second: to_text(second * 10**6)
)
ODD_TIMES = [
    "",
    "never",
    "2021-01-21T02:06:58",
    "2021-01-21T02:06:60Z",
    "2021-01-21T24:00:00Z",
    "2021-01-21T25:00:00Z",
    "2021-02-29T00:00:00Z",
    "2021-01-21T02:06:58.1234567Z",
    "2021-01-21t02:06:58.25z",
    "2021-01-21 02:06:58+05:30",
    "2021-01-21T02:06:58-24:00",
    "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59-14:00",
    "1979-12-31T23:30:00-01:00",
    "1980-01-01T00:30:00+01:00",
    "2033-05-18T03:33:20.000001Z",
    "2021-01-21T02Z",
    "2021-W03-4T02:06:58Z",
    "20210121T020658Z",
    "1611194818",
    "1611194818.25",
    "01611194818",
    "1611194818000",
    "-1",
    "２021-01-21T02:06:58Z",  # noqa: RUF001 - a full-width digit is the point
    "2021-01-21T02:06:58Z ",
]
ODD_COUNTS = ["", "-1", "+1", " 1", "1 ", "1_0", "1.0", "1e3", "007", "0" * 30, str(2**31), "9" * 19, "\u0661", "²"]
ODD_IDS = ["0", "01", "", "2", "3", str(2**63 - 1), str(2**63), "0" * 18 + "1", "0" * 19 + "1", "x", "1\r", "\u0661"]
ODD_LINES = ["", ",", ",,,", "1", "1,2,3,4,5", '"', '"1""2",3,4,5', "\r", " ", "\r,1,2,3"]
ODD_CELLS = [
    *((0, cell) for cell in ODD_IDS),
    *((1, cell) for cell in ODD_TIMES),
    *((place, cell) for place in (2, 3) for cell in ODD_COUNTS),
]

GOOD_ROW = ("1", "2021-01-21T02:06:58Z", "1", "2")
GOOD_JSON = ("1", "1611194818", "1", "2")

OTHER_TIMES = TIMES.flatmap(
    lambda time: st.sampled_from([time[:-1] + "+01:00", time[:-1] + "-05:30", time[:13], time[:-1]])
)
ANY_TIMES = mostly(TIMES, st.sampled_from(ODD_TIMES) | OTHER_TIMES | st.text(max_size=25))
COUNTS = st.integers(0, 200).map(str) | st.integers(0, 2**31 - 1).map(str)
ANY_COUNTS = mostly(COUNTS, st.sampled_from(ODD_COUNTS) | st.text(max_size=5))
ROWS = st.tuples(mostly(st.just("1"), st.sampled_from(ODD_IDS)), ANY_TIMES, ANY_COUNTS, ANY_COUNTS)


@st.composite
def csv_bodies(draw: st.DrawFn) -> list[bytes]:
    """Return CSV in every form, of right rows and of wrong ones, in pieces."""
    order = draw(st.permutations(range(4)))
    end = draw(st.sampled_from(["\n", "\n", "\r\n", "\r"]))
    quoting: Any = draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]))
    file = io.StringIO()
    writer = csv.writer(file, lineterminator=end, quoting=quoting)
    writer.writerow([COLUMNS[place] for place in order])
    for row in draw(st.lists(ROWS, max_size=20)):
        writer.writerow([row[place] for place in order])
        if not draw(st.integers(0, 20)):
            file.write(draw(st.sampled_from(ODD_LINES) | st.text(max_size=10)) + end)
    body = draw(st.sampled_from([b"", b"\xef\xbb\xbf"])) + file.getvalue().encode(errors="surrogatepass")
    body = body if draw(st.booleans()) else body.removesuffix(end.encode())
    return draw(cut_up(draw(damaged(body))))


@given(csv_bodies())
@patiently
def test_csv_is_read_at_once_as_it_is_row_by_row(pieces: list[bytes]) -> None:
    """The same rows come of it, or the same is said against it: of the same rows, in the same words."""
    assert outcome(CarefulCsvReader, pieces) == outcome(CsvReader, pieces)


@pytest.mark.parametrize(
    "line", [*(",".join([*GOOD_ROW[:place], cell, *GOOD_ROW[place + 1 :]]) for place, cell in ODD_CELLS), *ODD_LINES]
)
@pytest.mark.parametrize("is_loaded", [False, True])
@pytest.mark.parametrize("last", ["", "another that is wrong\n"])
def test_one_odd_row_is_found_among_many(line: str, last: str, *, is_loaded: bool) -> None:
    """It is read as it would be by itself: kept if it is only written otherwise, and else refused with its number."""
    good = ",".join(GOOD_ROW)
    pieces = [HEADER + f"{good}\n{good}\n{line}\n{good}\n{good}\n{good}\n{last}".encode()]

    assert outcome(CarefulCsvReader, pieces, is_loaded=is_loaded) == outcome(CsvReader, pieces, is_loaded=is_loaded)


def members(*values: Any) -> str:
    """Return a record as JSON; `values` are JSON texts in the order of COLUMNS."""
    return "{" + ",".join(f'"{name}":{value}' for name, value in zip(COLUMNS, values, strict=True)) + "}"


JSON_TIMES = TIMES.map(json.dumps) | st.integers(EARLIEST // 10**6, LATEST // 10**6).map(str)
ODD_JSON = JSON_VALUES.map(json.dumps) | st.sampled_from(ODD_TIMES).map(json.dumps)
RECORDS = st.builds(
    members,
    mostly(st.just("1"), st.sampled_from(["2", "3", "0", "true"])),
    mostly(JSON_TIMES, ODD_JSON),
    mostly(COUNTS, ODD_JSON),
    mostly(COUNTS, ODD_JSON),
)
ODD_RECORDS = (
    ODD_JSON
    | st.sampled_from(
        [
            "{}",
            "[{}]",
            "[[1,2],[3]]",
            '"}, {"',
            '{"a":"\\"]},{["}',
            members(*GOOD_JSON).replace(":1,", ":1 , ").replace("{", "{ "),
            members(*GOOD_JSON).replace('"time"', '"t\\u0069me"'),
            members("1", '"2021-01-21T02:06:58Z","time":1611194818', "1", "2"),
            members("1", '1611194818,"time":"a,b"', "1", "2"),
            members("1", '"a,b","time":1611194818', "1", "2"),
            members("1", "1611194818", "1", '2,"x":{"y":[]}'),
            members("1", '{"a":[1,2]}', "1", "2"),
        ]
    )
    | RECORDS.map(lambda record: record.replace("factory", "factorial"))
)
ODD_JSON_LINES = st.sampled_from(
    [
        "",
        " ",
        '{"factory_id":1',
        '"time":1611194818,"sprocket_production_actual":1,"sprocket_production_goal":2}',
        ",".join([members(*GOOD_JSON)] * 2),
        " ".join([members(*GOOD_JSON)] * 2),
        members(*GOOD_JSON) + ",",
        "nul",
        "{",
        "}",
    ]
)


HALVES = '{"factory_id":1', '"time":1611194818,"sprocket_production_actual":1,"sprocket_production_goal":2}'


@st.composite
def ndjson_bodies(draw: st.DrawFn) -> list[bytes]:
    """Return lines of right records and of wrong ones, in pieces."""
    lines = draw(st.lists(mostly(RECORDS, ODD_RECORDS | ODD_JSON_LINES), max_size=15))
    body = draw(st.sampled_from(["\n", "\r\n"])).join([*lines, ""]).encode()
    return draw(cut_up(draw(damaged(body))))


@given(ndjson_bodies())
@patiently
@example([f"{HALVES[0]}\n{HALVES[1]}\n{','.join([','.join(HALVES)] * 2)}\n".encode()])
@example([",".join(HALVES).replace("_goal", "_goal\udcff").encode(errors="surrogateescape")])
@example([",".join(HALVES).replace(":2}", ':2,"time":1611194819}').encode()])
@example([",".join([",".join(HALVES)] * 2).encode()])
def test_ndjson_is_read_at_once_as_it_is_line_by_line(pieces: list[bytes]) -> None:
    """As with CSV. Lines that make a record only together, or two in one, do not make one."""
    assert outcome(CarefulNdjsonReader, pieces) == outcome(NdjsonReader, pieces)


@st.composite
def arrays(draw: st.DrawFn) -> bytes:
    """Return an array of right records and of wrong ones, or what had been one."""
    elements = draw(st.lists(mostly(RECORDS, ODD_RECORDS), max_size=15))
    comma = draw(st.sampled_from([",", " ,\n", ", "]))
    return b" [" + draw(damaged(f" {comma.join(elements)} ]\n".encode()))


@given(arrays())
@patiently
@example(b"[" + b"1," * 2000 + b"1]")
@example(rb'["\\\"", "]", ["\"", {}, [[[]]]], [[]] , {"a":[[]]}, ",", {"a":",["}]')
def test_an_array_is_read_at_once_as_it_is_element_by_element(body: bytes) -> None:
    """Where an element begins and ends is found rightly, whatever is nested in it or looks like an end."""
    assert outcome(CarefulArrayReader, [body]) == outcome(ArrayReader, [body])


@pytest.mark.parametrize("element", [b"1", b"{}", b"[[]]", b'"]"', members(*GOOD_JSON).encode()])
def test_an_array_takes_little_more_memory_than_its_text(element: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """However small its elements are, and whatever is in them: some are looked at, and let go of before the next."""
    monkeypatch.setattr(formats_reading, "MAX_COUNTED", MEGABYTE)
    body = b"[" + b",".join([element] * (16_384 // len(element))) + b"]"
    with closing(Spool()) as spool:
        reader = ArrayReader(spool, LATEST)
        tracemalloc.start()
        deque(reader.feed(body), maxlen=0)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()

    assert peak < 200_000


@given(st.lists(TIMES | OTHER_TIMES | st.sampled_from(ODD_TIMES), max_size=5))
@patiently
def test_times_are_read_at_once_as_they_are_one_by_one(texts: list[str]) -> None:
    """An instant does not depend on what was read before it."""
    reader = InstantReader(LATEST)

    def attempt(read: Callable[[], list[int]]) -> list[int] | str:
        try:
            return read()
        except Invalid as refusal:
            return str(refusal)

    for _ in range(2):
        assert attempt(lambda: [read_instant(text, LATEST) for text in texts]) == attempt(
            lambda: reader.read_all(texts)
        )
