"""`sprocket-factory doctor`: each thing that is wrong is named, with what to do about it, and the exit code is 1."""

import os
import resource
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import apsw
import pytest
from click.testing import CliRunner, Result

from backups import damage, fill, lose
from harness import Program
from postgresql_server import PostgreSQLServer
from sprocket_factory.commands import cli
from sprocket_factory.database.migrations import Migration, migrations_for

DATABASE = "sprocket-factory.db"

MACHINE = "sprocket_factory.commands.doctor_machine"


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a sound database, to be copied."""
    path = tmp_path_factory.mktemp("sound") / DATABASE
    fill(f"sqlite:///{path}")
    return path


@pytest.fixture
def folder(sound: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder with a sound database, where nothing sets the program."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("SPROCKET_FACTORY_")]:
        monkeypatch.delenv(name)
    shutil.copy(sound, tmp_path)
    return tmp_path


def doctor(*flags: str) -> Result:
    """Run the command on a port that is free, whatever else runs on this machine."""
    return CliRunner().invoke(cli, ["doctor", *([] if "--port" in flags else ["--port", "0"]), *flags])


def found(result: Result, level: str) -> list[str]:
    """Return what is of this level, each with its topic."""
    assert "Traceback" not in result.output
    return [" ".join(line.split()[1:]) for line in result.stdout.splitlines() if line.split()[:1] == [level]]


def is_wrong(result: Result, topic: str, words: str) -> bool:
    """Return whether this, and nothing else, is called wrong."""
    told = found(result, "wrong")
    return result.exit_code == 1 and len(told) == 1 and told[0].startswith(f"{topic} ") and words in told[0]


def test_nothing_is_wrong_with_a_fresh_installation(folder: Path) -> None:
    """Everything is looked at, and nothing is changed by looking."""
    before = contents(folder)
    result = doctor()

    assert (0, []) == (result.exit_code, found(result, "wrong")), result.output
    topics = {line.split()[1] for line in result.stdout.splitlines() if line.split()[0] in {"ok", "note"}}
    assert {"settings", "permissions", "disk", "clock", "port", "limits", "backups", "database"} <= topics
    assert before == contents(folder)


def contents(folder: Path) -> dict[str, bytes]:
    """Return what the files there hold, but for those that SQLite makes wherever somebody reads."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if not path.name.endswith(("-wal", "-shm"))}


@pytest.mark.usefixtures("folder")
def test_a_misspelt_setting_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody reads it, so that the default is in force; the nearest name is told. Those of commands are known."""
    monkeypatch.setenv("SPROCKET_FACTORY_BACKUP_EVRY", "1h")
    monkeypatch.setenv("SPROCKET_FACTORY_LOAD_ON_CONFLICT", "skip")
    result = doctor()

    assert is_wrong(result, "settings", "no setting SPROCKET_FACTORY_BACKUP_EVRY. Did you mean")
    assert "SPROCKET_FACTORY_BACKUP_EVERY?" in result.stdout


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--workers", "2"), "One process serves an SQLite file, not 2"),
        (("--tls-cert", "cert.pem"), "HTTPS needs both"),
        (("--tls-cert", "cert.pem", "--tls-key", "key.pem"), "HTTPS is not possible"),
        (("--host", "0.0.0.0", "--anonymous-role", "engineer"), "could write to it without a key"),  # noqa: S104 - it is refused
        (("--database-password-file", "missing"), "The file missing with a secret cannot be read"),
        (("--public-url", "nonsense"), "--public-url cannot be"),
        (("--trusted-proxies", "nobody"), "is no address and no network"),
        (("--cors-origins", "nowhere"), "is no origin as browsers name it"),
        (("--log-levels", "sprocket_factory=loud"), "--log-levels"),
        (("--oidc-client-id", "board"), "--oidc-client-id says nothing without --oidc-issuer"),
        (("--metrics-port", "65535", "--workers", "2", "--database-url", "postgresql://x/y"), "no port 65536"),
    ],
)
def test_settings_that_do_not_go_together_are_found(flags: tuple[str, ...], words: str) -> None:
    """Each is what would keep the server from starting."""
    result = doctor(*flags)

    assert 1 == result.exit_code
    assert [True] == [words in line for line in found(result, "wrong") if line.startswith("settings ")]


@pytest.mark.usefixtures("folder")
def test_an_address_that_is_none_ends_in_findings() -> None:
    """And in no traceback, whatever was to be looked at there."""
    result = doctor("--database-url", "factory.db")

    assert 1 == result.exit_code
    assert {"settings", "permissions", "disk", "port", "database"} == {
        line.split()[0] for line in found(result, "wrong")
    }


@pytest.fixture
def open_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Work in a folder that everybody may enter, with a copy of the database."""
    with tempfile.TemporaryDirectory(prefix="sprocket-factory-doctor-") as name:
        Path(name).chmod(0o755)
        shutil.copy(folder / DATABASE, name)
        monkeypatch.chdir(name)
        yield Path(name)


