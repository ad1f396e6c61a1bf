"""The simplest durable server: bare ASGI that commits each POST by itself, inline in the event loop.

No thread, no queue, no group: one sync of the disk for every sprocket, while everybody else waits. It shows what group
commit is worth. Run as `python -m benchmarks.baselines.inline --port P --database FILE`.
"""

from pathlib import Path

import msgspec

from benchmarks.baselines.asgi import Application, Receive, Scope, Send, answer_json, read_whole, run
from benchmarks.baselines.table import NewSprocket, insert, list_all, open_with_table


def build_inline(database: Path) -> Application:
    """Return the application. It looks at the method alone: POST adds a sprocket, all else lists them."""
    connection = open_with_table(database)

    async def inline(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] == "POST":
            new = msgspec.json.decode(await read_whole(receive), type=NewSprocket)
            # Outside a transaction SQLite commits, and so syncs, before this returns.
            await answer_json(send, 201, msgspec.json.encode(insert(connection, new)))
        else:
            await answer_json(send, 200, msgspec.json.encode(list_all(connection)))

    return inline


if __name__ == "__main__":
    run(build_inline, __doc__)
