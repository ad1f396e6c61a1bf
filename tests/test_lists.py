"""The one query grammar of every list: filters, order and counts."""

from collections.abc import Iterator
from datetime import datetime
from functools import partial
from typing import Any

import pytest

from harness import Client, NewDatabase, Service
from lists import DROP, FIELDS, OPERATORS, START, Thing, names, service_with_lists, wrong

VALUES = {
    ("/sprockets", "id"): ["3", "-1", "9223372036854775807"],
    ("/sprockets", "teeth"): ["20", "10", "-9223372036854775807"],
    ("/sprockets", "pitch_diameter"): ["0.3", "0.30000000000000004", "162.37", "5", "5.00", "1e6"],
    ("/sprockets", "outside_diameter"): ["175.61", "5e-324", "0", "-1.5E+2"],
    ("/sprockets", "pitch"): ["25.4", "1", "0.3"],
    ("/factories", "id"): ["4", "0"],
    ("/factories", "name"): ["Zebra", "Straße", "🦓", "STRASSE", DROP],
    ("/factories", "time_zone"): ["UTC", "Europe/Berlin", "utc"],
    ("/production", "sprocket_production_actual"): ["9", "0", "2147483647"],
    ("/production", "sprocket_production_goal"): ["10", "20", "11"],
    ("/production", "time"): ["2021-01-21T02:08:58Z", "2021-01-21T02:09:58.250000Z", "2021-01-21T02:09:58Z"],
    ("/production", "factory_id"): ["2", "3"],
}
"""What each field is compared with."""

SORTS = [(path, sign + field) for path, fields in FIELDS.items() for field in fields for sign in ("", "-")]


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


def typed(path: str, field: str, thing: Thing) -> Any:
    """Return what a field of a thing stands for, so that Python compares it rightly."""
    value = thing[field]
    return FIELDS[path][field](value) if isinstance(value, str) else value


def sorted_by(path: str, things: list[Thing], sort: str) -> list[Thing]:
    """Return the things as Python sorts them; what is equal stays as it was."""
    for term in reversed(sort.split(",")):
        field = term.removeprefix("-")
        things = sorted(things, key=partial(typed, path, field), reverse=term.startswith("-"))
    return things


@pytest.mark.parametrize("suffix", OPERATORS)
@pytest.mark.parametrize(
    ("path", "field", "value"), [(path, field, value) for (path, field), values in VALUES.items() for value in values]
)
def test_a_list_is_filtered_by_any_field(viewer: Client, path: str, field: str, value: str, suffix: str) -> None:
    """A filter leaves those things of which it is true, and they stay in order."""
    wanted = FIELDS[path][field](value)
    expected = [thing for thing in viewer.get(path).json() if OPERATORS[suffix](typed(path, field, thing), wanted)]
    answer = viewer.get(path, params={field + suffix: value})

    assert expected == answer.json()


@pytest.mark.parametrize(("path", "field"), VALUES)
def test_a_list_is_filtered_by_several_values_of_any_field(viewer: Client, path: str, field: str) -> None:
    """`__in` leaves those things that have one of the values; one that is named twice is there once."""
    values = VALUES[path, field]
    wanted = {FIELDS[path][field](value) for value in values}
    expected = [thing for thing in viewer.get(path).json() if typed(path, field, thing) in wanted]
    answer = viewer.get(path, params={f"{field}__in": ",".join([*values, values[0]])})

    assert expected == answer.json()


def test_a_thousand_values_may_be_named(viewer: Client) -> None:
    """`__in` takes 1,000 values; one more is refused."""
    values = [str(number) for number in range(2, 1003)]
    found = viewer.get("/sprockets", params={"id__in": ",".join(values[:1000])}).json()
    refused = viewer.get("/sprockets", params={"id__in": ",".join(values)})

    assert [2, 3, 4, 5, 6, 7] == [sprocket["id"] for sprocket in found]
    assert ["id__in"] == wrong(refused)


