"""The record of changes, replayed from nothing, is what is stored: whatever was done, in whatever order.

Each entry has to say of what was there before it exactly what all before it have left. What it does not tell, the new
values of an import, is taken from what was sent.
"""

from collections import Counter
from collections.abc import Iterator
from random import Random

import pytest

from feeds import Replay, Row, stored_by
from harness import Client, NewDatabase, Service, a_sprocket
from sprocket_factory.settings import Settings

REQUESTS = 400
SEED = 1906

LISTS = {"sprocket": "/sprockets", "factory": "/factories", "key": "/keys"}

NAMES = ["Leeds", "Łódź", "=1+1", '"quoted" \\ back', "東京"]
TIMES = [f"2021-01-21T02:0{minute}:58{fraction}Z" for minute in range(3) for fraction in ("", ".250000")]
EVER = {"time__gte": "2000-01-01T00:00:00Z", "time__lt": "2022-01-01T00:00:00Z"}

KINDS = {
    *("create sprocket", "replace sprocket", "update sprocket", "remove sprocket"),
    *("create factory", "replace factory", "update factory", "remove factory"),
    *("create production", "replace production", "update production", "remove production", "import production"),
    *("create key", "revoke key"),
}
"""What happens in a run that is worth its time: everything that can."""


@pytest.fixture(scope="module")
def running(new_database: NewDatabase, stopping: list[Service]) -> Iterator[Service]:
    """Run one service for the module, in which everybody is an administrator."""
    service = Service(Settings(database_url=new_database()), anonymous_role="admin")
    service.start()
    yield service
    service.stop()
    stopping.append(service)


class Requests:
    """Somebody who asks for anything, right or wrong, of few things, so that what is asked for meets often."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.imported: dict[str, list[Row]] = {}
        """For each request that stored many records, which ones."""
        self._random = Random(SEED)  # noqa: S311 - the same requests in each run

    def make(self) -> None:
        """Make one request. Most are accepted, some are refused, and some change nothing."""
        pick = self._random.choice
        pick([self._add, self._change, self._remove, self._write_record, self._import, self._remove_span])()

    def _add(self) -> None:
        """Post a thing, now and then twice under one Idempotency-Key."""
        pick = self._random.choice
        path, body = pick([("/sprockets", self._sprocket()), ("/factories", self._factory()), ("/keys", self._key())])
        headers = {} if path == "/keys" else {"Idempotency-Key": str(self._random.randint(1, 10**9))}
        for _ in range(pick([1, 1, 2]) if headers else 1):
            self.client.post(path, json=body, headers=headers)

    def _change(self) -> None:
        pick = self._random.choice
        noun, body = pick([("/sprockets", self._sprocket()), ("/factories", self._factory())])
        headers = pick([{}, {}, {"If-Match": "*"}, {"If-Match": '"stale"'}])
        if pick([True, False]):
            self.client.put(self._path(noun), json=body, headers=headers)
        else:
            some = {name: value for name, value in body.items() if pick([True, False])}
            self.client.patch(self._path(noun), json=some, headers=headers)

    def _remove(self) -> None:
        noun = self._random.choice(["/sprockets", "/factories", "/factories", "/keys"])
        self.client.delete(self._path(noun))

    def _write_record(self) -> None:
        pick = self._random.choice
        record = self._record()
        path = f"/production/{record.pop('factory_id')}/{record.pop('time')}"
        match pick(["PUT", "PUT", "PATCH", "POST", "DELETE"]):
            case "PATCH":
                self.client.patch(path, json={"sprocket_production_goal": pick([1, 2])})
            case "POST":
                self.client.post("/production", json=self._record())
            case "DELETE":
                self.client.delete(path)
            case method:
                self.client.request(method, path, json=record)

    def _import(self) -> None:
        pick = self._random.choice
        rows = [self._record() for _ in range(self._random.randint(0, 5))]
        on_conflict, dry_run = pick(["error", "skip", "replace", "replace"]), pick(["true", "false", "false"])
        there = self.client.get("/production").json()
        answer = self.client.post("/production", json=rows, params={"on_conflict": on_conflict, "dry_run": dry_run})
        if answer.is_success and dry_run == "false":
            self.imported[answer.headers["X-Request-ID"]] = stored_by(rows, on_conflict, there)

    def _remove_span(self) -> None:
        pick = self._random.choice
        since, until = sorted(self._random.sample(TIMES, k=2))
        bounds: Row = pick([EVER, {"time__gte": since, "time__lt": until, "dry_run": pick(["true", "false"])}])
        self.client.delete("/production", params=bounds | {"factory_id": self._id("/factories")})

    def _sprocket(self) -> Row:
        return dict(a_sprocket(teeth=self._random.randint(2, 4), pitch=self._random.choice([0.1, 1, 25.4])))

    def _factory(self) -> Row:
        return {"name": self._random.choice(NAMES), "time_zone": self._random.choice(["UTC", "Europe/London"])}

    def _key(self) -> Row:
        role = self._random.choice(["viewer", "engineer"])
        return {"name": self._random.choice(NAMES), "role": role, "factory_ids": [self._id("/factories")]}

    def _record(self) -> Row:
        pick = self._random.choice
        return {
            "sprocket_production_actual": pick([1, 2, 3]),
            "sprocket_production_goal": pick([1, 2]),
            "time": pick(TIMES),
            "factory_id": self._id("/factories"),
        }

    def _id(self, noun: str) -> int:
        """Return the id of one of the first things that are there; now and then one that nothing has."""
        ids = [thing["id"] for thing in self.client.get(noun, params={"limit": 3}).json()]
        return int(self._random.choice([*ids * 5, 999]))

    def _path(self, noun: str) -> str:
        return f"{noun}/{self._id(noun)}"


def everything_stored(client: Client) -> dict[tuple[str, str], Row]:
    """Return everything that is stored, by what it is called in the record of changes."""
    things = {(entity, str(row["id"])): row for entity, path in LISTS.items() for row in client.get(path).json()}
    for record in client.get("/production").json():
        things["production", f"{record['factory_id']}/{record['time']}"] = record
    return things


def test_the_record_of_changes_tells_of_everything(service: Service, engineer: Client) -> None:
    """What was created, changed and removed, one by one or many at once, is what the entries make of it."""
    assert service.address
    requests = Requests(engineer)
    for _ in range(REQUESTS):
        requests.make()
    replay = Replay()
    kinds: Counter[str] = Counter()
    for change in engineer.get("/changes").json():
        rows = engineer.get(f"/changes/{change['id']}/rows").json()
        replay.go_on(change, rows, requests.imported.get(change["request_id"], []))
        kinds[f"{change['action']} {change['entity']}"] += 1

    assert everything_stored(engineer) == replay.things
    assert kinds.keys() == KINDS
