"""The limit: the six endpoints over bare ASGI, with as little as can stand between a request and its row.

It checks nothing, logs nothing, knows no roles and keeps no record of changes. What the product takes beyond this is
the price of what it promises. Run as `python -m benchmarks.baselines.bare --port P --database FILE`.
"""

import asyncio
import threading
from pathlib import Path
from queue import Empty, SimpleQueue

import apsw
import msgspec

from benchmarks.baselines.asgi import Application, Receive, Scope, Send, answer_json, read_whole, run
from benchmarks.baselines.table import (
    FIND,
    INSERT,
    PRODUCTION_PATH,
    REPLACE,
    SPROCKETS_PATH,
    NewSprocket,
    Sprocket,
    list_all,
    list_records,
    open_connection,
    open_with_table,
)

SPROCKET_PATH = SPROCKETS_PATH + "/"
RECORDS_PATH = PRODUCTION_PATH + "/"
KNOWN = "SELECT 1 FROM factories WHERE id = ?"

Answer = asyncio.Future[Sprocket]
Waiting = tuple[NewSprocket, int | None, Answer]
"""What to store, the id of the sprocket that it replaces, and who waits for it."""


def take_all(queue: "SimpleQueue[Waiting]") -> list[Waiting]:
    """Wait for one write, then take every other that waits as well."""
    batch = [queue.get()]
    try:
        while True:
            batch.append(queue.get_nowait())
    except Empty:
        return batch


def commit_together(writer: apsw.Connection, batch: list[Waiting]) -> list[Sprocket]:
    """Store all that wait in one transaction, so that one sync of the disk serves them all.

    If it raises, nothing of the batch is stored. Replacing what is not there stores nothing.
    """
    cursor = writer.cursor()
    stored = []
    cursor.execute("BEGIN IMMEDIATE")
    try:
        for new, replaced, _ in batch:
            values = (new.teeth, new.pitch_diameter, new.outside_diameter, new.pitch)
            if replaced is None:
                cursor.execute(INSERT, values)
                stored.append(Sprocket(writer.last_insert_rowid(), *values))
            else:
                cursor.execute(REPLACE, (*values, replaced))
                stored.append(Sprocket(replaced, *values))
        cursor.execute("COMMIT")
    except BaseException:
        if writer.in_transaction:
            cursor.execute("ROLLBACK")
        raise
    return stored


def settle(batch: list[Waiting], stored: list[Sprocket]) -> None:
    """Answer a whole batch inside the event loop."""
    for (*_, answer), sprocket in zip(batch, stored, strict=True):
        if not answer.done():
            answer.set_result(sprocket)


def fail(batch: list[Waiting], error: Exception) -> None:
    """Tell a whole batch, inside the event loop, that nothing of it is stored."""
    for *_, answer in batch:
        if not answer.done():
            answer.set_exception(error)


def write_for_ever(writer: apsw.Connection, queue: "SimpleQueue[Waiting]") -> None:
    """Be the one writer thread: the next batch gathers while the disk is busy with this one."""
    while True:
        batch = take_all(queue)
        loop = batch[0][-1].get_loop()
        try:
            stored = commit_together(writer, batch)
        except apsw.Error as error:
            loop.call_soon_threadsafe(fail, batch, error)
        else:
            loop.call_soon_threadsafe(settle, batch, stored)


def start_writer(database: Path) -> "SimpleQueue[Waiting]":
    """Make the table, start the writer thread, and return the queue that it serves."""
    writer = open_with_table(database)
    queue: SimpleQueue[Waiting] = SimpleQueue()
    threading.Thread(target=write_for_ever, args=(writer, queue), daemon=True).start()
    return queue


def build_bare(database: Path) -> Application:
    """Return the application. Reads run inline in the event loop: a point read is shorter than a hop to a thread."""
    queue = start_writer(database)
    reader = open_connection(database)
    cursor = reader.cursor()
    encode = msgspec.json.Encoder().encode
    decode = msgspec.json.Decoder(NewSprocket).decode
    loop: asyncio.AbstractEventLoop | None = None

    async def write(receive: Receive, replaced: int | None) -> Sprocket:
        nonlocal loop
        loop = loop or asyncio.get_running_loop()
        answer: Answer = loop.create_future()
        queue.put((decode(await read_whole(receive)), replaced, answer))
        return await answer

    async def bare(scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope["path"]
        if path.startswith(SPROCKET_PATH):
            sprocket_id = int(path[len(SPROCKET_PATH) :])
            row = cursor.execute(FIND, (sprocket_id,)).fetchone()
            if row is None:
                await answer_json(send, 404, b"null")
            elif scope["method"] == "PUT":
                await answer_json(send, 200, encode(await write(receive, sprocket_id)))
            else:
                await answer_json(send, 200, encode(Sprocket(*row)))
        elif path.startswith(RECORDS_PATH):
            factory_id = int(path[len(RECORDS_PATH) :])
            known = cursor.execute(KNOWN, (factory_id,)).fetchone()
            await answer_json(send, 200 if known else 404, encode(list_records(reader, factory_id)))
        elif path == PRODUCTION_PATH:
            await answer_json(send, 200, encode(list_records(reader)))
        elif scope["method"] == "POST":
            await answer_json(send, 201, encode(await write(receive, None)))
        else:
            await answer_json(send, 200, encode(list_all(reader)))

    return bare


if __name__ == "__main__":
    run(build_bare, __doc__)
