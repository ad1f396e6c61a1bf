"""The record of changes: who did what when, one entry for every write that changed something."""

import csv
import io
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, NamedTuple

import pytest

from harness import Client, NewDatabase, Service, a_sprocket
from keyholders import caller, make_key
from sprocket_factory.access.callers import Caller
from sprocket_factory.database import Transaction
from sprocket_factory.entities.key import note_use
from sprocket_factory.entities.sprocket import NewSprocket, add_sprocket
from sprocket_factory.settings import Settings

Row = dict[str, Any]

MEMBERS = ["id", "at", "actor", "action", "entity", "key", "before", "after", "records", "request_id", "spans"]

TIME = "2021-01-21T02:06:58Z"
LATER = "2021-01-21T02:07:58.500000Z"
LATEST = "2021-01-21T03:00:00Z"
ELSEWHERE = "2021-01-21T03:06:58+01:00"
"""TIME, as somebody else writes it."""

SPROCKET, FACTORY, KEY = "/sprockets/1", "/factories/1", "/keys/1"
RECORD, NEW_RECORD = f"/production/1/{TIME}", f"/production/1/{LATER}"

EXISTING: dict[str, Row] = {
    "/sprockets": a_sprocket(),
    "/factories": {"name": "Sheffield", "time_zone": "Europe/London"},
    "/production": {"factory_id": 1, "time": TIME, "sprocket_production_actual": 31, "sprocket_production_goal": 32},
    "/keys": {"name": "press 1", "role": "operator", "factory_ids": [1]},
}

OTHER = {"sprocket_production_actual": 7, "sprocket_production_goal": 8}


class Write(NamedTuple):
    """A way to write one thing, the path at which the thing is, and what that is called."""

    method: str
    path: str
    body: Row | None
    thing: str
    action: str


class Attempt(NamedTuple):
    """A request that changes nothing."""

    method: str
    path: str
    body: Row | list[Row] | None = None
    parameters: Row | None = None
    headers: Row | None = None


WRITES = [
    Write("POST", "/sprockets", a_sprocket(teeth=9), "/sprockets/2", "create"),
    Write("PUT", SPROCKET, a_sprocket(teeth=9), SPROCKET, "replace"),
    Write("PATCH", SPROCKET, {"pitch": 12.7}, SPROCKET, "update"),
    Write("DELETE", SPROCKET, None, SPROCKET, "remove"),
    Write("POST", "/factories", {"name": "Łódź"}, "/factories/3", "create"),
    Write("PUT", FACTORY, {"name": '"Leeds" \\ =1+1', "time_zone": "UTC"}, FACTORY, "replace"),
    Write("PATCH", FACTORY, {"time_zone": "Asia/Kolkata"}, FACTORY, "update"),
    Write("DELETE", "/factories/2", None, "/factories/2", "remove"),
    Write("POST", "/production", {"factory_id": 1, "time": LATER} | OTHER, NEW_RECORD, "create"),
    Write("PUT", NEW_RECORD, OTHER, NEW_RECORD, "create"),
    Write("PUT", f"/production/1/{ELSEWHERE}", OTHER, RECORD, "replace"),
    Write("PATCH", RECORD, {"sprocket_production_goal": 40}, RECORD, "update"),
    Write("DELETE", RECORD, None, RECORD, "remove"),
    Write("POST", "/keys", {"name": "press 2", "role": "viewer"}, "/keys/2", "create"),
    Write("DELETE", KEY, None, KEY, "revoke"),
]
ENTITIES = {"sprockets": "sprocket", "factories": "factory", "production": "production", "keys": "key"}

