"""A disk whose power can be cut, and that fails when it is told to: a VFS that all connections of SQLite go through.

The files are real ones, so SQLite locks, shares memory and reads as ever. Beside them is kept what a power cut would
leave: what was synced, and, in order, what has happened since. docs/decisions/ says what is assumed of disks.
"""

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Literal, NamedTuple

import apsw

Kind = Literal["create", "write", "truncate", "sync", "delete", "commit"]

CHANGING: frozenset[Kind] = frozenset({"create", "write", "truncate", "sync", "delete"})

SECTORS = (512, 4096)

ODDS = 0.5
ODDS_OF_TEARING = 0.1

SYNC_THEIR_FOLDER = apsw.SQLITE_OPEN_WAL | apsw.SQLITE_OPEN_MAIN_JOURNAL | apsw.SQLITE_OPEN_SUPER_JOURNAL
"""When one of these is synced for the first time since it was opened, SQLite on Unix syncs its folder as well."""

TEMPORARY = (
    apsw.SQLITE_OPEN_TEMP_DB
    | apsw.SQLITE_OPEN_TEMP_JOURNAL
    | apsw.SQLITE_OPEN_TRANSIENT_DB
    | apsw.SQLITE_OPEN_SUBJOURNAL
)
"""Files that nobody looks for after a restart."""

POWER_FAILS = -1

MOST_PAGES = 100
"""A log is checkpointed after at most so many."""

Name = str | apsw.URIFilename | None


class Change(NamedTuple):
    """Bytes written at an offset; or, without bytes, a new length."""

    offset: int
    data: bytes | None


class Contents:
    """What is in a file: what was synced, and what has happened to it since."""

    def __init__(self, synced: bytes = b"", unsynced: Iterable[Change] = ()) -> None:
        self.synced = bytearray(synced)
        self.unsynced = [*unsynced]

    def sync(self) -> None:
        """Let all that was written be lasting."""
        for change in self.unsynced:
            apply(change, self.synced)
        self.unsynced = []

    def lose(self, random: Random) -> None:
        """Keep what was synced; of the rest the first sectors, or any, in any order, and some of the others torn."""
        sector = random.choice(SECTORS)
        pieces = [piece for change in self.unsynced for piece in split(change, sector)]
        if random.random() < ODDS:
            random.shuffle(pieces)
        kept = random.choice([0, len(pieces), random.randint(0, len(pieces))])
        places = set(range(kept)) if random.random() < ODDS else set(random.sample(range(len(pieces)), kept))
        for place, piece in enumerate(pieces):
            if place in places:
                apply(piece, self.synced, random)
            elif piece.data and random.random() < ODDS_OF_TEARING:
                torn = piece.data[: random.randrange(len(piece.data))]
                apply(piece._replace(data=torn), self.synced, random)
        self.unsynced = []


def split(change: Change, sector: int) -> list[Change]:
    """Return a change cut where one sector ends and the next begins."""
    offset, data = change
    if not data:
        return [change]
    borders = [offset, *range(offset - offset % sector + sector, offset + len(data), sector), offset + len(data)]
    return [Change(begin, data[begin - offset : end - offset]) for begin, end in pairwise(borders)]


def apply(change: Change, contents: bytearray, random: Random | None = None) -> None:
    """Make a change. Where what lies before it was lost there is nothing, or what the disk held there long ago."""
    offset, data = change
    gap = offset - len(contents)
    if gap > 0:
        contents += random.randbytes(gap) if random is not None and random.random() < ODDS else bytes(gap)
    if data is None:
        del contents[offset:]
    else:
        contents[offset : offset + len(data)] = data


class Failure(NamedTuple):
    """What is to go wrong: of the calls of these kinds, so many are left that succeed, and then so many that fail."""

    kinds: frozenset[Kind]
    left: int
    failing: int
    code: int
    """What SQLite is told, or POWER_FAILS."""


