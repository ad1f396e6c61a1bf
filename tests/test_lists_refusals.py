"""The one query grammar of every list: what it does not know is refused, and SQL in it is text."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest

from harness import Client, NewDatabase, Service
from lists import DROP, FACTORIES, LISTS, OPERATORS, names, service_with_lists, wrong

SQL = [
    "'; DROP TABLE production; --",
    DROP,
    "1 OR 1=1",
    '"; DELETE FROM factories; --',
    "1) UNION SELECT name FROM sqlite_schema --",
    ":filter_0",
    "%' ESCAPE '",
    "name COLLATE NOCASE",
    "(SELECT 1)",
    "?1",
]


@pytest.fixture(scope="module")
def service(new_database: NewDatabase) -> Iterator[Service]:
    """Run one service with a fixed set of things for all these tests."""
    with service_with_lists(new_database()) as running:
        yield running


@pytest.fixture(scope="module")
def viewer(service: Service) -> Iterator[Client]:
    """Return somebody who reads, on one connection for all these tests."""
    with Client(service.address) as client:
        yield client


def everything(client: Client) -> list[Any]:
    """Return all that is stored."""
    return [client.get(path).json() for path in LISTS]


@pytest.mark.parametrize("suffix", ["", "__lt", "__gte", "__in"])
@pytest.mark.parametrize(
    "text",
    [
        "1979-12-31T23:59:59.999999Z",
        "1980-01-01T00:00:00+00:01",
        "0",
        "-1",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59Z",
        "1611194818000",
        "2021-01-21T02:06:58",
        "2021-01-21T02:06:60Z",
        "2021-01-21T02:06:58.1234567Z",
        "2021-01-21",
        "now",
        "",
        "10" * 50,
    ],
)
@pytest.mark.parametrize("path", ["/production", "/production/1"])
def test_fault_13_a_time_that_no_record_has_is_refused_as_a_filter(
    viewer: Client, path: str, suffix: str, text: str
) -> None:
    """A filter by what is no time, or by one outside 1980 to a day ahead, is a slip: 422, not an empty list."""
    answer = viewer.get(path, params={f"time{suffix}": text})

    assert [f"time{suffix}"] == wrong(answer)


def test_fault_13_a_filter_may_name_a_time_up_to_a_day_ahead(viewer: Client) -> None:
    """A clock that is a little fast is no reason to refuse a filter; one two days ahead is."""
    ahead = [(datetime.now(UTC) + timedelta(hours=hours)).isoformat() for hours in (12, 48)]
    answers = [viewer.get("/production", params={"time__gt": text}) for text in ahead]

    assert [] == answers[0].json()
    assert ["time__gt"] == wrong(answers[1])


def test_fault_13_milliseconds_are_recognised_in_a_filter(viewer: Client) -> None:
    """Whoever sends milliseconds is told so."""
    answer = viewer.get("/production", params={"time__gte": "1611194818000"})

    assert "milliseconds" in answer.json()["errors"][0]["detail"]


@pytest.mark.parametrize(
    ("path", "slip", "meant"),
    [
        ("/sprockets", "teethe", "teeth"),
        ("/sprockets", "pitch_diametre__lt", "pitch_diameter__lt"),
        ("/sprockets", "teeth__gtee", "teeth__gte"),
        ("/sprockets", "teeth_in", "teeth__in"),
        ("/sprockets", "sorted", "sort"),
        ("/sprockets", "limits", "limit"),
        ("/factories", "nmae", "name"),
        ("/factories", "name__contain", "name__contains"),
        ("/factories", "nam__contains", "name__contains"),
        ("/factories", "counts", "count"),
        ("/production", "time__after", "time__lte"),
        ("/production", "sprocket_production_gaol", "sprocket_production_goal"),
        ("/production", "curser", "cursor"),
        ("/production", "Format", "format"),
        ("/production/1", "factory", "factory_id"),
    ],
)
def test_fault_23_an_unknown_parameter_of_a_list_is_named_with_the_nearest(
    viewer: Client, path: str, slip: str, meant: str
) -> None:
    """A field, an operator or a parameter that a list does not know is refused, with what was probably meant."""
    answer = viewer.get(path, params={slip: "1"})

    assert [slip] == wrong(answer)
    assert f"{meant}?" in answer.json()["errors"][0]["detail"]


@pytest.mark.parametrize("slip", ["teeth__", "__lt", "teeth__lt__lt", "teeth__eq", "teeth[lt]", "TEETH", "", "rowid"])
def test_fault_23_what_only_looks_like_a_filter_is_refused(viewer: Client, slip: str) -> None:
    """Nothing but a field with one of its operators filters."""
    answer = viewer.get("/sprockets", params={slip: "1"})

    assert [slip] == wrong(answer)


@pytest.mark.parametrize(
    ("path", "sort", "meant"),
    [
        ("/sprockets", "teethe", "teeth"),
        ("/sprockets", "-pitch,-Teeth", "teeth"),
        ("/sprockets", "--teeth", "teeth"),
        ("/factories", "nmae", "name"),
        ("/production", "time, factory_id", "factory_id"),
        ("/production", "production_actual", "sprocket_production_actual"),
    ],
)
def test_an_unknown_field_to_sort_by_is_named_with_the_nearest(
    viewer: Client, path: str, sort: str, meant: str
) -> None:
    """A list is sorted by its own fields alone; another is refused, with what was probably meant."""
    answer = viewer.get(path, params={"sort": sort})

    assert ["sort"] == wrong(answer)
    assert f"{meant}?" in answer.json()["errors"][0]["detail"]


@pytest.mark.parametrize("sort", ["", "-", ",", "teeth,", "teeth,teeth", "-teeth,teeth", "name", "+teeth", "teeth;id"])
def test_a_sort_that_is_none_is_refused(viewer: Client, sort: str) -> None:
    """An order has one or more fields, each once, with at most a minus before it."""
    answer = viewer.get("/sprockets", params={"sort": sort})

    assert ["sort"] == wrong(answer)


@pytest.mark.parametrize(
    "query",
    [
        "teeth=20&teeth=20",
        "teeth=20&teeth=5",
        "sort=teeth&sort=id",
        "teeth__in=20&teeth__in=5",
        "limit=1&limit=2",
        "count=true&count=true",
        "format=csv&format=json",
        "%74eeth=20&teeth=20",
    ],
)
def test_fault_23_a_parameter_given_twice_is_refused(viewer: Client, query: str) -> None:
    """Which of two was meant is anybody's guess, so neither counts."""
    answer = viewer.get(f"/sprockets?{query}")

    assert [query.split("=", maxsplit=1)[0].replace("%74", "t")] == wrong(answer)
    assert "twice" in answer.json()["errors"][0]["detail"]


