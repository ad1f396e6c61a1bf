"""The doctor on the machine: permissions, disks, the clock, the port, limits, and how old the backups are."""

import os
import resource
import shutil
import socket
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sprocket_factory.commands.doctor_finding import Finding, note, ok, wrong
from sprocket_factory.commands.doctor_settings import secret_files
from sprocket_factory.commands.first_key import files_in
from sprocket_factory.database.addresses import is_postgresql, path_of
from sprocket_factory.database.backup_folder import backups_in
from sprocket_factory.database.checking import check_writable
from sprocket_factory.database.serving import server_of
from sprocket_factory.errors import Unusable
from sprocket_factory.settings import Settings

MOUNTS = Path("/proc/self/mountinfo")

NETWORK = {
    "nfs",
    "nfs4",
    "cifs",
    "smb3",
    "smbfs",
    "9p",
    "afs",
    "ceph",
    "glusterfs",
    "lustre",
    "fuse.sshfs",
    "ocfs2",
    "gfs2",
}
"""SQLite's log needs memory that is shared between processes, and locks that hold: neither is had there."""

PASSING = {"tmpfs": "in memory", "ramfs": "in memory", "overlay": "in a container"}

MIN_FREE_BYTES = 512 * 1024 * 1024
MIN_FREE_FILES = 1000

MIN_OPEN_FILES = 1024
GOOD_OPEN_FILES = 4096
"""Each connection is one, and idle callers keep theirs."""

RELEASED = datetime(2026, 1, 1, tzinfo=UTC)

ASK_SECONDS = 5

GIGABYTE = 1_000_000_000


def database_file(settings: Settings) -> Path | None:
    """Return the SQLite file, if the database is one."""
    return None if is_postgresql(settings.database_url) else path_of(settings.database_url).absolute()


def look_at_permissions(settings: Settings) -> Iterator[Finding]:
    """Find what others than the service's user can read, and what it cannot write itself."""
    file = database_file(settings)
    private = secret_files(settings)
    if file is not None:
        private += [Path(f"{file}{suffix}") for suffix in ("", "-wal", "-shm")]
    first_keys = files_in(file.parent if file else Path.cwd())
    faults = [
        wrong(f"Everybody on this machine can read {path}.", f"chmod o-rwx {path}")
        for path in [*private, *first_keys, *(path for _, path in backups_in(Path(settings.backup_folder)))]
        if path.exists() and is_open_to_everybody(path)
    ]
    if file is not None and file.exists():
        try:
            check_writable(file)
        except Unusable as refusal:
            faults.append(wrong(refusal.detail, refusal.hint))
    yield from faults or [ok("what is private can be read by this user, and not by everybody")]
    for path in first_keys:
        yield note(f"A first key still lies in {path}.", "Keep it elsewhere, or make others with it; remove it.")


def is_open_to_everybody(path: Path) -> bool:
    """Return whether any user of the machine can do something with the file: it and the way to it have to be open."""
    way = path.resolve().parents
    return bool(path.stat().st_mode & 0o007) and all(folder.stat().st_mode & 0o001 for folder in way)


def look_at_disks(settings: Settings) -> Iterator[Finding]:
    """Find disks that are full, slow to fail, or gone with the next restart."""
    file = database_file(settings)
    if file is not None:
        size = sum(path.stat().st_size for path in file.parent.glob(f"{file.name}*") if path.is_file())
        yield from _look_at_folder(file.parent, size, holds_database=True)
    if settings.backup_every:
        folder = Path(settings.backup_folder).absolute()
        newest = next((path.stat().st_size for _, path in backups_in(folder)), 0)
        yield from _look_at_folder(folder if folder.is_dir() else folder.parent, newest, holds_database=False)
        if file is not None and folder.is_dir() and folder.stat().st_dev == file.parent.stat().st_dev:
            yield note(
                f"The backups in {folder} lie on the database's own disk.", "Copy them to another machine as well."
            )


def _look_at_folder(folder: Path, needed: int, *, holds_database: bool) -> Iterator[Finding]:
    if not folder.is_dir():
        yield wrong(f"There is no folder {folder}.", "Make it, and give it to the service's user.")
        return
    if not os.access(folder, os.W_OK | os.X_OK):
        yield wrong(f"This user cannot write in {folder}.", "chown it to the service's user.")
    kind = file_system_of(folder)
    if holds_database and kind in NETWORK:
        yield wrong(
            f"{folder} is on a network file system ({kind}).",
            "Keep the file on a disk of this machine, or move to PostgreSQL.",
        )
    if kind in PASSING:
        yield note(f"{folder} is {PASSING[kind]} ({kind}).", "What it holds goes with it: mount a disk there.")
    free = shutil.disk_usage(folder).free
    needed = max(MIN_FREE_BYTES, needed)
    if free < needed:
        yield wrong(
            f"{folder} has {free / GIGABYTE:,.1f} GB left.",
            f"Make room: the next backup, import or restore may need {needed / GIGABYTE:,.1f} GB.",
        )
    elif os.statvfs(folder).f_files and os.statvfs(folder).f_favail < MIN_FREE_FILES:
        yield wrong(f"The disk of {folder} can hold hardly any more files.", "Remove some: it has run out of inodes.")
    else:
        yield ok(f"{folder} has {free / GIGABYTE:,.1f} GB left")