IDLE = [
    Attempt("PUT", SPROCKET, EXISTING["/sprockets"]),
    Attempt("PATCH", SPROCKET, {"teeth": 20, "pitch": 25.4}),
    Attempt("PATCH", SPROCKET, {}),
    Attempt("PUT", FACTORY, EXISTING["/factories"]),
    Attempt("PATCH", FACTORY, {"name": "Sheffield"}),
    Attempt("PUT", f"/production/1/{ELSEWHERE}", {"sprocket_production_actual": 31, "sprocket_production_goal": 32}),
    Attempt("PATCH", RECORD, {"sprocket_production_actual": 31}),
    Attempt("POST", "/production", EXISTING["/production"]),
    Attempt("POST", "/production", [EXISTING["/production"]] * 2),
    Attempt("POST", "/production", [EXISTING["/production"] | OTHER], {"on_conflict": "skip"}),
    Attempt("POST", "/production", [EXISTING["/production"] | OTHER], {"on_conflict": "replace", "dry_run": "true"}),
    Attempt("POST", "/production", []),
    Attempt("DELETE", "/production", None, {"factory_id": 1, "time__gte": TIME, "time__lt": LATER, "dry_run": "true"}),
    Attempt("DELETE", "/production", None, {"factory_id": 1, "time__gte": LATER, "time__lt": LATEST}),
]
"""Writes that are accepted and leave everything as it is."""

REFUSED = [
    Attempt("POST", "/sprockets", a_sprocket(teeth=2)),
    Attempt("PUT", SPROCKET, a_sprocket(teeth=9), headers={"If-Match": '"0123456789abcdef"'}),
    Attempt("DELETE", SPROCKET, None, headers={"If-Match": '"0123456789abcdef"'}),
    Attempt("DELETE", "/sprockets/99", None),
    Attempt("POST", "/factories", {"name": "Sheffield"}),
    Attempt("PATCH", "/factories/2", {"name": "Sheffield"}),
    Attempt("DELETE", FACTORY, None),
    Attempt("PUT", RECORD, OTHER, headers={"If-None-Match": "*"}),
    Attempt("POST", "/production", EXISTING["/production"] | OTHER),
    Attempt("POST", "/production", [EXISTING["/production"] | {"time": LATER}, EXISTING["/production"] | OTHER]),
    Attempt("POST", "/production", [EXISTING["/production"] | {"time": LATER, "factory_id": 9}]),
    Attempt("POST", "/keys", {"name": "press 2", "role": "admin", "factory_ids": [1]}),
    Attempt("DELETE", "/keys/99", None),
]


@pytest.fixture(scope="module")
def running(new_database: NewDatabase, stopping: list[Service]) -> Iterator[Service]:
    """Run one service for all the tests of the module, in which everybody is an administrator."""
    service = Service(Settings(database_url=new_database()), anonymous_role="admin")
    service.start()
    yield service
    service.stop()
    stopping.append(service)


@pytest.fixture
def admin(service: Service) -> Iterator[Client]:
    """Return somebody who may do everything, where there is one of each thing and a factory without production."""
    with Client(service.address) as client:
        for path, body in EXISTING.items():
            assert 201 == client.post(path, json=body).status_code
        client.post("/factories", json={"name": "Rotherham"})
        yield client


def changes_behind(client: Client, position: int) -> list[Row]:
    """Return the changes behind this position."""
    changes: list[Row] = client.get("/changes", params={"id__gt": position}).json()
    return changes


def last_position(client: Client) -> int:
    """Return the position of the last change."""
    position: int = client.get("/changes", params={"sort": "-id", "limit": 1}).json()[0]["id"]
    return position


def changes_of(client: Client, attempt: Attempt) -> list[Row]:
    """Make a request, which is accepted, and return the changes that it leaves."""
    position = last_position(client)
    answer = client.request(attempt.method, attempt.path, json=attempt.body, params=attempt.parameters)
    assert answer.is_success, answer.text
    return changes_behind(client, position)


def load(client: Client, *rows: Row, on_conflict: str = "error") -> list[Row]:
    """Store many records at once, and return the changes that this leaves."""
    return changes_of(client, Attempt("POST", "/production", [*rows], {"on_conflict": on_conflict}))


def remove_span(client: Client, since: str, until: str) -> list[Row]:
    """Remove the records of factory 1 between two times, and return the changes that this leaves."""
    return changes_of(
        client, Attempt("DELETE", "/production", None, {"factory_id": 1, "time__gte": since, "time__lt": until})
    )


def told(client: Client, path: str) -> Row | None:
    """Return a thing as the service tells it; None where it is not there."""
    answer = client.get(path)
    return answer.json() if answer.is_success else None


