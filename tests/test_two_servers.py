"""Two servers before one PostgreSQL: what one does the other knows, and what both are asked at once is done once."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Event
from typing import Any, NamedTuple

import httpx
import pytest

from bulk import START, a_row, add_factory, as_csv, stored
from harness import START_SECONDS, Client, Service, a_sprocket, forget_everything, wait_in
from postgresql_server import PostgreSQLServer
from sprocket_factory.database import Transaction
from sprocket_factory.entities.replay import run_once
from sprocket_factory.entities.sprocket import NewSprocket, Sprocket, add_sprocket
from sprocket_factory.settings import Settings

TIMES = 30
"""So often is tried what depends on who is first."""

COUNTS = {"sprocket_production_actual": 1, "sprocket_production_goal": 2}

RECORD = {"factory_id": 1, "time": "2021-01-21T02:06:58Z", **COUNTS}

KEY = "Idempotency-Key"
KEPT = "Idempotent-Replayed"

CSV = {"Content-Type": "text/csv"}


class Call(NamedTuple):
    """A request as somebody makes it."""

    method: str
    path: str
    parts: dict[str, Any]


def call(method: str, path: str, **parts: Any) -> Call:
    """Return a request."""
    return Call(method, path, parts)


@pytest.fixture(scope="module")
def services(postgresql: PostgreSQLServer) -> Iterator[tuple[Service, Service]]:
    """Run two services on one database."""
    settings = Settings(database_url=postgresql.new_database())
    with Service(settings) as here, Service(settings) as there:
        yield here, there


@pytest.fixture
def callers(services: tuple[Service, Service]) -> Iterator[tuple[Client, Client]]:
    """Give somebody who calls the one and somebody who calls the other, with nothing stored yet."""
    here, there = services
    here.run(here.database.write, forget_everything, by="test")
    with Client(here.address) as caller, Client(there.address) as other:
        yield caller, other


def at_once(callers: tuple[Client, Client], first: Call, second: Call | None = None) -> list[httpx.Response]:
    """Return what both are answered when they call at the same time: the same, or each something else."""
    barrier = Barrier(2)

    def make(caller: Client, request: Call) -> httpx.Response:
        barrier.wait()
        return caller.request(request.method, request.path, **request.parts)

    with ThreadPoolExecutor() as threads:
        return list(threads.map(make, callers, (first, second or first)))


def statuses(answers: Sequence[httpx.Response]) -> list[int]:
    """Return the statuses of answers in rising order."""
    return sorted(answer.status_code for answer in answers)


def test_what_one_has_stored_the_other_finds(callers: tuple[Client, Client]) -> None:
    """The answer to a write is given when everybody can see it: reading elsewhere right after it finds it."""
    here, there = callers
    found = []
    for _ in range(TIMES):
        location = here.post("/sprockets", json=a_sprocket()).headers["Location"]
        found.append(there.get(there.address + location).status_code)
        here.delete(here.address + location)
        found.append(there.get(there.address + location).status_code)

    assert [200, 404] * TIMES == found


def test_a_page_leads_on_at_the_other_server(callers: tuple[Client, Client]) -> None:
    """A cursor belongs to no server."""
    here, there = callers
    for _ in range(3):
        here.post("/sprockets", json=a_sprocket())
    link = here.get("/sprockets", params={"limit": 2}).links["next"]["url"]

    assert [3] == [sprocket["id"] for sprocket in there.get(there.address + link).json()]


def test_a_version_is_the_same_at_both(callers: tuple[Client, Client]) -> None:
    """An ETag that one gave the other accepts."""
    here, there = callers
    etag = here.post("/sprockets", json=a_sprocket()).headers["ETag"]
    answer = there.put("/sprockets/1", json=a_sprocket(teeth=30), headers={"If-Match": etag})

    assert (200, 30) == (answer.status_code, here.get("/sprockets/1").json()["teeth"])


def test_fault_09_one_key_sent_to_both_at_once_is_done_once(callers: tuple[Client, Client]) -> None:
    """Whichever is second waits for the first, and gives its answer as a repetition."""
    here, there = callers
    pairs = [
        at_once(callers, call("POST", "/sprockets", json=a_sprocket(), headers={KEY: key}))
        for key in map(str, range(TIMES))
    ]

    assert [[201, 201]] * TIMES == [statuses(pair) for pair in pairs]
    assert [True] * TIMES == [first.content == second.content for first, second in pairs]
    assert [1] * TIMES == [sum(KEPT in answer.headers for answer in pair) for pair in pairs]
    assert TIMES == len(here.get("/sprockets").json()) == len(there.get("/sprockets").json())


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/sprockets", a_sprocket()),
        ("/factories", {"name": "Leeds"}),
        ("/production", RECORD),
        ("/production", [RECORD]),
    ],
    ids=["sprocket", "factory", "record", "records"],
)
def test_fault_09_a_key_that_is_running_at_one_server_waits_at_the_other(
    postgresql: PostgreSQLServer,
    callers: tuple[Client, Client],
    monkeypatch: pytest.MonkeyPatch,
    path: str,
    body: object,
) -> None:
    """It is not done a second time meanwhile: once the first is done its answer is given to both."""
    here, there = callers
    here.post("/factories", json={"name": "Sheffield"})
    before = everything(here)
    begun, go_on = Event(), Event()

    async def run_once_and_wait(tx: Transaction, *args: Any) -> Any:
        result = await run_once(tx, *args)
        if not begun.is_set():
            begun.set()
            await wait_in(tx, go_on)
        return result

    monkeypatch.setattr("sprocket_factory.endpoints.replay.run_once", run_once_and_wait)
    with ThreadPoolExecutor() as others:
        first = others.submit(here.post, path, json=body, headers={KEY: "order-1"})
        assert begun.wait(START_SECONDS)
        second = others.submit(there.post, path, json=body, headers={KEY: "order-1"})
        while not postgresql.has_waiters() and not second.done():
            pass
        go_on.set()
    added = [[thing for thing in new if thing not in old] for old, new in zip(before, everything(there), strict=True)]

    assert first.result().status_code == second.result().status_code
    assert first.result().content == second.result().content
    assert (None, "true") == (first.result().headers.get(KEPT), second.result().headers.get(KEPT))
    assert 1 == sum(map(len, added))


def test_fault_09_a_key_that_was_done_elsewhere_meanwhile_is_not_done_again(
    callers: tuple[Client, Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever began first but finds that the other was faster takes back what it did, and says the same."""
    here, there = callers
    begun, go_on = Event(), Event()

    async def add_slowly(tx: Transaction, new: NewSprocket) -> Sprocket:
        sprocket = await add_sprocket(tx, new)
        if not begun.is_set():
            begun.set()
            await wait_in(tx, go_on)
        return sprocket

    monkeypatch.setattr("sprocket_factory.endpoints.sprockets.add_sprocket", add_slowly)
    with ThreadPoolExecutor() as others:
        slow = others.submit(here.post, "/sprockets", json=a_sprocket(), headers={KEY: "order-1"})
        assert begun.wait(START_SECONDS)
        fast = there.post("/sprockets", json=a_sprocket(), headers={KEY: "order-1"})
        go_on.set()

    assert (201, None) == (fast.status_code, fast.headers.get(KEPT))
    assert (201, "true") == (slow.result().status_code, slow.result().headers.get(KEPT))
    assert [fast.json()] == [slow.result().json()] == here.get("/sprockets").json()


