"""The first start: who becomes the administrator, who may be let in without a key, and over what."""

import errno
import os
import pty
import re
import ssl
import stat
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from command_line import run_here
from feeds import opened
from harness import BASE_PATH, START_SECONDS, TLS, Program, clean_environment
from keyholders import WRONG_KEY
from postgresql_server import PostgreSQLServer
from sprocket_factory.commands.first_key import files_in, give_first_key
from sprocket_factory.database import Database
from sprocket_factory.entities.key import NewKey, add_key, count_keys, digest_of_secret, find_holder, new_secret
from sprocket_factory.errors import Busy, OutcomeUnknown, Refusal, Unusable

KEY_FILE = "sprocket-factory.admin-key"

NOBODY_WRITES_HERE = Path("/proc")
"""A folder in which not even root makes a file."""

MAKE_CERTIFICATE = (
    "openssl req -x509 -nodes -days 1 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1"
    " -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1"
)

CLOSED = ("serve", "--port", "0", "--anonymous-role", "none")


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    """Give an open database in which nothing is stored yet."""
    async with opened(f"sqlite:///{tmp_path / 'factory.db'}") as database:
        yield database


def ask(address: str, secret: str | None, path: str = "/me", verify: ssl.SSLContext = TLS) -> httpx.Response:
    """Return what the service answers to somebody with this key."""
    headers = {} if secret is None else {"Authorization": f"Bearer {secret}"}
    return httpx.get(f"{address}{BASE_PATH}{path}", headers=headers, trust_env=False, verify=verify)


def test_the_first_start_leaves_a_key_for_an_administrator_in_a_file(
    start: Callable[..., Program], tmp_path: Path
) -> None:
    """Where nobody sits at a terminal only this user can read it, it stands in no output, and it works."""
    program = start(*CLOSED)
    address = program.wait_for_address()
    path = tmp_path / KEY_FILE
    secret = path.read_text().strip()
    answer = ask(address, secret)
    assert 0 == program.stop()

    assert 0o600 == stat.S_IMODE(path.stat().st_mode)
    assert {"name": "first administrator", "role": "admin"}.items() <= answer.json().items()
    assert str(path) in program.output
    assert secret not in program.output
    assert "sfk_" not in program.output


def test_the_key_lies_beside_the_database(start: Callable[..., Program], tmp_path: Path) -> None:
    """Wherever the program was started."""
    (tmp_path / "data").mkdir()
    program = start(*CLOSED, "--database-url", "sqlite:///data/factory.db")
    address = program.wait_for_address()

    assert "admin" == ask(address, (tmp_path / "data" / KEY_FILE).read_text().strip()).json()["role"]
    assert not (tmp_path / KEY_FILE).exists()


def test_the_second_start_makes_no_key(start: Callable[..., Program], tmp_path: Path) -> None:
    """Whoever took the first key and removed its file stays the only one who has it."""
    first = start(*CLOSED)
    first.wait_for_address()
    secret = (tmp_path / KEY_FILE).read_text().strip()
    (tmp_path / KEY_FILE).unlink()
    assert 0 == first.stop()
    second = start(*CLOSED)
    address = second.wait_for_address()
    keys = ask(address, secret, "/keys").json()

    assert ["first administrator"] == [key["name"] for key in keys]
    assert not (tmp_path / KEY_FILE).exists()
    assert "first key" not in second.output


async def test_no_first_key_is_made_where_there_is_one(database: Database, tmp_path: Path) -> None:
    """A key that was added before is enough, whatever its role."""
    await database.write(add_key, NewKey(name="press line", role="viewer"), new_secret(), by="test")
    await give_first_key(database)

    assert 1 == await count_keys(database)
    assert [] == keys_left_in(tmp_path)


