"""Both engines give the same answers to one random sequence of requests.

How many there are AGREE_REQUESTS in the environment says.
"""

import itertools
import json
import os
import re
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import httpx

from harness import Client, Service, a_sprocket
from postgresql_server import PostgreSQLServer
from sprocket_factory.settings import Settings

REQUESTS = int(os.environ.get("AGREE_REQUESTS", "1500"))
SEED = 1906

COMPARED = ("Content-Type", "ETag", "Location", "Link", "X-Total-Count", "Idempotent-Replayed", "Retry-After", "Vary")

NAMES = ("Leeds", "leeds", "Łódź", "Zürich", "zürich", "100% _ !", "O'Hara; --", "Ångström", "東京", "İzmir")
ZONES = ("UTC", "Europe/London", "Asia/Kolkata", "Nowhere/At_All")
TIMES = ("2021-01-21T02:06:58Z", "2021-01-21T02:07:58+01:00", "1611194818", "1611194878.25", "yesterday", "2099-01-01")
NOW = re.compile(r"to 20[0-9:.T-]+Z")
"""How far ahead a time may lie moves with the clock, and stands in the refusal."""

COLUMNS = {
    "sprockets": ("id", "teeth", "pitch_diameter", "outside_diameter", "pitch"),
    "factories": ("id", "name", "time_zone"),
    "production": ("factory_id", "time", "sprocket_production_actual", "sprocket_production_goal"),
}
VALUES = ("1", "3", "-7", "20", "2147483648", "9223372036854775807", "25.4", "1e300", "Leeds", "zürich", "%", *TIMES)


