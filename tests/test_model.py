"""The service and a model of it in memory, side by side: whatever is done, in whatever order, they stay the same.

Hypothesis makes up runs of requests over few values, so that they meet often: creates, changes with and without
conditions, removals, bulk loads, spans, POSTs that come again under their key. After every step all lists are asked
for, whole, filtered, sorted and in pages. How many runs there are MODEL_RUNS in the environment says, which
`bin/check --long` sets.
"""

import csv
import io
import json
import operator
import os
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta, timezone
from functools import partial
from random import Random
from typing import Any, NamedTuple

import httpx
from hypothesis import HealthCheck, Phase
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from harness import BASE_PATH, Client, Service, forget_everything

Row = dict[str, Any]
Key = tuple[int, datetime]
Counts = tuple[int, int]

RUNS = int(os.environ.get("MODEL_RUNS", "15"))
STEPS = 40

NOWHERE = -1
UNKNOWN_ID = 2**63 - 1

MOMENTS = [
    datetime(1980, 1, 1, tzinfo=UTC),
    datetime(2020, 12, 31, 23, 30, tzinfo=UTC),
    datetime(2021, 1, 21, 2, 6, 58, tzinfo=UTC),
    datetime(2021, 1, 21, 2, 6, 58, 250_000, tzinfo=UTC),
    datetime(2021, 1, 21, 2, 7, 58, tzinfo=UTC),
]
AFTER_ALL = datetime(2022, 1, 1, tzinfo=UTC)

NAMES = ["Sheffield", "SHEFFIELD, East", "Straße", "=1+1", "İzmir%_!"]
PIECES = ["sheff", "STRASSE", "%", "_", "!", "=1", "i̇Z", ", e"]
"""What names may contain, case folded."""

JSON = "application/json"
NDJSON = "application/x-ndjson"
CSV = "text/csv"

COUNTS = ("sprocket_production_actual", "sprocket_production_goal")
MEMBERS = {
    "/sprockets": ("id", "teeth", "pitch_diameter", "outside_diameter", "pitch"),
    "/factories": ("id", "name", "time_zone"),
    "/production": (*COUNTS, "time", "factory_id"),
}
KEYS = {"/sprockets": ["id"], "/factories": ["id"], "/production": ["factory_id", "time"]}

OUTCOMES = ("created", "replaced", "unchanged", "skipped")

COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "": operator.eq,
    "__lt": operator.lt,
    "__lte": operator.le,
    "__gt": operator.gt,
    "__gte": operator.ge,
}

ABSENT = {"name": "Nowhere", "time_zone": "UTC", "time": "1999-01-01T00:00:00Z"}
"""What to compare with where nothing is there."""

NOTATIONS = ["Z", "+05:45", "-11:00", "seconds"]


class Record(NamedTuple):
    """A record as it is sent, its factory by its place among those that are there."""

    place: int
    moment: datetime
    counts: Counts
    notation: str


class Change(NamedTuple):
    """What is to be done to a sprocket or a factory."""

    method: str
    noun: str
    new: Row | None


class Kept(NamedTuple):
    """A POST that was done under a key, and how it was answered."""

    request: tuple[bytes, str, Mapping[str, str], str | None]
    answer: tuple[object, ...]


places = st.sampled_from([0, 1, 2, 3, 0, 1, 2, 3, NOWHERE])
"""Which of those that are there; now and then one that is not."""
moments = st.sampled_from(MOMENTS)
notations = st.sampled_from(NOTATIONS)
records = st.builds(Record, places, moments, st.tuples(st.integers(0, 2), st.integers(0, 2)), notations)
batches = st.lists(records | records.filter(lambda record: record.place != NOWHERE), min_size=1, max_size=6)
lengths = st.sampled_from([0.5, 1.0, 25.4, 1e6])
sprockets = {"teeth": st.integers(3, 5), "pitch_diameter": lengths, "outside_diameter": lengths, "pitch": lengths}
factories = {"name": st.sampled_from(NAMES), "time_zone": st.sampled_from(["UTC", "Europe/London"])}
new_factories = st.fixed_dictionaries({"name": factories["name"]}, optional={"time_zone": factories["time_zone"]})
changes = st.one_of(
    st.builds(Change, st.just("PUT"), st.just("/sprockets"), st.fixed_dictionaries(sprockets)),
    st.builds(Change, st.just("PATCH"), st.just("/sprockets"), st.fixed_dictionaries({}, optional=sprockets)),
    st.builds(Change, st.just("PUT"), st.just("/factories"), st.fixed_dictionaries(factories)),
    st.builds(Change, st.just("PATCH"), st.just("/factories"), st.fixed_dictionaries({}, optional=factories)),
    st.builds(Change, st.just("DELETE"), st.sampled_from(["/sprockets", "/factories"]), st.none()),
)
idempotency_keys = st.none() | st.sampled_from("abcdefgh")
yes_or_no = st.sampled_from(["true", "false"])
conditions = st.sampled_from(["none", "none", "none", "known", "stale", "any", "absent"])