def test_a_list_is_filtered_by_several_fields_at_once(viewer: Client) -> None:
    """Every filter has to be true, two of one field as well."""
    answer = viewer.get("/sprockets", params={"teeth__gte": "5", "teeth__lt": "10000", "pitch": "25.4", "id__gt": "1"})

    assert [7] == [sprocket["id"] for sprocket in answer.json()]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("strasse", ["Straße", "STRASSE 2"]),
        ("STRAẞE", ["Straße", "STRASSE 2"]),
        ("raß", ["Straße", "STRASSE 2"]),
        ("İZ", ["İzmir"]),
        ("IZM", ["izmir"]),
        ("zmir", ["İzmir", "izmir"]),
        ("σίσυφοσ", ["ΣΊΣΥΦΟΣ", "Σίσυφος"]),
        ("ZEB", ["zebra", "Zebra"]),
        ("🦓", ["🦓"]),
        ("100%", ["100% steel"]),
        ("0%s", []),
        ("%", ["100% steel"]),
        ("e_c", ["snake_case"]),
        ("_", ["snake_case"]),
        ("!", ["Zum Ochsen!"]),
        ("!%", []),
        ("\\", ["back\\slash"]),
        ("*", []),
        ("', ", []),
        ("');", [DROP]),
        (",", []),
    ],
)
def test_factories_are_found_by_part_of_their_name(viewer: Client, text: str, expected: list[str]) -> None:
    """`name__contains` knows no case, in any script, and no character in it stands for another."""
    assert expected == names(viewer.get("/factories", params={"name__contains": text}))


def test_a_changed_name_is_found_by_its_new_part_alone(engineer: Client) -> None:
    """What is looked through is the name as it is now."""
    made = engineer.post("/factories", json={"name": "Größe"}).json()
    engineer.patch(f"/factories/{made['id']}", json={"name": "Maß"})
    found = [names(engineer.get("/factories", params={"name__contains": part})) for part in ("GRÖSSE", "MASS")]
    engineer.delete(f"/factories/{made['id']}")

    assert [[], ["Maß"]] == found


@pytest.mark.parametrize(
    "text",
    [
        "2021-01-21T02:06:58Z",
        "2021-01-21t02:06:58z",
        "2021-01-21T02:06:58.000Z",
        "2021-01-21T02:06:58%2B00:00",
        "2021-01-21T02:06:58+00:00",
        "2021-01-21T02:06:58-00:00",
        "2021-01-21T03:06:58%2B01:00",
        "2021-01-21T03:06:58+01:00",
        "2021-01-21T03:06:58%2001:00",
        "2021-01-20T18:36:58-07:30",
        "2021-01-21%2002:06:58Z",
        "2021-01-21%2003:06:58%2B01:00",
        "2021-01-21+03:06:58+01:00",
        "1611194818",
        "1611194818.0",
    ],
)
@pytest.mark.parametrize("suffix", ["", "__in", "__lte"])
def test_a_time_may_be_given_in_every_form(viewer: Client, suffix: str, text: str) -> None:
    """A filter by time means one instant, however it is written; a space before an offset is the plus it was."""
    answer = viewer.get(f"/production/1?time{suffix}={text}")

    assert ["2021-01-21T02:06:58Z"] == [record["time"] for record in answer.json()]


def test_times_of_several_forms_may_be_named_together(viewer: Client) -> None:
    """Each value of `time__in` is read for itself."""
    answer = viewer.get("/production/2?time__in=1611194818,2021-01-21T03:07:58.25+01:00,2021-01-21T02:08:58Z")

    assert ["2021-01-21T02:06:58Z", "2021-01-21T02:07:58.250000Z", "2021-01-21T02:08:58Z"] == [
        record["time"] for record in answer.json()
    ]


@pytest.mark.parametrize(("path", "sort"), SORTS)
def test_a_list_is_sorted_by_any_field_both_ways(viewer: Client, path: str, sort: str) -> None:
    """Numbers come by size, times by instant, text by code point; what is equal comes by the key."""
    expected = sorted_by(path, viewer.get(path).json(), sort)
    answer = viewer.get(path, params={"sort": sort})

    assert expected == answer.json()