async def test_a_start_without_an_administrator_says_so(database: Database, capsys: pytest.CaptureFixture[str]) -> None:
    """Nobody could give out keys, unless an issuer vouches for somebody who may."""
    await database.write(add_key, NewKey(name="press line", role="viewer"), new_secret(), by="test")
    await give_first_key(database, has_issuer=True)
    with_issuer = capsys.readouterr().err
    await give_first_key(database)
    alone = capsys.readouterr().err
    await database.write(add_key, NewKey(name="owner", role="admin"), new_secret(), by="test")
    await give_first_key(database)

    assert "" == with_issuer
    assert "no good one of an administrator" in alone
    assert "" == capsys.readouterr().err


def test_the_first_key_of_another_database_is_not_written_over(start: Callable[..., Program], tmp_path: Path) -> None:
    """Two databases in one folder leave two files, whose names are said; each key works where it belongs."""
    urls = [("--database-url", f"sqlite:///{name}.db") for name in ("one", "other")]
    programs = [start(*CLOSED, *url) for url in urls]
    addresses = [program.wait_for_address() for program in programs]
    paths = [tmp_path / KEY_FILE, tmp_path / "sprocket-factory-2.admin-key"]
    path_of = [next(path for path in paths if f"is in {path}." in program.output) for program in programs]
    secrets = [path.read_text().strip() for path in path_of]

    assert [0o600] * 2 == [stat.S_IMODE(path.stat().st_mode) for path in paths]
    assert set(paths) == set(path_of)
    assert ["admin"] * 2 == [
        ask(address, secret).json()["role"] for address, secret in zip(addresses, secrets, strict=True)
    ]


@pytest.mark.parametrize("kind", ["file", "folder", "link", "link to nothing"])
async def test_what_has_the_name_of_the_first_key_stays(database: Database, tmp_path: Path, kind: str) -> None:
    """Somebody else may have put it there, or laid the link: the key stands in a file of its own."""
    elsewhere = tmp_path / "elsewhere"
    path = tmp_path / KEY_FILE
    match kind:
        case "file":
            path.write_text("mine")
        case "folder":
            path.mkdir()
        case "link":
            elsewhere.write_text("mine")
            path.symlink_to(elsewhere)
        case _:
            path.symlink_to(elsewhere)
    before = path.lstat()
    await give_first_key(database)
    secret = (tmp_path / "sprocket-factory-2.admin-key").read_text().strip()
    holder = await find_holder(database, digest_of_secret(secret))

    assert (before.st_ino, before.st_size, before.st_mode) == (
        path.lstat().st_ino,
        path.lstat().st_size,
        path.lstat().st_mode,
    )
    assert (kind == "link") == elsewhere.exists()
    assert holder is not None
    assert "admin" == holder.role


def test_a_first_key_that_nobody_could_get_is_not_made(
    postgresql: PostgreSQLServer, start: Callable[..., Program], tmp_path: Path
) -> None:
    """Where its file cannot be written the start ends with a sentence, and the next one makes the key."""
    url = ("--database-url", postgresql.new_database())
    done = run_here(*CLOSED, *url, folder=NOBODY_WRITES_HERE)
    keys = postgresql.ask("SELECT count(*) FROM keys", url[1])
    address = start(*CLOSED, *url).wait_for_address()

    assert (1, "0") == (done.returncode, keys)
    assert KEY_FILE in done.stderr
    assert "admin" == ask(address, (tmp_path / KEY_FILE).read_text().strip()).json()["role"]


