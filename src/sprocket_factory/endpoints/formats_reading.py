"""The formats in which many records come in: CSV and NDJSON, read as they arrive, and JSON arrays.

A reader is fed bytes in any pieces and checks what they hold into a spool. It remembers the first wrong rows and
counts the rest, so that one look at the refusal is enough to mend a file.
"""

import csv
import io
from abc import ABC, abstractmethod
from collections.abc import Callable, Container, Iterable
from operator import itemgetter
from typing import Any

import msgspec

from sprocket_factory.endpoints.lenient import pointer_to
from sprocket_factory.endpoints.reading import decode
from sprocket_factory.entities import MAX_ID
from sprocket_factory.entities.instant import read_instant
from sprocket_factory.entities.production import MAX_COUNT, NewProduction
from sprocket_factory.entities.production_import import MAX_FAULTS, Spool
from sprocket_factory.errors import Fault, Invalid, Refusal, Unreadable, nearest, shown

MAX_LINE_BYTES = 1024 * 1024

MAX_DIGITS = len(str(MAX_ID))

COLUMNS = ("factory_id", "time", "sprocket_production_actual", "sprocket_production_goal")


class RecordReader(ABC):
    """Reads production records from bytes into a spool."""

    def __init__(
        self,
        spool: Spool,
        latest: int,
        factory_ids: Container[int] | None = None,
        check_factory: Callable[[int], None] | None = None,
    ) -> None:
        """Begin to read.

        Args:
            spool: Where the rows go.
            latest: The last instant that a record may have.
            factory_ids: The factories that are known by now. Whether a row names one that has come since, the merge
                will find out; here it is a fault only beside others, so that all of them are named at once.
            check_factory: Raises a refusal for a factory that the caller may not write for.
        """
        self._spool = spool
        self._latest = latest
        self._factory_ids = factory_ids
        self._check_factory = check_factory
        self._doubtful = 0
        self._rules = {"time": lambda time: read_instant(time, latest)}
        self._pending = b""
        self._rows = 0
        self._faults: list[Fault] = []
        self._faults_total = 0

    def feed(self, data: bytes) -> None:
        """Read as many whole lines as there are by now. Raises Unreadable."""
        self._pending += data
        end = self._pending.rfind(b"\n") + 1
        lines, rest = self._pending[:end], self._pending[end:]
        if lines and self._take(lines):
            self._pending = rest
        if len(self._pending) > MAX_LINE_BYTES:
            raise Unreadable(
                f"Row {self._rows + 1} is longer than {MAX_LINE_BYTES:,} bytes, or never closes a quotation."
            )

    def finish(self) -> None:
        """Read what is left. Raises Unreadable, and Invalid where a row is wrong: the first hundred are named."""
        if self._pending and not self._take(self._pending):
            raise Unreadable(f"Row {self._rows + 1} opens a quotation mark and never closes it.")
        if self._faults_total > self._doubtful:
            raise Invalid(
                f"{self._faults_total:,} things are wrong in {self._rows:,} rows.",
                faults=self._faults,
                faults_total=self._faults_total,
            )
        self._spool.finish()

    @abstractmethod
    def _take(self, lines: bytes) -> bool:
        """Read these whole lines, or return False where they end within a row."""

    def _keep(self, factory_id: int, time: int, actual: int, goal: int) -> None:
        if self._check_factory is not None:
            self._check_factory(factory_id)
        if self._factory_ids is not None and factory_id not in self._factory_ids:
            self._doubtful += 1
            self._fault("/factory_id", f"No factory has the id {factory_id}.")
        self._spool.add(factory_id, time, actual, goal)

    def _fault(self, pointer: str, detail: str) -> None:
        self._faults_total += 1
        if len(self._faults) < MAX_FAULTS:
            self._faults.append(Fault(pointer, detail, self._rows))