class Requests:
    """A random sequence, the same for each seed. What it asks for depends on nothing that was answered."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)  # noqa: S311 - not for secrets
        self._kinds = [self.write, self.write, self.write, self.bulk, self.read, self.list, self.list, self.remove]

    def __iter__(self) -> Iterator[tuple[str, str, dict[str, Any]]]:
        while True:
            yield self._random.choice(self._kinds)()

    def write(self) -> tuple[str, str, dict[str, Any]]:
        """Create, replace or change one thing."""
        pick = self._random.choice
        noun = pick(list(COLUMNS))
        method = pick(["POST", "PUT", "PATCH"])
        body: dict[str, Any]
        match noun:
            case "sprockets":
                body = a_sprocket(teeth=self._random.randint(1, 40), pitch=pick([1, 0.1, 1e-300, -1]))
            case "factories":
                body = {"name": pick(NAMES), "time_zone": pick(ZONES)}
            case _:
                body = self.record() if method == "POST" else self.counts()
        path = f"/{noun}" if method == "POST" else self.path(noun)
        headers = {}
        if method == "POST" and pick([True, False]):
            headers["Idempotency-Key"] = str(self._random.randint(1, 40))
        elif method != "POST" and pick([True, False, False]):
            headers[pick(["If-Match", "If-None-Match"])] = pick(["*", '"0123456789abcdef"'])
        return method, path, {"json": body, "headers": headers}

    def bulk(self) -> tuple[str, str, dict[str, Any]]:
        """Store some records."""
        pick = self._random.choice
        rows = [self.record() for _ in range(self._random.randint(0, 6))]
        query = f"on_conflict={pick(['error', 'replace', 'skip'])}&dry_run={pick(['true', 'false'])}"
        if pick([True, False]):
            return "POST", f"/production?{query}", {"json": rows}
        lines = "\n".join(json.dumps(row) for row in rows)
        headers = {"Content-Type": "application/x-ndjson"}
        return "POST", f"/production?{query}", {"content": lines, "headers": headers}

    def read(self) -> tuple[str, str, dict[str, Any]]:
        """Read one thing."""
        return self._random.choice(["GET", "HEAD"]), self.path(self._random.choice(list(COLUMNS))), {}

    def list(self) -> tuple[str, str, dict[str, Any]]:
        """List things by any filters, in any order and format."""
        pick = self._random.choice
        noun = pick(list(COLUMNS))
        parameters = {"format": pick(["json", "ndjson", "csv"]), "count": pick(["true", "false"])}
        for _ in range(self._random.randint(0, 2)):
            operator = pick(["", "__lt", "__lte", "__gt", "__gte", "__in", "__contains"])
            parameters[f"{pick(COLUMNS[noun])}{operator}"] = pick(VALUES)
        if pick([True, False]):
            terms = self._random.sample(COLUMNS[noun], self._random.randint(1, 2))
            parameters["sort"] = ",".join(pick(["", "-"]) + term for term in terms)
        if pick([True, False]):
            parameters["limit"] = str(self._random.randint(1, 5))
        return "GET", f"/{noun}", {"params": parameters}

    def remove(self) -> tuple[str, str, dict[str, Any]]:
        """Remove one thing, or a span."""
        pick = self._random.choice
        if pick([True, False]):
            return "DELETE", self.path(pick(list(COLUMNS))), {}
        parameters = {"factory_id": pick(VALUES), "time__gte": pick(TIMES), "time__lt": pick(TIMES)}
        return "DELETE", "/production", {"params": parameters}

    def path(self, noun: str) -> str:
        """Return the path of a thing that may be there."""
        number = self._random.randint(1, 12)
        return f"/{noun}/{number}/{self._random.choice(TIMES)}" if noun == "production" else f"/{noun}/{number}"

    def counts(self) -> dict[str, Any]:
        """Return what a record says."""
        pick = self._random.choice
        return {
            "sprocket_production_actual": pick([0, 1, 31, 2**31 - 1]),
            "sprocket_production_goal": pick([0, 32, 2**31, "32"]),
        }

    def record(self) -> dict[str, Any]:
        """Return a record as it is posted."""
        time = self._random.choice([*TIMES, 1611194818, 1611194878.25])
        return {"factory_id": self._random.randint(1, 8), "time": time} | self.counts()


class Answers:
    """Sends the sequence to a service, follows each page to the next, and tells what was answered."""

    def __init__(self, url: str) -> None:
        self._url = url

    def all(self) -> list[Any]:
        """Return every answer."""
        with Service(Settings(database_url=self._url)) as service, Client(service.address) as caller:
            answers: list[Any] = []
            for method, path, parts in itertools.islice(Requests(SEED), REQUESTS):
                answer = caller.request(method, path, **parts)
                answers.append((method, path, parts, self.told(answer)))
                if "next" in answer.links:
                    next_page = answer.links["next"]["url"]
                    answers.append(("GET", next_page, {}, self.told(caller.get(f"{service.address}{next_page}"))))
            return answers

    def told(self, answer: httpx.Response) -> Any:
        """Return what an answer says, but for the request's id."""
        headers = {name: answer.headers[name] for name in COMPARED if name in answer.headers}
        body: Any = NOW.sub("to now", answer.text)
        if answer.headers.get("Content-Type") == "application/problem+json" and body:
            body = {name: value for name, value in json.loads(body).items() if name != "request_id"}
        return answer.status_code, headers, body


def test_one_random_sequence_of_requests_gives_equal_answers_on_both_engines(
    postgresql: PostgreSQLServer,
    tmp_path_factory: Any,
    record_testsuite_property: Callable[[str, object], None],
) -> None:
    """Whoever moves from one engine to the other notices nothing: status, body and headers are the same."""
    on_sqlite = Answers(f"sqlite:///{tmp_path_factory.mktemp('agree') / 'factory.db'}").all()
    on_postgresql = Answers(postgresql.new_database()).all()
    differing = [pair for pair in zip(on_sqlite, on_postgresql, strict=True) if pair[0] != pair[1]]
    record_testsuite_property("answers alike", len(on_sqlite) - len(differing))
    record_testsuite_property("of them 2xx", sum(200 <= status < 300 for *_, (status, _, _) in on_sqlite))

    assert [] == differing[:3]
    assert REQUESTS <= len(on_sqlite)
