"""Conditional requests: what happens depends on the version that a caller knows."""

import re
import time
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import httpx
import pytest

from harness import Client, Service, a_sprocket, forget_everything
from sprocket_factory.database import Transaction
from sprocket_factory.entities.factory import NewFactory, add_factory
from sprocket_factory.entities.production import Counts, Key, add_production
from sprocket_factory.entities.sprocket import NewSprocket, add_sprocket

LITTLE_CPU_SECONDS = 2

RECORD = "/production/1/2021-01-21T02:06:58Z"
NO_RECORD = "/production/1/2021-01-21T02:07:58Z"

STALE = '"0123456789abcdef"'


class Thing(NamedTuple):
    """Something that is stored in the beginning, what it may be replaced by, and what of that is a change."""

    path: str
    other: dict[str, object]
    another: dict[str, object]
    change: dict[str, object]

    def __str__(self) -> str:
        return self.path.split("/")[1]


def counts(actual: int, goal: int = 32) -> dict[str, object]:
    """Return what a record says of its factory and time."""
    return {"sprocket_production_actual": actual, "sprocket_production_goal": goal}


SPROCKET = Thing("/sprockets/1", a_sprocket(teeth=21), a_sprocket(teeth=22), {"teeth": 23})
FACTORY = Thing(
    "/factories/2", {"name": "Kyoto", "time_zone": "UTC"}, {"name": "Nara", "time_zone": "UTC"}, {"name": "Kobe"}
)
PRODUCTION = Thing(RECORD, counts(1), counts(2), {"sprocket_production_actual": 3})

THINGS = [SPROCKET, FACTORY, PRODUCTION]
LISTS = ["/sprockets", "/factories", "/production", "/production/1", "/production?limit=1", "/factories?format=csv"]
PATHS = [*(thing.path for thing in THINGS), *LISTS]

WRITES = ["PUT", "PATCH", "DELETE"]

NO_LISTS = [
    "0123456789abcdef",
    '"0123456789abcdef',
    '0123456789abcdef"',
    "W/0123456789abcdef",
    "W/*",
    'w/"0123456789abcdef"',
    '*, "0123456789abcdef"',
    '"01234567" "89abcdef"',
    '"01234567"; "89abcdef"',
    '"0123 4567"',
    "**",
    ",",
    "",
]


@pytest.fixture
def service(running: Service) -> Service:
    """Return the service with a sprocket, a factory with one record, and a factory without."""
    running.run(running.database.write, begin_with_one_of_each, by="test")
    return running


async def begin_with_one_of_each(tx: Transaction) -> None:
    """Remove every row, and that ids were ever given, then add what the tests work on."""
    await forget_everything(tx)
    await add_sprocket(tx, NewSprocket(teeth=20, pitch_diameter=162.37, outside_diameter=175.61, pitch=25.4))
    for name in ("Sheffield", "Osaka"):
        await add_factory(tx, NewFactory(name=name))
    moment = 1_611_194_818_000_000
    await add_production(tx, Key(1, moment), Counts(sprocket_production_actual=29, sprocket_production_goal=32))


def etag_of(client: Client, path: str) -> str:
    """Return the version in which something stands."""
    return client.get(path).headers["ETag"]


def write(client: Client, method: str, thing: Thing, *headers: tuple[str, str]) -> httpx.Response:
    """Write to a thing under these conditions."""
    body = {"PUT": thing.other, "PATCH": thing.change, "DELETE": None}[method]
    return client.request(method, thing.path, json=body, headers=headers)


def everything(client: Client) -> list[object]:
    """Return all that is stored."""
    return [client.get(path).json() for path in ("/sprockets", "/factories", "/production")]


def pointers(problem: dict[str, list[dict[str, str]]]) -> list[str]:
    """Return where a problem says that something is wrong."""
    return [error["pointer"] for error in problem["errors"]]


@pytest.mark.parametrize("path", PATHS)
def test_whatever_is_read_has_a_version(viewer: Client, path: str) -> None:
    """Every thing and every list that is not streamed has a strong ETag, the same for GET and HEAD, while it stays."""
    etags = {viewer.request(method, path).headers["ETag"] for method in ("GET", "HEAD", "GET")}

    assert 1 == len(etags)
    assert re.fullmatch(r'"[\x21\x23-\x7e]+"', etags.pop())


