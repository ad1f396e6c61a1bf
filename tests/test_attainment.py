"""GET /attainment: actual against goal per bucket, and only what is right."""

import json
from collections.abc import Sequence
from typing import Any

import pytest

from attainments import add_factory_in, attainment, send_records
from harness import Client, pointers

TIMES = ("2021-01-21T02:00:00Z", "2021-01-21T02:59:59.999999Z", "2021-01-21T03:00:00Z")


def bounds_of(buckets: Sequence[dict[str, Any]]) -> list[tuple[str, str, int]]:
    """Return where buckets begin and end, and how many records they rest on."""
    return [(bucket["start"], bucket["end"], bucket["records"]) for bucket in buckets]


@pytest.fixture
def factory_id(engineer: Client) -> int:
    """Return the id of a factory that goes by UTC."""
    return add_factory_in(engineer, "UTC")


def test_what_is_not_recorded_is_absent(engineer: Client, factory_id: int) -> None:
    """A bucket without records is not one in which nothing was made: it is not there."""
    send_records(engineer, factory_id, "2021-01-21T02:30:00Z", "2021-01-21T05:30:00Z", actual=0)
    engineer.delete(f"/production/{factory_id}/2021-01-21T05:30:00Z").raise_for_status()

    assert [("2021-01-21T02:00:00Z", "2021-01-21T03:00:00Z", 1)] == bounds_of(attainment(engineer, "hour"))


def test_attainment_is_null_where_nothing_was_to_be_made(engineer: Client, factory_id: int) -> None:
    """There is no quotient by a goal of 0, and JSON, NDJSON and CSV say so."""
    send_records(engineer, factory_id, TIMES[0], actual=3, goal=0)
    in_csv = engineer.get("/attainment?by=day&format=csv").text.splitlines()[1]

    assert [(3, None)] == [(one["variance"], one["attainment"]) for one in attainment(engineer, "day")]
    assert f"{factory_id},2021-01-21T00:00:00Z,2021-01-22T00:00:00Z,3,0,3,,1,{TIMES[0]},{TIMES[0]}" == in_csv


def test_attainment_is_never_capped(engineer: Client, factory_id: int) -> None:
    """Who makes more than he set out to has attained more than all of it."""
    send_records(engineer, factory_id, TIMES[0], actual=2_147_483_647, goal=1)

    assert [2_147_483_647.0] == [one["attainment"] for one in attainment(engineer, "total")]


def test_sums_may_be_larger_than_any_count(engineer: Client, factory_id: int) -> None:
    """A thousand of the largest counts sum up to what they come to."""
    times = [f"2021-01-21T02:{place // 60:02d}:{place % 60:02d}Z" for place in range(1000)]
    send_records(engineer, factory_id, *times, actual=2_147_483_647, goal=2_147_483_646)

    assert [(2_147_483_647_000, 1000)] == [(one["actual"], one["variance"]) for one in attainment(engineer, "month")]


def test_a_record_on_a_boundary_belongs_to_what_begins_there(engineer: Client, factory_id: int) -> None:
    """The last microsecond of an hour belongs to it, and the next one to the next hour."""
    send_records(engineer, factory_id, *TIMES)

    assert [
        ("2021-01-21T02:00:00Z", "2021-01-21T03:00:00Z", 2),
        ("2021-01-21T03:00:00Z", "2021-01-21T04:00:00Z", 1),
    ] == bounds_of(attainment(engineer, "hour"))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("by", "minute"),
        ("by", ""),
        ("by", "Day"),
        ("factory_id", "abc"),
        ("factory_id", "0"),
        ("factory_id", str(2**63)),
        ("factory_id__in", ""),
        ("factory_id__in", "1,,2"),
        ("factory_id__in", ",".join(["1"] * 1001)),
        ("time__gte", "2021-01-21T02:00:00"),
        ("time__gte", "1979-12-31T23:59:59Z"),
        ("time__lt", "9999-01-01T00:00:00Z"),
        ("format", "xml"),
        ("time__lte", "2021-01-21T02:00:00Z"),
        ("factory", "1"),
        ("limit", "1"),
        ("cursor", "abc"),
    ],
)
def test_fault_23_a_parameter_that_is_unknown_or_wrong_is_named(viewer: Client, name: str, value: str) -> None:
    """What is asked for is never guessed."""
    answer = viewer.get("/attainment", params={name: value})

    assert 422 == answer.status_code
    assert [name] == pointers(answer.json())