def told(moment: datetime) -> str:
    """Return a moment as the service tells it."""
    return moment.isoformat().replace("+00:00", "Z")


def told_record(where: Key, counts: Counts) -> Row:
    """Return a record as the service tells it."""
    factory_id, moment = where
    return dict(zip(MEMBERS["/production"], (*counts, told(moment), factory_id), strict=True))


def path_of(where: Key) -> str:
    """Return the path of a record."""
    factory_id, moment = where
    return f"/production/{factory_id}/{told(moment)}"


def written(moment: datetime, notation: str) -> str:
    """Return a moment as somebody writes it."""
    if notation == "Z":
        return told(moment)
    if notation == "seconds":
        return f"{moment.timestamp():.6f}".rstrip("0").rstrip(".")
    hours, minutes = int(notation[:3]), int(notation[4:])
    return moment.astimezone(timezone(timedelta(hours=hours, minutes=minutes))).isoformat()


def encoded(rows: list[Row], media_type: str) -> bytes:
    """Return records in one of the formats in which many are sent."""
    if media_type == JSON:
        return json.dumps(rows).encode()
    if media_type == NDJSON:
        return "\n".join(map(json.dumps, rows)).encode()
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def cells_of(row: Row) -> list[str]:
    """Return a row as it stands in CSV; of the names, one is text that a spreadsheet would run."""
    return [f"'{value}" if value == "=1+1" else str(value) for value in row.values()]


def rows_of(answer: httpx.Response) -> list[int]:
    """Return the numbers of the rows that a refusal names."""
    return [error["row"] for error in answer.json()["errors"]]


def comparable(member: str, value: Any) -> Any:
    """Return a member as it compares: times are told with decimals only where they have some."""
    return datetime.fromisoformat(value) if member == "time" else value


def comparable_in(member: str, row: Row) -> Any:
    """Return a member of a row as it compares."""
    return comparable(member, row[member])