@pytest.mark.parametrize("thing", THINGS, ids=str)
@pytest.mark.parametrize("method", ["PUT", "PATCH"])
def test_an_answer_to_a_write_names_the_version_that_it_left(engineer: Client, thing: Thing, method: str) -> None:
    """The ETag of PUT and PATCH is a new one, and that which GET gives from then on."""
    before = etag_of(engineer, thing.path)
    written = write(engineer, method, thing).headers["ETag"]

    assert before != written
    assert etag_of(engineer, thing.path) == written


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/sprockets", a_sprocket()),
        ("/factories", {"name": "Kyoto"}),
        ("/production", counts(1) | {"factory_id": 1, "time": "2021-01-21T02:07:58Z"}),
    ],
)
def test_an_answer_to_a_post_names_the_version_that_it_made(
    engineer: Client, path: str, body: dict[str, object]
) -> None:
    """The ETag of 201 is that which GET gives at the Location."""
    answer = engineer.post(path, json=body)

    assert engineer.get(engineer.address + answer.headers["Location"]).headers["ETag"] == answer.headers["ETag"]


@pytest.mark.parametrize("path", ["/sprockets", "/factories", "/production", "/production/1"])
def test_a_list_has_another_version_once_an_entry_has(engineer: Client, path: str) -> None:
    """A change of one entry is a change of the list."""
    before = etag_of(engineer, path)
    engineer.patch("/sprockets/1", json={"teeth": 99})
    engineer.patch("/factories/1", json={"name": "Leeds"})
    engineer.patch(RECORD, json={"sprocket_production_goal": 99})

    assert before != etag_of(engineer, path)


def test_each_format_of_a_list_is_a_version_of_its_own(viewer: Client) -> None:
    """A cache never takes CSV for JSON: the ETags differ, and Vary says that Accept decides."""
    accepted = ["application/json", "application/x-ndjson", "text/csv"]
    answers = [viewer.get("/production", headers={"Accept": media_type}) for media_type in accepted]

    assert 3 == len({answer.headers["ETag"] for answer in answers})
    assert ["accept"] * 3 == [answer.headers["Vary"].lower() for answer in answers]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("known", ["{}", "W/{}", '"x", {}', 'W/"x" ,W/{},"y"', "*"])
def test_what_a_reader_has_already_is_not_sent_again(viewer: Client, path: str, method: str, known: str) -> None:
    """If-None-Match with the version that stands, alone or among others, weak or not, is 304 without a body."""
    etag = etag_of(viewer, path)
    answer = viewer.request(method, path, headers={"If-None-Match": known.format(etag)})

    assert (304, b"", etag) == (answer.status_code, answer.content, answer.headers["ETag"])


def test_versions_in_several_headers_are_one_list(viewer: Client) -> None:
    """A list may be cut into lines."""
    etag = etag_of(viewer, "/sprockets/1")
    answer = viewer.get("/sprockets/1", headers=[("If-None-Match", STALE), ("If-None-Match", etag)])

    assert 304 == answer.status_code


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("known", [STALE, f"W/{STALE}", '"x", "y"', "x", '"', ""])
def test_what_a_reader_does_not_have_is_sent(viewer: Client, path: str, known: str) -> None:
    """If-None-Match with other versions, or with what is none, is answered as if it were not there."""
    plain = viewer.get(path)
    answer = viewer.get(path, headers={"If-None-Match": known})

    assert (200, plain.content) == (answer.status_code, answer.content)


@pytest.mark.parametrize("thing", THINGS, ids=str)
def test_a_version_that_has_passed_is_not_known_any_more(engineer: Client, viewer: Client, thing: Thing) -> None:
    """After a change the reader who has the old version is sent the new one."""
    before = etag_of(viewer, thing.path)
    engineer.patch(thing.path, json=thing.change)
    answer = viewer.get(thing.path, headers={"If-None-Match": before})

    assert 200 == answer.status_code
    assert thing.change.items() <= answer.json().items()


@pytest.mark.parametrize("path", ["/sprockets/2", "/factories/3", NO_RECORD, "/production/3"])
def test_what_is_not_there_is_not_known(viewer: Client, path: str) -> None:
    """Whatever a reader says that it has, nothing is 404."""
    assert 404 == viewer.get(path, headers={"If-None-Match": "*"}).status_code


