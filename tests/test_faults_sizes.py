"""Fault 19: bodies that are too large, or packed: none is read further than it has to be."""

import json
from collections.abc import Callable, Iterator

import pytest

from faults import (
    BODIES,
    JSON,
    LINES,
    READ_AS,
    connected,
    everything,
    kept_alive,
    one_of_each,
    request,
    right_body,
    status_of,
)
from harness import BASE_PATH, Client, NewDatabase, Service

LIMIT = 100_000

ENDLESS = 64 * 1024 * 1024


@pytest.fixture(scope="module")
def service(new_database: NewDatabase) -> Iterator[Service]:
    """Run one service for all these tests: what is refused leaves nothing, so none can disturb another."""
    with one_of_each(new_database(), max_body_bytes=LIMIT) as running:
        yield running


@pytest.fixture(scope="module")
def roomy(new_database: NewDatabase) -> Iterator[Client]:
    """Return somebody who calls a service with the usual limits."""
    with one_of_each(new_database()) as running, Client(running.address) as client:
        yield client


def in_pieces(body: bytes) -> Iterator[bytes]:
    """Give a body piece by piece, so that it travels in chunks and without a length."""
    for place in range(0, len(body), 16_384):
        yield body[place : place + 16_384]


@pytest.mark.parametrize(("method", "path", "media_type"), READ_AS)
def test_what_is_refused_below_is_otherwise_right(engineer: Client, method: str, path: str, media_type: str) -> None:
    """The body that these tests spoil in one way each is stored as long as nothing is wrong with it."""
    before = everything(engineer)
    answer = engineer.request(method, path, content=right_body(path, media_type), headers={"Content-Type": media_type})
    is_new = before != everything(engineer)
    if is_new:
        place = answer.headers.get("Location", f"{BASE_PATH}/production/1/{BODIES['/production']['time']}")
        engineer.delete(engineer.address + place)

    assert (True, method == "POST") == (answer.is_success, is_new)
    assert before == everything(engineer)


@pytest.mark.parametrize("form", [bytes, in_pieces], ids=["with length", "in chunks"])
@pytest.mark.parametrize(("method", "path", "media_type"), READ_AS)
def test_fault_19_a_body_over_the_limit_is_refused(
    engineer: Client, method: str, path: str, media_type: str, form: Callable[[bytes], bytes | Iterator[bytes]]
) -> None:
    """One byte too many is 413, however it is sent and although it is right, and nothing is stored."""
    before = everything(engineer)
    content = form(right_body(path, media_type, LIMIT + 1))
    answer = engineer.request(method, path, content=content, headers={"Content-Type": media_type})

    assert (413, "/problems/too-large") == (answer.status_code, answer.json()["type"])
    assert before == everything(engineer)


@pytest.mark.parametrize("form", [bytes, in_pieces], ids=["with length", "in chunks"])
@pytest.mark.parametrize(
    ("method", "path", "media_type"), [place for place in READ_AS if place[1] in {"/sprockets/1", "/production"}]
)
def test_fault_19_a_body_of_just_the_limit_is_read(
    engineer: Client, method: str, path: str, media_type: str, form: Callable[[bytes], bytes | Iterator[bytes]]
) -> None:
    """The limit belongs to what is allowed."""
    content = form(right_body(path, media_type, LIMIT))
    answer = engineer.request(method, path, content=content, headers={"Content-Type": media_type})
    engineer.delete(f"/production/1/{BODIES['/production']['time']}")

    assert answer.is_success


@pytest.mark.parametrize("media_type", ["application/json", *LINES])
def test_fault_19_a_length_over_the_limit_is_refused_before_the_body_comes(engineer: Client, media_type: str) -> None:
    """Who says that a body will be too large need not send it to hear the refusal."""
    head = request(b"POST", b"/production", f"Content-Type: {media_type}".encode(), b"Content-Length: 1000000000000")
    answer = engineer.speak(head)

    assert 413 == status_of(answer)


@pytest.mark.parametrize("media_type", ["application/json", *LINES])
def test_fault_19_chunks_over_the_limit_are_refused_before_they_end(engineer: Client, media_type: str) -> None:
    """Reading stops at the limit: the refusal comes although the body has no end yet."""
    head = request(b"POST", b"/production", f"Content-Type: {media_type}".encode(), b"Transfer-Encoding: chunked")
    answer = engineer.speak(head + b"%x\r\n" % (LIMIT + 1) + b"\n" * (LIMIT + 1) + b"\r\n")

    assert 413 == status_of(answer)