def test_fault_27_sql_in_a_parameter_is_no_sql(engineer: Client, factory_id: int) -> None:
    """It is refused, and everything is still there."""
    send_records(engineer, factory_id, TIMES[0])
    refused = [
        engineer.get("/attainment", params={name: "1); DROP TABLE production_days; --"}).status_code
        for name in ("by", "factory_id", "factory_id__in", "time__gte", "time__lt")
    ]

    assert [422] * 5 == refused
    assert 1 == len(attainment(engineer, "day"))


def test_a_factory_that_does_not_exist_has_no_buckets(engineer: Client, factory_id: int) -> None:
    """It filters, as in every list: nothing is found, and nothing is wrong."""
    send_records(engineer, factory_id, TIMES[0])

    assert [] == attainment(engineer, "day", factory_id=factory_id + 1)
    assert [] == attainment(engineer, "day", factory_id=factory_id, factory_id__in=f"{factory_id + 1},{factory_id + 2}")
    assert 1 == len(attainment(engineer, "day", factory_id=factory_id, factory_id__in=f"{factory_id + 1},{factory_id}"))


def test_bounds_that_leave_no_time_leave_nothing(engineer: Client, factory_id: int) -> None:
    """Bounds that are equal or the wrong way around have nothing between them."""
    send_records(engineer, factory_id, *TIMES)

    assert [] == attainment(engineer, "day", time__gte=TIMES[0], time__lt=TIMES[0])
    assert [] == attainment(engineer, "day", time__gte=TIMES[2], time__lt=TIMES[0])


def test_every_kind_of_bucket_has_its_own_bounds(engineer: Client) -> None:
    """Hour, day, ISO week and month begin and end in the factory's zone; all of it, with its records."""
    factory_id = add_factory_in(engineer, "Asia/Kathmandu")
    send_records(engineer, factory_id, "2021-01-31T18:14:59Z", "2021-01-31T18:15:00Z")
    found = {by: bounds_of(attainment(engineer, by)) for by in ("hour", "day", "week", "month", "total")}

    assert {
        "hour": [
            ("2021-01-31T23:00:00+05:45", "2021-02-01T00:00:00+05:45", 1),
            ("2021-02-01T00:00:00+05:45", "2021-02-01T01:00:00+05:45", 1),
        ],
        "day": [
            ("2021-01-31T00:00:00+05:45", "2021-02-01T00:00:00+05:45", 1),
            ("2021-02-01T00:00:00+05:45", "2021-02-02T00:00:00+05:45", 1),
        ],
        "week": [
            ("2021-01-25T00:00:00+05:45", "2021-02-01T00:00:00+05:45", 1),
            ("2021-02-01T00:00:00+05:45", "2021-02-08T00:00:00+05:45", 1),
        ],
        "month": [
            ("2021-01-01T00:00:00+05:45", "2021-02-01T00:00:00+05:45", 1),
            ("2021-02-01T00:00:00+05:45", "2021-03-01T00:00:00+05:45", 1),
        ],
        "total": [("2021-01-31T23:59:59+05:45", "2021-02-01T00:00:00+05:45", 2)],
    } == found


