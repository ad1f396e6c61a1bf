"""Many production records at once: checked into a spool as they arrive, then merged in one write.

Nothing is locked while rows arrive, memory stays flat however many there are, and the merge stores all of them or none.
"""

import errno
import tempfile
from array import array
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from types import MappingProxyType
from typing import IO, Literal

from msgspec import Struct

from sprocket_factory.database import STAGED_COLUMNS, Block, Row, Transaction
from sprocket_factory.entities.attainment_rollup import hold_incoming, recount_touched
from sprocket_factory.entities.factory import share_incoming_time_zones
from sprocket_factory.entities.instant import to_text
from sprocket_factory.entities.production_change import enter_many
from sprocket_factory.entities.production_merge import compare_incoming, find_clashes, store_incoming
from sprocket_factory.errors import Conflict, Fault, Invalid, Refusal, StorageFull, Unavailable
from sprocket_factory.observe_statements import stage

OnConflict = Literal["error", "replace", "skip"]

MAX_FAULTS = 100

NO_IDS: Mapping[int, int] = MappingProxyType({})

_WIDTH = len(STAGED_COLUMNS["incoming"])
_BLOCK_ROWS = 1000
_EMPTY_ROW = bytes(_WIDTH * array("q").itemsize)
_BLOCK_BYTES = len(_EMPTY_ROW) * _BLOCK_ROWS


class Merged(Struct, frozen=True, kw_only=True):
    """What a merge did with each of the rows it was given."""

    records: int
    created: int
    replaced: int
    unchanged: int
    skipped: int


class Spool:
    """Checked rows, in a temporary file that nobody else sees and that is gone when it is closed."""

    def __init__(self) -> None:
        try:
            self._file: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed by close()
        except OSError as error:
            raise _no_room(error) from error
        self._rows = 0
        self._unwritten: Block = array("q")

    def add(self, factory_id: int, time: int, actual: int, goal: int) -> None:
        """Keep one row. A negative factory id stands for a factory that the merge will know. Raises StorageFull."""
        self._rows += 1
        self._unwritten.extend((factory_id, time, self._rows, actual, goal))
        if len(self._unwritten) >= _WIDTH * _BLOCK_ROWS:
            self._write()

    def extend(
        self, factory_ids: Sequence[int], times: Sequence[int], actuals: Sequence[int], goals: Sequence[int]
    ) -> None:
        """Keep rows that come as columns of one length. Raises StorageFull."""
        numbers = range(self._rows + 1, self._rows + len(times) + 1)
        block = array("q", _EMPTY_ROW * len(times))
        for place, column in enumerate((factory_ids, times, numbers, actuals, goals)):
            block[place::_WIDTH] = array("q", column)
        self._rows += len(times)
        self._unwritten += block
        self._write()

    def finish(self) -> None:
        """Write out what is still held in memory. Raises StorageFull."""
        self._write()
        try:
            self._file.flush()
        except OSError as error:
            raise _no_room(error) from error

    def blocks(self, factory_ids: Mapping[int, int] = NO_IDS) -> Iterator[Block]:
        """Give the rows from the first on, with these ids in place of the negative ones. Raises StorageFull."""
        self.finish()
        self._file.seek(0)
        while data := self._file.read(_BLOCK_BYTES):
            block = array("q", data)
            if factory_ids:
                block[::_WIDTH] = array("q", [factory_ids.get(id_, id_) for id_ in block[::_WIDTH]])
            yield block

    def __len__(self) -> int:
        return self._rows

    def close(self) -> None:
        """Let go of the file."""
        with suppress(OSError):  # what could not be written is let go of all the same
            self._file.close()

    def _write(self) -> None:
        try:
            self._file.write(self._unwritten)
        except OSError as error:
            raise _no_room(error) from error
        self._unwritten = array("q")


def _no_room(error: OSError) -> Refusal:
    if error.errno in {errno.EMFILE, errno.ENFILE}:
        return Unavailable("Too many files are open.", hint="Try again in a moment, or raise the limit of open files.")
    return StorageFull(
        f"What arrives cannot be held until it is whole: {error.strerror}.", hint="Make room where TMPDIR points."
    )


async def merge_production(
    tx: Transaction,
    spool: Spool,
    on_conflict: OnConflict,
    factory_ids: Mapping[int, int] = NO_IDS,
    dry_run: bool = False,  # noqa: FBT001, FBT002 - write functions take their arguments by place
) -> Merged:
    """Store the rows of a spool, all or none, and say what became of each.

    Rows count in their order: one that equals what is stored by then is `unchanged`; one that differs is a clash
    under `error`, wins under `replace`, and loses under `skip`.

    Args:
        tx: Where they are stored.
        spool: The rows. It is read from its beginning, so the merge may be run again.
        on_conflict: What to do with a row whose factory and time are stored with other values.
        factory_ids: The ids that the negative ones in the spool stand for.
        dry_run: Find out what would become of each row, and store nothing.

    Raises:
        Invalid: A row names a factory that does not exist.
        Conflict: Under `error`, at least one row clashes; the first hundred are named.
    """
    with stage("stage"):
        await tx.clear("incoming")
        await tx.stage("incoming", spool.blocks(factory_ids))
        time_zones = await share_incoming_time_zones(tx)
    is_replacing = on_conflict == "replace"
    with stage("compare"):
        await _refuse_unknown_factories(tx)
        if not dry_run:
            await hold_incoming(tx, time_zones)
        compared = await compare_incoming(tx, is_replacing=is_replacing)
    differing = len(spool) - compared.created - compared.unchanged
    if differing and on_conflict == "error":
        raise await _clashes(tx, differing)
    if compared.spans and not dry_run:
        with stage("store"):
            batch = await store_incoming(tx, compared, is_replacing=is_replacing)
            await recount_touched(tx)
            await enter_many(tx, "import", compared.spans, batch)
    return Merged(
        records=len(spool),
        created=compared.created,
        replaced=differing if is_replacing else 0,
        unchanged=compared.unchanged,
        skipped=differing if on_conflict == "skip" else 0,
    )


async def _refuse_unknown_factories(tx: Transaction) -> None:
    unknown = "FROM incoming WHERE NOT EXISTS (SELECT 1 FROM factories WHERE factories.id = incoming.factory_id)"
    rows = await tx.all(f"SELECT row_number, factory_id {unknown} ORDER BY row_number LIMIT {MAX_FAULTS}")
    if rows:
        (total,) = await tx.first(f"SELECT count(*) {unknown}")
        faults = [Fault("/factory_id", f"No factory has the id {factory_id}.", row) for row, factory_id in rows]
        raise Invalid(f"{total:,} of the rows name no factory that exists.", faults=faults, faults_total=total)


async def _clashes(tx: Transaction, total: int) -> Conflict:
    return Conflict(
        f"{total:,} of the rows say otherwise than what is stored.",
        hint="Choose replace or skip as what to do on a conflict, or mend the rows.",
        faults=[_clash(row) for row in await find_clashes(tx, MAX_FAULTS)],
        faults_total=total,
    )


def _clash(row: Row) -> Fault:
    number, factory_id, time, actual, goal, stored_actual, stored_goal = row
    return Fault(
        "",
        f"Factory {factory_id} at {to_text(time)} stands at actual {stored_actual}, goal {stored_goal};"
        f" the row says {actual}, {goal}.",
        number,
    )
