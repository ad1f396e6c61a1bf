"""Bad inputs, each with its one right answer. The numbers are those of the table of faults; none may give a 500."""

import json
import math
import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, assume, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from harness import BASE_PATH, Client, Service, a_sprocket
from sprocket_factory.database import Transaction
from sprocket_factory.entities.factory import ensure_factory
from sprocket_factory.entities.instant import EARLIEST, SECOND, now, read_instant, to_datetime, to_text
from sprocket_factory.entities.production_import import Spool, merge_production
from sprocket_factory.errors import Invalid
from sprocket_factory.settings import Settings

LATEST = 2_000_000_000 * SECOND

JSON = {"Content-Type": "application/json"}

LITTLE_CPU_SECONDS = 2

SQL = [
    "'; DROP TABLE sprockets; --",
    "1 OR 1=1",
    '1"; DELETE FROM production; --',
    "1) UNION SELECT name, name, name, name, name FROM sqlite_schema --",
    ":id",
    "%' ESCAPE '",
]

FORMS_OF_NUMBERS = st.from_regex(r"-?(0|[1-9][0-9]{0,20})(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?", fullmatch=True)

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=20), inner, max_size=5),
    max_leaves=20,
)

patiently = hypothesis_settings(
    deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
"""A client may serve for many inputs, and how long one takes on a busy machine is no promise."""


def shortened(value: object) -> str:
    """Return what a parameter is called."""
    text = str(value).encode("unicode_escape").decode()
    return text if len(text) <= 40 else f"{text[:20]}... of {len(text)}"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Run one service for all these tests: what is refused leaves nothing, so none can disturb another."""
    with Service(Settings(database_url=f"sqlite:///{tmp_path_factory.mktemp('faults') / 'factory.db'}")) as running:
        running.run(running.database.write, add_factory, "Sheffield", by="test")
        with Client(running.address) as engineer:
            engineer.post("/sprockets", json=a_sprocket())
        yield running


async def add_factory(tx: Transaction, name: str) -> int:
    """Add a factory with one record and return its id."""
    factory_id, _ = await ensure_factory(tx, name)
    spool = Spool()
    spool.add(factory_id, EARLIEST, 1, 2)
    await merge_production(tx, spool, "error", {})
    spool.close()
    return factory_id


def sprocket_with(member: str, text: str) -> bytes:
    """Return the JSON of a sprocket in which this text stands for the value of this member."""
    others = {name: value for name, value in a_sprocket().items() if name != member}
    return f'{json.dumps(others)[:-1]}, "{member}": {text}}}'.encode()


def get(target: bytes, *headers: bytes) -> bytes:
    """Return a request as it goes over the wire, for what no client library would send."""
    host = [] if any(header.startswith(b"Host:") for header in headers) else [b"Host: x"]
    lines = [b"GET " + BASE_PATH.encode() + target + b" HTTP/1.1", *host, b"Connection: close", *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n"


def post(body: bytes, *headers: bytes) -> bytes:
    """Return a request with a body as it goes over the wire."""
    return get(b"/sprockets", b"Content-Length: %d" % len(body), *headers).replace(b"GET", b"POST", 1) + body


def status_of(answer: bytes) -> int:
    """Return the status of an answer as it came over the wire."""
    return int(answer.split(b" ", 2)[1])


def percent_encoded(text: str) -> str:
    """Return text for a path with every byte encoded, so that no client library tidies it up."""
    return "".join(f"%{byte:02X}" for byte in text.encode())


def catalogue(client: Client) -> list[object]:
    """Return everything that is stored of sprockets."""
    stored: list[object] = client.get("/sprockets").json()
    return stored


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "2021-01-21",
        "2021-01-21T02:06:58",
        "2021-01-21T02:06Z",
        "2021-01-21T02Z",
        "20210121T020658Z",
        "2021-W03-4T02:06:58Z",
        "2021-01-21T02:06:58+0100",
        "2021-01-21T02:06:58+1:00",
        "2021-01-21T02:06:58 01:00",
        "2021-01-21T02:06:58\u221201:00",
        "2021-01-21T02:06:58,5Z",
        "2021-01-21T02:06:58.Z",
        " 2021-01-21T02:06:58Z",
        "2021-01-21T02:06:58Z\n",
        "2021-01-21T02:06:58Z\x00",
        "\u0662\u0660\u0662\u0661-01-21T02:06:58Z",
        "1e9",
        "NaN",
        "+1611194818",
        "01611194818",
        "1611194818.",
        "1_611_194_818",
        "1611194818 ",
        "9" * 30,
        "2021-01-21T02:06:58Z" * 50_000,
    ],
)
def test_fault_13_what_is_no_time_is_refused(text: str) -> None:
    """A time is RFC 3339 with an offset, or seconds since 1970, and nothing near it."""
    with pytest.raises(Invalid):
        read_instant(text, LATEST)


@pytest.mark.parametrize(
    "text",
    [
        "2021-02-29T00:00:00Z",
        "2021-13-01T00:00:00Z",
        "2021-00-01T00:00:00Z",
        "2021-01-32T00:00:00Z",
        "2021-01-21T24:00:00Z",
        "2021-01-21T02:60:00Z",
        "2021-01-21T02:06:61Z",
        "2016-12-31T23:59:60Z",
        "2021-01-21T02:06:58+24:00",
        "2021-01-21T02:06:58+25:00",
        "2021-01-21T02:06:58+01:60",
        "2021-01-21T02:06:58-99:99",
        "0000-01-01T00:00:00Z",
    ],
)
def test_fault_13_what_no_calendar_and_no_clock_shows_is_refused(text: str) -> None:
    """Each part is within its range, leap seconds are refused, and nothing is rolled over into the next part."""
    with pytest.raises(Invalid):
        read_instant(text, LATEST)


@pytest.mark.parametrize(
    "value",
    [
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-14:00",
        "1979-12-31T23:59:59.999999Z",
        "2033-05-18T03:33:20.000001Z",
        -1,
        0,
        315_532_799,
        2_000_000_001,
        315_532_799.999999,
        "-1611194818",
        1e30,
        -1e30,
        math.inf,
        math.nan,
        10**30,
        -(10**30),
        10**400,
        -(10**400),
        10**5000,
    ],
    ids=lambda value: f"{'-' * (value < 0)}{value.bit_length()} bits" if isinstance(value, int) else str(value),
)
def test_fault_13_a_time_outside_1980_to_the_latest_is_refused(value: str | float) -> None:
    """However far outside it is, a time is refused as any other."""
    with pytest.raises(Invalid):
        read_instant(value, LATEST)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (to_text(EARLIEST), EARLIEST),
        (EARLIEST // SECOND, EARLIEST),
        (to_text(LATEST), LATEST),
        (str(LATEST // SECOND), LATEST),
        ("2033-05-17T13:33:20-14:00", LATEST),
    ],
    ids=repr,
)
def test_fault_13_the_earliest_and_the_latest_time_are_allowed(value: str | float, expected: int) -> None:
    """The bounds belong to what is allowed, in every form."""
    assert expected == read_instant(value, LATEST)


@pytest.mark.parametrize(
    "value",
    [
        "2021-01-21T02:06:58.1234567Z",
        "2021-01-21T02:06:58.123456789Z",
        "2021-01-21T02:06:58.000000001+01:00",
        "1611194818.123456789",
        "1611194818.123456001",
        "1611194818.0000001",
        1611194818.1234567,
    ],
    ids=repr,
)
def test_fault_13_more_than_six_decimals_are_refused(value: str | float) -> None:
    """Microseconds are all that is kept; what is finer is refused, never rounded."""
    with pytest.raises(Invalid, match="six decimals"):
        read_instant(value, LATEST)


@pytest.mark.parametrize("value", [1_611_194_818_000, "1611194818000", 1_611_194_818_123.5], ids=repr)
def test_fault_13_milliseconds_are_recognised(value: str | float) -> None:
    """The commonest slip is refused with a hint that names it."""
    with pytest.raises(Invalid, match="milliseconds"):
        read_instant(value, now())


@pytest.mark.parametrize(
    "text",
    [
        "2021-01-21T02:06:58Z",
        "2021-01-21t02:06:58z",
        "2021-01-21 02:06:58Z",
        "2021-01-21T02:06:58.0Z",
        "2021-01-21T02:06:58+00:00",
        "2021-01-21T02:06:58-00:00",
        "2021-01-21T03:06:58+01:00",
        "2021-01-20T18:36:58-07:30",
        "2021-01-22T02:05:58+23:59",
        "1611194818",
        "1611194818.0",
    ],
)
def test_fault_13_one_instant_may_be_written_in_many_ways(text: str) -> None:
    """Whatever its offset and its form, a moment is the same moment."""
    assert 1_611_194_818 * SECOND == read_instant(text, LATEST)


@pytest.mark.parametrize(
    ("earlier", "later", "apart"),
    [
        ("2021-10-31T02:30:00+02:00", "2021-10-31T02:30:00+01:00", 3600),
        ("2021-03-28T01:59:59+01:00", "2021-03-28T03:00:00+02:00", 1),
        ("2021-03-14T01:59:59-06:00", "2021-03-14T03:00:00-05:00", 1),
    ],
)
def test_fault_13_a_shifted_clock_moves_no_instant(earlier: str, later: str, apart: int) -> None:
    """The offset alone says which of the two hours of a fold is meant, and that there is nothing within a gap."""
    assert apart * SECOND == read_instant(later, LATEST) - read_instant(earlier, LATEST)


@patiently
@given(st.integers(EARLIEST, LATEST))
def test_fault_13_every_instant_goes_out_as_the_text_that_it_comes_in_as(instant: int) -> None:
    """Text loses nothing of an instant, and has microseconds only where the instant has them."""
    text = to_text(instant)

    assert instant == read_instant(text, LATEST)
    assert text.endswith("Z")
    assert bool(instant % SECOND) == ("." in text)


@patiently
@given(st.integers(EARLIEST, LATEST), st.integers(-23 * 60 - 59, 23 * 60 + 59))
def test_fault_13_every_instant_comes_in_right_with_any_offset(instant: int, minutes: int) -> None:
    """An offset, of whole minutes up to 23:59 either way, changes the text and not the moment."""
    text = to_datetime(instant).astimezone(timezone(timedelta(minutes=minutes))).isoformat()

    assert instant == read_instant(text, LATEST)


@patiently
@given(st.integers(EARLIEST, LATEST))
def test_fault_13_every_instant_comes_in_right_as_seconds(instant: int) -> None:
    """Fractional seconds, as a number or as text, are exact to the microsecond."""
    text = f"{instant // SECOND}.{instant % SECOND:06}"

    assert [instant, instant] == [read_instant(text, LATEST), read_instant(float(text), LATEST)]


@patiently
@given(st.text() | st.floats() | st.integers() | st.from_regex(r"[0-9T:Zz.+\- ]{0,40}"))
def test_fault_13_whatever_comes_as_a_time_is_an_instant_or_refused(value: str | float) -> None:
    """No text and no number breaks anything, and nothing outside the allowed times comes through."""
    try:
        instant = read_instant(value, LATEST)
    except Invalid:
        return

    assert EARLIEST <= instant <= LATEST
    assert datetime(1980, 1, 1, tzinfo=UTC) <= to_datetime(instant)


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        ("NaN", 400),
        ("Infinity", 400),
        ("-Infinity", 400),
        ("nan", 400),
        ("1e999", 422),
        ("-1e999", 422),
        ("1e-999", 422),
        ("-0", 422),
        ("-0.0", 422),
        (".5", 400),
        ("5.", 400),
        ("0x5", 400),
        ("1,5", 400),
    ],
)
def test_fault_14_a_length_that_is_no_positive_finite_number_is_refused(
    engineer: Client, number: str, expected: int
) -> None:
    """What JSON has no number for cannot be read; what it has one for breaks a rule. Neither is stored."""
    before = catalogue(engineer)
    answer = engineer.post("/sprockets", content=sprocket_with("pitch", number), headers=JSON)

    assert expected == answer.status_code
    assert before == catalogue(engineer)


@patiently
@given(FORMS_OF_NUMBERS)
def test_fault_14_a_length_is_stored_as_the_nearest_double_or_refused(engineer: Client, number: str) -> None:
    """Every number over 0 and up to a million is stored exactly as a machine can, and every other one is refused."""
    answer = engineer.put("/sprockets/1", content=sprocket_with("pitch", number), headers=JSON)
    read = engineer.get("/sprockets/1").json()["pitch"]

    if 0 < float(number) <= 1e6:
        assert (200, float(number)) == (answer.status_code, read)
    else:
        assert 422 == answer.status_code
        assert ["/pitch"] == [error["pointer"] for error in answer.json()["errors"]]


@pytest.mark.parametrize(
    "value",
    [
        "-1",
        "-0",
        "0",
        "2147483648",
        "9223372036854775808",
        "18446744073709551616",
        "9" * 4300,
        "9" * 5000,
        "-" + "9" * 5000,
        "1.5",
        "20.0",
        "2e1",
        "0." + "1" * 5000,
        "true",
        "null",
        '"20"',
        '""',
        "[20]",
        '{"teeth": 20}',
    ],
    ids=shortened,
)
def test_fault_15_a_count_that_is_no_whole_number_in_range_is_refused(engineer: Client, value: str) -> None:
    """Nothing is rounded, cut off or converted to make it fit; the refusal points at the member."""
    before = catalogue(engineer)
    answer = engineer.post("/sprockets", content=sprocket_with("teeth", value), headers=JSON)

    assert 422 == answer.status_code
    assert ["/teeth"] == [error["pointer"] for error in answer.json()["errors"]]
    assert before == catalogue(engineer)


@pytest.mark.parametrize("value", ["true", "null", '"25.4"', "[25.4]", "{}", "9" * 5000], ids=shortened)
def test_fault_15_a_length_that_is_no_number_is_refused(engineer: Client, value: str) -> None:
    """Nothing is converted to make it a number; the refusal points at the member."""
    before = catalogue(engineer)
    answer = engineer.post("/sprockets", content=sprocket_with("pitch", value), headers=JSON)

    assert 422 == answer.status_code
    assert ["/pitch"] == [error["pointer"] for error in answer.json()["errors"]]
    assert before == catalogue(engineer)


@pytest.mark.parametrize("number", ["020", "+20", "2_0", "0x14", "\u0662\u0660", "20,", "--20"])
def test_fault_15_what_only_looks_like_a_number_cannot_be_read(engineer: Client, number: str) -> None:
    """JSON writes a number in one way."""
    before = catalogue(engineer)
    answer = engineer.post("/sprockets", content=sprocket_with("teeth", number), headers=JSON)

    assert 400 == answer.status_code
    assert before == catalogue(engineer)


@patiently
@given(FORMS_OF_NUMBERS | st.integers().map(str) | st.integers(0, 20_000).map(str))
def test_fault_15_a_count_is_stored_as_it_is_or_refused(engineer: Client, number: str) -> None:
    """Every whole number from 3 to 10,000 is stored, and every other number is refused."""
    answer = engineer.put("/sprockets/1", content=sprocket_with("teeth", number), headers=JSON)
    read = engineer.get("/sprockets/1").json()["teeth"]

    if number.isdigit() and 3 <= int(number) <= 10_000:
        assert (200, int(number)) == (answer.status_code, read)
    else:
        assert 422 == answer.status_code
        assert ["/teeth"] == [error["pointer"] for error in answer.json()["errors"]]


@patiently
@given(JSON_VALUES)
def test_fault_15_no_value_of_any_kind_is_stored_as_a_count(engineer: Client, value: object) -> None:
    """Whatever JSON can say in place of a count is refused, and what was stored stays."""
    assume(not (type(value) is int and 3 <= value <= 10_000))
    before = catalogue(engineer)
    content = sprocket_with("teeth", json.dumps(value))
    answer = engineer.put("/sprockets/1", content=content, headers=JSON)

    assert answer.status_code in {400, 422}
    assert before == catalogue(engineer)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (r'"\u0000"', 422),
        (r'"\u0001\u001f\u007f"', 422),
        (r'"\ud800"', 422),
        (r'"\udc00\ud800 and more"', 422),
        ('"\u202e02"', 422),
        ('"\u2066\u200f"', 422),
        (f'"{"a" * 1_000_000}"', 422),
        ('"\x00"', 400),
        ('"\x01"', 400),
        ('"\n"', 400),
        ("\x00", 400),
    ],
    ids=shortened,
)
def test_fault_16_text_that_no_name_may_hold_is_refused(engineer: Client, text: str, expected: int) -> None:
    """Controls, lone surrogates, turned directions and masses of text are refused; bare controls are no JSON."""
    before = catalogue(engineer)
    as_value = engineer.post("/sprockets", content=sprocket_with("teeth", text), headers=JSON)
    as_name = engineer.post("/sprockets", content=sprocket_with("teeth", f"20, {text}: 1"), headers=JSON)

    assert [expected, expected] == [as_value.status_code, as_name.status_code]
    assert before == catalogue(engineer)


@pytest.mark.parametrize("beside", ["1e999", "9" * 5000, "2", '"teeth"'], ids=shortened)
def test_fault_16_a_lone_surrogate_is_never_sent_back(engineer: Client, beside: str) -> None:
    """It has no UTF-8, so that a refusal which named it would break in the making; it is refused beside any fault."""
    before = catalogue(engineer)
    content = sprocket_with("teeth", rf'{beside}, "\ud800": "\udfff", "\udfff/": 1')
    answer = engineer.post("/sprockets", content=content, headers=JSON)

    assert answer.status_code in {400, 422}
    assert before == catalogue(engineer)


@pytest.mark.parametrize(
    "body",
    [
        b'{"teeth": "\xff"}',
        b'{"\xff": 1}',
        b'{"teeth": "\xc0\xaf"}',
        b'{"teeth": "\xed\xa0\x80"}',
        b'{"teeth": "\xf5\x80\x80\x80"}',
        b'{"teeth": "\xe2\x82"}',
        b"\xff\xfe",
        json.dumps(a_sprocket()).encode() + b"\xff",
        json.dumps(a_sprocket()).encode("utf-16"),
        json.dumps(a_sprocket()).encode("utf-16-le"),
        json.dumps(a_sprocket()).encode("utf-16-be"),
        json.dumps(a_sprocket()).encode("utf-32"),
        json.dumps(a_sprocket()).encode("utf-7").replace(b'"', b"+ACI-"),
    ],
)
def test_fault_17_a_body_that_is_no_utf_8_cannot_be_read(engineer: Client, body: bytes) -> None:
    """JSON between machines is UTF-8; anything else is 400, and nothing is stored."""
    before = catalogue(engineer)
    answer = engineer.post("/sprockets", content=body, headers=JSON)

    assert (400, "/problems/unreadable") == (answer.status_code, answer.json()["type"])
    assert before == catalogue(engineer)


def test_fault_17_a_byte_order_mark_is_refused_or_passed_over(engineer: Client) -> None:
    """RFC 8259 forbids sending one and allows ignoring it: the body is read right, or not at all."""
    body = json.dumps(a_sprocket(teeth=99)).encode("utf-8-sig")
    answer = engineer.put("/sprockets/1", content=body, headers=JSON)

    assert answer.status_code == 400 or 99 == answer.json()["teeth"]


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (b"Accept: \xff\xfe", 406),
        (b"Host: \xff", 400),
        (b"Cookie: \xff=\xff; \xff", 200),
        (b"User-Agent: \xff\xc0\xaf", 200),
        (b"Forwarded: for=\xff", 200),
        (b"Range: \xff", 200),
        (b"\xff: 1", 400),
        (b"X-Anything: \x00", 400),
    ],
)
def test_fault_17_bytes_that_are_no_text_in_a_header_do_no_harm(viewer: Client, header: bytes, expected: int) -> None:
    """A header that matters is refused, one that does not is passed over, and one that is no header is no HTTP."""
    answer = viewer.speak(get(b"/sprockets", header))

    assert expected == status_of(answer)


def test_fault_17_a_content_type_that_is_no_text_is_refused(engineer: Client) -> None:
    """It is not the one that is read here, whatever it is."""
    answer = engineer.speak(post(b"{}", b"Content-Type: application/json\xff"))

    assert 415 == status_of(answer)


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (b"/sprockets/%FF", 404),
        (b"/sprockets/%C0%B1", 404),
        (b"/sprockets/%ED%A0%80", 404),
        (b"/%FF", 404),
        (b"/sprockets?%FF=1", 422),
        (b"/sprockets?%ED%A0%80", 422),
        (b"/sprockets/\xff", 400),
        (b"/sprockets/\xd9\xa1", 400),
        (b"/sprockets?\xff", 400),
        (b"/sprockets/1\x00", 400),
        (b"/sprockets/1 2", 400),
    ],
)
def test_fault_17_bytes_that_are_no_text_in_a_path_do_no_harm(viewer: Client, target: bytes, expected: int) -> None:
    """Encoded they name nothing that is there; bare they are no HTTP."""
    answer = viewer.speak(get(target))

    assert expected == status_of(answer)


@patiently
@given(
    st.sampled_from([b"Accept", b"Accept-Encoding", b"Authorization", b"Cookie", b"Host", b"If-None-Match", b"Range"]),
    st.binary(max_size=60).filter(lambda value: not {*b"\r\n"} & {*value}),
)
def test_fault_17_no_bytes_in_a_header_give_a_500(viewer: Client, name: bytes, value: bytes) -> None:
    """Whatever stands in a header, the request is served or refused."""
    answer = viewer.speak(get(b"/sprockets/1", name + b": " + value))

    assert status_of(answer) in {200, 400, 406}


@patiently
@given(st.binary(max_size=40).filter(lambda value: not {*b"\r\n "} & {*value}))
def test_fault_17_no_bytes_in_a_path_give_a_500(viewer: Client, value: bytes) -> None:
    """Whatever is asked for, it is found or refused."""
    answer = viewer.speak(get(b"/sprockets/" + value))

    assert status_of(answer) in {200, 400, 404, 422}


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 100_000,
        b"[" * 100_000 + b"]" * 100_000,
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
        sprocket_with("teeth", "[" * 100_000 + "]" * 100_000),
        sprocket_with("deep", '{"a":' * 100_000 + "1" + "}" * 100_000),
    ],
    ids=["open", "array", "object", "member", "unknown member"],
)
def test_fault_18_a_body_nested_too_deeply_is_refused_at_little_cost(engineer: Client, body: bytes) -> None:
    """Depth costs neither the stack nor the processor, and nothing is stored."""
    before = catalogue(engineer)
    start = time.process_time()
    answer = engineer.post("/sprockets", content=body, headers=JSON)
    spent = time.process_time() - start

    assert answer.status_code in {400, 422}
    assert spent < LITTLE_CPU_SECONDS
    assert before == catalogue(engineer)


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        (sprocket_with("pitch", '1, "pitch": 1'), "/pitch"),
        (sprocket_with("pitch", '1, "pitch": 2'), "/pitch"),
        (sprocket_with("pitch", '0, "pitch": 2'), "/pitch"),
        (sprocket_with("pitch", r'1, "\u0070itch": 1'), "/pitch"),
        (sprocket_with("other", '1, "other": 1'), "/other"),
        (sprocket_with("a/b~c", '1, "a/b~c": 1'), "/a~1b~0c"),
    ],
)
def test_fault_18_a_member_named_twice_is_refused(engineer: Client, body: bytes, pointer: str) -> None:
    """Which of the two was meant is anybody's guess, so neither is stored, equal or not."""
    before = catalogue(engineer)
    answer = engineer.post("/sprockets", content=body, headers=JSON)

    assert 422 == answer.status_code
    assert [pointer] == [error["pointer"] for error in answer.json()["errors"]]
    assert before == catalogue(engineer)


def test_fault_18_a_member_named_twice_deep_inside_is_pointed_at_where_it_is(engineer: Client) -> None:
    """A pointer leads through the body from its root: whoever follows it arrives at the fault."""
    answer = engineer.post("/sprockets", content=sprocket_with("teeth", '{"a": 1, "a": 2}'), headers=JSON)

    assert 422 == answer.status_code
    assert {"/teeth", "/teeth/a"} >= {error["pointer"] for error in answer.json()["errors"]}


def test_fault_18_a_member_named_twice_among_many_is_found_at_little_cost(engineer: Client) -> None:
    """The cost grows with the size of a body, not with its square: 200 kB must not hold up everybody else."""
    members = ",".join(f'"m{number}": 1' for number in range(15_000))
    start = time.process_time()
    answer = engineer.post("/sprockets", content=sprocket_with("pitch", f'1, {members}, "m14999": 1'), headers=JSON)
    spent = time.process_time() - start

    assert 422 == answer.status_code
    assert spent < LITTLE_CPU_SECONDS


def test_fault_18_unknown_members_in_masses_are_refused_at_little_cost(engineer: Client) -> None:
    """A hundred are named and the rest counted; looking for what each may have meant must not take long."""
    members = ",".join(f'"itch_{number}": 1' for number in range(50_000))
    start = time.process_time()
    answer = engineer.post("/sprockets", content=sprocket_with("pitch", f"1, {members}"), headers=JSON)
    spent = time.process_time() - start

    assert 422 == answer.status_code
    assert (100, 50_000) == (len(answer.json()["errors"]), answer.json()["errors_total"])
    assert spent < LITTLE_CPU_SECONDS


@pytest.mark.parametrize(
    "body", [b"", b" ", b"\n\t", b"{", b'{"teeth"', b"}", b"{}{}", b"{} x", b"{'teeth': 20}", b"nul"]
)
def test_fault_18_a_body_that_is_empty_cut_off_or_goes_on_cannot_be_read(engineer: Client, body: bytes) -> None:
    """A body is one JSON text, from its beginning to its end."""
    before = catalogue(engineer)
    answer = engineer.post("/sprockets", content=body, headers=JSON)

    assert 400 == answer.status_code
    assert before == catalogue(engineer)


@pytest.mark.parametrize("body", [[], [a_sprocket()], None, True, 20, 25.4, "teeth", ""])
def test_fault_18_what_is_no_object_is_refused(engineer: Client, body: object) -> None:
    """An array or a bare value where an object belongs is refused as a whole."""
    before = catalogue(engineer)
    answer = engineer.post("/sprockets", content=json.dumps(body), headers=JSON)

    assert 422 == answer.status_code
    assert [""] == [error["pointer"] for error in answer.json()["errors"]]
    assert before == catalogue(engineer)


@patiently
@given(st.binary(max_size=200) | JSON_VALUES.map(lambda value: json.dumps(value).encode()))
def test_fault_18_no_body_gives_a_500(engineer: Client, body: bytes) -> None:
    """Whatever a body holds that is no sprocket, it is refused, and nothing is stored."""
    before = catalogue(engineer)
    answer = engineer.post("/sprockets", content=body, headers=JSON)

    assert answer.status_code in {400, 422}
    assert before == catalogue(engineer)


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [b"Content-Type:"],
        [b"Content-Type: text/plain"],
        [b"Content-Type: application/jsonp"],
        [b"Content-Type: application/json, text/plain"],
        [b"Content-Type: application/json; charset=latin-1"],
        [b"Content-Type: application/json; charset=utf-16"],
        [b"Content-Type: application/x-www-form-urlencoded"],
        [b"Content-Type: multipart/form-data; boundary=x"],
        [b"Content-Type: ;;;"],
        [b"Content-Type: text/plain", b"Content-Type: application/json"],
        [b"Content-Type: application/json", b"Content-Type: text/plain"],
    ],
    ids=lambda headers: b" + ".join(headers).decode() or "none",
)
def test_fault_22_a_body_that_is_not_declared_to_be_json_is_refused(engineer: Client, headers: list[bytes]) -> None:
    """A wrong, a missing and an ambiguous Content-Type are 415, whatever the body holds, and nothing is stored."""
    before = catalogue(engineer)
    answer = engineer.speak(post(b"{}", *headers))

    assert 415 == status_of(answer)
    assert before == catalogue(engineer)


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json; charset=utf-8",
        "application/json; charset=UTF-8",
        'application/json;charset="utf-8"',
        "Application/JSON",
        "application/json;",
    ],
)
def test_fault_22_json_may_be_declared_in_every_way_that_is_allowed(engineer: Client, content_type: str) -> None:
    """Names of media types know no case, and UTF-8 may be said."""
    answer = engineer.put("/sprockets/1", content=json.dumps(a_sprocket()), headers={"Content-Type": content_type})

    assert 200 == answer.status_code


