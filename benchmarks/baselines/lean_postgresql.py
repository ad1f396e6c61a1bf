"""The bare limit on PostgreSQL, whose connections go back to the pool as they are, as the product's do.

asyncpg resets a connection each time, which is a round trip of its own and nearly half the statements that PostgreSQL
runs. Beside this one it shows what the product owes to leaving that out. Run as
`python -m benchmarks.baselines.lean_postgresql --port P --database ADDRESS`.
"""

import asyncpg
import uvloop

from benchmarks.baselines.bare_postgresql import serve


class LeanConnection(asyncpg.Connection):
    """A connection that is not reset."""

    def get_reset_query(self) -> str:
        """Return what is run before another takes the connection: nothing."""
        return ""


if __name__ == "__main__":
    uvloop.run(serve(__doc__ or "", LeanConnection))
