"""What the tests of many records at once share: records in every format, and what became of them."""

import csv
import io
import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import httpx
import pytest

from harness import Client

COLUMNS = ("factory_id", "time", "sprocket_production_actual", "sprocket_production_goal")

HEADER = b"factory_id,time,sprocket_production_actual,sprocket_production_goal\n"

START = 1_611_194_818

NOBODY = 2**62
"""No factory has this id."""

MANY = 100_000

MEGABYTE = 1024 * 1024

PATIENCE_SECONDS = 10

NUMBERS = itertools.count(1)

Row = dict[str, Any]


def as_json(rows: Sequence[Row]) -> bytes:
    """Return the rows as a JSON array."""
    return json.dumps(rows).encode()


def as_ndjson(rows: Sequence[Row]) -> bytes:
    """Return the rows as lines of JSON."""
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def as_csv(rows: Sequence[Row], columns: Sequence[str] = COLUMNS, end: str = "\r\n", quoting: Any = 0) -> bytes:
    """Return the rows as CSV with these columns."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator=end, quoting=quoting)
    writer.writerows([columns, *([row[column] for column in columns] for row in rows)])
    return file.getvalue().encode()


FORMATS: dict[str, Callable[[Sequence[Row]], bytes]] = {
    "application/json": as_json,
    "application/x-ndjson": as_ndjson,
    "text/csv": as_csv,
}

in_every_format = pytest.mark.parametrize("media_type", FORMATS)


def add_factory(engineer: Client) -> int:
    """Make a factory known and return its id."""
    name = f"Factory {next(NUMBERS)}"
    made: int = engineer.post("/factories", json={"name": name}).raise_for_status().json()["id"]
    return made


def a_row(factory_id: int, second: int = 0, actual: int = 1, goal: int = 2, **members: object) -> Row:
    """Return a record as one sends it, with these members instead."""
    values = (factory_id, START + second, actual, goal)
    return dict(zip(COLUMNS, values, strict=True)) | members


def send(client: Client, media_type: str, body: bytes | Iterator[bytes], **parameters: str) -> httpx.Response:
    """Post records in a format."""
    return client.post("/production", content=body, headers={"Content-Type": media_type}, params=parameters)


def stored(client: Client, factory_id: int) -> list[tuple[str, int, int]]:
    """Return the time of day, actual and goal of each record of a factory."""
    return [
        (record["time"][11:].removesuffix("Z"), record[COLUMNS[2]], record[COLUMNS[3]])
        for record in client.get(f"/production/{factory_id}").json()
    ]


def counted(records: int, created: int = 0, replaced: int = 0, unchanged: int = 0, skipped: int = 0) -> dict[str, int]:
    """Return what a request with many records is answered."""
    return {
        "records": records,
        "created": created,
        "replaced": replaced,
        "unchanged": unchanged,
        "skipped": skipped,
    }


def faults(answer: httpx.Response) -> list[tuple[int, str]]:
    """Return where a refusal says that something is wrong: the row and the place in it."""
    return [(error["row"], error["pointer"]) for error in answer.json()["errors"]]


def in_pieces(body: bytes, size: int) -> Iterator[bytes]:
    """Give a body in pieces, each a chunk of its own."""
    return (body[place : place + size] for place in range(0, len(body), size))