def record(time: str, actual: int, goal: int, factory_id: int = 1) -> Row:
    """Return a record of production."""
    return {
        "sprocket_production_actual": actual,
        "sprocket_production_goal": goal,
        "time": time,
        "factory_id": factory_id,
    }


def span(factory_id: int, first: str, last: str, records: int) -> Row:
    """Return what a change of many says of one factory."""
    return {"factory_id": factory_id, "from": first, "to": last, "records": records}


@pytest.mark.parametrize("write", WRITES, ids=lambda write: f"{write.method} {write.path} {write.action}")
def test_a_write_leaves_one_entry_with_the_thing_before_and_after(admin: Client, write: Write) -> None:
    """Both are what GET told before and tells now: whole, and null where there is nothing."""
    before, position = told(admin, write.thing), last_position(admin)
    answer = admin.request(write.method, write.path, json=write.body)
    after = told(admin, write.thing)
    (change,) = changes_behind(admin, position)
    noun, _, key = write.thing.removeprefix("/").partition("/")

    assert answer.is_success
    assert (before, after) == (change["before"], change["after"])
    assert (write.action, ENTITIES[noun], key, 1, None) == tuple(
        change[member] for member in ("action", "entity", "key", "records", "spans")
    )


def test_an_entry_has_its_members_in_the_promised_order(admin: Client) -> None:
    """Readers of CSV and of JSON alike may go by it."""
    (first, *_) = admin.get("/changes").json()

    assert MEMBERS == list(first)
    assert ",".join(MEMBERS) == admin.get("/changes?format=csv").text.splitlines()[0]


def test_an_entry_says_when_and_for_which_request(admin: Client) -> None:
    """The moment is that of the write, and the request id leads to the log."""
    position, began = last_position(admin), datetime.now(UTC)
    answers = [admin.delete(SPROCKET), admin.post("/sprockets", json=a_sprocket(), headers={"X-Request-ID": "mine:1"})]
    ended = datetime.now(UTC)
    changes = changes_behind(admin, position)

    assert [answer.headers["X-Request-ID"] for answer in answers] == [change["request_id"] for change in changes]
    assert "mine:1" == changes[1]["request_id"]
    assert all(began <= datetime.fromisoformat(change["at"]) <= ended for change in changes)


@pytest.mark.parametrize("attempt", IDLE)
def test_a_write_that_changes_nothing_leaves_no_entry(admin: Client, attempt: Attempt) -> None:
    """A machine may repeat itself for ever, and somebody may only look what would become of a file."""
    assert [] == changes_of(admin, attempt)


@pytest.mark.parametrize("attempt", REFUSED)
def test_what_was_refused_leaves_no_entry(admin: Client, attempt: Attempt) -> None:
    """Whatever the reason is, nothing was changed."""
    position = last_position(admin)
    answer = admin.request(attempt.method, attempt.path, json=attempt.body, headers=attempt.headers)

    assert answer.is_client_error
    assert [] == changes_behind(admin, position)


def test_an_entry_goes_with_its_write(admin: Client, service: Service) -> None:
    """Where a transaction is taken back after the entry was written, neither is there."""
    position = last_position(admin)

    async def add_and_fail(tx: Transaction) -> None:
        await add_sprocket(tx, NewSprocket(teeth=5, pitch_diameter=5, outside_diameter=6, pitch=1))
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        service.run(service.database.write, add_and_fail, by="test")

    assert [] == changes_behind(admin, position)
    assert 1 == len(admin.get("/sprockets").json())


def test_a_repetition_that_is_answered_from_memory_leaves_no_second_entry(admin: Client) -> None:
    """Under an Idempotency-Key a POST is done once, so it is told of once."""
    position = last_position(admin)
    answers = [
        admin.post(path, json=body, headers={"Idempotency-Key": "once"})
        for path, body in (("/sprockets", a_sprocket()), ("/production", [record(LATER, 1, 2)]))
        for _ in range(3)
    ]

    assert [None, "true", "true"] * 2 == [answer.headers.get("Idempotent-Replayed") for answer in answers]
    assert ["create", "import"] == [change["action"] for change in changes_behind(admin, position)]


