"""Many records at once beside other callers, clients that go away, and crashes."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest

from bulk import (
    FORMATS,
    HEADER,
    MANY,
    PATIENCE_SECONDS,
    START,
    a_row,
    add_factory,
    as_csv,
    counted,
    in_pieces,
    send,
    stored,
)
from harness import Client, HeldMerge, Service, a_sprocket


@pytest.fixture(scope="module")
def service(running: Service) -> Service:
    """Return one service for all these tests; each works in a factory of its own."""
    return running


@pytest.fixture
def factory_id(engineer: Client) -> int:
    """Return the id of a factory that nothing was made in yet."""
    return add_factory(engineer)


def test_an_upload_that_breaks_off_stores_nothing(engineer: Client, factory_id: int) -> None:
    """A client that goes away in mid-file leaves no record; sent again, every record is new."""
    body = as_csv([a_row(factory_id, second) for second in range(10_000)])

    def broken() -> Iterator[bytes]:
        yield from in_pieces(body[:200_000], 50_000)
        raise ConnectionAbortedError

    with pytest.raises(ConnectionAbortedError):
        send(engineer, "text/csv", broken())
    before = stored(engineer, factory_id)
    again = send(engineer, "text/csv", body)

    assert [] == before
    assert counted(10_000, created=10_000) == again.json()


@pytest.mark.parametrize("media_type", ["text/csv", "application/x-ndjson"])
def test_nothing_is_locked_while_a_client_uploads_slowly(
    engineer: Client, service: Service, factory_id: int, media_type: str
) -> None:
    """Others read and write meanwhile, the same record as well; the slow one is merged when it is whole."""
    lines = FORMATS[media_type]([a_row(factory_id, second) for second in range(3)]).splitlines(keepends=True)
    others_done = Event()
    under_way = Event()

    def slowly() -> Iterator[bytes]:
        yield b"".join(lines[:-1])
        under_way.set()
        assert others_done.wait(PATIENCE_SECONDS)
        yield lines[-1]

    with Client(service.address) as slow, ThreadPoolExecutor() as callers:
        upload = callers.submit(send, slow, media_type, slowly())
        try:
            assert under_way.wait(PATIENCE_SECONDS)
            meanwhile = [
                engineer.get(f"/production/{factory_id}"),
                engineer.post("/sprockets", json=a_sprocket()),
                engineer.post("/production", json=a_row(factory_id, 0)),
                engineer.post("/production", json=[a_row(factory_id, 1, 7, 7), a_row(factory_id, 9)]),
                engineer.delete(f"/production/{factory_id}/{START + 9}"),
            ]
        finally:
            others_done.set()

    assert [200, 201, 201, 200, 204] == [answer.status_code for answer in meanwhile]
    assert [] == meanwhile[0].json()
    assert 409 == upload.result().status_code
    assert [("02:06:58", 1, 2), ("02:06:59", 7, 7)] == stored(engineer, factory_id)


def test_a_write_that_waited_for_a_merge_is_done_after_it(
    engineer: Client, service: Service, factory_id: int, held: HeldMerge
) -> None:
    """Where the wait is short nobody is refused, and what the merge stored is there already."""
    with Client(service.address) as other, ThreadPoolExecutor() as callers:
        upload = callers.submit(send, other, "text/csv", as_csv([a_row(factory_id)]))
        assert held.begun.wait(PATIENCE_SECONDS)
        waiting = callers.submit(engineer.post, "/production", json=a_row(factory_id))
        held.go_on.set()

    assert (200, 1) == (upload.result().status_code, upload.result().json()["created"])
    assert (200, a_row(factory_id)["factory_id"]) == (
        waiting.result().status_code,
        waiting.result().json()["factory_id"],
    )


def test_others_are_answered_while_a_big_merge_runs(engineer: Client, service: Service, factory_id: int) -> None:
    """Reads are served, and a write is done or told to come again: nothing else happens to anybody."""
    body = b"".join([HEADER, *(b"%d,%d,1,2\n" % (factory_id, START + second) for second in range(MANY))])
    reads, writes = set(), set()
    with Client(service.address) as other, ThreadPoolExecutor() as callers:
        upload = callers.submit(send, other, "text/csv", body)
        while not upload.done():
            reads.add(engineer.get("/sprockets?limit=10").status_code)
            answer = engineer.post("/sprockets", json=a_sprocket())
            writes.add((answer.status_code, "Retry-After" in answer.headers))

    assert counted(MANY, created=MANY) == upload.result().json()
    assert {200} == reads
    assert writes
    assert writes <= {(201, False), (503, True)}


def test_the_same_file_sent_by_several_at_once_is_stored_once(
    service: Service, engineer: Client, factory_id: int
) -> None:
    """Each record is created by one of them and unchanged for the others."""
    body = as_csv([a_row(factory_id, second) for second in range(2000)])

    def send_it(_caller: int) -> dict[str, int]:
        with Client(service.address) as caller:
            answer: dict[str, int] = send(caller, "text/csv", body).raise_for_status().json()
            return answer

    with ThreadPoolExecutor() as callers:
        answers = list(callers.map(send_it, range(4)))

    assert (2000, 6000) == tuple(sum(answer[name] for answer in answers) for name in ("created", "unchanged"))
    assert 2000 == len(stored(engineer, factory_id))