@pytest.mark.parametrize(
    "accept",
    [
        "text/csv",
        "text/*",
        "application/xml, text/html;q=0.9",
        "application/jsonp",
        "nonsense",
        ";;;,,,",
        "application/json;q=0",
        "*/*;q=0",
        "text/csv, application/json;q=0.0, */*;q=0",
    ],
)
def test_fault_22_what_accepts_nothing_of_ours_is_refused(engineer: Client, accept: str) -> None:
    """An answer that its caller cannot read is 406, before anything is done."""
    before = catalogue(engineer)
    read = engineer.get("/sprockets/1", headers={"Accept": accept})
    written = engineer.post("/sprockets", json=a_sprocket(), headers={"Accept": accept})

    assert [406, 406] == [read.status_code, written.status_code]
    assert before == catalogue(engineer)


@pytest.mark.parametrize(
    "accepts",
    [
        [],
        [b"*/*"],
        [b"application/*"],
        [b"application/json"],
        [b"application/json; charset=utf-8"],
        [b"text/html, application/json;q=0.1"],
        [b"text/html, */*;q=0.1"],
        [b"text/html", b"application/json"],
        [b"application/json", b"text/html"],
    ],
    ids=lambda accepts: b" + ".join(accepts).decode() or "none",
)
def test_fault_22_what_accepts_json_among_others_is_served(viewer: Client, accepts: list[bytes]) -> None:
    """One acceptable media type is enough, whichever line of the header names it."""
    answer = viewer.speak(get(b"/sprockets/1", *(b"Accept: " + accept for accept in accepts)))

    assert 200 == status_of(answer)