def test_an_import_is_one_entry_with_what_it_touched_by_factory(admin: Client) -> None:
    """It names for each factory the first and the last record that was stored, and how many; what stays is left out."""
    rows = [
        record("2021-01-20T00:00:00Z", 1, 2, 2),
        record("2021-01-20T00:01:00Z", 3, 4, 2),
        record("2021-01-19T23:59:00Z", 5, 6, 2),
        record(LATER, 7, 8),
        record(TIME, 31, 32),  # is stored already
    ]
    (change,) = load(admin, *rows)

    assert ("import", "production", "", None, None, 4) == tuple(
        change[member] for member in ("action", "entity", "key", "before", "after", "records")
    )
    assert [
        span(1, LATER, LATER, 1),
        span(2, "2021-01-19T23:59:00Z", "2021-01-20T00:01:00Z", 3),
    ] == sorted(change["spans"], key=lambda one: one["factory_id"])
    assert [] == admin.get(f"/changes/{change['id']}/rows").json()


def test_an_import_keeps_the_records_that_it_replaces(admin: Client) -> None:
    """They are listed as they were: those alone whose values changed, by factory and time."""
    load(admin, record(LATER, 1, 2), record(TIME, 3, 4, 2), record(LATER, 5, 6, 2))
    rows = [
        record(LATER, 1, 2),  # the same
        record(LATER, 9, 9, 2),
        record(TIME, 9, 9, 2),
        record(TIME, 9, 9),
        record(LATEST, 9, 9),  # new
    ]
    (change,) = load(admin, *rows, on_conflict="replace")

    assert [record(TIME, 31, 32), record(TIME, 3, 4, 2), record(LATER, 5, 6, 2)] == admin.get(
        f"/changes/{change['id']}/rows"
    ).json()
    assert ("import", 4) == (change["action"], change["records"])


def test_an_import_that_names_a_record_twice_keeps_what_was_stored_before(admin: Client) -> None:
    """What stood in the body in between was never stored, and does not count."""
    rows = [record(TIME, actual, 9) for actual in (1, 2, 3)] + [record(LATER, actual, 9) for actual in (1, 2)]
    (change,) = load(admin, *rows, on_conflict="replace")

    assert [record(TIME, 31, 32)] == admin.get(f"/changes/{change['id']}/rows").json()
    assert ("1", 2, [span(1, TIME, LATER, 2)]) == (change["key"], change["records"], change["spans"])


def test_an_import_that_comes_back_to_what_was_stored_leaves_no_entry(admin: Client) -> None:
    """A record that is written over and back again within one body has not changed."""
    rows = [record(TIME, 1, 1), record(TIME, 31, 32)]

    assert [] == load(admin, *rows, on_conflict="replace")


def test_an_import_that_skips_tells_of_what_was_new(admin: Client) -> None:
    """What is skipped has not changed, so it is neither counted nor kept."""
    rows = [record(TIME, 1, 1), record(LATER, 1, 1), record(LATER, 2, 2)]
    (change,) = load(admin, *rows, on_conflict="skip")

    assert (1, [span(1, LATER, LATER, 1)]) == (change["records"], change["spans"])
    assert [] == admin.get(f"/changes/{change['id']}/rows").json()


def test_a_removed_span_is_one_entry_that_keeps_its_records(admin: Client) -> None:
    """It names the first and the last record that is gone, not the bounds of the request."""
    load(admin, record(LATER, 1, 2), record(LATEST, 3, 4), record(TIME, 5, 6, 2))
    (change,) = remove_span(admin, "2000-01-01T00:00:00Z", LATEST)

    assert ("remove", "production", "1", None, None, 2, [span(1, TIME, LATER, 2)]) == tuple(
        change[member] for member in ("action", "entity", "key", "before", "after", "records", "spans")
    )
    assert [record(TIME, 31, 32), record(LATER, 1, 2)] == admin.get(f"/changes/{change['id']}/rows").json()


