"""The log: what it says of each request, how closely, and that nobody can write into it or be read out of it."""

import json
import logging
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import apsw
import asyncpg
import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from command_line import run_here
from faults import get
from harness import BASE_PATH, START_SECONDS, TLS, Client, Program, Service, a_sprocket, clean_environment
from keyholders import WRONG_KEY, caller, make_key
from log_lines import Line, Logged, log_read
from postgresql_server import PostgreSQLServer
from sprocket_factory.database import Transaction
from sprocket_factory.errors import NotFound, Unusable
from sprocket_factory.observe_lines import MAX_WAITING
from sprocket_factory.observe_logs import RequestLine, compose, encode_requests, printable, read_levels, set_levels
from sprocket_factory.observe_statements import slow

FORGED = '\n{"level":"info","event":"all is well"}\r\n12:00:00.000 [info] all is well \x1b[2J\x9b2J\u202e\x7f'
"""A line break and a line, what clears a terminal, and what turns the order of what is read."""

MORE_THAN_FIT = 2 * MAX_WAITING + 1000
"""Lines: so many may wait, as many be about to be written, and some hundred be in a pipe."""


class ForgedError(Exception):
    """Says more than it should."""


async def break_down(*_anything: object) -> None:
    """Fail as a bug would, with a message that somebody made up."""
    raise ForgedError(FORGED)


async def refuse(*_anything: object) -> None:
    """Refuse with a sentence that somebody made up."""
    raise NotFound(FORGED)


@pytest.fixture
def all_slow() -> Iterator[None]:
    """Let whatever the database takes be too slow."""
    usual, slow.seconds = slow.seconds, 0.0
    yield
    slow.seconds = usual


def lines_of(program: Program) -> list[Line]:
    """Return the lines of JSON that a program has written."""
    return [json.loads(line) for line in program.output.splitlines() if line.startswith("{")]


def wait_for_line(program: Program, event: str) -> Line:
    """Return the first line of an event that a program writes."""
    deadline = time.monotonic() + START_SECONDS
    while not (found := [line for line in lines_of(program) if line["event"] == event]):
        assert time.monotonic() < deadline, program.output
        time.sleep(0.01)
    return found[0]


def ask_often(address: str, requests: int) -> int:
    """Ask for nothing so often on one connection, and return how many answers came. Each makes a line."""
    url = httpx.URL(address)
    one = get(b"/nothing").replace(b"Connection: close\r\n", b"")
    answers = 0
    with socket.create_connection((url.host, url.port or 80), timeout=20) as connection:
        while answers < requests:
            batch = min(50, requests - answers)  # more may not be sent ahead than the server takes
            connection.sendall(one * batch)
            seen = b""
            while seen.count(b"HTTP/1.1 404") < batch or not seen.endswith(b"}"):
                piece = connection.recv(65536)
                assert piece, seen
                seen += piece
            answers += batch
    return answers


def test_each_request_is_one_line(engineer: Client, logged: Logged) -> None:
    """It says under which id who asked for what, and what came of it, when and in how many milliseconds."""
    answer = engineer.post("/sprockets", json=a_sprocket())
    line = logged.wait_for("request")

    assert {
        "level": "info",
        "logger": "sprocket_factory.access",
        "method": "POST",
        "route": f"{BASE_PATH}/sprockets",
        "status": 201,
        "bytes": len(answer.content),
        "who": "anonymous",
        "request_id": answer.headers["X-Request-ID"],
    }.items() <= line.items()
    assert 0 < line["ms"] < 20_000
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", line["time"])


def test_a_line_names_the_route_and_not_the_thing(viewer: Client, logged: Logged) -> None:
    """Whoever counts lines counts routes; the id in a path, which may be anything, is not one."""
    answer = viewer.get("/sprockets/1?nothing=secret")
    line = logged.wait_for("request", request_id=answer.headers["X-Request-ID"])

    assert f"{BASE_PATH}/sprockets/{{sprocket_id}}" == line["route"]
    assert "secret" not in logged.text


def test_a_line_says_whose_key_it_was(service: Service, logged: Logged) -> None:
    """By its number: a name could be anything, and the key itself is nobody's business."""
    key = make_key(service, "viewer")
    with caller(service, key.secret) as client:
        client.get("/me")

    assert f"key:{key.id}" == logged.wait_for("request")["who"]


def test_a_refusal_is_a_line_with_its_reason(engineer: Client, logged: Logged) -> None:
    """The kind of problem and the sentence that the caller was told."""
    answer = engineer.post("/sprockets", json=a_sprocket(teeth=2))
    line = logged.wait_for("request")

    assert (422, "info", "invalid", answer.json()["detail"]) == (
        line["status"],
        line["level"],
        line["problem"],
        line["reason"],
    )


