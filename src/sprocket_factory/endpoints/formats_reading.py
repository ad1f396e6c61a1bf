"""What the readers of many records have in common: CSV, NDJSON and JSON arrays come in through one.

A reader is fed bytes in any pieces and checks what they hold into a spool: many rows at once where all of them are of
the plainest form, and else one by one, to the same end. It remembers the first wrong rows and counts the rest, so that
one look at the refusal is enough to mend a file.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from time import perf_counter
from typing import TypeVar

from sprocket_factory.entities.instant import InstantReader
from sprocket_factory.entities.production_import import MAX_FAULTS, Spool
from sprocket_factory.errors import Fault, Invalid, Refusal, Unreadable

MAX_LINE_BYTES = 1024 * 1024

KEEP_LINE_ENDS = "`curl -d` takes the line ends out of a file: send it with --data-binary."

MAX_COUNTED = 100_000
"""Once so many things are wrong, the rest is not looked at: a body that is wrong throughout may cost no more than one
that is right."""

STEP_SECONDS = 0.001
"""How long a reader goes on before others have their turn. Rows that are read at once are so many that it takes as
long."""

T = TypeVar("T")


class RecordReader(ABC):
    """Reads production records from bytes into a spool.

    What reads is a generator of steps of about STEP_SECONDS each, between which others may have their turn. It has to
    be run to its end.
    """

    def __init__(
        self,
        spool: Spool,
        latest: int,
        factory_ids: frozenset[int] | None = None,
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
        self._factory_ids = factory_ids
        self._check_factory = check_factory
        self._cleared: set[int] = set()
        self._instants = InstantReader(latest)
        self._doubtful = 0
        self._pending = b""
        self._rows = 0
        self._faults: list[Fault] = []
        self._faults_total = 0

    def feed(self, data: bytes) -> Iterator[None]:
        """Read as many whole lines as there are by now, step by step. Raises Unreadable."""
        if self._gave_up():
            return
        self._pending += data
        end = self._pending.rfind(b"\n") + 1
        if end and self._is_whole(self._pending[:end]):
            lines, self._pending = self._pending[:end], self._pending[end:]
            yield from self._take(lines)
        if len(self._pending) > MAX_LINE_BYTES:
            raise self._too_long(KEEP_LINE_ENDS)

    def finish(self) -> Iterator[None]:
        """Read what is left. Raises Unreadable, and Invalid where a row is wrong: the first hundred are named."""
        if self._pending and not self._gave_up():
            if not self._is_whole(self._pending):
                raise Unreadable(f"Row {self._rows + 1} opens a quotation mark and never closes it.")
            yield from self._take(self._pending)
        if self._faults_total > self._doubtful:
            raise Invalid(self._verdict(), faults=self._faults, faults_total=self._faults_total)
        self._spool.finish()

    def _is_whole(self, lines: bytes) -> bool:
        """Return whether the last of these lines is the end of a row."""
        return bool(lines)

    @abstractmethod
    def _take(self, lines: bytes) -> Iterator[None]:
        """Read these whole rows, step by step."""

    def _take_each(self, rows: Iterable[T], take: Callable[[T], None]) -> Iterator[None]:
        """Read rows one by one, for as long as it makes sense, with a step whenever it is time for one."""
        began = perf_counter()
        for row in rows:
            take(row)
            if self._gave_up():
                return
            if perf_counter() - began > STEP_SECONDS:
                yield
                began = perf_counter()

    def _keep(self, factory_id: int, time: int, actual: int, goal: int) -> None:
        if self._check_factory is not None:
            self._check_factory(factory_id)
        if self._factory_ids is not None and factory_id not in self._factory_ids:
            self._doubtful += 1
            self._fault("/factory_id", f"No factory has the id {factory_id}.")
        self._spool.add(factory_id, time, actual, goal)

    def _keep_all(
        self, factory_ids: Sequence[int], times: Sequence[int], actuals: Sequence[int], goals: Sequence[int]
    ) -> bool:
        """Keep rows that came at once, or return False, and keep none, where anything may be said of a factory."""
        if not self._are_cleared(set(factory_ids)):
            return False
        self._rows += len(times)
        self._spool.extend(factory_ids, times, actuals, goals)
        return True

    def _are_cleared(self, factory_ids: set[int]) -> bool:
        if self._factory_ids is None:
            return self._check_factory is None
        if not factory_ids <= self._cleared:
            if not factory_ids <= self._factory_ids:
                return False
            try:
                for factory_id in factory_ids:
                    if self._check_factory is not None:
                        self._check_factory(factory_id)
            except Refusal:
                return False  # row by row it is found where it stands
            self._cleared |= factory_ids
        return True

    def _fault(self, pointer: str, detail: str) -> None:
        self._faults_total += 1
        if len(self._faults) < MAX_FAULTS:
            self._faults.append(Fault(pointer, detail, self._rows))

    def _gave_up(self) -> bool:
        """Return whether so much is wrong that the rest does not matter. Doubtful rows may turn out to be right."""
        return self._faults_total >= MAX_COUNTED and self._faults_total > self._doubtful

    def _verdict(self) -> str:
        if self._gave_up():
            return f"{self._faults_total:,} things are wrong by row {self._rows:,}. What follows it was not looked at."
        return f"{self._faults_total:,} things are wrong in {self._rows:,} rows."

    def _too_long(self, hint: str = "") -> Unreadable:
        detail = f"Row {self._rows + 1} is longer than {MAX_LINE_BYTES:,} bytes, or never closes a quotation."
        return Unreadable(detail, hint=hint)