def everything(client: Client) -> list[list[object]]:
    """Return everything that is stored."""
    return [client.get(path).json() for path in ("/sprockets", "/factories", "/production")]


def test_fault_07_one_new_record_posted_to_both_at_once_is_stored_once(callers: tuple[Client, Client]) -> None:
    """One of them creates it, and the other finds it there."""
    here, _ = callers
    factory_id = add_factory(here)
    pairs = [at_once(callers, call("POST", "/production", json=a_row(factory_id, second))) for second in range(TIMES)]

    assert [[200, 201]] * TIMES == [statuses(pair) for pair in pairs]
    assert TIMES == len(stored(here, factory_id))


def test_fault_08_two_records_of_one_time_posted_at_once_are_one_and_a_conflict(
    callers: tuple[Client, Client],
) -> None:
    """Whichever comes first is stored, and the other is told what is."""
    here, _ = callers
    factory_id = add_factory(here)
    pairs = [
        at_once(
            callers,
            call("POST", "/production", json=a_row(factory_id, second, 1)),
            call("POST", "/production", json=a_row(factory_id, second, 2)),
        )
        for second in range(TIMES)
    ]
    created = [answer.json() for pair in pairs for answer in pair if answer.status_code == 201]

    assert [[201, 409]] * TIMES == [statuses(pair) for pair in pairs]
    assert created == here.get(f"/production/{factory_id}").json()


