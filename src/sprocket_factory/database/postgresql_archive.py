"""What an archive of pg_dump's holds, found by reading all of it."""

import asyncio
import re
from asyncio.subprocess import PIPE
from collections.abc import Mapping
from pathlib import Path

from sprocket_factory.database.backup_files import BLOCK_BYTES
from sprocket_factory.database.checking import MIGRATIONS, UNCOUNTED, Contents
from sprocket_factory.database.postgresql_programs import complaint, output_of, running
from sprocket_factory.errors import Unusable

BEGIN_COPY = re.compile(rb'^COPY (?:\S+\.)?"?(\w+)"? \([^)]*\) FROM stdin;\n', re.MULTILINE)
END_COPY = b"\n\\.\n"


async def read_archive(archive: Path, programs: Mapping[str, str]) -> Contents:
    """Read all of an archive, and return what it would restore. Raises Unusable where it cannot be read to its end."""
    counter = _RowCounter()
    async with running(programs["pg_restore"], "--file=-", str(archive), stdout=PIPE) as process:
        output, complaints = output_of(process)
        complaining = asyncio.ensure_future(complaints.read())
        while block := await output.read(BLOCK_BYTES):
            counter.feed(block)
        said = await complaining
        await process.wait()
    if process.returncode:
        raise Unusable(
            f"{archive} is no backup that can be read whole: {complaint('pg_restore', said)}",
            hint="Take another backup.",
        )
    schema = max(counter.schemas, default=0)
    if not schema:
        raise Unusable(f"{archive} is no backup of ours.", hint="Take another file.")
    return Contents(schema, {table: count for table, count in counter.rows.items() if table not in UNCOUNTED})


class _RowCounter:
    """Counts the rows of each table in a script of COPY statements that comes piece by piece."""

    def __init__(self) -> None:
        self.rows: dict[str, int] = {}
        self.schemas: list[int] = []
        self._table = ""
        self._rest = b""

    def feed(self, block: bytes) -> None:
        """Take the next piece."""
        whole, newline, self._rest = (self._rest + block).rpartition(b"\n")
        if not newline:
            return
        text = b"\n%s\n" % whole
        position = 1
        while position < len(text):
            position = self._pass_rows(text, position) if self._table else self._pass_statements(text, position)

    def _pass_statements(self, text: bytes, position: int) -> int:
        """Return where the rows of the next COPY begin, or where the piece ends."""
        begin = BEGIN_COPY.search(text, position)
        if begin is None:
            return len(text)
        self._table = begin[1].decode()
        self.rows.setdefault(self._table, 0)
        return begin.end()

    def _pass_rows(self, text: bytes, position: int) -> int:
        """Count rows, and return where what follows them begins, or where the piece ends. Each row is one line."""
        end = text.find(END_COPY, position - 1)
        rows = text[position : end + 1 if end >= 0 else len(text)]
        self.rows[self._table] += rows.count(b"\n")
        if self._table == MIGRATIONS:
            self.schemas += [int(line.split(b"\t", 1)[0]) for line in rows.splitlines()]
        if end < 0:
            return len(text)
        self._table = ""
        return end + len(END_COPY)
