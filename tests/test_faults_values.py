"""Faults 14 to 16: numbers and texts that no member may hold. None may give a 500."""

import json
import re
from collections.abc import Iterator

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from faults import (
    BODIES,
    FORMS_OF_NUMBERS,
    JSON,
    JSON_VALUES,
    RECORD,
    WRITES,
    body_with,
    everything,
    one_of_each,
    patiently,
    shortened,
    sprocket_with,
)
from harness import Client, NewDatabase, Service, pointers

SPROCKETS = [(method, path) for method, path in WRITES if path.startswith("/sprockets")]
COUNTED = [(method, path) for method, path in WRITES if path.startswith("/production")]

NO_COUNTS = [
    "-1",
    "2147483648",
    "9223372036854775808",
    "18446744073709551616",
    "9" * 5000,
    "-" + "9" * 5000,
    "1.5",
    "20.0",
    "-0.0",
    "2e1",
    "true",
    "null",
    '"20"',
    "[20]",
    "{}",
]


@pytest.fixture(scope="module")
def service(new_database: NewDatabase) -> Iterator[Service]:
    """Run one service for all these tests: what is refused leaves nothing, so none can disturb another."""
    with one_of_each(new_database()) as running:
        yield running


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
@pytest.mark.parametrize(("method", "path"), SPROCKETS)
def test_fault_14_a_length_that_is_no_positive_finite_number_is_refused(
    engineer: Client, method: str, path: str, number: str, expected: int
) -> None:
    """What JSON has no number for cannot be read; what it has one for breaks a rule. Neither is stored."""
    before = everything(engineer)
    answer = engineer.request(method, path, content=body_with(path, "pitch", number), headers=JSON)

    assert expected == answer.status_code
    assert before == everything(engineer)


@pytest.mark.parametrize(
    ("number", "expected"),
    [("NaN", 400), ("Infinity", 400), ("-Infinity", 400), ("1e999", 422), ("-1e999", 422), ("1e-999", 422)],
)
@pytest.mark.parametrize(("method", "path"), COUNTED)
def test_fault_14_a_count_that_is_no_finite_number_is_refused(
    engineer: Client, method: str, path: str, number: str, expected: int
) -> None:
    """A count is no more lenient than a length, and nothing is stored."""
    before = everything(engineer)
    content = body_with(path, "sprocket_production_goal", number)
    answer = engineer.request(method, path, content=content, headers=JSON)

    assert expected == answer.status_code
    assert before == everything(engineer)


def test_fault_14_minus_nought_is_nought(engineer: Client) -> None:
    """A count of -0 is stored and goes out as 0."""
    content = body_with(RECORD, "sprocket_production_actual", "-0")
    answer = engineer.put(RECORD, content=content, headers=JSON)
    engineer.put(RECORD, json=BODIES[RECORD])

    assert 200 == answer.status_code
    assert '"sprocket_production_actual":0,' in answer.text


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
    before = everything(engineer)
    answer = engineer.post("/sprockets", content=sprocket_with("teeth", value), headers=JSON)

    assert 422 == answer.status_code
    assert ["/teeth"] == [error["pointer"] for error in answer.json()["errors"]]
    assert before == everything(engineer)


@pytest.mark.parametrize("value", NO_COUNTS, ids=shortened)
@pytest.mark.parametrize("member", ["sprocket_production_actual", "sprocket_production_goal"])
@pytest.mark.parametrize(("method", "path"), COUNTED)
def test_fault_15_a_count_of_production_is_a_whole_number_in_range(
    engineer: Client, method: str, path: str, member: str, value: str
) -> None:
    """From 0 to 2,147,483,647 and nothing near it; the refusal points at the member, and nothing is stored."""
    before = everything(engineer)
    answer = engineer.request(method, path, content=body_with(path, member, value), headers=JSON)

    assert (422, [f"/{member}"]) == (answer.status_code, pointers(answer.json()))
    assert before == everything(engineer)


@pytest.mark.parametrize("value", NO_COUNTS, ids=shortened)
def test_fault_15_a_count_among_many_is_a_whole_number_in_range(engineer: Client, value: str) -> None:
    """The refusal names the row as well, and not even the right rows are stored."""
    before = everything(engineer)
    rows = [
        json.dumps(BODIES["/production"]).encode(),
        body_with("/production", "sprocket_production_actual", value),
    ]
    answer = engineer.post("/production", content=b"\n".join(rows), headers={"Content-Type": "application/x-ndjson"})

    assert (422, [2], ["/sprocket_production_actual"]) == (
        answer.status_code,
        [error["row"] for error in answer.json()["errors"]],
        pointers(answer.json()),
    )
    assert before == everything(engineer)