class SideBySide(RuleBasedStateMachine):
    """The steps, each done to the service and to the model."""

    def __init__(self, service: Service, client: Client) -> None:
        super().__init__()
        service.run(service.database.write, forget_everything, by="test")
        self.client = client
        self.things: dict[str, dict[int, Row]] = {"/sprockets": {}, "/factories": {}}
        self.newest = {"/sprockets": 0, "/factories": 0}
        self.production: dict[Key, Counts] = {}
        self.kept: dict[tuple[str, str], Kept] = {}
        self.known: dict[str, tuple[str, Row]] = {}
        self.bodies: dict[str, bytes] = {}
        self.etags: dict[bytes, str] = {}
        self.random = Random(0)  # noqa: S311 - begin replaces it

    @initialize(random=st.randoms(use_true_random=True))
    def begin(self, random: Random) -> None:
        """Have something to meet, and settle which lists will be asked for."""
        self.random = random
        for name in NAMES[:2]:
            self.add_factory({"name": name}, None)
            self.add_sprocket({"teeth": 3, "pitch_diameter": 1.0, "outside_diameter": 1.0, "pitch": 1.0}, None)
        for place in (0, 1):
            self.add_record(Record(place, MOMENTS[2], (1, 1), "Z"), None)

    @rule(new=st.fixed_dictionaries(sprockets), key=idempotency_keys)
    def add_sprocket(self, new: Row, key: str | None) -> None:
        """POST /sprockets."""
        answer = self.post_one("/sprockets", new, key)
        if answer is not None:
            self.expect_new("/sprockets", answer, new)

    @rule(new=new_factories, key=idempotency_keys)
    def add_factory(self, new: Row, key: str | None) -> None:
        """POST /factories."""
        answer = self.post_one("/factories", new, key)
        if answer is not None and self.is_taken(new["name"]):
            assert 409 == answer.status_code
        elif answer is not None:
            self.expect_new("/factories", answer, {"time_zone": "UTC"} | new)

    @rule(change=changes, place=places, condition=conditions)
    def change_thing(self, change: Change, place: int, condition: str) -> None:
        """PUT, PATCH or DELETE of a sprocket or a factory."""
        method, noun, new = change
        thing_id = self.pick(noun, place)
        path = f"{noun}/{thing_id}"
        stored = self.things[noun].get(thing_id)
        answer = self.client.request(method, path, json=new, headers=self.headers(condition, path))
        if not self.expect_change(answer, condition, path, stored):
            return
        if new is None and noun == "/factories" and any(whose == thing_id for whose, _ in self.production):
            assert 409 == answer.status_code
        elif new is None:
            assert 204 == answer.status_code
            del self.things[noun][thing_id]
        elif noun == "/factories" and self.is_taken(new.get("name"), besides=thing_id):
            assert 409 == answer.status_code
        else:
            changed = self.things[noun][thing_id] | new
            assert (200, changed) == (answer.status_code, answer.json())
            self.things[noun][thing_id] = changed

    @rule(record=records, key=idempotency_keys)
    def add_record(self, record: Record, key: str | None) -> None:
        """POST /production, one record."""
        where, row = self.key_of(record), self.row_of(record)
        answer = self.post_one("/production", row, key)
        if answer is None:
            return
        if where in self.production:
            assert (200 if self.production[where] == record.counts else 409) == answer.status_code
        elif where[0] not in self.things["/factories"]:
            assert 404 == answer.status_code
        else:
            assert (201, BASE_PATH + path_of(where)) == (answer.status_code, answer.headers["Location"])
            self.production[where] = record.counts
        if answer.is_success:
            assert told_record(where, record.counts) == answer.json()

    @rule(record=records, condition=conditions)
    def put_record(self, record: Record, condition: str) -> None:
        """PUT /production/{factory_id}/{time}."""
        where = self.key_of(record)
        answer = self.change_record("PUT", record, dict(zip(COUNTS, record.counts, strict=True)), condition)
        if where[0] not in self.things["/factories"]:
            assert 404 == answer.status_code
        elif not self.holds(condition, path_of(where), self.stored_record(where)):
            assert 412 == answer.status_code
        else:
            assert (200 if where in self.production else 201) == answer.status_code
            self.production[where] = record.counts
            assert told_record(where, record.counts) == answer.json()

    @rule(record=records, members=st.sets(st.sampled_from(COUNTS)), condition=conditions)
    def patch_record(self, record: Record, members: set[str], condition: str) -> None:
        """PATCH /production/{factory_id}/{time}."""
        where = self.key_of(record)
        new = {name: count for name, count in zip(COUNTS, record.counts, strict=True) if name in members}
        stored = self.stored_record(where)
        answer = self.change_record("PATCH", record, new, condition)
        if self.expect_change(answer, condition, path_of(where), stored):
            changed = (stored or {}) | new
            assert (200, changed) == (answer.status_code, answer.json())
            self.production[where] = (changed[COUNTS[0]], changed[COUNTS[1]])

    @rule(record=records, condition=conditions)
    def delete_record(self, record: Record, condition: str) -> None:
        """DELETE /production/{factory_id}/{time}."""
        where = self.key_of(record)
        answer = self.change_record("DELETE", record, None, condition)
        if self.expect_change(answer, condition, path_of(where), self.stored_record(where)):
            assert 204 == answer.status_code
            del self.production[where]

    @rule(
        batch=batches,
        on_conflict=st.sampled_from(["error", "replace", "skip"]),
        dry_run=yes_or_no,
        media_type=st.sampled_from([JSON, NDJSON, CSV]),
        key=idempotency_keys,
    )
    def add_many(
        self,
        batch: list[Record],
        on_conflict: str,
        dry_run: str,
        media_type: str,
        key: str | None,
    ) -> None:
        """POST /production, many records."""
        body = encoded([self.row_of(record) for record in batch], media_type)
        parameters = {"on_conflict": on_conflict, "dry_run": dry_run}
        answer = self.post("/production", body, media_type, parameters, key)
        if answer is None:
            return
        after, outcomes = self.merged(batch, on_conflict)
        if unknown := [row for row, outcome in enumerate(outcomes, 1) if outcome == "unknown"]:
            assert (422, unknown) == (answer.status_code, rows_of(answer))
        elif clashes := [row for row, outcome in enumerate(outcomes, 1) if outcome == "clash"]:
            assert (409, clashes) == (answer.status_code, rows_of(answer))
        else:
            told_outcomes = {outcome: outcomes.count(outcome) for outcome in OUTCOMES}
            assert (200, {"records": len(batch)} | told_outcomes) == (answer.status_code, answer.json())
            self.production = self.production if dry_run == "true" else after

    @rule(
        place=places, since=moments, until=st.sampled_from([*MOMENTS, AFTER_ALL]), dry_run=yes_or_no, notation=notations
    )
    def delete_span(
        self,
        place: int,
        since: datetime,
        until: datetime,
        dry_run: str,
        notation: str,
    ) -> None:
        """DELETE /production."""
        factory_id = self.pick("/factories", place)
        answer = self.client.delete(
            "/production",
            params={
                "factory_id": factory_id,
                "time__gte": written(since, notation),
                "time__lt": told(until),
                "dry_run": dry_run,
            },
        )
        gone = [(whose, moment) for whose, moment in self.production if whose == factory_id and since <= moment < until]
        if since >= until:
            assert 422 == answer.status_code
        elif factory_id not in self.things["/factories"]:
            assert 404 == answer.status_code
        else:
            assert (200, {"removed": len(gone)}) == (answer.status_code, answer.json())
            self.production = {
                where: stored for where, stored in self.production.items() if dry_run == "true" or where not in gone
            }

    @rule(place=st.integers(0, 7))
    def post_again(self, place: int) -> None:
        """Send a POST again that was done under a key, as somebody does who lost the answer."""
        if self.kept:
            path, key = sorted(self.kept)[place % len(self.kept)]
            self.post(path, *self.kept[path, key].request)

    @invariant()
    def one_thing_is_the_same(self) -> None:
        """Ask for one thing, and remember its version."""
        place = self.random.choice([0, 1, 2, 3, NOWHERE])
        where = self.random.choice([*self.production, (self.pick("/factories", place), self.random.choice(MOMENTS))])
        paths = {f"{noun}/{self.pick(noun, place)}": noun for noun in self.things} | {path_of(where): "/production"}
        path, noun = self.random.choice(list(paths.items()))
        if noun == "/production":
            self.expect_read(path, self.stored_record(where))
        else:
            self.expect_read(path, self.things[noun].get(self.pick(noun, place)))

    @invariant()
    def lists_are_the_same(self) -> None:
        """Ask for every list, whole."""
        for path in ("/sprockets", "/factories", "/production", *(f"/production/{one}" for one in self.some_factory())):
            assert self.rows(path) == self.ask(path).json()

    @invariant()
    def a_filtered_list_is_the_same(self) -> None:
        """Ask for what some filters leave, in some order, whole in some format and then in pages."""
        path = self.random.choice(["/sprockets", "/factories", "/production"])
        parameters, rows = self.filtered(path)
        match self.random.choice(["json", "ndjson", "csv"]):
            case "json":
                assert rows == self.ask(path, parameters | {"format": "json"}).json()
            case "ndjson":
                lines = self.ask(path, parameters | {"format": "ndjson"}).text.splitlines()
                assert rows == [json.loads(line) for line in lines]
            case "csv":
                answer = self.ask(path, parameters | {"format": "csv"})
                assert [[*MEMBERS[path]], *map(cells_of, rows)] == [*csv.reader(io.StringIO(answer.text, newline=""))]
        limit = self.random.randint(1, 3)
        page = self.ask(path, parameters | {"limit": limit, "count": "true"})
        pages = [page.json()]
        while "next" in page.links:
            page = self.ask(self.client.address + page.links["next"]["url"])
            pages.append(page.json())

        assert [rows[place : place + limit] for place in range(0, max(len(rows), 1), limit)] == pages
        assert str(len(rows)) == page.headers["X-Total-Count"]

    def pick(self, noun: str, place: int) -> int:
        """Return the id at this place, or one that nothing has."""
        ids = sorted(self.things[noun])
        return ids[place % len(ids)] if ids and place != NOWHERE else UNKNOWN_ID

    def key_of(self, record: Record) -> Key:
        """Return where a record belongs."""
        return self.pick("/factories", record.place), record.moment

    def row_of(self, record: Record) -> Row:
        """Return a record as it is sent."""
        time: str | float = written(record.moment, record.notation)
        if record.notation == "seconds":
            time = record.moment.timestamp()
        factory_id, _ = self.key_of(record)
        return {"factory_id": factory_id, "time": time} | dict(zip(COUNTS, record.counts, strict=True))

    def stored_record(self, where: Key) -> Row | None:
        """Return the record that is stored there, as the service tells it."""
        return told_record(where, self.production[where]) if where in self.production else None

    def is_taken(self, name: str | None, besides: int = 0) -> bool:
        """Return whether another factory has this name."""
        return any(factory["name"] == name for one, factory in self.things["/factories"].items() if one != besides)

    def merged(self, batch: list[Record], on_conflict: str) -> tuple[dict[Key, Counts], list[str]]:
        """Return what is stored after a bulk load, and what becomes of each record."""
        after = self.production.copy()
        outcomes = []
        for record in batch:
            where = self.key_of(record)
            if where[0] not in self.things["/factories"]:
                outcomes.append("unknown")
            elif where not in after:
                outcomes.append("created")
                after[where] = record.counts
            elif after[where] == record.counts:
                outcomes.append("unchanged")
            else:
                outcomes.append({"error": "clash", "replace": "replaced", "skip": "skipped"}[on_conflict])
                after[where] = record.counts if on_conflict == "replace" else after[where]
        return after, outcomes

    def post(
        self, path: str, content: bytes, media_type: str, parameters: Mapping[str, str], key: str | None
    ) -> httpx.Response | None:
        """POST, and return the answer; or nothing where the key was used before, for then the answer is known."""
        headers = {"Content-Type": media_type} | ({"Idempotency-Key": key} if key else {})
        answer = self.client.post(path, content=content, headers=headers, params=parameters)
        request = (content, media_type, parameters, key)
        summary = (answer.status_code, answer.headers.get("Location"), answer.content)
        kept = self.kept.get((path, key or ""))
        if kept is None:
            assert "Idempotent-Replayed" not in answer.headers
            if key is not None and answer.is_success:
                self.kept[path, key] = Kept(request, summary)
            return answer
        if kept.request == request:
            assert (*kept.answer, "true") == (*summary, answer.headers["Idempotent-Replayed"])
        else:
            assert (422, "Idempotency-Key") == (answer.status_code, answer.json()["errors"][0]["pointer"])
        return None

    def post_one(self, path: str, new: Row, key: str | None) -> httpx.Response | None:
        """POST one thing, as post."""
        return self.post(path, json.dumps(new).encode(), JSON, {}, key)

    def change_record(self, method: str, record: Record, new: Row | None, condition: str) -> httpx.Response:
        """Send a change of a record, its time written in some way."""
        factory_id, moment = where = self.key_of(record)
        path = f"/production/{factory_id}/{written(moment, record.notation)}"
        return self.client.request(method, path, json=new, headers=self.headers(condition, path_of(where)))

    def headers(self, condition: str, path: str) -> dict[str, str]:
        """Return the header that states a condition."""
        known, _ = self.known.get(path, ('"never"', None))
        return {
            "none": {},
            "known": {"If-Match": known},
            "stale": {"If-Match": '"0123456789abcdef"'},
            "any": {"If-Match": "*"},
            "absent": {"If-None-Match": "*"},
        }[condition]

    def holds(self, condition: str, path: str, stored: Row | None) -> bool:
        """Return whether a condition holds of what is stored."""
        _, known = self.known.get(path, ("", None))
        return {
            "none": True,
            "known": stored is not None and stored == known,
            "stale": False,
            "any": stored is not None,
            "absent": stored is None,
        }[condition]

    def expect_change(self, answer: httpx.Response, condition: str, path: str, stored: Row | None) -> bool:
        """Return whether a change is to be made, or expect its refusal."""
        if stored is None:
            assert 404 == answer.status_code
        elif not self.holds(condition, path, stored):
            assert 412 == answer.status_code
        else:
            return True
        return False

    def expect_new(self, noun: str, answer: httpx.Response, new: Row) -> None:
        """Expect that something was created, under an id that nothing has had."""
        stored = answer.json()
        thing_id = stored["id"]
        assert (201, {"id": thing_id} | new) == (answer.status_code, stored)
        assert f"{BASE_PATH}{noun}/{thing_id}" == answer.headers["Location"]
        assert thing_id > self.newest[noun]
        self.newest[noun] = thing_id
        self.things[noun][thing_id] = stored
        self.known[f"{noun}/{thing_id}"] = (answer.headers["ETag"], stored)

    def expect_read(self, path: str, stored: Row | None) -> None:
        """Expect one thing, or its absence; and 304 where it is as it was known."""
        version, known = self.known.get(path, ('"never"', None))
        answer = self.client.get(path, headers={"If-None-Match": version})
        if stored is None:
            assert 404 == answer.status_code
        elif stored == known:
            assert (304, version) == (answer.status_code, answer.headers["ETag"])
        else:
            assert (200, stored) == (answer.status_code, answer.json())
            self.known[path] = (answer.headers["ETag"], stored)

    def ask(self, path: str, parameters: Mapping[str, Any] | None = None) -> httpx.Response:
        """Ask for a list. The same ETag stands for the same body, and the same body has the same ETag."""
        answer = self.client.get(path, params=parameters)
        assert 200 == answer.status_code
        assert answer.content == self.bodies.setdefault(answer.headers["ETag"], answer.content)
        assert answer.headers["ETag"] == self.etags.setdefault(answer.content, answer.headers["ETag"])
        return answer

    def rows(self, path: str) -> list[Row]:
        """Return a list as it should be."""
        if path in self.things:
            return [thing for _, thing in sorted(self.things[path].items())]
        whose = path.removeprefix("/production").removeprefix("/")
        return [
            told_record(where, self.production[where])
            for where in sorted(self.production)
            if whose in {"", str(where[0])}
        ]

    def some_factory(self) -> list[int]:
        """Return one of the factories, if there is one."""
        return self.random.sample(sorted(self.things["/factories"]), k=min(1, len(self.things["/factories"])))

    def filtered(self, path: str) -> tuple[dict[str, str], list[Row]]:
        """Return the parameters for some filters and an order, and the rows that they leave."""
        rows = self.rows(path)
        parameters: dict[str, str] = {}
        for member in self.random.sample(MEMBERS[path], k=self.random.randint(0, 2)):
            name, text, passes = self.some_filter(member, rows)
            parameters[name] = text
            rows = [row for row in rows if passes(comparable_in(member, row))]
        order = self.random.sample(MEMBERS[path], k=self.random.randint(0, 2))
        terms = [self.random.choice(["", "-"]) + member for member in order]
        parameters |= {"sort": ",".join(terms)} if terms else {}
        for term in reversed([*terms, *(member for member in KEYS[path] if member not in order)]):
            member = term.removeprefix("-")
            rows = sorted(rows, key=partial(comparable_in, member), reverse=term.startswith("-"))
        return parameters, rows

    def some_filter(self, member: str, rows: list[Row]) -> tuple[str, str, Callable[[Any], bool]]:
        """Return a parameter, its value, and what tells which values of the member pass."""
        if member == "name" and self.random.random() < 0.3:
            piece = self.random.choice(PIECES)
            return "name__contains", piece, lambda value: piece.casefold() in value.casefold()
        there = [row[member] for row in rows if "," not in str(row[member])] or [ABSENT.get(member, 1)]
        if self.random.random() < 0.3:
            choices = self.random.sample(there, k=min(len(there), 2))
            wanted = [comparable(member, choice) for choice in choices]
            return f"{member}__in", ",".join(map(self.asked, choices)), lambda value: value in wanted
        operation = self.random.choice(list(COMPARISONS))
        choice = self.random.choice(there)
        bound = comparable(member, choice)
        return member + operation, self.asked(choice), lambda value: COMPARISONS[operation](value, bound)

    def asked(self, value: Any) -> str:
        """Return a value as it stands in a query; a time in any notation."""
        if isinstance(value, str) and value.endswith("Z"):
            return written(datetime.fromisoformat(value), self.random.choice(NOTATIONS))
        return str(value)


def test_the_service_does_what_the_model_does(service: Service, engineer: Client) -> None:
    """Whatever is created, changed, removed and loaded, every list is the model's, and every answer what it says."""

    class HereAndNow(SideBySide):
        """What Hypothesis makes for each run."""

        def __init__(self) -> None:
            super().__init__(service, engineer)

    run_state_machine_as_test(
        HereAndNow,
        settings=hypothesis_settings(
            max_examples=RUNS,
            stateful_step_count=STEPS,
            derandomize=True,
            database=None,
            deadline=None,
            phases=[Phase.generate],  # with Phase.shrink a run that fails gets shorter, which takes minutes
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        ),
    )