@pytest.mark.parametrize("framing", [b"Content-Length: 1000000000000", b"Transfer-Encoding: chunked"])
@pytest.mark.parametrize("media_type", ["application/json", *LINES])
def test_fault_19_a_sender_who_goes_on_after_the_refusal_is_cut_off(
    engineer: Client, media_type: str, framing: bytes
) -> None:
    """What comes behind the limit is not taken in for ever: the connection ends."""
    head = request(b"POST", b"/production", f"Content-Type: {media_type}".encode(), framing)
    piece = b"\n" * 65_536 if b"Length" in framing else b"10000\r\n" + b"\n" * 65_536 + b"\r\n"

    def send_for_ever() -> None:
        for _ in range(0, ENDLESS, len(piece)):
            connection.sendall(piece)

    with connected(engineer.address) as connection:
        connection.sendall(kept_alive(head) + piece * 2)

        assert 413 == status_of(connection.recv(65_536))
        with pytest.raises(ConnectionError):
            send_for_ever()


@pytest.mark.parametrize("framing", [b"Content-Length: 1000000000000", b"Transfer-Encoding: chunked"])
def test_fault_19_a_refusal_before_the_end_of_the_body_says_that_the_connection_ends(
    engineer: Client, framing: bytes
) -> None:
    """Otherwise its caller would send the next request on a connection that is about to be closed, and lose it."""
    head = request(b"POST", b"/production", b"Content-Type: text/csv", framing)
    with connected(engineer.address) as connection:
        connection.sendall(kept_alive(head) + b"%x\r\n" % (LIMIT + 1) + b"\n" * (LIMIT + 1))
        answer = connection.recv(65_536)

    assert 413 == status_of(answer)
    assert b"connection: close" in answer.lower()


@pytest.mark.parametrize("form", [bytes, in_pieces], ids=["with length", "in chunks"])
@pytest.mark.parametrize("media_type", ["application/json", *LINES])
def test_fault_19_who_sends_too_much_hears_of_it_each_time(
    engineer: Client, media_type: str, form: Callable[[bytes], bytes | Iterator[bytes]]
) -> None:
    """A caller who listens only when everything is sent gets the refusal all the same, and the next one too."""
    headers = {"Content-Type": media_type}
    answers = [engineer.post("/production", content=form(b" " * 50 * LIMIT), headers=headers) for _ in range(8)]

    assert [413] * 8 == [answer.status_code for answer in answers]


@pytest.mark.parametrize("form", [bytes, in_pieces], ids=["with length", "in chunks"])
@pytest.mark.parametrize(("method", "path"), [("PUT", "/sprockets/1"), ("POST", "/production")])
def test_fault_19_a_json_text_has_a_limit_of_its_own(
    roomy: Client, method: str, path: str, form: Callable[[bytes], bytes | Iterator[bytes]]
) -> None:
    """JSON has to be held whole, so it ends at 16 MiB, where lines may go on: one byte more is 413, nothing stored."""
    before = everything(roomy)
    body = json.dumps(BODIES[path] if method == "PUT" else [BODIES[path]]).encode()
    answer = roomy.request(method, path, content=form(body.ljust(16 * 1024 * 1024 + 1)), headers=JSON)

    assert 413 == answer.status_code
    assert before == everything(roomy)


def test_fault_19_lines_go_on_where_json_ends(roomy: Client) -> None:
    """20 MB in chunks are read as lines; the rows behind them count."""
    blank = b" " * 500_000 + b"\n"
    content = (piece for piece in [*[blank] * 40, right_body("/production", "application/x-ndjson")])
    headers = {"Content-Type": "application/x-ndjson"}
    answer = roomy.post("/production", params={"dry_run": "true"}, content=content, headers=headers)

    assert (200, 1) == (answer.status_code, answer.json()["records"])


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "identity", "nonsense", ""])
@pytest.mark.parametrize(("method", "path", "media_type"), READ_AS)
def test_fault_19_a_body_with_a_content_encoding_is_refused(
    engineer: Client, method: str, path: str, media_type: str, encoding: str
) -> None:
    """Nothing is unpacked, so nothing can burst: 415 whatever it is called, and nothing is stored."""
    before = everything(engineer)
    headers = {"Content-Type": media_type, "Content-Encoding": encoding}
    answer = engineer.request(method, path, content=right_body(path, media_type), headers=headers)

    assert (415, "/problems/unsupported-media-type") == (answer.status_code, answer.json()["type"])
    assert before == everything(engineer)
