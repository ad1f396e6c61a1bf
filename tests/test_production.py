"""Production: what is listed of it."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, suppress

import httpx
import pytest

from harness import Client, Service
from sprocket_factory.database import Database
from sprocket_factory.errors import Busy

MEMBERS = ["sprocket_production_actual", "sprocket_production_goal", "time", "factory_id"]

Records = Sequence[tuple[str | float, int, int]]

START = 1_600_000_000


def store(engineer: Client, *factories: Records) -> None:
    """Store factories, each with its records of time, actual and goal. Their ids count from 1 in this order."""
    for number, records in enumerate(factories, 1):
        assert number == engineer.post("/factories", json={"name": f"Factory {number}"}).json()["id"]
        rows = [
            {
                "factory_id": number,
                "time": time,
                "sprocket_production_actual": actual,
                "sprocket_production_goal": goal,
            }
            for time, actual, goal in records
        ]
        assert 200 == engineer.post("/production", json=rows).status_code


def seconds(count: int) -> Records:
    """Return records a second apart that differ in what was made."""
    return [(START + number, number, count) for number in range(count)]


def lasting(answer: httpx.Response) -> dict[str, str]:
    """Return an answer's headers without those of the moment."""
    return {name: value for name, value in answer.headers.items() if name not in {"date", "x-request-id"}}


async def begin_as_many_lists_as_allowed(database: Database) -> AsyncExitStack:
    """Begin to read whole lists until no more are allowed, and return what lets go of them."""
    lists = AsyncExitStack()
    with suppress(Busy):
        while True:
            chunks = database.stream(int, "SELECT sprocket_production_actual FROM production")
            await anext(chunks)
            lists.push_async_callback(chunks.aclose)
    return lists


def test_production_is_listed_by_factory_and_time(engineer: Client, viewer: Client) -> None:
    """The list holds every record of every factory; the order does not depend on that of storing."""
    store(
        engineer,
        [("2021-01-21T02:07:58Z", 3, 4), ("2021-01-21T02:06:58Z", 1, 2)],
        [("2021-01-21T02:06:58Z", 7, 8), ("2021-01-21T02:05:58Z", 5, 6)],
    )
    answer = viewer.get("/production")

    assert 200 == answer.status_code
    assert [
        dict(zip(MEMBERS, (1, 2, "2021-01-21T02:06:58Z", 1), strict=True)),
        dict(zip(MEMBERS, (3, 4, "2021-01-21T02:07:58Z", 1), strict=True)),
        dict(zip(MEMBERS, (5, 6, "2021-01-21T02:05:58Z", 2), strict=True)),
        dict(zip(MEMBERS, (7, 8, "2021-01-21T02:06:58Z", 2), strict=True)),
    ] == answer.json()


def test_the_production_of_one_factory_is_listed_by_time(engineer: Client, viewer: Client) -> None:
    """The list holds every record of that factory and none of another."""
    store(engineer, seconds(3), [("2021-01-21T02:07:58Z", 3, 4), ("2021-01-21T02:06:58Z", 1, 2)], seconds(3))
    answer = viewer.get("/production/2")

    assert 200 == answer.status_code
    assert [
        dict(zip(MEMBERS, (1, 2, "2021-01-21T02:06:58Z", 2), strict=True)),
        dict(zip(MEMBERS, (3, 4, "2021-01-21T02:07:58Z", 2), strict=True)),
    ] == answer.json()


def test_no_production_is_an_empty_list(viewer: Client) -> None:
    """A list without entries is 200 and `[]`, not 404."""
    answer = viewer.get("/production")

    assert (200, []) == (answer.status_code, answer.json())


def test_a_factory_without_records_has_an_empty_list(engineer: Client, viewer: Client) -> None:
    """A factory that exists and made nothing is 200 and `[]`, not 404."""
    store(engineer, seconds(1), [])
    answer = viewer.get("/production/2")

    assert (200, []) == (answer.status_code, answer.json())


@pytest.mark.parametrize("factory_id", ["2", "9223372036854775807", "sheffield"])
def test_the_production_of_no_factory_is_not_found(engineer: Client, viewer: Client, factory_id: str) -> None:
    """An id that no factory has, or that is none, is 404."""
    store(engineer, seconds(1))
    answer = viewer.get(f"/production/{factory_id}")

    assert 404 == answer.status_code
    assert "/problems/not-found" == answer.json()["type"]


def test_the_members_of_a_record_come_in_their_promised_order(engineer: Client, viewer: Client) -> None:
    """The order is that of the contract, in a short list and in one that is streamed."""
    store(engineer, seconds(2500), seconds(1))
    streamed = viewer.get("/production").json()
    short = viewer.get("/production/2").json()

    assert [MEMBERS] * 2501 == [list(record) for record in streamed]
    assert [MEMBERS] == [list(record) for record in short]


@pytest.mark.parametrize(
    ("brought", "expected"),
    [
        ("2021-01-21T02:06:58Z", "2021-01-21T02:06:58Z"),
        ("2021-01-21T02:06:58.000000Z", "2021-01-21T02:06:58Z"),
        ("2021-01-21T02:06:58.5Z", "2021-01-21T02:06:58.500000Z"),
        ("2021-01-21T02:06:58.000001Z", "2021-01-21T02:06:58.000001Z"),
        ("2021-01-21T00:06:58+05:45", "2021-01-20T18:21:58Z"),
        ("1980-01-01T00:00:00Z", "1980-01-01T00:00:00Z"),
        (1611194818, "2021-01-21T02:06:58Z"),
        (1611194818.25, "2021-01-21T02:06:58.250000Z"),
    ],
)
def test_a_time_goes_out_in_utc(engineer: Client, viewer: Client, brought: str | float, expected: str) -> None:
    """Times are RFC 3339 with Z, with microseconds only where they have them, in whatever form they came."""
    store(engineer, [(brought, 1, 1)])

    assert expected == viewer.get("/production/1").json()[0]["time"]