@pytest.mark.parametrize("value", ["0", *(value for value in NO_COUNTS if value != "2147483648")], ids=shortened)
def test_fault_15_the_id_of_a_factory_is_a_whole_number_in_range(engineer: Client, value: str) -> None:
    """What no factory can ever have as its id is a wrong member, not a factory that is not found."""
    before = everything(engineer)
    answer = engineer.post("/production", content=body_with("/production", "factory_id", value), headers=JSON)

    assert (422, ["/factory_id"]) == (answer.status_code, pointers(answer.json()))
    assert before == everything(engineer)


@pytest.mark.parametrize("value", ["true", "null", '"25.4"', "[25.4]", "{}", "9" * 5000], ids=shortened)
def test_fault_15_a_length_that_is_no_number_is_refused(engineer: Client, value: str) -> None:
    """Nothing is converted to make it a number; the refusal points at the member."""
    before = everything(engineer)
    answer = engineer.post("/sprockets", content=sprocket_with("pitch", value), headers=JSON)

    assert 422 == answer.status_code
    assert ["/pitch"] == [error["pointer"] for error in answer.json()["errors"]]
    assert before == everything(engineer)


@pytest.mark.parametrize("number", ["020", "+20", "2_0", "0x14", "\u0662\u0660", "20,", "--20"])
def test_fault_15_what_only_looks_like_a_number_cannot_be_read(engineer: Client, number: str) -> None:
    """JSON writes a number in one way."""
    before = everything(engineer)
    answer = engineer.post("/sprockets", content=sprocket_with("teeth", number), headers=JSON)

    assert 400 == answer.status_code
    assert before == everything(engineer)


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
@given(FORMS_OF_NUMBERS | st.integers().map(str) | st.integers(0, 2**32).map(str))
def test_fault_15_a_count_of_production_is_stored_as_it_is_or_refused(engineer: Client, number: str) -> None:
    """Every whole number from 0 to 2,147,483,647 is stored, and every other number is refused."""
    content = body_with(RECORD, "sprocket_production_goal", number)
    answer = engineer.patch(RECORD, content=content, headers=JSON)
    read = engineer.get(RECORD).json()["sprocket_production_goal"]
    engineer.put(RECORD, json=BODIES[RECORD])

    if re.fullmatch("-0|[0-9]+", number) and int(number) < 2**31:
        assert (200, int(number)) == (answer.status_code, read)
    else:
        assert (422, ["/sprocket_production_goal"]) == (answer.status_code, pointers(answer.json()))


@patiently
@given(JSON_VALUES)
def test_fault_15_no_value_of_any_kind_is_stored_as_a_count(engineer: Client, value: object) -> None:
    """Whatever JSON can say in place of a count is refused, and what was stored stays."""
    assume(not (type(value) is int and 3 <= value <= 10_000))
    before = everything(engineer)
    content = sprocket_with("teeth", json.dumps(value))
    answer = engineer.put("/sprockets/1", content=content, headers=JSON)

    assert answer.status_code in {400, 422}
    assert before == everything(engineer)


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
@pytest.mark.parametrize(
    ("path", "member"),
    [
        ("/sprockets", "teeth"),
        ("/factories", "name"),
        ("/factories", "time_zone"),
        ("/production", "time"),
        ("/production", "sprocket_production_goal"),
    ],
)
def test_fault_16_text_that_no_member_may_hold_is_refused(
    engineer: Client, path: str, member: str, text: str, expected: int
) -> None:
    """Controls, lone surrogates, turned directions and masses of text are refused; bare controls are no JSON."""
    before = everything(engineer)
    as_value = engineer.post(path, content=body_with(path, member, text), headers=JSON)
    as_name = engineer.post(path, content=body_with(path, member, f"20, {text}: 1"), headers=JSON)

    assert [expected, expected] == [as_value.status_code, as_name.status_code]
    assert before == everything(engineer)


@pytest.mark.parametrize("beside", ["1e999", "9" * 5000, "2", '"teeth"'], ids=shortened)
def test_fault_16_a_lone_surrogate_is_never_sent_back(engineer: Client, beside: str) -> None:
    """It has no UTF-8, so that a refusal which named it would break in the making; it is refused beside any fault."""
    before = everything(engineer)
    content = sprocket_with("teeth", rf'{beside}, "\ud800": "\udfff", "\udfff/": 1')
    answer = engineer.post("/sprockets", content=content, headers=JSON)

    assert answer.status_code in {400, 422}
    assert before == everything(engineer)
