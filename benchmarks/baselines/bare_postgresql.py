"""Sprockets on PostgreSQL over bare ASGI and asyncpg's pool as it comes: what one would write by hand, and no limit.

For that pool has the server reset the session behind each request, which is a second round trip. It reads the table
that the product made and filled, so that both ask the same server for the same rows. It checks nothing, and knows no
errors. Run as `python -m benchmarks.baselines.bare_postgresql --port P --database ADDRESS`.
"""

from typing import Any

import asyncpg
import msgspec
import uvicorn
import uvloop

from benchmarks.baselines.asgi import Application, Receive, Scope, Send, answer_json, configure, read_options
from benchmarks.baselines.table import SPROCKETS_PATH, Sprocket

SPROCKET_PATH = SPROCKETS_PATH + "/"
LIST = "SELECT id, teeth, pitch_diameter, outside_diameter, pitch FROM sprockets ORDER BY id"
FIND = "SELECT id, teeth, pitch_diameter, outside_diameter, pitch FROM sprockets WHERE id = $1"


def build_bare(pool: Any) -> Application:
    """Return the application: one sprocket by its id, and all of them on any other path."""
    encode = msgspec.json.Encoder().encode

    async def bare(scope: Scope, _: Receive, send: Send) -> None:
        path: str = scope["path"]
        if not path.startswith(SPROCKET_PATH):
            rows = await pool.fetch(LIST)
            await answer_json(send, 200, encode([Sprocket(*row) for row in rows]))
            return
        async with pool.acquire() as connection:
            row = await connection.fetchrow(FIND, int(path[len(SPROCKET_PATH) :]))
        if row is None:
            await answer_json(send, 404, b"null")
        else:
            await answer_json(send, 200, encode(Sprocket(*row)))

    return bare


async def serve(what: str) -> None:
    """Serve until a signal ends it. The pool belongs to the event loop that serves, so it is made inside."""
    options = read_options(what)
    async with asyncpg.create_pool(options.database) as pool:
        await uvicorn.Server(configure(build_bare(pool), options.port)).serve()


if __name__ == "__main__":
    uvloop.run(serve(__doc__ or ""))