@patiently
@given(
    st.lists(
        st.sampled_from(
            ["*/*", "application/json", "text/html", ";", ",", "q=", "=", '"', "1e999", "nan", "-1", "0.5"]
        ),
        max_size=8,
    ).map("".join)
)
@example("application/json;q=1e999")
@example("text/html;q=inf")
@example("application/json;q=nan")
@example("application/json;q=-1")
@example("application/json;q=")
@example("application/json;q=" + "9" * 5000)
@example("text/html," * 2000 + "application/json")
def test_fault_22_no_accept_header_gives_a_500(viewer: Client, accept: str) -> None:
    """However a caller weighs what it accepts, it is served or told that nothing fits."""
    answer = viewer.get("/sprockets/1", headers={"Accept": accept})

    assert answer.status_code in {200, 406}


@pytest.mark.parametrize(
    ("member", "pointer"),
    [("other", "/other"), ("", "/"), ("a/b~c", "/a~1b~0c"), ("__class__", "/__class__"), ("teeth ", "/teeth ")],
)
@pytest.mark.parametrize("value", ["1", "1e999", "9" * 5000], ids=["1", "1e999", "5,000 digits"])
def test_fault_23_an_unknown_member_is_refused_by_name(engineer: Client, member: str, pointer: str, value: str) -> None:
    """A member that is not read is never dropped in silence, whatever its value; its pointer follows RFC 6901."""
    before = catalogue(engineer)
    answer = engineer.post("/sprockets", content=sprocket_with(member, value), headers=JSON)

    assert 422 == answer.status_code
    assert [pointer] == [error["pointer"] for error in answer.json()["errors"]]
    assert before == catalogue(engineer)