@pytest.mark.parametrize(
    ("path", "name", "value"),
    [
        ("/sprockets", "id", "one"),
        ("/sprockets", "teeth", ""),
        ("/sprockets", "teeth", "20.5"),
        ("/sprockets", "teeth", "1e1"),
        ("/sprockets", "teeth", "1_000"),
        ("/sprockets", "teeth", " 20"),
        ("/sprockets", "teeth", "٢٠"),
        ("/sprockets", "teeth", "9223372036854775808"),
        ("/sprockets", "teeth", "9" * 5000),
        ("/sprockets", "teeth__in", "20,"),
        ("/sprockets", "teeth__in", ""),
        ("/sprockets", "teeth__in", "20,x"),
        ("/sprockets", "pitch", ""),
        ("/sprockets", "pitch", "wide"),
        ("/sprockets", "pitch__lt", "nan"),
        ("/sprockets", "pitch__lt", "inf"),
        ("/sprockets", "pitch__lt", "-Infinity"),
        ("/sprockets", "pitch__lt", "1e999"),
        ("/sprockets", "pitch__lt", "0x10"),
        ("/sprockets", "pitch__in", "1,,2"),
        ("/factories", "name", ""),
        ("/factories", "name__contains", ""),
        ("/factories", "name__lt", "\0"),
        ("/factories", "name", "n" * 1001),
        ("/factories", "name__in", "a,"),
        ("/production", "factory_id", "Sheffield"),
        ("/production", "sprocket_production_actual__gt", "true"),
        ("/sprockets", "count", ""),
        ("/sprockets", "count", "True"),
        ("/sprockets", "count", "1"),
        ("/sprockets", "format", ""),
        ("/sprockets", "format", "xml"),
        ("/sprockets", "format", "CSV"),
    ],
)
def test_a_value_of_the_wrong_kind_is_refused(viewer: Client, path: str, name: str, value: str) -> None:
    """What is no value of its parameter is 422 and names the parameter, not a list of something else."""
    assert [name] == wrong(viewer.get(path, params={name: value}))


def test_parameters_on_a_single_thing_are_refused(viewer: Client) -> None:
    """The grammar belongs to lists: one thing takes no filter, no order and no page."""
    answers = [
        viewer.get(f"{path}?{name}=1")
        for path in ("/sprockets/1", "/factories/1", "/production/1/1611194818")
        for name in ("id", "sort", "limit")
    ]

    assert [["id"], ["sort"], ["limit"]] * 3 == [wrong(answer) for answer in answers]


@pytest.mark.parametrize("sql", SQL)
@pytest.mark.parametrize("suffix", ["", "__lt", "__gte", "__in", "__contains"])
def test_fault_27_sql_in_a_filter_by_text_is_text(viewer: Client, suffix: str, sql: str) -> None:
    """It finds the names that it is true of, as any other text, and nothing else happens."""
    before = everything(viewer)
    compare = OPERATORS | {
        "__in": lambda name, text: name in text.split(","),
        "__contains": lambda name, text: text.casefold() in name.casefold(),
    }
    answer = viewer.get("/factories", params={f"name{suffix}": sql})

    assert [name for name, _ in FACTORIES if compare[suffix](name, sql)] == names(answer)
    assert before == everything(viewer)


@pytest.mark.parametrize("sql", SQL)
@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/sprockets", "teeth"),
        ("/sprockets", "pitch__lt"),
        ("/sprockets", "teeth__in"),
        ("/production", "time"),
        ("/production", "time__in"),
        ("/production/1", "factory_id"),
        ("/factories", "sort"),
        ("/production", "sort"),
        ("/production/1", "cursor"),
        ("/sprockets", "cursor"),
        ("/sprockets", "limit"),
        ("/factories", "format"),
    ],
)
def test_fault_27_sql_in_any_other_parameter_is_refused(viewer: Client, path: str, name: str, sql: str) -> None:
    """It is no number, no time, no field and no cursor, and what is stored stays."""
    before = everything(viewer)
    answer = viewer.get(path, params={name: sql})

    assert [name] == wrong(answer)
    assert before == everything(viewer)


@pytest.mark.parametrize("sql", SQL)
def test_fault_27_sql_as_a_parameters_name_is_refused(viewer: Client, sql: str) -> None:
    """Names of fields come from a fixed table, and what is stored stays."""
    before = everything(viewer)
    answers = [viewer.get(f"/factories?{quote(part)}=1") for part in (sql, f"name {sql}", f"name__{sql}")]

    assert [422, 422, 422] == [answer.status_code for answer in answers]
    assert before == everything(viewer)
