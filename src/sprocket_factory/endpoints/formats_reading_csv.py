"""Production records that come in as CSV."""

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from operator import itemgetter
from typing import Any

from sprocket_factory.endpoints.formats_reading import KEEP_LINE_ENDS, RecordReader
from sprocket_factory.endpoints.lenient import pointer_to
from sprocket_factory.entities import MAX_ID
from sprocket_factory.entities.production import MAX_COUNT
from sprocket_factory.entities.production_import import MAX_FAULTS
from sprocket_factory.errors import Fault, Invalid, Unreadable, nearest, shown

BLOCK_ROWS = 1000

MAX_DIGITS = len(str(MAX_ID))

OTHER_SEPARATORS = {";": "semicolons", "\t": "tabs"}
"""What spreadsheets write between columns where a comma is the decimal mark, and when they copy."""

COLUMNS = ("factory_id", "time", "sprocket_production_actual", "sprocket_production_goal")


class CsvReader(RecordReader):
    """RFC 4180 with a header row that names the columns in any order; a byte order mark is passed over."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._in_order: Callable[[Sequence[Any]], tuple[Any, ...]] | None = None

    def finish(self) -> Iterator[None]:
        """Read what is left. Raises as any reader's, and Invalid where there is no header row."""
        yield from super().finish()
        if self._in_order is None:
            raise Invalid("There is no header row.", hint=f"It names the columns: {','.join(COLUMNS)}.")

    def _is_whole(self, lines: bytes) -> bool:
        return lines.count(b'"') % 2 == 0  # or a quoted cell goes on behind these lines

    def _take(self, lines: bytes) -> Iterator[None]:
        try:
            text = lines.decode("utf-8-sig" if self._in_order is None else "utf-8")
        except UnicodeDecodeError as error:
            raise self._unreadable(error) from error
        rows = csv.reader(io.StringIO(text, newline=""), strict=True)
        block: list[list[str]] = []
        while not self._gave_up():
            try:
                block.extend(islice(rows, 1 if self._in_order is None else BLOCK_ROWS))
            except csv.Error as error:
                yield from self._take_each(block, self._take_cells)
                raise self._unreadable(error) from error
            if not block:
                return
            if not self._take_block(block):
                yield from self._take_each(block, self._take_cells)
            block.clear()
            yield

    def _take_block(self, rows: list[list[str]]) -> bool:
        """Keep rows a column at a time, or return False, and keep none, where one is not right or is no row at all."""
        if self._in_order is None:
            return False
        try:
            columns = list(zip(*rows, strict=True))
            if len(columns) != len(COLUMNS):
                return False
            factory_ids, times, actuals, goals = self._in_order(columns)
            return self._keep_all(
                _whole_numbers(factory_ids, 1, MAX_ID),
                self._instants.read_all(times),
                _whole_numbers(actuals, 0, MAX_COUNT),
                _whole_numbers(goals, 0, MAX_COUNT),
            )
        except (ValueError, Invalid):
            return False

    def _take_cells(self, cells: list[str]) -> None:
        if not cells:
            return
        if self._in_order is None:
            self._in_order = _order_of(cells)
            return
        self._rows += 1
        if len(cells) != len(COLUMNS):
            self._fault("", f"The row has {len(cells)} cells, the header {len(COLUMNS)}.")
            return
        factory_id, time, actual, goal = self._in_order(cells)
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
        if cell.isascii() and cell.isdigit() and len(cell) <= MAX_DIGITS and least <= (number := int(cell)) <= most:
            return number
        self._fault(f"/{column}", f"{shown(cell)} is no whole number from {least} to {most}.")
        return 0

    def _instant(self, cell: str) -> int:
        try:
            return self._instants.read(cell)
        except Invalid as refusal:
            self._fault("/time", str(refusal))
            return 0

    def _unreadable(self, error: Exception) -> Unreadable:
        return Unreadable(f"The CSV cannot be read after row {self._rows}: {error}.")


def _whole_numbers(cells: Sequence[str], least: int, most: int) -> list[int]:
    """Return the whole numbers that the cells of a column are. Raises ValueError unless each is one within bounds."""
    digits = "".join(cells)
    if digits.isascii() and digits.isdigit() and max(map(len, cells)) <= MAX_DIGITS:
        numbers = list(map(int, cells))
        if least <= min(numbers) <= max(numbers) <= most:
            return numbers
    raise ValueError


def _order_of(header: list[str]) -> Callable[[Sequence[Any]], tuple[Any, ...]]:
    """Return what puts the cells of a row in the order of COLUMNS. Raises Invalid for a header that is none."""
    if len(header) == 1:
        _check_separator(header[0])
    faults = [
        Fault(pointer_to(name), f"There is no column {shown(name)}.{nearest(name, COLUMNS)}")
        for name in [name for name in header if name not in COLUMNS][:MAX_FAULTS]
    ]
    faults += [Fault(f"/{name}", f"The column {name} is missing.") for name in COLUMNS if name not in header]
    faults += [Fault(f"/{name}", f"The column {name} is there twice.") for name in COLUMNS if header.count(name) > 1]
    if faults:
        hint = KEEP_LINE_ENDS if _goes_on(header) else ""
        raise Invalid("The header row is not that of production records.", hint=hint, faults=faults)
    return itemgetter(*(header.index(name) for name in COLUMNS))


def _goes_on(header: list[str]) -> bool:
    """Return whether it looks as if the first row stood right behind the header, with no end of a line between."""
    if len(header) <= len(COLUMNS):
        return False
    last = header[len(COLUMNS) - 1]
    return last not in COLUMNS and last.startswith(COLUMNS)


def _check_separator(cell: str) -> None:
    """Raise Invalid where the only cell of a header has columns within, with something else than commas between."""
    for separator, name in OTHER_SEPARATORS.items():
        if separator in cell:
            detail, hint = f"The header row has {name} between its columns.", "Put commas there, and in every row."
            raise Invalid(detail, hint=hint, faults=[Fault("", f"{detail} {hint}")])
