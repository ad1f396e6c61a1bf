"""Fault 20: clients who take their time over a head, a body or an answer. Time goes by as the tests want it to."""

import asyncio
import re
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress

import httpx
import pytest

from faults import (
    BODIES,
    HEAD,
    LINES,
    READ_AS,
    RECORD,
    begun_body,
    connected,
    everything,
    kept_alive,
    one_of_each,
    request,
    right_body,
    status_of,
)
from harness import BASE_PATH, TLS, Client, NewDatabase, Program, Service
from long_lists import (
    as_many_stopped_readers_as_allowed,
    keep_writing,
    may_be_read,
    rest_of,
    service_with_many_records,
    stopped_reader,
)
from sprocket_factory.settings import Settings

HEAD_SECONDS = 10
KEEP_ALIVE_SECONDS = 75
STALLED_SECONDS = 30
LEAST_RATE = 1000

MARGIN = 3
"""Real seconds go by as well while a test runs."""

MANY = 500


@pytest.fixture(scope="module")
def service(new_database: NewDatabase) -> Iterator[Service]:
    """Run one service for all these tests: what is refused leaves nothing, so none can disturb another."""
    with one_of_each(new_database()) as running:
        yield running


@pytest.fixture(scope="module")
def long_lists(new_database: NewDatabase) -> Iterator[Service]:
    """Run one service with so many records that no buffer holds a list of them."""
    settings = Settings(database_url=new_database(), database_connections=12, max_lists=4)
    with service_with_many_records(settings) as running:
        yield running


def goes_on(connection: socket.socket) -> bool:
    """Return whether nothing has come from the other side: no answer, and no end."""
    connection.settimeout(0.05)
    try:
        connection.recv(1)
    except TimeoutError:
        return True
    finally:
        connection.settimeout(10)
    return False


def take(reader: socket.socket, count: int) -> int:
    """Read so many bytes, or as many as come until the connection ends, and return how many."""
    taken = 0
    while taken < count and (data := reader.recv(count - taken)):
        taken += len(data)
    return taken


def type_of(answer: bytes) -> str:
    """Return what a problem is called."""
    (slug,) = re.findall(rb'"type":"/problems/([a-z-]+)"', answer)
    name: str = slug.decode()
    return name


@pytest.mark.parametrize("length", [1, 20, 45, len(HEAD)])
def test_fault_20_a_head_that_does_not_end_is_given_up(service: Service, length: int) -> None:
    """However much of it came, 408 after ten seconds, and the connection ends."""
    with connected(service.address) as connection:
        connection.sendall(HEAD[:length])
        service.let_seconds_pass(HEAD_SECONDS - MARGIN)
        is_waited_for = goes_on(connection)
        service.let_seconds_pass(MARGIN + 1)
        answer = rest_of(connection, 10_000)

    assert is_waited_for
    assert (408, "stalled") == (status_of(answer), type_of(answer))
    assert b"connection: close\r\n" in answer
    assert re.search(rb"x-request-id: [0-9a-f]{16}\r\n", answer)


def test_fault_20_a_head_that_comes_in_drops_is_given_up_as_well(service: Service) -> None:
    """A header each second is no progress: the time is that of the whole head."""
    seconds = 0
    with connected(service.address) as connection:
        connection.sendall(HEAD)
        while goes_on(connection) and seconds < 3 * HEAD_SECONDS:
            connection.sendall(b"X-Slow: %d\r\n" % seconds)
            service.let_seconds_pass(1)
            seconds += 1

    assert HEAD_SECONDS - MARGIN <= seconds <= HEAD_SECONDS + 1


def test_fault_20_a_head_may_take_its_time(service: Service) -> None:
    """Within ten seconds it is answered as any other; the next one has ten seconds of its own."""
    with connected(service.address) as connection:
        statuses = []
        for _ in range(3):
            connection.sendall(HEAD)
            service.let_seconds_pass(HEAD_SECONDS - MARGIN)
            connection.sendall(b"\r\n")
            statuses.append(status_of(connection.recv(10_000)))

    assert [200, 200, 200] == statuses


@pytest.mark.parametrize("beginning", [b"", b"\r\n", HEAD + b"\r\n"], ids=["nothing", "an empty line", "a request"])
def test_fault_20_a_connection_on_which_nobody_asks_ends(service: Service, beginning: bytes) -> None:
    """After 75 seconds in which no request began, and without a word: nobody waits for an answer."""
    with connected(service.address) as connection:
        connection.sendall(beginning)
        answered = connection.recv(10_000) if beginning.strip() else b""
        service.let_seconds_pass(KEEP_ALIVE_SECONDS - MARGIN)
        is_waited_for = goes_on(connection)
        service.let_seconds_pass(MARGIN + 1)
        end = connection.recv(10_000)

    assert bool(beginning.strip()) == (b"200 OK" in answered)
    assert (True, b"") == (is_waited_for, end)