def file_system_of(folder: Path) -> str:
    """Return what kind of file system holds the folder; nothing where the system does not say."""
    if not MOUNTS.exists():
        return ""
    kinds = {}
    for line in MOUNTS.read_text(encoding="utf-8", errors="replace").splitlines():
        before, _, after = line.partition(" - ")
        point = before.split()[4].replace("\\040", " ")
        kinds[Path(point)] = after.split()[0]
    real = folder.resolve()
    return next((kinds[place] for place in (real, *real.parents) if place in kinds), "")


def look_at_clock(_settings: Settings) -> Iterator[Finding]:
    """Find a clock that cannot be right. Against a server's it is compared with the database."""
    now = datetime.now(UTC)
    if now < RELEASED:
        yield wrong(
            f"The clock says {now:%Y-%m-%d}, before this program was written.", "Set it, and keep it set (NTP)."
        )
    elif _is_synchronized() == "no":
        yield note("The clock is not kept right by anybody.", "Install chrony or systemd-timesyncd.")
    else:
        yield ok(f"it is {now:%Y-%m-%d %H:%M:%S} UTC")


def _is_synchronized() -> str:
    """Return yes or no, or nothing where nobody knows."""
    program = shutil.which("timedatectl")
    if program is None:
        return ""
    command = [program, "show", "--property=NTPSynchronized", "--value"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=ASK_SECONDS)  # noqa: S603 - of the PATH
    except (OSError, subprocess.SubprocessError):
        return ""  # a container has the program, and nobody who answers it
    return done.stdout.strip()


def look_at_port(settings: Settings) -> Iterator[Finding]:
    """Find out whether one can listen there, or already does."""
    where = f"{settings.host} port {settings.port}"
    file = database_file(settings)
    server = None if file is None else server_of(file)
    try:
        family, _, _, _, address = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)[0]
        socket.create_server(address[:2], family=family).close()
    except OSError as error:
        if server is not None:
            yield ok(f"{where} is in use, and process {server} serves the database")
        elif is_postgresql(settings.database_url):
            yield note(
                f"{where} cannot be listened on: {error.strerror}.", "That is right while the service is running."
            )
        else:
            yield wrong(
                f"{where} cannot be listened on: {error.strerror}.", "Choose another --port, or end who has it."
            )
    else:
        yield ok(f"{where} is free")


def look_at_limits(_settings: Settings) -> Iterator[Finding]:
    """Find out how many files and connections a process may have open."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    advice = f"Allow {GOOD_OPEN_FILES * 16}: LimitNOFILE= of systemd, ulimit -n of a shell."
    if soft != resource.RLIM_INFINITY and soft < MIN_OPEN_FILES:
        yield wrong(f"A process may have only {soft} files and connections open.", advice)
    elif soft != resource.RLIM_INFINITY and soft < GOOD_OPEN_FILES:
        yield note(f"A process may have {soft} files and connections open.", advice)
    else:
        yield ok(f"a process may have {soft if soft != resource.RLIM_INFINITY else 'any number of'} files open")


def look_at_backups(settings: Settings) -> Iterator[Finding]:
    """Find out when the newest backup was made."""
    if not settings.backup_every:
        yield note("No backups are scheduled here.", "`serve --backup-every 1h` makes them, if nothing else does.")
        return
    folder = Path(settings.backup_folder).absolute()
    every = timedelta(seconds=settings.backup_every)
    now = datetime.now(UTC)
    found = backups_in(folder)
    if not found:
        yield wrong(
            f"There is no backup in {folder}.", "The log of the server says why; `sprocket-factory backup` makes one."
        )
        return
    moment, path = found[0]
    if moment > now + timedelta(minutes=1):
        yield wrong(f"{path} is of the future.", "The clock was set back, or was wrong then.")
    elif now - moment > 2 * every:
        yield wrong(f"The newest backup is {_age(now - moment)} old: {path}.", "The log of the server says why.")
    else:
        yield ok(f"{len(found)}, the newest {_age(now - moment)} old: {path}")


def _age(age: timedelta) -> str:
    minutes = int(age.total_seconds() // 60)
    if minutes < 120:  # noqa: PLR2004 - two hours
        return f"{minutes} minutes"
    return f"{minutes // 60} hours" if minutes < 2 * 24 * 60 else f"{minutes // (24 * 60)} days"