def test_buckets_come_by_factory_and_start(engineer: Client) -> None:
    """Whatever their zones are, one factory's buckets come after another's, each in the order of time."""
    ids = [add_factory_in(engineer, zone) for zone in ("Pacific/Apia", "UTC", "America/St_Johns", "Europe/London")]
    for factory_id in reversed(ids):
        send_records(engineer, factory_id, "2021-03-02T00:00:00Z", "2021-01-01T12:00:00Z", "2021-02-01T12:00:00Z")
    found = [(one["factory_id"], one["first"]) for one in attainment(engineer, "day")]
    bounded = [
        (one["factory_id"], one["first"])
        for one in attainment(engineer, "day", time__gte="2021-01-01T12:00:00Z", time__lt="2021-03-02T00:00:00.000001Z")
    ]

    assert 12 == len(found)
    assert sorted(found) == found
    assert found == bounded


def test_the_formats_say_the_same(engineer: Client, factory_id: int) -> None:
    """JSON, NDJSON and CSV have the same members in the same order, and text that is no formula in a spreadsheet."""
    send_records(engineer, factory_id, *TIMES)
    in_json = attainment(engineer, "hour")
    in_lines = engineer.get("/attainment?by=hour", headers={"Accept": "application/x-ndjson"}).text.splitlines()
    header, *rows = engineer.get("/attainment?by=hour", headers={"Accept": "text/csv"}).text.splitlines()

    assert in_json == [json.loads(line) for line in in_lines]
    assert header == ",".join(in_json[0])
    assert rows == [",".join(str(value) for value in bucket.values()) for bucket in in_json]


def test_head_and_etag_work_as_everywhere(engineer: Client, factory_id: int) -> None:
    """HEAD is as GET without the body, and who has the newest version is told so until something changes."""
    send_records(engineer, factory_id, *TIMES)
    answer = engineer.get("/attainment")
    head = engineer.head("/attainment")
    known = {"If-None-Match": answer.headers["ETag"]}
    same = engineer.get("/attainment", headers=known).status_code
    send_records(engineer, factory_id, "2021-01-21T04:00:00Z")

    assert (200, b"", answer.headers["ETag"]) == (head.status_code, head.content, head.headers["ETag"])
    assert [304, 200] == [same, engineer.get("/attainment", headers=known).status_code]


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_fault_24_attainment_is_only_read(viewer: Client, method: str) -> None:
    """It follows from production, and nobody writes it."""
    answer = viewer.request(method, "/attainment")

    assert 405 == answer.status_code
    assert {"GET", "HEAD", "OPTIONS"} >= set(answer.headers["Allow"].split(", "))


def test_more_buckets_than_fit_into_a_chunk_come_whole(engineer: Client, factory_id: int) -> None:
    """However the sums are read piece by piece, no bucket is cut where a piece ends."""
    times = [
        f"2021-{month:02d}-{day:02d}T{hour:02d}:{m}:00Z"
        for month in range(1, 7)
        for day in range(1, 29)
        for hour in range(24)
        for m in ("05", "35")
    ]
    send_records(engineer, factory_id, *times)
    hours = attainment(engineer, "hour")

    assert 6 * 28 * 24 == len(hours)
    assert {(2, 2, 4)} == {(one["records"], one["actual"], one["goal"]) for one in hours}
    assert [28 * 48] * 6 == [one["records"] for one in attainment(engineer, "month")]


def test_attainment_is_by_day_unless_asked_otherwise(engineer: Client, factory_id: int) -> None:
    """Actual, goal, their difference and quotient, to four decimals, and what they rest on, in their order."""
    rows = [
        {"factory_id": factory_id, "time": time, "sprocket_production_actual": actual, "sprocket_production_goal": 311}
        for time, actual in zip(TIMES, (310, 310, 7), strict=True)
    ]
    engineer.post("/production", json=rows).raise_for_status()
    (bucket,) = engineer.get("/attainment").json()

    assert [
        ("factory_id", factory_id),
        ("start", "2021-01-21T00:00:00Z"),
        ("end", "2021-01-22T00:00:00Z"),
        ("actual", 627),
        ("goal", 933),
        ("variance", -306),
        ("attainment", 0.672),
        ("records", 3),
        ("first", TIMES[0]),
        ("last", TIMES[2]),
    ] == list(bucket.items())
