"""Databases that cannot be written to for a while, and then again."""

from harness import Service
from postgresql_server import PostgreSQLServer
from sprocket_factory.database import Transaction
from sprocket_factory.database.sqlite import SQLiteDatabase

REFUSE = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = 'disk_full'; END $$;
CREATE TRIGGER full_disk BEFORE INSERT ON outcomes EXECUTE FUNCTION refuse();
"""


class Disk:
    """What a database lies on. On PostgreSQL the server itself says, of every write, what it says on a full disk."""

    def __init__(self, service: Service, postgresql: PostgreSQLServer | None) -> None:
        self._service = service
        self._postgresql = postgresql

    def fill(self) -> None:
        """Let the file grow no more."""
        self._set("PRAGMA max_page_count = 1", REFUSE)  # fewer than there are stands for those that there are

    def make_room(self) -> None:
        """Let it grow again."""
        self._set("PRAGMA max_page_count = 1000000", "DROP FUNCTION refuse CASCADE")

    def set_read_only(self, on_or_off: str) -> None:
        """Let nothing be written any more, or everything again."""
        database = self._service.database
        if isinstance(database, SQLiteDatabase):
            database._writer._connection.pragma("query_only", on_or_off)  # noqa: SLF001 - root may write to any file
        elif self._postgresql is not None:
            # As when another server becomes the primary: who is connected is sent away.
            name = self._service.settings.database_url.rpartition("/")[2]
            self._postgresql.ask(f"ALTER DATABASE {name} SET default_transaction_read_only = {on_or_off}")
            self._postgresql.ask(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")

    def _set(self, pragma: str, sql: str) -> None:
        async def run(tx: Transaction) -> None:
            await tx.run(pragma)

        if self._postgresql is None:
            self._service.run(self._service.database.write, run, by="test")
        else:
            self._postgresql.ask(sql, self._service.settings.database_url)