def test_counts_go_out_as_they_are_up_to_their_bounds(engineer: Client, viewer: Client) -> None:
    """The bounds of a count, 0 and 2,147,483,647, belong to what is allowed."""
    store(engineer, [("2021-01-21T02:06:58Z", 0, 2_147_483_647)])
    record = viewer.get("/production").json()[0]

    assert (0, 2_147_483_647) == (record["sprocket_production_actual"], record["sprocket_production_goal"])


@pytest.mark.parametrize("path", ["/production", "/production/1"])
@pytest.mark.parametrize("count", [200, 201, 400, 401, 1000, 1001, 2000, 2001, 2500])
def test_a_list_of_any_length_comes_whole_and_in_order(engineer: Client, viewer: Client, path: str, count: int) -> None:
    """No record is lost or repeated where one chunk ends and the next begins."""
    store(engineer, seconds(count))
    answer = viewer.get(path)

    assert 200 == answer.status_code
    assert list(range(count)) == [record["sprocket_production_actual"] for record in answer.json()]


@pytest.mark.parametrize("path", ["/production", "/production/1"])
def test_a_long_list_is_streamed(engineer: Client, viewer: Client, path: str) -> None:
    """What may be of any length is sent in chunks, not gathered first to count its bytes."""
    store(engineer, seconds(2500))
    headers = viewer.get(path).headers

    assert ("application/json", "chunked", None) == (
        headers["Content-Type"],
        headers.get("Transfer-Encoding"),
        headers.get("Content-Length"),
    )


def test_lists_asked_for_one_after_the_other_are_all_served(engineer: Client, viewer: Client) -> None:
    """A list that was sent, or asked for by HEAD alone, is not counted among those that are being read."""
    store(engineer, seconds(2500))
    answers = [viewer.request(method, "/production") for _ in range(10) for method in ("GET", "HEAD")]

    assert [200] * 20 == [answer.status_code for answer in answers]


def test_more_whole_lists_at_once_than_the_server_allows_are_refused(
    engineer: Client, viewer: Client, service: Service
) -> None:
    """One list too many is 503 before its first byte, and says when to come again; then its place is free."""
    store(engineer, seconds(2500))
    lists = service.run(begin_as_many_lists_as_allowed, service.database)
    refused = viewer.get("/production")
    service.run(lists.aclose)
    again = viewer.get("/production")

    assert (503, "/problems/busy") == (refused.status_code, refused.json()["type"])
    assert int(refused.headers["Retry-After"]) > 0
    assert (200, 2500) == (again.status_code, len(again.json()))


def test_a_list_that_fails_after_its_first_byte_never_ends_as_if_whole(
    engineer: Client, viewer: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection is cut, so that no caller takes a part for the whole; the next request is served."""

    async def fail_midway(*_anything: object) -> AsyncGenerator[list[int]]:
        yield [1] * 1000
        yield [2] * 1000
        raise ZeroDivisionError

    store(engineer, seconds(2500))
    with monkeypatch.context() as patch:
        patch.setattr("sprocket_factory.endpoints.listing.stream_list", fail_midway)
        with pytest.raises(httpx.RemoteProtocolError):
            viewer.get("/production")

    assert 2500 == len(viewer.get("/production").json())


def test_a_list_that_fails_before_its_first_byte_is_an_error(
    engineer: Client, viewer: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing was sent yet, so the answer is an honest 500."""

    async def fail_at_once(*_anything: object) -> AsyncGenerator[list[int]]:
        for divisor in (0,):
            yield [1 // divisor]

    store(engineer, seconds(2500))
    monkeypatch.setattr("sprocket_factory.endpoints.listing.stream_list", fail_at_once)
    answer = viewer.get("/production")

    assert 500 == answer.status_code


@pytest.mark.parametrize("path", ["/production", "/production/1", "/production/2", "/production/3"])
def test_head_answers_as_get_without_the_body(engineer: Client, viewer: Client, path: str) -> None:
    """Status and headers of HEAD are those of GET, short, long or refused; how a body is cut up needs no telling."""
    store(engineer, seconds(2500), seconds(1))
    head = viewer.head(path)
    get = viewer.get(path)

    assert (get.status_code, b"") == (head.status_code, head.content)
    assert lasting(get).items() - {("transfer-encoding", "chunked")} == lasting(head).items()


@pytest.mark.parametrize("path", ["/production", "/production/1"])
@pytest.mark.parametrize("parameter", ["nothing=1", "nothing"])
def test_an_unknown_parameter_is_refused(engineer: Client, viewer: Client, path: str, parameter: str) -> None:
    """What the list would not heed is 422, not a list of something else."""
    store(engineer, seconds(1))
    answer = viewer.get(f"{path}?{parameter}")

    assert 422 == answer.status_code
    assert [parameter.split("=", maxsplit=1)[0]] == [error["pointer"] for error in answer.json()["errors"]]


@pytest.mark.parametrize(
    ("method", "path"), [("PUT", "/production"), ("PATCH", "/production"), ("DELETE", "/production/1")]
)
def test_a_wrong_method_is_refused_and_changes_nothing(
    engineer: Client, viewer: Client, method: str, path: str
) -> None:
    """A method that a path does not know is 405."""
    store(engineer, seconds(3))
    answer = viewer.request(method, path)

    assert 405 == answer.status_code
    assert 3 == len(viewer.get("/production").json())