@pytest.mark.parametrize(
    ("path", "sort"),
    [
        ("/sprockets", "-teeth,pitch"),
        ("/sprockets", "pitch,-outside_diameter,-id"),
        ("/factories", "time_zone,-name"),
        ("/factories", "-time_zone,-id"),
        ("/production", "-time,factory_id"),
        ("/production", "time,-factory_id"),
        ("/production", "sprocket_production_goal,-sprocket_production_actual,-time,-factory_id"),
        ("/production", "-factory_id"),
    ],
)
def test_a_list_is_sorted_by_several_fields(viewer: Client, path: str, sort: str) -> None:
    """Each term orders what those before it left equal, whichever way each goes."""
    expected = sorted_by(path, viewer.get(path).json(), sort)
    answer = viewer.get(path, params={"sort": sort})

    assert expected == answer.json()


def test_a_filtered_list_is_sorted(viewer: Client) -> None:
    """A filter changes nothing about the order."""
    answer = viewer.get("/sprockets", params={"teeth": "20", "sort": "-id"})

    assert [7, 3, 1] == [sprocket["id"] for sprocket in answer.json()]


@pytest.mark.parametrize(
    ("path", "query", "expected"),
    [
        ("/sprockets", "", 7),
        ("/sprockets", "&teeth=20", 3),
        ("/sprockets", "&teeth=20&limit=1", 3),
        ("/sprockets", "&teeth=20&limit=1&sort=-id", 3),
        ("/factories", "&name__contains=stra", 2),
        ("/factories", "&format=csv", 16),
        ("/production", "&time__lt=2021-01-21T02:08:58Z&limit=2", 6),
        ("/production/1", "&limit=2", 5),
        ("/sprockets", "&teeth=4", 0),
    ],
)
def test_a_list_is_counted_where_that_is_wanted(viewer: Client, path: str, query: str, expected: int) -> None:
    """`count=true` says in X-Total-Count how many the filters leave, whatever part of them this page is."""
    counted = viewer.get(f"{path}?count=true{query}")
    plain = viewer.get(f"{path}?count=false{query}")

    assert (str(expected), None) == (counted.headers["X-Total-Count"], plain.headers.get("X-Total-Count"))
    assert plain.text == counted.text


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("time__gte=2021-01-21T02:08:58Z", [2, 3, 4]),
        ("time__gt=2021-01-21T02:07:58.25Z&time__lt=2021-01-21T02:10:58Z", [2, 3]),
        ("sort=-time", [4, 3, 2, 1, 0]),
        ("sort=factory_id,-time", [4, 3, 2, 1, 0]),
        ("sprocket_production_goal=0", [0, 3]),
        ("sprocket_production_goal__in=10,20&sort=-sprocket_production_goal", [2, 1, 4]),
        ("factory_id=2&time=2021-01-21T02:06:58Z", [0]),
        ("factory_id__gte=2&limit=1", [0]),
        ("factory_id=1", []),
        ("factory_id__in=1,3", []),
        ("factory_id__lt=2", []),
    ],
)
def test_the_production_of_one_factory_takes_every_filter(viewer: Client, query: str, expected: list[int]) -> None:
    """It is a list like any other; a filter by another factory leaves nothing of it."""
    records = viewer.get(f"/production/2?{query}").json()
    minutes = [int((datetime.fromisoformat(record["time"]) - START).total_seconds() // 60) for record in records]

    assert expected == minutes
    assert {2} >= {record["factory_id"] for record in records}


def test_the_production_of_no_factory_is_not_found_whatever_is_asked_of_it(viewer: Client) -> None:
    """404 where there is no such factory, not an empty list."""
    answers = [viewer.get(f"/production/99?{query}") for query in ("limit=1", "count=true", "factory_id=1")]

    assert [404, 404, 404] == [answer.status_code for answer in answers]


@pytest.mark.parametrize(
    "query",
    [
        "/sprockets?teeth=4",
        "/sprockets?id__gt=9223372036854775807",
        "/sprockets?teeth__gt=20&teeth__lt=20",
        "/factories?name=Nobody",
        "/factories?name__contains=nobody",
        "/production?time__lt=1980-01-01T00:00:00Z",
        "/production?factory_id__in=4,99",
        "/production/4?sort=-time",
        "/production/4?limit=10",
        "/sprockets?teeth=4&limit=10&sort=-pitch",
    ],
)
def test_a_list_of_nothing_is_empty(viewer: Client, query: str) -> None:
    """Filters that leave nothing give 200 and `[]`, and no page after it."""
    answer = viewer.get(query)

    assert (200, [], None) == (answer.status_code, answer.json(), answer.headers.get("Link"))