@pytest.mark.parametrize("framing", ["length", "chunks"])
@pytest.mark.parametrize("place", READ_AS, ids=" ".join)
def test_fault_20_a_body_that_stops_is_given_up(
    service: Service, engineer: Client, place: tuple[str, str, str], framing: str
) -> None:
    """408 after thirty seconds, whatever it was to be; nothing is stored, and the connection ends."""
    method, path, media_type = place
    before = everything(engineer)
    half = right_body(path, media_type)[:-2]
    length = b"Content-Length: 1000" if framing == "length" else b"Transfer-Encoding: chunked"
    head = kept_alive(request(method.encode(), path.encode(), b"Content-Type: " + media_type.encode(), length))
    with connected(service.address) as connection:
        connection.sendall(head + (half if framing == "length" else b"%x\r\n%b\r\n" % (len(half), half)))
        service.let_seconds_pass(STALLED_SECONDS - MARGIN)
        is_waited_for = goes_on(connection)
        service.let_seconds_pass(MARGIN + 2)
        answer = rest_of(connection, 10_000)

    assert is_waited_for
    assert (408, "stalled") == (status_of(answer), type_of(answer))
    assert b"connection: close\r\n" in answer
    assert before == everything(engineer)


@pytest.mark.parametrize("media_type", LINES)
def test_fault_20_a_body_that_comes_in_drops_is_given_up_as_well(service: Service, media_type: str) -> None:
    """Ten bytes a second are no progress, though they come for ever."""
    seconds = 0
    with connected(service.address) as connection:
        connection.sendall(begun_body(media_type))
        while goes_on(connection) and seconds < 3 * STALLED_SECONDS:
            connection.sendall(b"\n" * 10)
            service.let_seconds_pass(1)
            seconds += 1

    assert STALLED_SECONDS - MARGIN <= seconds <= STALLED_SECONDS + 2


@pytest.mark.parametrize("media_type", LINES)
def test_fault_20_a_slow_upload_that_makes_progress_is_read_to_its_end(service: Service, media_type: str) -> None:
    """At the least rate a body may take many times the thirty seconds."""
    body = right_body("/production", media_type)
    seconds = 4 * STALLED_SECONDS
    with connected(service.address) as connection:
        connection.sendall(
            begun_body(media_type, LEAST_RATE * seconds + len(body), "/production?dry_run=true&on_conflict=skip")
        )
        for _ in range(seconds):
            connection.sendall(b"\n" * LEAST_RATE)
            service.run(_turn)
            service.let_seconds_pass(1)
        connection.sendall(body)
        answer = connection.recv(10_000)

    assert 200 == status_of(answer)
    assert b'"records":1' in answer


def test_fault_20_an_upload_may_pause(service: Service) -> None:
    """Whoever stands still for almost thirty seconds, and then makes up for it, may do so again."""
    body = right_body("/production", "text/csv")
    with connected(service.address) as connection:
        connection.sendall(begun_body(length=3 * 100_000 + len(body), path="/production?dry_run=true&on_conflict=skip"))
        for _ in range(3):
            service.let_seconds_pass(STALLED_SECONDS - MARGIN)
            connection.sendall(b"\n" * 100_000)
            service.run(_turn)
        connection.sendall(body)
        answer = connection.recv(10_000)

    assert 200 == status_of(answer)


def test_fault_20_what_was_refused_is_not_waited_for(service: Service) -> None:
    """The rest of a body that nobody reads has no thirty seconds: its sender has a second to read the answer."""
    with connected(service.address) as connection:
        connection.sendall(begun_body("text/plain"))
        answer = rest_of(connection, 10_000)

    assert 415 == status_of(answer)


def test_fault_20_a_body_of_a_request_that_reads_none_is_given_up(service: Service) -> None:
    """A GET is answered although its body does not come, and then the connection is not held for it."""
    with connected(service.address) as connection:
        connection.sendall(kept_alive(request(b"GET", b"/me", b"Content-Length: 1000")))
        answer = connection.recv(10_000)
        service.let_seconds_pass(STALLED_SECONDS + 2)
        end = connection.recv(10_000)

    assert (200, b"") == (status_of(answer), end)


def test_fault_20_a_reader_who_stops_is_cut_off(long_lists: Service) -> None:
    """After thirty seconds, in the middle of the list, which does not end as if it were whole."""
    with stopped_reader(long_lists.address, "/production") as reader:
        long_lists.let_seconds_pass(STALLED_SECONDS + 3)
        end = rest_of(reader)

    assert not end.endswith(b"0\r\n\r\n")