@pytest.mark.parametrize("query", ["other=1", "other", "other=", "other=1&other=1", "other=1&other=2", "%6Fther=1"])
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/sprockets"),
        ("POST", "/sprockets"),
        ("GET", "/sprockets/1"),
        ("PUT", "/sprockets/1"),
        ("GET", "/production"),
    ],
)
def test_fault_23_an_unknown_parameter_is_refused_by_name(engineer: Client, method: str, path: str, query: str) -> None:
    """A parameter that is not heeded is never dropped in silence, once or repeated, and nothing is done."""
    before = catalogue(engineer)
    answer = engineer.request(method, f"{path}?{query}", json=a_sprocket(teeth=77))

    assert 422 == answer.status_code
    assert ["other"] == [error["pointer"] for error in answer.json()["errors"]]
    assert "'other'" in answer.json()["detail"]
    assert before == catalogue(engineer)


@pytest.mark.parametrize("method", ["PATCH", "DELETE", "TRACE", "PURGE", "PROPFIND"])
@pytest.mark.parametrize("path", ["/sprockets", "/production/1"])
def test_fault_24_a_wrong_method_is_refused_with_what_is_allowed(engineer: Client, method: str, path: str) -> None:
    """405 says in Allow what works instead, and nothing is done."""
    before = catalogue(engineer)
    answer = engineer.request(method, path)

    assert 405 == answer.status_code
    assert {"GET", "HEAD"} <= set(answer.headers["Allow"].split(", "))
    assert method not in answer.headers["Allow"]
    assert before == catalogue(engineer)