class SimulatedDisk(apsw.VFS):
    """The only disk that SQLite knows of, until it is removed. All files are known by name: they lie in one folder."""

    def __init__(self, random: Random) -> None:
        super().__init__("simulated-disk", "unix", makedefault=True)
        self.has_power = True
        self.has_failed = False
        """Whether what was asked to fail has failed, each time."""
        self._random = random
        self._lock = threading.Lock()
        self._failure: Failure | None = None
        self._is_abandoned = False
        self._named: dict[str, Contents] = {}
        self._named_lastingly: dict[str, Contents] = {}

    def cut_power_after(self, moments: int) -> None:
        """Cut the power at the n-th call that changes the disk from now on."""
        self._failure = Failure(CHANGING, moments - 1, 1, POWER_FAILS)

    def fail(self, kind: Kind, number: int, times: int, code: int) -> None:
        """Let the n-th call of this kind from now on fail, and the next ones until so many have."""
        self._failure, self.has_failed = Failure(frozenset({kind}), number - 1, times, code), False

    def abandon(self) -> None:
        """Let those who still have files open close them in peace: nothing of it comes to the disk."""
        self._is_abandoned = True

    def save_survivors(self, folder: Path, random: Random) -> dict[str, Contents]:
        """Put what would survive a power cut now into a new folder, and return it. The disk itself goes on."""
        folder.mkdir(parents=True)
        survivors: dict[str, Contents] = {}
        with self._lock:
            for name in sorted(self._named | self._named_lastingly):
                contents = random.choice([self._named.get(name), self._named_lastingly.get(name)])
                if contents is not None:
                    survivors[name] = Contents(bytes(contents.synced), contents.unsynced)
                    survivors[name].lose(random)
                    (folder / name).write_bytes(survivors[name].synced)
        return survivors

    def restart(self, folder: Path) -> None:
        """Put what survives a power cut now into a new folder, and go on with it."""
        survivors = self.save_survivors(folder, self._random)
        self._named, self._named_lastingly = survivors, dict(survivors)
        self._failure, self.has_power, self._is_abandoned = None, True, False

    def empty(self) -> None:
        """Forget every file."""
        self._named, self._named_lastingly = {}, {}

    def happen(self, kind: Kind, change: Callable[[], object] = lambda: None) -> None:
        """Let a call have its effect. Where the power fails meanwhile it may have had one, but a sync has not.

        Raises:
            apsw.Error: It fails, or there is no power.
        """
        with self._lock:
            if self._is_abandoned:
                return
            code = self._meet(kind)
            if code == apsw.SQLITE_OK or (code == POWER_FAILS and kind != "sync"):
                change()
        if code != apsw.SQLITE_OK:
            raise apsw.exception_for(apsw.SQLITE_IOERR if code == POWER_FAILS else code)

    def contents_of(self, path: str) -> Contents:
        """Return what is in a file; where there was none until now, it is made."""
        name = Path(path).name
        if name not in self._named:
            self.happen("create", lambda: self._named.setdefault(name, Contents()))
        return self._named.get(name, Contents())

    def sync(self, contents: Contents) -> None:
        """Let what was written be lasting. Where that fails it may be lost, for the next sync passes over it.

        So it is on Linux: what could not be written counts as written from then on.
        """
        try:
            self.happen("sync", contents.sync)
        except apsw.Error:
            if self.has_power:
                contents.lose(self._random)
            raise

    def sync_folder(self) -> None:
        """Let the names of all files be lasting."""
        self.happen("sync", self._name_lastingly)

    def xOpen(self, name: Name, flags: list[int]) -> apsw.VFSFile:  # noqa: N802 - so SQLite calls it
        """Open a file."""
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        if path is None or flags[0] & TEMPORARY:
            return apsw.VFSFile("unix", name, flags)
        return SimulatedFile(self, path, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: FBT001, N802 - so SQLite calls it
        """Remove a file; its name may come back unless the folder is synced."""
        self.happen("delete", lambda: self._named.pop(Path(filename).name, None))
        super().xDelete(filename, False)  # noqa: FBT003 - as above
        if syncdir:
            self.sync_folder()

    def _name_lastingly(self) -> None:
        self._named_lastingly = dict(self._named)

    def _meet(self, kind: Kind) -> int:
        """Return what becomes of a call."""
        if not self.has_power:
            return apsw.SQLITE_IOERR
        if self._failure is None or kind not in self._failure.kinds:
            return apsw.SQLITE_OK
        kinds, left, failing, code = self._failure
        if left > 0:
            self._failure = Failure(kinds, left - 1, failing, code)
            return apsw.SQLITE_OK
        self._failure = Failure(kinds, 0, failing - 1, code) if failing > 1 else None
        self.has_failed = self._failure is None
        self.has_power = code != POWER_FAILS
        return code


class SimulatedFile(apsw.VFSFile):
    """A file of the simulated disk."""

    def __init__(self, disk: SimulatedDisk, path: str, name: Name, flags: list[int]) -> None:
        self._disk = disk
        self._contents = disk.contents_of(path)
        self._folder_to_sync = flags[0] & SYNC_THEIR_FOLDER and flags[0] & apsw.SQLITE_OPEN_CREATE
        super().__init__("unix", name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802 - so SQLite calls it
        """Write."""
        change = Change(offset, bytes(data))
        self._disk.happen("write", lambda: self._contents.unsynced.append(change))
        super().xWrite(data, offset)

    def xTruncate(self, newsize: int) -> None:  # noqa: N802 - so SQLite calls it
        """Set the length."""
        self._disk.happen("truncate", lambda: self._contents.unsynced.append(Change(newsize, None)))
        super().xTruncate(newsize)

    def xSync(self, _flags: int) -> None:  # noqa: N802 - so SQLite calls it
        """Let what was written be lasting."""
        self._disk.sync(self._contents)
        if self._folder_to_sync:
            self._disk.sync_folder()
            self._folder_to_sync = 0


@contextmanager
def simulated_disk(seed: int) -> Iterator[SimulatedDisk]:
    """Let SQLite know no other disk to the end of the block."""
    random = Random(seed)  # noqa: S311 - the same faults each time
    disk = SimulatedDisk(random)

    def prepare(connection: apsw.Connection) -> None:
        def is_refused() -> bool:
            disk.happen("commit")
            return False

        connection.set_commit_hook(is_refused)
        connection.set_wal_hook(checkpoint_after(random.randrange(1, MOST_PAGES)))

    apsw.connection_hooks.append(prepare)
    try:
        yield disk
    finally:
        apsw.connection_hooks.remove(prepare)
        disk.unregister()


def checkpoint_after(pages: int) -> Callable[[apsw.Connection, str, int], int]:
    """Return what does as SQLite itself does after 1,000 pages: a failure is no matter, for the next time will do.

    SQLite's own would not do: it tells nobody of a failure, but apsw, that met it in Python, raises it from COMMIT.
    """

    def checkpoint(connection: apsw.Connection, database: str, in_log: int) -> int:
        if in_log >= pages:
            with suppress(apsw.IOError, apsw.FullError, apsw.BusyError):
                connection.wal_checkpoint(database)
        return apsw.SQLITE_OK

    return checkpoint