async def test_a_first_key_whose_file_can_have_no_name_of_its_own_is_kept(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The disk is full, say: it stays in the file where it was before there was a key, and its path is said."""
    monkeypatch.setattr(Path, "touch", out_of_room)
    await give_first_key(database)
    (path,) = files_in(tmp_path)
    holder = await find_holder(database, digest_of_secret(path.read_text().strip()))

    assert f"is in {path}." in capsys.readouterr().err
    assert 0o600 == stat.S_IMODE(path.stat().st_mode)
    assert holder is not None
    assert "admin" == holder.role


async def test_a_first_key_that_cannot_be_kept_is_not_made(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the disk does not take it the start is refused, and leaves neither a key nor half a file."""
    monkeypatch.setattr(os, "fsync", out_of_room)
    with pytest.raises(Unusable, match="The first key cannot be written"):
        await give_first_key(database)

    assert 0 == await count_keys(database)
    assert [] == keys_left_in(tmp_path)


@pytest.mark.parametrize("refusal", [Busy, OutcomeUnknown])
async def test_the_file_of_a_first_key_goes_away_only_where_there_is_no_key(
    database: Database,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    refusal: type[Refusal],
) -> None:
    """Where nobody can say what became of the write it stays, and its path is said."""

    async def write(*_args: object, **_how: object) -> None:
        raise refusal("As it happens.")

    monkeypatch.setattr(database, "write", write)
    with pytest.raises(refusal):
        await give_first_key(database)

    assert (refusal is OutcomeUnknown) == (len(files_in(tmp_path)) == 1)
    assert all(f"it is in {path}." in capsys.readouterr().err for path in files_in(tmp_path))


@pytest.mark.parametrize("is_stored", [True, False])
async def test_a_terminal_is_shown_a_first_key_of_which_nobody_knows_whether_it_is_stored(
    database: Database, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *, is_stored: bool
) -> None:
    """If it is there, no other is made at the next start; so whoever sits there may try it, and hears of the doubt."""
    write = database.write

    async def write_and_lose_the_answer(*args: Any, **how: Any) -> None:
        if is_stored:
            await write(*args, **how)
        raise OutcomeUnknown("As it happens.")

    monkeypatch.setattr(database, "write", write_and_lose_the_answer)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    with pytest.raises(OutcomeUnknown):
        await give_first_key(database)
    shown = capsys.readouterr().out
    secrets = re.findall(r"sfk_[A-Za-z0-9_-]{43}", shown)
    holder = await find_holder(database, digest_of_secret(secrets[0]))

    assert (1, is_stored) == (len(secrets), holder is not None)
    assert "If there is a first key now" in shown


def keys_left_in(folder: Path) -> list[str]:
    """Return the names of files that may hold a key, hidden ones too."""
    return [path.name for path in folder.iterdir() if "admin-key" in path.name]


def out_of_room(*_args: object, **_how: object) -> None:
    """Do what a full disk does."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_of_servers_that_start_at_once_one_leaves_the_first_key(
    postgresql: PostgreSQLServer, start: Callable[..., Program], tmp_path: Path
) -> None:
    """What it has written is not written over by the others, and nothing half-done lies about."""
    url = postgresql.new_database()
    programs = [start(*CLOSED, "--database-url", url) for _ in range(4)]
    addresses = [program.wait_for_address() for program in programs]
    secret = (tmp_path / KEY_FILE).read_text().strip()

    assert ["admin"] * 4 == [ask(address, secret).json()["role"] for address in addresses]
    assert [KEY_FILE] == [path.name for path in tmp_path.iterdir()]
    assert "1" == postgresql.ask("SELECT count(*) FROM keys", url)


def test_a_terminal_is_shown_the_first_key(tmp_path: Path) -> None:
    """Whoever sits there reads it, and no file is left."""
    screen, terminal = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "sprocket_factory", *CLOSED],
        cwd=tmp_path,
        env=clean_environment(),
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
    ) as process:
        os.close(terminal)
        shown = ""
        while not (found := re.search(r"at (http://\S+:\d+)\s", shown)):
            shown += os.read(screen, 4096).decode()
        secrets = re.findall(r"sfk_[A-Za-z0-9_-]{43}", shown)
        answer = ask(found[1], secrets[0])
        process.terminate()
        process.wait(START_SECONDS)
    os.close(screen)

    assert 1 == len(secrets)
    assert "admin" == answer.json()["role"]
    assert not (tmp_path / KEY_FILE).exists()


def test_fault_30_no_key_stands_in_what_the_program_says(start: Callable[..., Program], tmp_path: Path) -> None:
    """At the level that says most, with right keys and wrong ones, in the header and in the address."""
    program = start(*CLOSED, "--log-level", "debug")
    address = program.wait_for_address()
    secret = (tmp_path / KEY_FILE).read_text().strip()
    answers = [ask(address, key, f"/me{query}") for key in (secret, WRONG_KEY) for query in ("", f"?key={secret}")]
    assert 0 == program.stop()

    assert [200, 422, 401, 401] == [answer.status_code for answer in answers]
    assert '"event":"wrong key","client":"127.0.0.1"' in program.output
    assert "sfk_" not in program.output
    assert secret[4:] not in program.output


@pytest.mark.parametrize("role", ["none", "viewer"])
def test_whoever_only_lets_strangers_read_may_listen_everywhere(start: Callable[..., Program], role: str) -> None:
    """Off loopback nobody writes without a key."""
    everywhere = "0.0.0.0"  # noqa: S104 - it asks for a key
    address = start("serve", "--port", "0", "--anonymous-role", role, "--host", everywhere).wait_for_address()
    answer = ask(address.replace(everywhere, "127.0.0.1"), None, "/sprockets")

    assert {"none": 401, "viewer": 200}[role] == answer.status_code


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with two certificates for this machine, each signed by its own key, and an empty file."""
    folder = tmp_path_factory.mktemp("certificates")
    for name in ("ours", "theirs"):
        subprocess.run(
            [*MAKE_CERTIFICATE.split(), "-keyout", f"{name}.key", "-out", f"{name}.crt"],
            cwd=folder,
            check=True,
            capture_output=True,
        )
    (folder / "empty").touch()
    return folder


@pytest.fixture(scope="module")
def over_https(certificates: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """Run the program with a certificate, and give its address and the first key."""
    folder = tmp_path_factory.mktemp("over_https")
    flags = ("--tls-cert", str(certificates / "ours.crt"), "--tls-key", str(certificates / "ours.key"))
    program = Program(*CLOSED, *flags, folder=folder)
    yield program.wait_for_address(), (folder / KEY_FILE).read_text().strip()
    program.kill()


def test_a_request_over_https_works(over_https: tuple[str, str], certificates: Path) -> None:
    """With a certificate and its key the service speaks TLS, and nothing else on that port."""
    address, secret = over_https
    trusting = ssl.create_default_context(cafile=str(certificates / "ours.crt"))
    answer = ask(address, secret, verify=trusting)

    assert address.startswith("https://127.0.0.1:")
    assert (200, "admin") == (answer.status_code, answer.json()["role"])
    with pytest.raises(httpx.TransportError):
        ask(address.replace("https", "http"), secret)


def test_tls_older_than_1_2_is_refused(over_https: tuple[str, str]) -> None:
    """What is broken is not spoken."""
    address, _ = over_https
    command = ["openssl", "s_client", "-cipher", "ALL:@SECLEVEL=0", "-connect", address.removeprefix("https://")]
    codes = [
        subprocess.run(
            [*command, version], stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=START_SECONDS
        ).returncode
        for version in ("-tls1_2", "-tls1_1", "-tls1")
    ]

    assert [0, 1, 1] == codes


@pytest.mark.parametrize(
    ("cert", "key", "complaint"),
    [
        ("ours.crt", "theirs.key", "ours.crt and theirs.key"),
        ("ours.key", "ours.crt", "ours.key and ours.crt"),
        ("ours.crt", "nothing.key", "nothing.key"),
        ("nothing.crt", "ours.key", "nothing.crt"),
        ("ours.crt", "empty", "empty"),
        ("ours.crt", "", "both --tls-cert and --tls-key"),
        ("", "ours.key", "both --tls-cert and --tls-key"),
    ],
)
def test_a_certificate_that_cannot_work_is_refused(certificates: Path, cert: str, key: str, complaint: str) -> None:
    """The start ends with a sentence that names the files, before there is a database or a key."""
    before = sorted(certificates.iterdir())
    done = run_here("serve", "--port", "0", "--tls-cert", cert, "--tls-key", key, folder=certificates)

    assert 1 == done.returncode
    assert complaint in done.stderr
    assert before == sorted(certificates.iterdir())