@pytest.mark.parametrize("path", ["/sprockets", "/sprockets/1", "/production", "/production/1", "/sprockets/999"])
def test_fault_24_head_is_as_get_without_the_body(viewer: Client, path: str) -> None:
    """The same status, the same type and the same length, and not a byte of it."""
    get_answer = viewer.get(path)
    head = viewer.head(path)

    assert b"" == head.content
    assert [get_answer.status_code, get_answer.headers["Content-Type"], str(len(get_answer.content))] == [
        head.status_code,
        head.headers["Content-Type"],
        head.headers["Content-Length"],
    ]


@pytest.mark.parametrize("path", ["/sprockets", "/sprockets/1", "/production", "/production/1"])
def test_fault_24_options_is_answered(viewer: Client, path: str) -> None:
    """It says what is allowed and does nothing."""
    answer = viewer.options(path)

    assert (204, b"") == (answer.status_code, answer.content)
    assert {"GET", "HEAD", "OPTIONS"} <= set(answer.headers["Allow"].split(", "))


@pytest.mark.parametrize(
    "written",
    [
        "0",
        "-1",
        "+1",
        "01",
        "0001",
        "0_1",
        "1_000",
        "1.0",
        "1e0",
        "0x1",
        "1,",
        "%201",
        "1%20",
        "1%0A",
        "1%00",
        "%00",
        "%001",
        "%2E%2E",
        "%2E%2E%2F1",
        "..%2Fsprockets",
        "abc",
        "%D9%A1",
        "%EF%BC%91",
        "%E1%9F%A1",
        "%C2%B9",
        "%E2%85%A0",
        "1;1",
        "{sprocket_id}",
        "9223372036854775808",
        "18446744073709551617",
        "1" + "0" * 30,
        "1" * 5000,
        "null",
        "true",
    ],
    ids=shortened,
)
def test_fault_25_what_is_no_id_is_not_found(engineer: Client, written: str) -> None:
    """An id is written in one way; what nearly is one names nothing, though there is a sprocket and a factory 1."""
    before = catalogue(engineer)
    read = engineer.get(f"/sprockets/{written}")
    written_to = engineer.put(f"/sprockets/{written}", json=a_sprocket(teeth=77))
    listed = engineer.get(f"/production/{written}")

    assert [404, 404, 404] == [read.status_code, written_to.status_code, listed.status_code]
    assert before == catalogue(engineer)