def test_fault_20_a_reader_of_a_page_who_stops_is_cut_off(long_lists: Service) -> None:
    """What waits for such a reader in memory is let go of."""
    with stopped_reader(long_lists.address, "/production?limit=10000") as reader:
        long_lists.let_seconds_pass(STALLED_SECONDS + 3)
        read = rest_of(reader, 10_000_000)

    assert len(read) < 500_000


@pytest.mark.parametrize("target", ["/production", "/production?limit=10000"], ids=["a list", "a page"])
def test_fault_20_a_slow_reader_is_waited_for(long_lists: Service, target: str) -> None:
    """Whoever takes twice the least rate is not cut off, however long that takes."""
    with stopped_reader(long_lists.address, target) as reader:
        for _ in range(3 * STALLED_SECONDS):
            take(reader, 2 * LEAST_RATE)
            long_lists.let_seconds_pass(1)
        more = take(reader, 800_000)

    assert 800_000 == more


def test_fault_20_nobody_reads_a_whole_list_for_ever(database_url: str) -> None:
    """Whoever takes just enough not to be cut off is cut off when the time for a whole list is over."""
    settings = Settings(database_url=database_url, list_seconds=1)
    with service_with_many_records(settings) as running, stopped_reader(running.address, "/production") as reader:
        end = b""
        with suppress(ConnectionResetError):
            while data := reader.recv(4096):
                end = (end + data)[-64:]
                time.sleep(0.01)

    assert not end.endswith(b"0\r\n\r\n")


def test_fault_20_one_caller_takes_half_of_the_places_for_whole_lists(long_lists: Service) -> None:
    """However slowly he reads, others still read theirs; and what he writes is stored."""
    with (
        Client(long_lists.address) as hog,
        httpx.Client(transport=httpx.HTTPTransport(local_address="127.0.0.2", verify=TLS), trust_env=False) as other,
        as_many_stopped_readers_as_allowed(hog) as readers,
    ):
        refused = hog.get("/production")
        written = keep_writing(hog, 20)
        read = other.head(f"{long_lists.address}{BASE_PATH}/production")

    assert 2 == len(readers)
    assert (503, "/problems/busy") == (refused.status_code, refused.json()["type"])
    assert int(refused.headers["Retry-After"]) > 0
    assert ({200}, 200) == (set(written), read.status_code)


def test_fault_20_who_has_read_his_lists_may_read_others(long_lists: Service) -> None:
    """A place is free again when its reader has gone, or has read to the end."""
    with Client(long_lists.address) as operator:
        for _ in range(3):
            with as_many_stopped_readers_as_allowed(operator) as readers:
                assert not may_be_read(operator)
            for reader in readers:
                reader.close()
            until = time.monotonic() + 10
            while not may_be_read(operator) and time.monotonic() < until:
                keep_writing(operator, 1)

        assert may_be_read(operator)


def test_fault_20_five_hundred_slow_clients_hold_up_nobody(start: Callable[..., Program], database_url: str) -> None:
    """Heads, bodies and uploads that do not go on: others read and write meanwhile, and then all of them are gone."""
    limits = ["--head-seconds", "3", "--stalled-seconds", "3", "--database-connections", "4"]
    program = start("serve", "--port", "0", "--database-url", database_url, *limits)
    address = program.wait_for_address()
    bulk = begun_body() + right_body("/production", "text/csv")
    beginnings = [HEAD, begun_body("application/json") + b'{"teeth": 20', bulk]
    with ExitStack() as stack, Client(address) as engineer:
        engineer.post("/factories", json=BODIES["/factories/1"]).raise_for_status()
        slow = [stack.enter_context(connected(address)) for _ in range(MANY)]
        for number, connection in enumerate(slow):
            connection.sendall(beginnings[number % len(beginnings)])
        began = time.monotonic()
        answers = [
            answer
            for number in range(20)
            for answer in (
                engineer.post("/sprockets", json=BODIES["/sprockets"]),
                engineer.put(f"/production/1/{1_611_194_818 + number}", json=BODIES[RECORD]),
                engineer.post("/production", content=right_body("/production", "text/csv"), headers=CSV),
                engineer.get("/production"),
            )
        ]
        took = time.monotonic() - began
        ends = [status_of(rest_of(connection, 10_000)) for connection in slow]

    assert {200, 201} == {answer.status_code for answer in answers}
    assert took < 3 * STALLED_SECONDS
    assert {408: MANY} == {status: ends.count(status) for status in ends}


CSV = {"Content-Type": "text/csv"}


async def _turn() -> None:
    """Let the service take what has come: the endpoint, too, which has turns of its own."""
    await asyncio.sleep(0.005)
