"""Production over HTTP, many records at once; and one, which comes to the same path."""

import asyncio
from collections.abc import Iterator
from contextlib import closing
from typing import get_args

import msgspec
from litestar.types import ASGIApp

from sprocket_factory.endpoints.answers import Answer, stored
from sprocket_factory.endpoints.formats_reading import RecordReader
from sprocket_factory.endpoints.formats_reading_csv import CsvReader
from sprocket_factory.endpoints.formats_reading_json import ArrayReader, NdjsonReader
from sprocket_factory.endpoints.parameters import (
    BOOLEAN,
    TIME,
    parameters_of,
    read_boolean,
    read_choice,
    read_time,
    read_whole_number,
    required_parameters,
    wrong_parameter,
)
from sprocket_factory.endpoints.production_keys import key_in_body, location_of
from sprocket_factory.endpoints.reading import (
    MAX_OBJECT_BYTES,
    decode,
    media_type_of,
    read_pieces,
    read_whole,
    too_large,
)
from sprocket_factory.endpoints.replay import Once
from sprocket_factory.endpoints.routing import ApiRequest, delete, post
from sprocket_factory.entities import MAX_ID
from sprocket_factory.entities.factory import factory_ids
from sprocket_factory.entities.instant import read_instant
from sprocket_factory.entities.production import (
    Counts,
    NewProduction,
    Outcome,
    Production,
    add_production,
    remove_production_span,
)
from sprocket_factory.entities.production_import import NO_IDS, Merged, OnConflict, Spool, merge_production
from sprocket_factory.errors import Conflict, NotFound
from sprocket_factory.observe_statements import stage

READERS: dict[str, type[RecordReader]] = {"text/csv": CsvReader, "application/x-ndjson": NdjsonReader}

MAX_ARRAY_BYTES = 16 * 1024 * 1024

ON_CONFLICT: tuple[OnConflict, ...] = get_args(OnConflict)


class Removed(msgspec.Struct, frozen=True):
    """How many records were removed, or would have been."""

    removed: int


@post(
    "/",
    role="operator",
    reads={"application/json": NewProduction | list[NewProduction], "application/x-ndjson": str, "text/csv": str},
    gives={200: (Merged, Production), 201: Production},
    parameters={
        "on_conflict": {
            "enum": list(ON_CONFLICT),
            "default": "error",
            "description": "What to do with one of many that is stored with other values.",
        },
        "dry_run": BOOLEAN | {"description": "Check many and say what would become of them; store nothing."},
    },
    once=True,
    refuses=(NotFound, Conflict),
)
async def post_production(request: ApiRequest) -> ASGIApp:
    """Store one record, or many: all of them or none.

    One JSON object is one record; storing it again changes nothing. A JSON array of up to 16 MB, NDJSON and CSV of any
    length are many. CSV has a header row, which names the columns in any order.
    """
    media_type = media_type_of(request, ["application/json", *READERS])
    with Once(request) as post_once:
        if media_type in READERS:
            return await _post_lines(request, post_once, READERS[media_type])
        body = await read_whole(request, MAX_ARRAY_BYTES)
        post_once.feed(body)
        if body.lstrip().startswith(b"["):
            return await _post_array(request, post_once, body)
        return await _post_one(request, post_once, body)


@delete(
    "/",
    role="engineer",
    gives=Removed,
    parameters={
        "factory_id": {"type": "integer", "minimum": 1, "maximum": MAX_ID, "description": "Whose records."},
        "time__gte": TIME | {"description": "From this time on."},
        "time__lt": TIME | {"description": "Up to, not including, this time."},
        "dry_run": BOOLEAN | {"description": "Count them; remove none."},
    },
    required=("factory_id", "time__gte", "time__lt"),
    refuses=(NotFound,),
)
async def delete_production_span(request: ApiRequest) -> ASGIApp:
    """Remove the records of one factory from one time up to, not including, another. All three have to be given."""
    parameters = required_parameters(request)
    factory_id = read_whole_number(parameters, "factory_id", 1, MAX_ID)
    since, until = (read_time(parameters, name, request.latest) for name in ("time__gte", "time__lt"))
    if since >= until:
        raise wrong_parameter("time__lt", "This is not after time__gte, so nothing lies between them.")
    dry_run = read_boolean(parameters, "dry_run")
    return Answer(Removed(await request.write(remove_production_span, factory_id, since, until, dry_run, alone=True)))


async def _post_one(request: ApiRequest, post_once: Once, body: bytes) -> ASGIApp:
    if len(body) > MAX_OBJECT_BYTES:
        raise too_large(MAX_OBJECT_BYTES)
    new = decode(body, NewProduction, {"time": lambda time: read_instant(time, request.latest)})
    for name in parameters_of(request):
        raise wrong_parameter(name, f"{name} is for many records.", "Send this one in an array.")
    request.caller.check_factory(new.factory_id)
    counts = Counts(
        sprocket_production_actual=new.sprocket_production_actual,
        sprocket_production_goal=new.sprocket_production_goal,
    )
    key = key_in_body(new, request.latest)

    def answer(result: tuple[Production, Outcome]) -> Answer:
        record, outcome = result
        return stored(record, location_of(key), is_new=outcome == "created")

    return await post_once.write(answer, add_production, key, counts)


async def _post_array(request: ApiRequest, post_once: Once, body: bytes) -> ASGIApp:
    on_conflict, dry_run = _read_parameters(request)
    with closing(Spool()) as spool:
        with stage("read"):
            reader = await _reader(request, ArrayReader, spool)
            await _in_turns(reader.feed(body))
            await _in_turns(reader.finish())
        return await _merge(post_once, spool, on_conflict, dry_run=dry_run)


async def _post_lines(request: ApiRequest, post_once: Once, reader_type: type[RecordReader]) -> ASGIApp:
    on_conflict, dry_run = _read_parameters(request)
    with closing(Spool()) as spool:
        with stage("read"):
            reader = await _reader(request, reader_type, spool)
            async for piece in read_pieces(request):
                post_once.feed(piece)
                await _in_turns(reader.feed(piece))
            await _in_turns(reader.finish())
        return await _merge(post_once, spool, on_conflict, dry_run=dry_run)


async def _reader(request: ApiRequest, reader_type: type[RecordReader], spool: Spool) -> RecordReader:
    return reader_type(spool, request.latest, await factory_ids(request.database), request.caller.check_factory)


async def _in_turns(steps: Iterator[None]) -> None:
    """Read on to the end, and let others have their turn after each step."""
    for _ in steps:
        await asyncio.sleep(0)


def _read_parameters(request: ApiRequest) -> tuple[OnConflict, bool]:
    """Return what to do on a conflict, and whether this is a dry run. Raises Invalid, before any row is read."""
    parameters = parameters_of(request)
    return read_choice(parameters, "on_conflict", ON_CONFLICT, "error"), read_boolean(parameters, "dry_run")


async def _merge(post_once: Once, spool: Spool, on_conflict: OnConflict, *, dry_run: bool) -> ASGIApp:
    with stage("merge"):
        return await post_once.write(Answer, merge_production, spool, on_conflict, NO_IDS, dry_run, alone=True)
