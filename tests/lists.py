"""What the tests of lists share: a fixed set of things, and how Python reads and compares their fields."""

import operator
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from harness import Client, Service
from sprocket_factory.settings import Settings

Thing = dict[str, Any]

LISTS = ["/sprockets", "/factories", "/production"]

SPROCKETS = [
    {"teeth": 20, "pitch_diameter": 162.37, "outside_diameter": 175.61, "pitch": 25.4},
    {"teeth": 5, "pitch_diameter": 5, "outside_diameter": 6, "pitch": 1},
    {"teeth": 20, "pitch_diameter": 0.1 + 0.2, "outside_diameter": 175.61, "pitch": 0.3},
    {"teeth": 10_000, "pitch_diameter": 1e6, "outside_diameter": 1e6, "pitch": 1e6},
    {"teeth": 3, "pitch_diameter": 0.3, "outside_diameter": 5e-324, "pitch": 25.4},
    {"teeth": 9, "pitch_diameter": 100, "outside_diameter": 99.9, "pitch": 12.7},
    {"teeth": 20, "pitch_diameter": 162.37, "outside_diameter": 175.61, "pitch": 25.4},
]

DROP = "x'); DROP TABLE factories; --"

FACTORIES = [
    ("Straße", "Europe/Berlin"),
    ("STRASSE 2", "UTC"),
    ("İzmir", "Europe/Istanbul"),
    ("izmir", "Europe/Istanbul"),
    ("100% steel", "UTC"),
    ("100 steel", "UTC"),
    ("snake_case", "Asia/Kolkata"),
    ("snakes case", "Asia/Kolkata"),
    ("Zum Ochsen!", "Europe/Berlin"),
    ("ΣΊΣΥΦΟΣ", "Europe/Athens"),
    ("Σίσυφος", "Europe/Athens"),
    ("zebra", "UTC"),
    ("Zebra", "UTC"),
    ("🦓", "UTC"),
    ("back\\slash", "UTC"),
    (DROP, "UTC"),
]

START = datetime(2021, 1, 21, 2, 6, 58, tzinfo=UTC)

PRODUCTION = [
    {
        "factory_id": factory_id,
        "time": (START + timedelta(minutes=minute, microseconds=250_000 * (minute % 2))).isoformat(),
        "sprocket_production_actual": [0, 9, 10, 2_147_483_647, 9][(minute + factory_id) % 5],
        "sprocket_production_goal": 10 * (minute % 3),
    }
    for factory_id in (3, 1, 2)
    for minute in (4, 0, 3, 1, 2)
]

OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "": operator.eq,
    "__lt": operator.lt,
    "__lte": operator.le,
    "__gt": operator.gt,
    "__gte": operator.ge,
}

FIELDS: dict[str, dict[str, Callable[[str], Any]]] = {
    "/sprockets": {"id": int, "teeth": int, "pitch_diameter": float, "outside_diameter": float, "pitch": float},
    "/factories": {"id": int, "name": str, "time_zone": str},
    "/production": {
        "sprocket_production_actual": int,
        "sprocket_production_goal": int,
        "time": datetime.fromisoformat,
        "factory_id": int,
    },
}
"""Each list's fields, and how Python reads the text of one."""


@contextmanager
def service_with_lists(database_url: str) -> Iterator[Service]:
    """Run a service that has all of these things."""
    with Service(Settings(database_url=database_url)) as running:
        with Client(running.address) as engineer:
            for sprocket in SPROCKETS:
                engineer.post("/sprockets", json=sprocket).raise_for_status()
            for name, time_zone in FACTORIES:
                engineer.post("/factories", json={"name": name, "time_zone": time_zone}).raise_for_status()
            engineer.post("/production", json=PRODUCTION).raise_for_status()
        yield running


def names(answer: httpx.Response) -> list[str]:
    """Return the names in a list of factories."""
    return [factory["name"] for factory in answer.json()]


def wrong(answer: httpx.Response) -> list[str]:
    """Return which parameters a refusal names, after a look at its status."""
    assert 422 == answer.status_code, answer.text
    return [error["pointer"] for error in answer.json()["errors"]]