@pytest.mark.parametrize(
    "name", [DATABASE, "sprocket-factory.admin-key", "sprocket-factory-2.admin-key", "password", "key.pem"]
)
def test_what_everybody_can_read_is_found(open_folder: Path, name: str) -> None:
    """The database, the first key, and the files with secrets that the settings name; chmod mends it."""
    (open_folder / "password").write_text("secret")
    (open_folder / "password").chmod(0o600)
    path = open_folder / name
    path.touch()
    flags = {"password": ["--database-password-file", "password"], "key.pem": ["--tls-cert", name, "--tls-key", name]}
    path.chmod(0o644)
    before = doctor(*flags.get(name, []))
    path.chmod(0o640)
    after = doctor(*flags.get(name, []))

    told = f"permissions Everybody on this machine can read {name if name in flags else path}."
    assert told in found(before, "wrong")
    assert told not in found(after, "wrong")
    assert "chmod o-rwx" in before.stdout


@pytest.mark.parametrize("name", [DATABASE, f"{DATABASE}-wal"])
def test_a_file_that_this_user_cannot_write_is_found(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """The database or its log: whatever would keep a server from starting."""
    (folder / name).touch()
    monkeypatch.setattr(os, "access", lambda path, _: path != folder / name)

    assert is_wrong(doctor(), "permissions", f"{folder / name} cannot be written.")


def test_a_file_that_is_open_in_a_closed_folder_is_not_complained_of(open_folder: Path) -> None:
    """Nobody gets at it there."""
    (open_folder / DATABASE).chmod(0o644)
    open_folder.chmod(0o700)

    assert 0 == doctor().exit_code


def test_a_full_disk_is_found(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is less room than a backup or an import may need."""
    monkeypatch.setattr(f"{MACHINE}.MIN_FREE_BYTES", 10**18)

    assert is_wrong(doctor(), "disk", f"{folder} has ")


def test_a_folder_that_is_missing_is_found(folder: Path) -> None:
    """Where the database should be, and nobody can make it."""
    result = doctor("--database-url", "sqlite:///missing/factory.db")

    assert is_wrong(result, "disk", f"There is no folder {folder / 'missing'}.")


@pytest.mark.parametrize(
    ("kind", "level"), [("nfs4", "wrong"), ("cifs", "wrong"), ("ext4", "ok"), ("tmpfs", "note"), ("overlay", "note")]
)
def test_the_file_system_is_known(folder: Path, monkeypatch: pytest.MonkeyPatch, kind: str, level: str) -> None:
    """A database on a network file system breaks; one in memory or in a container goes with it."""
    mounts = folder / "mountinfo"
    mounts.write_text(
        "22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw\n"
        f"40 22 0:40 / {folder.parent} rw shared:2 master:3 - {kind} server:/export rw\n"
    )
    monkeypatch.setattr(f"{MACHINE}.MOUNTS", mounts)
    result = doctor()

    assert (1 if level == "wrong" else 0) == result.exit_code
    assert ([kind] if level != "ok" else []) == [
        kind for line in found(result, "wrong") + found(result, "note") if f"({kind})" in line
    ]


@pytest.mark.usefixtures("folder")
def test_a_clock_that_cannot_be_right_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """As of a machine whose battery is empty."""
    monkeypatch.setattr(f"{MACHINE}.RELEASED", datetime.now(UTC) + timedelta(days=1))

    assert is_wrong(doctor(), "clock", "before this program was written")


@pytest.mark.usefixtures("folder")
def test_a_port_that_somebody_else_has_is_found() -> None:
    """Nobody serves the database, so it is another program."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        result = doctor("--port", str(other.getsockname()[1]))

    assert is_wrong(result, "port", "cannot be listened on")


@pytest.mark.usefixtures("folder")
def test_a_port_of_the_server_itself_is_right(start: Callable[..., Program]) -> None:
    """It is known by the lock on the database."""
    program = start("serve", "--port", "0")
    result = doctor("--port", program.wait_for_address().rpartition(":")[2])

    assert 0 == result.exit_code, result.output
    assert f"process {program.process.pid} serves the database" in result.stdout


@contextmanager
def open_files(limit: int) -> Iterator[None]:
    """Let this process have so many files open."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.usefixtures("folder")
def test_too_few_open_files_are_found() -> None:
    """Each connection is one."""
    with open_files(512):
        result = doctor()

    assert is_wrong(result, "limits", "only 512 files")


@pytest.mark.parametrize(
    ("age", "words"),
    [(None, "There is no backup in"), (timedelta(hours=3), "3 hours old"), (timedelta(days=-1), "is of the future")],
)
def test_backups_that_are_missing_or_old_are_found(folder: Path, age: timedelta | None, words: str) -> None:
    """Of a schedule that ought to have made one each hour."""
    (folder / "backups").mkdir()
    if age is not None:
        (folder / "backups" / f"sprocket-factory-{datetime.now(UTC) - age:%Y%m%dT%H%M%SZ}.db").touch(0o600)

    assert is_wrong(doctor("--backup-every", "1h"), "backups", words)


def test_a_young_backup_is_right(folder: Path) -> None:
    """It is named, with its age, and that it lies on the same disk is no more than a note."""
    (folder / "backups").mkdir()
    moment = datetime.now(UTC) - timedelta(minutes=70)
    (folder / "backups" / f"sprocket-factory-{moment:%Y%m%dT%H%M%SZ}.db").touch(0o600)
    result = doctor("--backup-every", "1h")

    assert 0 == result.exit_code, result.output
    assert "the newest 70 minutes old" in result.stdout
    assert "on the database's own disk" in result.stdout


def test_a_damaged_database_is_found(folder: Path) -> None:
    """With what restores it."""
    damage(folder / DATABASE)
    result = doctor()

    assert {"database"} == {line.split()[0] for line in found(result, "wrong")}
    assert "sprocket-factory restore" in result.stdout


def test_another_programs_database_is_found(folder: Path) -> None:
    """The address is wrong."""
    (folder / DATABASE).unlink()
    with closing(apsw.Connection(DATABASE)) as connection:
        connection.execute("CREATE TABLE theirs (id)")
    (folder / DATABASE).chmod(0o600)

    assert is_wrong(doctor(), "database", "another program's database")


def test_a_log_that_somebody_holds_back_is_found(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It grows until nobody reads the old pages any more."""
    monkeypatch.setattr("sprocket_factory.commands.doctor_database.MAX_WAL_BYTES", 10_000)
    with closing(apsw.Connection(DATABASE)) as reader, closing(apsw.Connection(DATABASE)) as writer:
        reader.execute("BEGIN; SELECT * FROM sprockets")
        for _ in range(20):
            writer.execute("UPDATE sprockets SET teeth = teeth + 1")
        result = doctor()

    assert is_wrong(result, "database", f"{folder / DATABASE}-wal has grown to")


def test_a_database_that_is_not_there_is_wrong_only_where_it_must_exist(folder: Path) -> None:
    """Before the first start there is none."""
    lose(f"sqlite:///{folder / DATABASE}", None)

    assert 0 == doctor().exit_code
    assert is_wrong(doctor("--must-exist"), "database", "There is no database at")


@pytest.mark.usefixtures("folder")
def test_an_older_schema_is_no_more_than_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next start mends it."""
    later = [*migrations_for("sqlite"), Migration(9999, "later", "")]
    monkeypatch.setattr("sprocket_factory.database.migrations.migrations_for", lambda _engine: later)
    result = doctor()

    assert 0 == result.exit_code
    assert "database Its schema lacks 1 migrations." in found(result, "note")


@pytest.mark.usefixtures("folder")
def test_a_server_of_postgresql_that_forgets_is_found(postgresql: PostgreSQLServer) -> None:
    """The tests' own never syncs. One that takes fewer connections than all workers want is found as well."""
    url = postgresql.new_database()
    fill(url)
    result = doctor("--database-url", url, "--workers", "5", "--database-connections", "100")

    assert 1 == result.exit_code
    assert [
        "database fsync is off on the server.",
        "database full_page_writes is off on the server.",
        "database The workers want up to 500 connections, and the server has 297.",
    ] == found(result, "wrong")
    assert "production 100" in result.stdout


@pytest.mark.usefixtures("folder")
def test_a_server_that_does_not_answer_is_found() -> None:
    """And in no traceback."""
    result = doctor("--database-url", "postgresql://nobody:secret@127.0.0.1:1/factory")

    assert is_wrong(result, "database", "postgresql://nobody@127.0.0.1:1/factory cannot be opened")
    assert "secret" not in result.output


@pytest.mark.usefixtures("folder")
def test_a_clock_that_differs_from_the_servers_is_found(
    postgresql: PostgreSQLServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever records times by the one and compares them with the other is wrong by as much."""
    monkeypatch.setattr("sprocket_factory.database.checking_postgresql.time.time", lambda: 1_000_000_000.0)
    result = doctor("--database-url", postgresql.new_database())

    assert [True] == ["clock differs" in line for line in found(result, "wrong") if "clock" in line]