def test_one_file_sent_to_both_at_once_is_stored_once(callers: tuple[Client, Client]) -> None:
    """Each record is created by one of them and unchanged for the other."""
    here, _ = callers
    factory_id = add_factory(here)
    body = as_csv([a_row(factory_id, second) for second in range(2000)])
    answers = [
        answer.raise_for_status().json()
        for answer in at_once(callers, call("POST", "/production", content=body, headers=CSV))
    ]

    assert (2000, 2000) == tuple(sum(answer[name] for answer in answers) for name in ("created", "unchanged"))
    assert 2000 == len(stored(here, factory_id))


def test_two_who_create_one_record_by_put_are_one_and_a_refusal(callers: tuple[Client, Client]) -> None:
    """`If-None-Match: *` creates only, so whoever comes second is told that it is there."""
    here, _ = callers
    factory_id = add_factory(here)
    only_new = {"If-None-Match": "*"}
    pairs = [
        at_once(callers, call("PUT", path, json=COUNTS, headers=only_new))
        for path in (f"/production/{factory_id}/{START + second}" for second in range(TIMES))
    ]

    assert [[201, 412]] * TIMES == [statuses(pair) for pair in pairs]


def test_fault_10_two_puts_with_one_etag_at_two_servers(callers: tuple[Client, Client]) -> None:
    """The second one is told that its version is stale, and what the first one stored stands."""
    here, _ = callers
    etag = here.post("/sprockets", json=a_sprocket()).headers["ETag"]
    outcomes = []
    for teeth in range(30, 30 + 2 * TIMES, 2):
        answers = at_once(
            callers,
            call("PUT", "/sprockets/1", json=a_sprocket(teeth=teeth), headers={"If-Match": etag}),
            call("PUT", "/sprockets/1", json=a_sprocket(teeth=teeth + 1), headers={"If-Match": etag}),
        )
        (won,) = (answer for answer in answers if answer.status_code == 200)
        outcomes.append((statuses(answers), won.json() == here.get("/sprockets/1").json()))
        etag = won.headers["ETag"]

    assert [([200, 412], True)] * TIMES == outcomes


def test_two_who_change_different_members_at_once_both_succeed(callers: tuple[Client, Client]) -> None:
    """No change is lost to the other one's."""
    here, _ = callers
    here.post("/sprockets", json=a_sprocket())
    found = []
    for number in range(1, TIMES + 1):
        answers = at_once(
            callers,
            call("PATCH", "/sprockets/1", json={"teeth": 100 + number}),
            call("PATCH", "/sprockets/1", json={"pitch": number}),
        )
        sprocket = here.get("/sprockets/1").json()
        found.append((statuses(answers), sprocket["teeth"] - 100, sprocket["pitch"]))

    assert [([200, 200], number, number) for number in range(1, TIMES + 1)] == found


def test_two_who_make_one_factory_known_at_once_are_one_and_a_conflict(callers: tuple[Client, Client]) -> None:
    """A name is that of one factory, whoever asked whom."""
    here, _ = callers
    pairs = [
        at_once(callers, call("POST", "/factories", json={"name": name}))
        for name in (f"Works {number}" for number in range(TIMES))
    ]

    assert [[201, 409]] * TIMES == [statuses(pair) for pair in pairs]
    assert TIMES == len(here.get("/factories").json())


def test_two_who_remove_one_sprocket_at_once_are_one_and_an_absence(callers: tuple[Client, Client]) -> None:
    """It is removed once."""
    here, _ = callers
    pairs = []
    for _ in range(TIMES):
        number = here.post("/sprockets", json=a_sprocket()).json()["id"]
        pairs.append(at_once(callers, call("DELETE", f"/sprockets/{number}")))

    assert [[204, 404]] * TIMES == [statuses(pair) for pair in pairs]


def test_a_factory_that_is_forgotten_while_it_produces_leaves_no_orphan(callers: tuple[Client, Client]) -> None:
    """Either it is forgotten and its record refused, or its record is stored and it stays."""
    here, _ = callers
    outcomes = set()
    for _ in range(TIMES):
        factory_id = add_factory(here)
        removed, posted = at_once(
            callers,
            call("DELETE", f"/factories/{factory_id}"),
            call("POST", "/production", json=a_row(factory_id)),
        )
        outcomes.add((removed.status_code, posted.status_code, here.get(f"/production/{factory_id}").status_code))

    assert outcomes <= {(204, 404, 404), (409, 201, 200)}