def test_a_refusal_by_the_storage_says_what_it_said(
    service: Service, engineer: Client, monkeypatch: pytest.MonkeyPatch, logged: Logged
) -> None:
    """A warning with the cause: the caller is told a sentence, the operator what the database complained of."""
    monkeypatch.setattr("sprocket_factory.endpoints.sprockets.add_sprocket", lose_storage(service))
    assert 503 == engineer.post("/sprockets", json=a_sprocket()).status_code
    line = logged.wait_for("request")

    assert ("warning", "unavailable") == (line["level"], line["problem"])
    assert "disk I/O" in line["cause"] or "went away" in line["cause"]


def lose_storage(service: Service) -> Callable[..., object]:
    """Return a write that meets a storage which does not answer, on the engine in use."""
    error: Exception = asyncpg.PostgresConnectionError("it went away")
    if service.settings.database_url.startswith("sqlite:"):
        error = apsw.IOError("disk I/O error")

    async def write(_tx: Transaction, *_anything: object) -> None:
        raise error

    return write


@pytest.mark.parametrize("breaking", [break_down, refuse])
@pytest.mark.parametrize("format_", ["json", "console"])
def test_nobody_forges_a_line(
    viewer: Client, monkeypatch: pytest.MonkeyPatch, format_: str, breaking: Callable[..., object]
) -> None:
    """Whatever a message holds, one event is one line, or lines that only it has, and a terminal just shows it."""
    monkeypatch.setattr("sprocket_factory.endpoints.sprockets.find_sprocket", breaking)
    with log_read(monkeypatch, format_=format_) as logged:
        viewer.get("/sprockets/1")
        deadline = time.monotonic() + START_SECONDS
        while b"all is well" not in b"".join(logged.raw) and time.monotonic() < deadline:
            time.sleep(0.001)
    told = [raw.decode() for raw in logged.raw if b"all is well" in raw]

    assert 1 == len(told)
    assert [] == [letter for letter in told[0].rstrip("\n") if not letter.isprintable() and letter != "\n"]
    first, *others = told[0].rstrip("\n").split("\n")
    assert all(line.startswith("  | ") for line in others)
    if format_ == "json":
        assert [] == others
        told_whole = json.loads(first)
        assert FORGED.strip() in told_whole.get("exception", told_whole.get("reason"))


@pytest.mark.usefixtures("logged")
def test_whatever_a_line_says_it_is_one_line_of_json() -> None:
    """Lone halves of letters and whole numbers of any size included: a line that cannot be made would be lost."""

    @given(st.text(st.characters(), max_size=40), st.integers())
    def check(text: str, number: int) -> None:
        facts = {"logger": "x", "event": text, "number": number, "inner": {"text": text, text: [number]}}
        request = RequestLine(datetime.now(UTC), "info", "x", "request", "GET", text, 200, 0.1, 1, text, reason=text)
        for line in (compose("info", facts), encode_requests([request])):
            assert 1 == line.count(b"\n")
            assert line.decode().removesuffix("\n").isprintable()
            assert json.loads(line)["event"] in {text, "request", printable(text)}

    check()


def test_no_credential_is_logged(service: Service, logged: Logged) -> None:
    """Not a key in a path, not a token (JWT), not an Idempotency-Key, wherever they stand."""
    key = make_key(service, "engineer")
    token = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJzb21lYm9keSJ9.c2lnbmF0dXJl"
    with caller(service, key.secret) as client:
        client.get(f"/sprockets/{key.secret}")
        client.get(f"/sprockets/{token}")
        client.get(f"/sprockets?sort={WRONG_KEY}")
        client.post("/sprockets", json=a_sprocket(), headers={"Idempotency-Key": "press-1-0815"})
    logged.wait_for("request", method="POST")

    assert 3 == logged.text.count("No sprocket has the id ") + logged.text.count("sfk_...") - 1
    assert [] == [text for text in (key.secret[4:], token[10:], WRONG_KEY, "press-1-0815") if text in logged.text]


def test_no_session_is_logged(viewer: Client, logged: Logged) -> None:
    """Whoever reads what a browser's cookie holds is signed in: not in a path, not as the id of a request."""
    secret = f"sfs_{'A' * 43}"
    viewer.get(f"/sprockets/{secret}")
    viewer.get(f"/sprockets/{secret}/nothing")
    viewer.get("/me", headers={"X-Request-ID": secret})
    logged.wait_for("request", route=f"{BASE_PATH}/me")

    assert 3 == logged.text.count("sfs_...")
    assert secret[4:] not in logged.text