@patiently
@given(
    st.text(min_size=1, max_size=30)
    | st.integers().map(str)
    | st.tuples(st.text(max_size=2), st.just("1"), st.text(max_size=2)).map("".join)
)
def test_fault_25_no_text_but_an_id_finds_anything(viewer: Client, text: str) -> None:
    """Whatever is asked for by a text that is the id of nothing, nothing is found and nothing breaks."""
    assume("/" not in text and not re.fullmatch("[1-9][0-9]?", text, re.ASCII))
    found = [viewer.get(f"{path}/{percent_encoded(text)}").status_code for path in ("/sprockets", "/production")]

    assert [404, 404] == found


@pytest.mark.parametrize("parameter", ["limit=0", "limit=-1", "limit=1000000000", "limit=", "limit=ten", "limit=1e1"])
@pytest.mark.parametrize("path", ["/sprockets", "/production"])
def test_fault_26_a_limit_that_is_none_is_refused(viewer: Client, path: str, parameter: str) -> None:
    """A page has a size from 1 to 10,000, or the request is refused; it is never something else than was asked for."""
    answer = viewer.get(f"{path}?{parameter}")

    assert 422 == answer.status_code
    assert ["limit"] == [error["pointer"] for error in answer.json()["errors"]]


@pytest.mark.parametrize("cursor", ["", "forged", "AAAA", "e30=", "%00", "1' OR 1=1 --"])
@pytest.mark.parametrize("path", ["/sprockets", "/production"])
def test_fault_26_a_forged_cursor_is_refused(viewer: Client, path: str, cursor: str) -> None:
    """A cursor that this service did not give leads nowhere."""
    answer = viewer.get(path, params={"cursor": cursor})

    assert 422 == answer.status_code
    assert ["cursor"] == [error["pointer"] for error in answer.json()["errors"]]