def test_old_rows_are_those_of_their_change_alone(admin: Client) -> None:
    """Each of several imports has the values that it wrote over."""
    position = last_position(admin)
    for actual in (1, 2, 3):
        admin.post("/production", json=[record(TIME, actual, 32)], params={"on_conflict": "replace"})
    rows = [admin.get(f"/changes/{change['id']}/rows").json() for change in changes_behind(admin, position)]

    assert [[record(TIME, actual, 32)] for actual in (31, 1, 2)] == rows


def test_old_rows_are_listed_as_production_is(admin: Client) -> None:
    """Filters, order, pages, counts and formats are those of every list."""
    load(admin, *(record(f"2021-01-22T00:0{place}:00Z", place, 9) for place in range(6)))
    (change,) = remove_span(admin, "2021-01-22T00:00:00Z", "2021-01-23T00:00:00Z")
    path = f"/changes/{change['id']}/rows"
    whole = admin.get(path).json()
    page = admin.get(path, params={"sort": "-time", "limit": 4, "count": "true"})
    rest = admin.get(admin.address + page.links["next"]["url"])
    text = admin.get(path, params={"format": "csv", "sprocket_production_actual__gte": 4}).text

    assert whole[::-1] == page.json() + rest.json()
    assert "6" == page.headers["X-Total-Count"]
    assert [
        "sprocket_production_actual,sprocket_production_goal,time,factory_id",
        "4,9,2021-01-22T00:04:00Z,1",
        "5,9,2021-01-22T00:05:00Z,1",
    ] == text.splitlines()


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    "change_id", ["99", "0", "-1", "9223372036854775807", "9223372036854775808", "abc", "%00", "1_0"]
)
def test_an_unknown_change_has_no_rows_to_list(admin: Client, method: str, change_id: str) -> None:
    """An id that no change has, or that is none, is 404."""
    assert 404 == admin.request(method, f"/changes/{change_id}/rows").status_code


def test_a_change_of_one_thing_has_no_old_rows(admin: Client) -> None:
    """What it was stands in the entry itself."""
    answer = admin.get("/changes/1/rows")

    assert (200, []) == (answer.status_code, answer.json())


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({"entity": "production"}, [3]),
        ({"action": "create", "entity__in": "sprocket,factory"}, [1, 2, 5]),
        ({"key": f"1/{TIME}"}, [3]),
        ({"actor": "anonymous", "sort": "-id", "limit": "2"}, [5, 4]),
        ({"actor": "somebody else"}, []),
        ({"id__gt": "3"}, [4, 5]),
        ({"records__gt": "1"}, []),
        ({"at__lt": "2021-01-21T02:06:58Z"}, []),
        ({"at__gte": "2021-01-21T02:06:58Z", "sort": "entity,-id"}, [5, 2, 4, 3, 1]),
    ],
)
def test_changes_are_filtered_and_sorted_as_every_list(
    admin: Client, parameters: dict[str, str], expected: list[int]
) -> None:
    """Every member that is one value can be asked for, and the default order is that of the positions."""
    assert expected == [change["id"] for change in admin.get("/changes", params=parameters).json()]


@pytest.mark.parametrize("parameter", ["before", "after__gt", "spans", "batch", "digest"])
def test_changes_are_not_asked_for_by_what_has_no_single_value(admin: Client, parameter: str) -> None:
    """The refusal names it, as that of anything unknown."""
    answer = admin.get("/changes", params={parameter: "1"})

    assert (422, parameter) == (answer.status_code, answer.json()["errors"][0]["pointer"])


def test_pages_of_changes_are_the_whole_list(admin: Client) -> None:
    """Following the links gives each entry once, in the order of the positions."""
    whole = admin.get("/changes").json()
    page = admin.get("/changes", params={"limit": 2})
    pages = page.json()
    while "next" in page.links:
        page = admin.get(admin.address + page.links["next"]["url"])
        pages += page.json()

    assert whole == pages