def test_what_happens_to_keys_is_told(service: Service, logged: Logged) -> None:
    """Who made one and who revoked it, a role that was refused, a wrong one, and when there were too many."""
    admin = make_key(service, "admin")
    with caller(service, admin.secret) as client:
        made = client.post("/keys", json={"name": "press", "role": "viewer"}).json()
        with caller(service, made["secret"]) as viewer:
            viewer.get("/keys")
        client.delete(f"/keys/{made['id']}")
    with caller(service, WRONG_KEY) as stranger:
        for _ in range(21):
            stranger.get("/me")
    told = [json.loads(raw) for raw in logged.raw]
    events = [line for line in told if line["logger"] == "sprocket_factory.security"]

    by = f"key:{admin.id}"
    assert {"event": "key made", "key_id": made["id"], "role": "viewer", "by": by}.items() <= events[0].items()
    assert {"event": "refused", "who": f"key:{made['id']}"}.items() <= events[1].items()
    assert {"event": "key revoked", "key_id": made["id"], "by": by}.items() <= events[2].items()
    assert ["wrong key"] * 20 + ["too many wrong keys"] == [line["event"] for line in events[3:]]


@pytest.mark.usefixtures("all_slow")
def test_what_was_slow_is_told_by_its_name(engineer: Client, logged: Logged, engine: str) -> None:
    """The function that asked, the table, and the request that waited for it."""
    created = engineer.post("/sprockets", json=a_sprocket())
    read = engineer.get("/sprockets/1")
    page = engineer.get("/sprockets?limit=1")
    whole = engineer.get("/sprockets")

    def told_of(answer: httpx.Response) -> set[tuple[str, str, str | None]]:
        request_id = answer.headers["X-Request-ID"]
        logged.wait_for("request", request_id=request_id)
        lines = logged.lines("slow statement", request_id=request_id)
        return {(line["operation"], line["statement"], line.get("table")) for line in lines}

    assert {("write", "add_sprocket", None)} == told_of(created)
    assert {("read", "find_sprocket", "sprockets")} == told_of(read)
    assert {("list", "read_list", "sprockets")} == told_of(page)
    short = {"sqlite": "read_few", "postgresql": "list sprockets"}[engine]
    assert {("list", short, "sprockets")} == told_of(whole)


def test_single_loggers_have_levels_of_their_own(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is named says less or more than the others; the nearest name counts."""
    with (
        log_read(monkeypatch, "sprocket_factory=error,sprocket_factory.security=info") as logged,
        caller(service, make_key(service, "viewer").secret) as viewer,
    ):
        viewer.get("/keys")

    assert ["refused"] == [json.loads(raw)["event"] for raw in logged.raw]


def test_levels_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    """The program does not start, and says how they are written."""
    done = run_here("serve", "--port", "0", "--log-levels", "uvicorn=loud", folder=tmp_path)

    assert 1 == done.returncode
    assert "'uvicorn=loud'. Write sprocket_factory.access=debug" in done.stderr


@pytest.mark.parametrize("levels", ["sprocket_factory", "=debug", "a=debug;b=info", "a=debug,b"])
def test_no_level_is_guessed(levels: str) -> None:
    """A part that is not name=level is refused, and so are all the others with it."""
    with pytest.raises(Unusable, match="--log-levels is not read"):
        read_levels(levels)


def test_what_the_libraries_say_goes_the_same_way(viewer: Client, logged: Logged) -> None:
    """The HTTP server's complaint about what is no HTTP is a line like any other."""
    viewer.speak(b"NONSENSE\r\n\r\n")
    line = logged.wait_for("a client sent what cannot be read")

    assert ("sprocket_factory", "debug") == (line["logger"], line["level"])


def test_what_the_libraries_say_at_length_is_left_out(logged: Logged) -> None:
    """At debug one listens to the service; a library's chatter has to be asked for by name."""
    logging.getLogger("asyncio").info("chatter")
    assert [] == logged.lines("chatter")

    set_levels("info", "asyncio=info")
    logging.getLogger("asyncio").info("chatter")
    set_levels("info")
    logging.getLogger("asyncio").info("more of it")
    assert ["info"] == [line["level"] for line in logged.lines("chatter")]
    assert [] == logged.lines("more of it")


def test_the_start_sums_up_the_settings_and_the_end_is_told(start: Callable[..., Program]) -> None:
    """Version, database and every setting as it counts; then that it stops, and that it has."""
    program = start("serve", "--port", "0", "--log-slow-ms", "250")
    program.wait_for_address()
    assert 0 == program.stop()
    serving, stopping, stopped = lines_of(program)

    assert {"event": "serving", "log_slow_ms": 250, "workers": 1, "drain_seconds": 0}.items() <= serving.items()
    assert serving["database"].endswith("sprocket-factory.db")
    assert ["stopping", "stopped"] == [stopping["event"], stopped["event"]]


def test_a_terminal_gets_colours_and_no_json(tmp_path: Path) -> None:
    """Whoever starts it by hand reads lines for people."""
    screen, terminal = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "sprocket_factory", "serve", "--port", "0", "--anonymous-role", "none"],
        cwd=tmp_path,
        env=clean_environment(),
        stderr=terminal,
        stdout=subprocess.PIPE,
    ) as process:
        os.close(terminal)
        assert process.stdout is not None
        process.stdout.readline()
        process.terminate()
        process.wait(START_SECONDS)
    shown = os.read(screen, 65536).decode()
    os.close(screen)

    assert re.search(r"\d\d:\d\d:\d\d\.\d{3}.*\x1b\[32m.*info.*serving", shown)
    assert '{"time"' not in shown