@pytest.mark.parametrize("thing", THINGS, ids=str)
@pytest.mark.parametrize("method", WRITES)
@pytest.mark.parametrize("expected", ["{}", "*", '"x", {}', '{} ,W/"x"'])
def test_what_stands_as_expected_is_written(engineer: Client, thing: Thing, method: str, expected: str) -> None:
    """If-Match with the version that stands, alone or among others, or with `*`, lets a write happen."""
    before = everything(engineer)
    answer = write(engineer, method, thing, ("If-Match", expected.format(etag_of(engineer, thing.path))))

    assert {"PUT": 200, "PATCH": 200, "DELETE": 204}[method] == answer.status_code
    assert before != everything(engineer)


def test_expected_versions_in_several_headers_are_one_list(engineer: Client) -> None:
    """A list may be cut into lines."""
    etag = etag_of(engineer, SPROCKET.path)
    answer = write(engineer, "PUT", SPROCKET, ("If-Match", STALE), ("If-Match", etag))

    assert 200 == answer.status_code


@pytest.mark.parametrize("thing", THINGS, ids=str)
@pytest.mark.parametrize("method", WRITES)
@pytest.mark.parametrize("expected", [STALE, '"x", "y"', "W/{}", '"x", W/{}', '""', '"*"'])
def test_what_does_not_stand_as_expected_is_not_written(
    engineer: Client, thing: Thing, method: str, expected: str
) -> None:
    """If-Match without the version that stands is 412, and nothing changes; a weak ETag is never enough to write."""
    before = everything(engineer)
    answer = write(engineer, method, thing, ("If-Match", expected.format(etag_of(engineer, thing.path))))

    assert 412 == answer.status_code
    assert "/problems/stale" == answer.json()["type"]
    assert before == everything(engineer)


@pytest.mark.parametrize("thing", THINGS, ids=str)
@pytest.mark.parametrize("header", ["If-Match", "If-None-Match"])
@pytest.mark.parametrize("written", NO_LISTS)
def test_a_condition_that_cannot_be_read_is_refused(engineer: Client, thing: Thing, header: str, written: str) -> None:
    """A writer who expects something that is no list of ETags is told so, and nothing changes."""
    before = everything(engineer)
    answers = [write(engineer, method, thing, (header, written)) for method in WRITES]

    assert [(422, [header])] * 3 == [(answer.status_code, pointers(answer.json())) for answer in answers]
    assert before == everything(engineer)


@pytest.mark.parametrize("header", ["If-Match", "If-None-Match"])
@pytest.mark.parametrize("written", ['"a"  ' * 15 + "x", '"a"' + " " * 3000 + "x", '"' * 10_001, '"a",' * 5000 + "x"])
def test_a_condition_made_to_be_hard_costs_little(engineer: Client, header: str, written: str) -> None:
    """However a list of ETags is written, reading it takes no longer than its length deserves."""
    begun = time.process_time()
    statuses = [write(engineer, "PUT", SPROCKET, (header, written)).status_code for _ in range(3)]
    statuses += [engineer.get(SPROCKET.path, headers={header: written}).status_code for _ in range(3)]

    assert [422] * 3 + [200] * 3 == statuses
    assert time.process_time() - begun < LITTLE_CPU_SECONDS


@pytest.mark.parametrize("expected", [STALE, "*"])
def test_a_record_that_is_expected_and_not_there_is_not_created(engineer: Client, expected: str) -> None:
    """PUT with If-Match replaces only: where no record is it is 412, and none is there afterwards."""
    before = everything(engineer)
    answer = engineer.put(NO_RECORD, json=counts(1), headers={"If-Match": expected})

    assert 412 == answer.status_code
    assert "/problems/stale" == answer.json()["type"]
    assert before == everything(engineer)


def test_a_record_that_is_expected_to_be_new_is_created(engineer: Client) -> None:
    """PUT with `If-None-Match: *` creates the record where there is none."""
    answer = engineer.put(NO_RECORD, json=counts(1), headers={"If-None-Match": "*"})

    assert 201 == answer.status_code
    assert counts(1).items() <= engineer.get(NO_RECORD).json().items()


@pytest.mark.parametrize("thing", THINGS, ids=str)
def test_what_is_expected_to_be_new_and_is_there_is_not_replaced(engineer: Client, thing: Thing) -> None:
    """PUT with `If-None-Match: *` creates only: what is there is 412 and stays."""
    before = everything(engineer)
    answer = write(engineer, "PUT", thing, ("If-None-Match", "*"))

    assert 412 == answer.status_code
    assert "/problems/stale" == answer.json()["type"]
    assert before == everything(engineer)