class NdjsonReader(RecordReader):
    """One JSON object on each line; blank lines are passed over."""

    def take_rows(self, rows: Iterable[bytes | msgspec.Raw]) -> None:
        """Read JSON texts, one record each."""
        for row in rows:
            self._rows += 1
            text = bytes(row)
            if len(text) > MAX_LINE_BYTES:
                self._fault("", f"The row is longer than {MAX_LINE_BYTES:,} bytes.")
            else:
                self._take_row(text)

    def _take(self, lines: bytes) -> bool:
        self.take_rows(line for line in lines.split(b"\n") if line.strip())
        return True

    def _take_row(self, text: bytes) -> None:
        try:
            row = decode(text, NewProduction, self._rules)
            time = read_instant(row.time, self._latest)
        except Refusal as refusal:
            for fault in refusal.faults or (Fault("/time" if isinstance(refusal, Invalid) else "", str(refusal)),):
                self._fault(fault.pointer, fault.detail)
            return
        self._keep(row.factory_id, time, row.sprocket_production_actual, row.sprocket_production_goal)


class CsvReader(RecordReader):
    """RFC 4180 with a header row that names the columns in any order; a byte order mark is passed over."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._cells_of: Callable[[list[str]], tuple[str, ...]] | None = None

    def finish(self) -> None:
        """Read what is left. Raises as any reader's, and Invalid where there is no header row."""
        super().finish()
        if self._cells_of is None:
            raise Invalid("There is no header row.", hint=f"It names the columns: {','.join(COLUMNS)}.")

    def _take(self, lines: bytes) -> bool:
        if lines.count(b'"') % 2:
            return False  # a quoted cell goes on behind these lines
        try:
            text = lines.decode("utf-8-sig" if self._cells_of is None else "utf-8")
            for cells in csv.reader(io.StringIO(text, newline=""), strict=True):
                if cells:
                    self._take_cells(cells)
        except (UnicodeDecodeError, csv.Error) as error:
            raise Unreadable(f"The CSV cannot be read after row {self._rows}: {error}.") from error
        return True

    def _take_cells(self, cells: list[str]) -> None:
        if self._cells_of is None:
            self._cells_of = _columns(cells)
            return
        self._rows += 1
        if len(cells) != len(COLUMNS):
            self._fault("", f"The row has {len(cells)} cells, the header {len(COLUMNS)}.")
            return
        factory_id, time, actual, goal = self._cells_of(cells)
        before = self._faults_total
        row = (
            self._whole_number("factory_id", factory_id, 1, MAX_ID),
            self._instant(time),
            self._whole_number("sprocket_production_actual", actual, 0, MAX_COUNT),
            self._whole_number("sprocket_production_goal", goal, 0, MAX_COUNT),
        )
        if self._faults_total == before:
            self._keep(*row)

    def _whole_number(self, column: str, cell: str, least: int, most: int) -> int:
        if (
            cell.isascii()
            and cell.isdigit()
            and len(cell) <= len(str(MAX_ID))
            and least <= (number := int(cell)) <= most
        ):
            return number
        self._fault(f"/{column}", f"{shown(cell)} is no whole number from {least} to {most}.")
        return 0

    def _instant(self, cell: str) -> int:
        try:
            return read_instant(cell, self._latest)
        except Invalid as refusal:
            self._fault("/time", str(refusal))
            return 0


def _columns(header: list[str]) -> Callable[[list[str]], tuple[str, ...]]:
    """Return what picks the cells of a row in the order of COLUMNS. Raises Invalid for a header that is none."""
    faults = [
        Fault(pointer_to(name), f"There is no column {shown(name)}.{nearest(name, COLUMNS)}")
        for name in [name for name in header if name not in COLUMNS][:MAX_FAULTS]
    ]
    faults += [Fault(f"/{name}", f"The column {name} is missing.") for name in COLUMNS if name not in header]
    faults += [Fault(f"/{name}", f"The column {name} is there twice.") for name in COLUMNS if header.count(name) > 1]
    if faults:
        raise Invalid("The header row is not that of production records.", faults=faults)
    return itemgetter(*(header.index(name) for name in COLUMNS))