@pytest.mark.parametrize(
    ("arguments", "expected"), [((), ["debug", "request"]), (("--log-level", "warning"), ["warning"])]
)
def test_sighup_reads_the_levels_again(
    start: Callable[..., Program], tmp_path: Path, arguments: tuple[str, ...], expected: list[str]
) -> None:
    """What .env says now counts at once, unless the command line says otherwise."""
    (tmp_path / ".env").write_text("SPROCKET_FACTORY_LOG_LEVEL=warning\n")
    program = start("serve", "--port", "0", *arguments)
    address = program.wait_for_address()
    httpx.get(f"{address}/health/live", trust_env=False, verify=TLS)
    (tmp_path / ".env").write_text("SPROCKET_FACTORY_LOG_LEVEL=debug\n")
    program.process.send_signal(signal.SIGHUP)
    line = wait_for_line(program, "the log levels were read again")
    httpx.get(f"{address}/health/live", trust_env=False, verify=TLS)
    assert 0 == program.stop()

    assert expected == [line["log_level"], *(one["event"] for one in lines_of(program) if one["event"] == "request")]


def test_levels_that_are_wrong_on_sighup_are_told_and_change_nothing(
    start: Callable[..., Program], tmp_path: Path
) -> None:
    """A slip in .env does not end the service."""
    program = start("serve", "--port", "0")
    address = program.wait_for_address()
    (tmp_path / ".env").write_text("SPROCKET_FACTORY_LOG_LEVELS=access\n")
    program.process.send_signal(signal.SIGHUP)
    line = wait_for_line(program, "the log levels stay as they were")

    assert "'access'" in line["reason"]
    assert 200 == httpx.get(f"{address}/health/live", trust_env=False, verify=TLS).status_code


def test_a_log_that_nobody_reads_holds_up_nobody(tmp_path: Path) -> None:
    """The service answers while its standard error is stuck, counts what it lost, and ends when it is told to."""
    with subprocess.Popen(
        [sys.executable, "-m", "sprocket_factory", "serve", "--port", "0"],
        cwd=tmp_path,
        env=clean_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        address = re.findall(r"http://\S+", process.stdout.readline())[0]
        asked = ask_often(address, MORE_THAN_FIT)
        metrics = httpx.get(f"{address}/metrics", trust_env=False, verify=TLS).text
        process.terminate()
        ended = process.wait(START_SECONDS)

    assert MORE_THAN_FIT == asked
    assert float(re.findall(r"^sprocket_log_lines_lost_total (\S+)$", metrics, re.MULTILINE)[0]) > 0
    assert 0 == ended


def test_lines_of_several_workers_are_not_mixed_up(start: Callable[..., Program], postgresql: PostgreSQLServer) -> None:
    """All write to one pipe, and each line is whole."""
    program = start("serve", "--port", "0", "--workers", "2", "--database-url", postgresql.new_database())
    address = program.wait_for_address()
    asked = 0
    while asked < 4000 or len({line["request_id"].split("-")[0] for line in request_lines(program)}) < 2:
        assert asked < 50_000, "one of the workers is never asked"
        asked += ask_often(address, 1000)
    assert 0 == program.stop()

    assert asked == len(request_lines(program))


def request_lines(program: Program) -> list[Line]:
    """Return the lines of requests that a program has written so far."""
    return [line for line in lines_of(program) if line["event"] == "request"]