def test_every_format_tells_the_same(admin: Client) -> None:
    """What is an object in JSON and NDJSON is its JSON in CSV, which no spreadsheet takes for a formula."""
    admin.patch(FACTORY, json={"name": "=1+1"})
    admin.post("/production", json=[record(LATER, 1, 2)])
    whole = admin.get("/changes").json()
    lines = admin.get("/changes?format=ndjson").text.splitlines()
    cells = [*csv.DictReader(io.StringIO(admin.get("/changes?format=csv").text, newline=""))]
    shown = ("before", "after", "spans")

    assert whole == [json.loads(line) for line in lines]
    assert [[change[member] for member in shown] for change in whole] == [
        [json.loads(row[member]) if row[member] else None for member in shown] for row in cells
    ]
    assert [str(change["id"]) for change in whole] == [row["id"] for row in cells]
    assert not [cell for row in cells for cell in row.values() if cell.startswith(("=", "+", "-", "@"))]


@pytest.mark.parametrize("name", ["press 1", "load", "anonymous", "press 1 (key:1)", "=cmd|' /C calc'!A1", "Łódź (Ł)"])
def test_an_entry_names_who_did_it(admin: Client, service: Service, name: str) -> None:
    """The name is one that people know, and the number behind it is nobody else's, whatever names they choose."""
    key = admin.post("/keys", json={"name": name, "role": "engineer"}).json()
    with caller(service, key["secret"]) as holder:
        holder.delete(SPROCKET)
    last: Row = {"sort": "-id", "limit": 1}
    (change,) = admin.get("/changes", params=last).json()
    (row,) = csv.DictReader(io.StringIO(admin.get("/changes", params=last | {"format": "csv"}).text))
    actor = f"{name} (key:{key['id']})"

    assert (actor, "remove") == (change["actor"], change["action"])
    assert (f"'{actor}" if name.startswith("=") else actor) == row["actor"]


def test_no_two_callers_are_called_the_same() -> None:
    """Whatever name somebody has chosen, and whatever an issuer calls its subjects."""
    key = Caller("key:3", "Jane (oidc:https://issuer.example#a)", "admin")
    forgers = ["a) (key:3", "a%29 (key:3", "a%29 %28key:3", "a"]
    tokens = [Caller(f"oidc:https://issuer.example#{sub}", "Jane", "admin") for sub in forgers]

    assert 5 == len({caller.actor for caller in (key, *tokens)})
    assert "Jane (oidc:https://issuer.example#a)" == tokens[-1].actor


def test_who_has_no_key_is_anonymous(admin: Client) -> None:
    """Where that is allowed at all."""
    admin.delete(SPROCKET)

    assert {"anonymous"} == {change["actor"] for change in admin.get("/changes").json()}


@pytest.mark.parametrize("form", ["json", "ndjson", "csv"])
def test_the_record_of_a_key_shows_no_secret(admin: Client, form: str) -> None:
    """Neither the secret nor what is stored of it is written down a second time."""
    key = admin.post("/keys", json={"name": "press 2", "role": "viewer"}).json()
    admin.delete(f"/keys/{key['id']}")
    text = admin.get("/changes", params={"format": form}).text

    assert "press 2" in text
    assert key["secret"] not in text
    assert sha256(key["secret"].encode()).hexdigest() not in text
    assert "digest" not in text


def test_the_use_of_a_key_is_no_change(admin: Client, service: Service) -> None:
    """Nobody has changed anything, and there would be an entry for every reader."""
    key = make_key(service, "viewer")
    position = last_position(admin)
    with caller(service, key.secret) as holder:
        holder.get("/me")
    service.run(service.database.write, note_use_of, key.id, by="service")

    assert [] == changes_behind(admin, position)


async def note_use_of(tx: Transaction, key_id: int) -> None:
    """Note that a key was used, as the service does some seconds after it was."""
    await note_use(tx, [(key_id, 1_611_194_818_000_000)])


def test_the_position_of_a_change_is_never_given_again(admin: Client, service: Service) -> None:
    """Whoever remembers one takes nothing newer for what he knows."""
    position = last_position(admin)

    async def forget_changes(tx: Transaction) -> None:
        await tx.run("DELETE FROM changes")

    service.run(service.database.write, forget_changes, by="test")
    admin.delete(SPROCKET)

    assert [position + 1] == [change["id"] for change in admin.get("/changes").json()]
