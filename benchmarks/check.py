"""See that all contenders answer the six endpoints alike: who does less work may not be measured beside the others."""

import http.client
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec

from benchmarks.contenders import SPROCKETS_PATH, Contender
from benchmarks.records import PRODUCTION_PATH, TIMEOUT

NEW = {"teeth": 20, "pitch_diameter": 162.37, "outside_diameter": 175.61, "pitch": 25.4}
OTHER = {"teeth": 21, "pitch_diameter": 170.42, "outside_diameter": 183.77, "pitch": 25.4}
UNKNOWN = 999_999


class Said(NamedTuple):
    """The status of an answer, and its body where that is 2xx: what a refusal says is each one's own."""

    status: int
    body: Any


def ask(contender: Contender, method: str, path: str, body: object = None) -> Said:
    """Ask once."""
    headers = {"Accept": "application/json"}
    if contender.key:
        headers["Authorization"] = f"Bearer {contender.key}"
    if body is not None:
        headers["Content-Type"] = "application/json"
    connection = http.client.HTTPConnection("127.0.0.1", contender.server.port, timeout=TIMEOUT)
    try:
        connection.request(method, path, None if body is None else msgspec.json.encode(body), headers)
        answer = connection.getresponse()
        content = answer.read()
    finally:
        connection.close()
    return Said(answer.status, plain(msgspec.json.decode(content)) if answer.status // 100 == 2 else None)  # noqa: PLR2004


def plain(body: Any) -> Any:
    """Return a body with its times as instants. One without a zone is in UTC, as such a program means it."""
    if isinstance(body, list):
        return [plain(one) for one in body]
    if isinstance(body, dict) and "time" in body:
        time = datetime.fromisoformat(body["time"])
        return {**body, "time": time if time.tzinfo else time.replace(tzinfo=UTC)}
    return body


def read_all(contender: Contender, factory_id: int) -> dict[str, Said]:
    """Ask everything that changes nothing, of what there is and of what there is not.

    GET /production is left to the job that reads it whole.
    """
    one, everything = ask(contender, "GET", contender.one.format(1)), ask(contender, "GET", contender.all)
    if not contender.whole:
        # Datasette puts a row into a list.
        body = one.body[0] if isinstance(one.body, list) else one.body
        return {"GET a sprocket": Said(one.status, body), "GET the catalogue": everything}
    return {
        "GET a sprocket": one,
        "GET the catalogue": everything,
        "GET no sprocket": ask(contender, "GET", contender.one.format(UNKNOWN)),
        "GET a factory's production": ask(contender, "GET", f"{PRODUCTION_PATH}/{factory_id}"),
        "GET no factory's production": ask(contender, "GET", f"{PRODUCTION_PATH}/{UNKNOWN}"),
    }


def write_all(contender: Contender) -> dict[str, Said]:
    """Change one sprocket and add one, which gets the same id everywhere."""
    one = contender.one.format
    return {
        "PUT": ask(contender, "PUT", one(2), OTHER),
        "PUT to no sprocket": ask(contender, "PUT", one(UNKNOWN), OTHER),
        "GET what was PUT": ask(contender, "GET", one(2)),
        "POST": ask(contender, "POST", SPROCKETS_PATH, NEW),
    }


def check(contenders: Sequence[Contender], factory_id: int) -> None:
    """Raise RuntimeError where one answers other than the first. `factory_id` is of a factory with few records.

    Nobody writes before all have read: Datasette reads what another has stored.
    """
    reads = [read_all(contender, factory_id) for contender in contenders]
    writes = [write_all(contender) if contender.whole else {} for contender in contenders]
    for answers in (reads, writes):
        expected = answers[0]
        for contender, said in zip(contenders, answers, strict=True):
            for question, answer in said.items():
                if answer != expected[question]:
                    raise RuntimeError(
                        f"{contender.name} answers {question} with {str(answer)[:500]}, {contenders[0].name} with"
                        f" {str(expected[question])[:500]}: that would compare unlike with unlike."
                    )