@pytest.mark.parametrize("path", ["/sprockets/2", "/factories/3", NO_RECORD])
@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
def test_what_is_not_there_is_not_found_whatever_is_expected_of_it(engineer: Client, path: str, method: str) -> None:
    """PATCH and DELETE of nothing are 404 under every condition."""
    body: dict[str, object] | None = None if method == "DELETE" else {}
    answers = [engineer.request(method, path, json=body, headers={"If-Match": expected}) for expected in ("*", STALE)]

    assert [404, 404] == [answer.status_code for answer in answers]


@pytest.mark.parametrize("thing", THINGS, ids=str)
def test_without_a_condition_the_last_write_wins(engineer: Client, thing: Thing) -> None:
    """Whoever expects nothing overwrites what others wrote."""
    answers = [engineer.put(thing.path, json=body) for body in (thing.other, thing.another)]

    assert [200, 200] == [answer.status_code for answer in answers]
    assert thing.another.items() <= engineer.get(thing.path).json().items()


@pytest.mark.parametrize("thing", THINGS, ids=str)
def test_fault_10_the_second_of_two_puts_with_one_etag_is_refused(engineer: Client, thing: Thing) -> None:
    """Two people read the same version: the first to write wins, the second is 412 and overwrites nothing."""
    condition = {"If-Match": etag_of(engineer, thing.path)}
    answers = [engineer.put(thing.path, json=body, headers=condition) for body in (thing.other, thing.another)]

    assert [200, 412] == [answer.status_code for answer in answers]
    assert thing.other.items() <= engineer.get(thing.path).json().items()


@pytest.mark.parametrize("thing", THINGS, ids=str)
def test_fault_10_of_many_writes_at_once_with_one_etag_one_wins(engineer: Client, thing: Thing) -> None:
    """PUT, PATCH and DELETE from many people who read the same version: one is done, the others are 412 or 404."""
    condition = ("If-Match", etag_of(engineer, thing.path))
    before = everything(engineer)

    def try_to(method: str) -> int:
        return write(engineer, method, thing, condition).status_code

    with ThreadPoolExecutor(8) as people:
        statuses = list(people.map(try_to, WRITES * 8))

    assert 1 == len([status for status in statuses if status in {200, 204}])
    assert {200, 204, 404, 412} >= set(statuses)
    assert before != everything(engineer)


@pytest.mark.parametrize("thing", THINGS, ids=str)
def test_fault_10_of_many_puts_at_once_with_one_etag_one_wins(engineer: Client, thing: Thing) -> None:
    """What is stored in the end is what the one who was answered with 200 sent; all the others are 412."""
    condition = {"If-Match": etag_of(engineer, thing.path)}
    bodies = [thing.other, thing.another] * 12

    def put(body: dict[str, object]) -> int:
        return engineer.put(thing.path, json=body, headers=condition).status_code

    with ThreadPoolExecutor(8) as people:
        statuses = list(people.map(put, bodies))

    assert [200] + [412] * 23 == sorted(statuses)
    assert bodies[statuses.index(200)].items() <= engineer.get(thing.path).json().items()


def test_fault_10_of_many_who_would_create_a_record_at_once_one_does(engineer: Client) -> None:
    """PUT with `If-None-Match: *` from many: one is 201 and stored, all the others are 412."""

    def put(actual: int) -> int:
        return engineer.put(NO_RECORD, json=counts(actual), headers={"If-None-Match": "*"}).status_code

    with ThreadPoolExecutor(8) as machines:
        statuses = list(machines.map(put, range(24)))

    assert [201] + [412] * 23 == sorted(statuses)
    assert statuses.index(201) == engineer.get(NO_RECORD).json()["sprocket_production_actual"]


def test_fault_10_no_update_is_lost(engineer: Client) -> None:
    """People who each read, count on and write with what they read add up to all that they counted."""
    engineer.put(RECORD, json=counts(0))

    def count_on(_person: int) -> None:
        status = 412
        while status == 412:
            read = engineer.get(RECORD)
            more = counts(read.json()["sprocket_production_actual"] + 1)
            status = engineer.put(RECORD, json=more, headers={"If-Match": read.headers["ETag"]}).status_code
        assert 200 == status

    with ThreadPoolExecutor(4) as people:
        list(people.map(count_on, range(40)))

    assert 40 == engineer.get(RECORD).json()["sprocket_production_actual"]