@pytest.mark.parametrize("sql", SQL)
def test_fault_27_sql_in_a_path_finds_nothing(engineer: Client, sql: str) -> None:
    """It is an id that nothing has, for reading and for writing, and what is stored stays."""
    before = catalogue(engineer), engineer.get("/production").json()
    target = quote(sql, safe="")
    answers = [
        engineer.get(f"/sprockets/{target}"),
        engineer.put(f"/sprockets/{target}", json=a_sprocket(teeth=77)),
        engineer.get(f"/production/{target}"),
    ]

    assert [404] * 3 == [answer.status_code for answer in answers]
    assert before == (catalogue(engineer), engineer.get("/production").json())


@pytest.mark.parametrize("sql", SQL)
def test_fault_27_sql_in_a_body_is_refused(engineer: Client, sql: str) -> None:
    """It is no number and no member, and what is stored stays."""
    before = catalogue(engineer)
    as_value = engineer.put("/sprockets/1", json=a_sprocket(teeth=sql))
    as_name = engineer.put("/sprockets/1", json=a_sprocket(**{sql: 1}))

    assert [422, 422] == [as_value.status_code, as_name.status_code]
    assert before == catalogue(engineer)


@pytest.mark.parametrize("name", ["sort", "factory_id", "name__contains", "teeth"])
@pytest.mark.parametrize("sql", SQL)
def test_fault_27_sql_in_a_parameter_is_refused(viewer: Client, name: str, sql: str) -> None:
    """What a list is sorted and filtered by comes from a fixed table, as name and as value."""
    before = catalogue(viewer), viewer.get("/production").json()
    as_value = viewer.get("/sprockets", params={name: sql})
    as_name = viewer.get("/production", params={sql: "1"})

    assert [422, 422] == [as_value.status_code, as_name.status_code]
    assert before == (catalogue(viewer), viewer.get("/production").json())


@pytest.mark.parametrize("sql", SQL)
def test_fault_27_sql_in_a_name_is_stored_as_it_is(viewer: Client, service: Service, sql: str) -> None:
    """A factory may be called so: its name is text like any other, and its production is listed."""
    factory_id = service.run(service.database.write, add_factory, sql, by="test")
    stored = service.run(service.database.one, "SELECT name FROM factories WHERE id = :id", id=factory_id)

    assert (sql,) == stored
    assert [factory_id] == [record["factory_id"] for record in viewer.get(f"/production/{factory_id}").json()]
