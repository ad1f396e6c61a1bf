"""Fault 21: heads that are too large, or that two readers could read in two ways. 4xx, and the connection ends."""

import re
import socket
from collections.abc import Iterator
from contextlib import suppress

import pytest

from faults import connected, everything, kept_alive, one_of_each, request, right_body, status_of
from harness import BASE_PATH, Client, Service
from keyholders import make_key
from long_lists import rest_of

PATH = BASE_PATH.encode() + b"/sprockets"

LINE = b"GET " + PATH + b" HTTP/1.1\r\n"

HOST = b"Host: x\r\n"

MAX_HEADER_BYTES = 65_536
MAX_HEADERS = 200
MAX_PIPELINED = 100


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Run one service for all these tests, which come no farther than its door: on one engine."""
    with one_of_each(f"sqlite:///{tmp_path_factory.mktemp('heads') / 'factory.db'}") as running:
        yield running


def named(data: bytes) -> str:
    """Return what a request is called: what is odd about it stands behind its first line."""
    return ascii(data.removeprefix(LINE)[:60])


def speak(client: Client, data: bytes) -> bytes:
    """Send this on a connection of its own, which stays open, and return what comes until the service ends it."""
    with connected(client.address) as connection:
        with suppress(ConnectionError):  # it has refused already, and reads no more
            connection.sendall(data)
        return rest_of(connection, 1_000_000)


def statuses(answers: bytes) -> list[int]:
    """Return the status of each of several answers."""
    return [int(found) for found in re.findall(rb"HTTP/1\.1 (\d{3}) ", answers)]


def posted(*headers: bytes, body: bytes = b"") -> bytes:
    """Return a request that would add a sprocket."""
    json = b"Content-Type: application/json"
    return b"".join(line + b"\r\n" for line in (b"POST " + PATH + b" HTTP/1.1", b"Host: x", json, *headers, b"")) + body


SMUGGLED = posted(b"Content-Length: 90", b"X-Smuggled: 1", body=right_body("/sprockets", "application/json", 90))
"""A second request, that would be done if the first were read as ending before it."""


@pytest.mark.parametrize(
    "head",
    [
        LINE + HOST + b"X: " + b"a" * 100_000 + b"\r\n\r\n",
        LINE + HOST + b"X" * 100_000 + b": a\r\n\r\n",
        LINE + HOST + b"".join(b"X-%d: %b\r\n" % (number, b"a" * 1000) for number in range(100)) + b"\r\n",
        LINE + HOST + b"".join(b"X-%d: 1\r\n" % number for number in range(1000)) + b"\r\n",
        LINE + HOST + b"X: 1\r\n" * MAX_HEADERS + b"\r\n",
        b"GET " + PATH + b"?x=" + b"a" * 100_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n",
        b"GET /" + b"a/" * 50_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n",
        b"A" * 100_000,
        b"GET /" + b"a" * 100_000,
        LINE + b"X: " + b"a" * 100_000,
    ],
    ids=[
        "a value",
        "a name",
        "many large headers",
        "1,000 headers",
        "one header too many",
        "a query",
        "a path",
        "a method without end",
        "a path without end",
        "a value without end",
    ],
)
def test_fault_21_a_head_that_is_too_large_is_refused(viewer: Client, head: bytes) -> None:
    """400 and an end, at once: what follows is not read."""
    answer = speak(viewer, head)

    assert [400] == statuses(answer)
    assert b"connection: close\r\n" in answer


@pytest.mark.parametrize("size", [MAX_HEADER_BYTES - 500, MAX_HEADER_BYTES + 500])
def test_fault_21_the_limit_is_that_of_all_headers_together(viewer: Client, size: int) -> None:
    """Of any number and any length, in one piece or in several, they are read up to 64 KiB."""
    header = b"X: " + b"a" * (size - len(LINE) - 40) + b"\r\n"
    got = [status_of(speak(viewer, LINE + HOST + b"Connection: close\r\n" + header + b"\r\n"))]
    with connected(viewer.address) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in (LINE, HOST, b"Connection: close\r\n", header[:1000], header[1000:] + b"\r\n"):
            connection.sendall(piece)
        got.append(status_of(rest_of(connection, 10_000)))

    assert [200 if size < MAX_HEADER_BYTES else 400] * 2 == got


def test_fault_21_as_many_headers_as_are_allowed_are_read(viewer: Client) -> None:
    """The limit belongs to what is allowed."""
    answer = speak(viewer, LINE + HOST + b"Connection: close\r\n" + b"X: 1\r\n" * (MAX_HEADERS - 2) + b"\r\n")

    assert [200] == statuses(answer)


LENGTHS = [
    [b"Content-Length: 0", b"Transfer-Encoding: chunked"],
    [b"Transfer-Encoding: chunked", b"Content-Length: 0"],
    [b"Content-Length: 90", b"Content-Length: 0"],
    [b"Content-Length: 0", b"Content-Length: 0"],
    [b"Content-Length: 0, 0"],
    [b"Content-Length: +0"],
    [b"Content-Length: -1"],
    [b"Content-Length: 0x0"],
    [b"Content-Length: 0 0"],
    [b"Content-Length: 1_0"],
    [b"Content-Length: 99999999999999999999999999"],
    [b"Content-Length:"],
    [b"Content-Length : 0"],
    [b"Transfer-Encoding: xchunked"],
    [b"Transfer-Encoding: identity"],
    [b"Transfer-Encoding: gzip, chunked"],
    [b"Transfer-Encoding: chunked, identity"],
    [b"Transfer-Encoding: chunked, chunked"],
    [b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity"],
    [b"Transfer-Encoding: identity", b"Transfer-Encoding: chunked"],
    [b"Transfer-Encoding : chunked"],
    [b"Transfer-Encoding: \x0bchunked"],
    [b"Transfer-Encoding:\r\n chunked"],
    [b"Transfer-Encoding"],
]


@pytest.mark.parametrize("headers", LENGTHS, ids=lambda headers: ascii(b" + ".join(headers)))
def test_fault_21_a_length_that_can_be_read_in_two_ways_is_refused(engineer: Client, headers: list[bytes]) -> None:
    """A proxy might see two requests where we see one, or the other way about: 400, an end, and nothing is done."""
    before = everything(engineer)
    answer = speak(engineer, posted(*headers, body=b"0\r\n\r\n") + SMUGGLED)

    assert [400] == statuses(answer)
    assert b"connection: close\r\n" in answer
    assert before == everything(engineer)


@pytest.mark.parametrize(
    "chunks",
    [
        b"zz\r\n",
        b"-1\r\n",
        b"+1\r\nx\r\n",
        b"0x1\r\nx\r\n",
        b" 1\r\nx\r\n",
        b"1 \r\nx\r\n",
        b"1\nx\n0\n\n",
        b"1\rx\r0\r\r",
        b"1\r\nxy\r\n0\r\n\r\n",
        b"fffffffffffffffff\r\n",
        b"1;a=\x00\r\nx\r\n0\r\n\r\n",
        b"\r\n",
    ],
    ids=named,
)
def test_fault_21_chunks_that_can_be_read_in_two_ways_are_refused(engineer: Client, chunks: bytes) -> None:
    """The one answer is 400, whatever follows, and nothing is done."""
    before = everything(engineer)
    answer = speak(engineer, posted(b"Transfer-Encoding: chunked", body=chunks) + SMUGGLED)

    assert [400] == statuses(answer)
    assert b"connection: close\r\n" in answer
    assert before == everything(engineer)


@pytest.mark.parametrize(
    "head",
    [
        b"GET " + PATH + b" HTTP/1.1\nHost: x\n\n",
        LINE + b"Host: x\nX: y\r\n\r\n",
        LINE + HOST + b"\n",
        LINE + b"Host: x\rX: y\r\n\r\n",
        LINE + HOST + b"X: a\r\n b\r\n\r\n",
        LINE + HOST + b"X: a\r\n\tb\r\n\r\n",
        LINE + b" Host: x\r\n\r\n",
        LINE + HOST + b"X: a\0b\r\n\r\n",
        LINE + HOST + b"X\0: a\r\n\r\n",
        b"GET " + PATH + b"\0 HTTP/1.1\r\n" + HOST + b"\r\n",
        LINE + HOST + b"X: a\x01b\r\n\r\n",
        LINE + HOST + b"X: a\x7fb\r\n\r\n",
        LINE + HOST + b"X Y: a\r\n\r\n",
        LINE + HOST + b": a\r\n\r\n",
        LINE + HOST + b"nothing\r\n\r\n",
        LINE + b"\r\n",
        LINE + HOST + b"Host: y\r\n\r\n",
        LINE + b"Host: x/y\r\n\r\n",
        LINE + HOST + HOST + b"\r\n",
        b"GET " + PATH + b" a HTTP/1.1\r\n" + HOST + b"\r\n",
        b"GET " + PATH + b"/\xc3\xa9 HTTP/1.1\r\n" + HOST + b"\r\n",
        b"GET  HTTP/1.1\r\n" + HOST + b"\r\n",
        b"GET ?x HTTP/1.1\r\n" + HOST + b"\r\n",
        b"GET x HTTP/1.1\r\n" + HOST + b"\r\n",
        b"GET " + PATH + b"\r\n\r\n",
        b"GET " + PATH + b" HTTP/0.9\r\n\r\n",
        b"GET " + PATH + b" HTTP/1.2\r\n" + HOST + b"\r\n",
        b"GET " + PATH + b" HTTP/3.0\r\n" + HOST + b"\r\n",
        b"GET " + PATH + b" ICE/1.0\r\n" + HOST + b"\r\n",
        b"get " + PATH + b" HTTP/1.1\r\n" + HOST + b"\r\n",
        b"FOO " + PATH + b" HTTP/1.1\r\n" + HOST + b"\r\n",
        b"CONNECT x:80 HTTP/1.1\r\nHost: x:80\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b" " + LINE + HOST + b"\r\n",
        b"POST " + PATH + b" HTTP/1.0\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x7f" * 500,
    ],
    ids=named,
)
def test_fault_21_a_head_that_is_none_is_refused(engineer: Client, head: bytes) -> None:
    """Bare line ends, folded lines, NUL, no host or two, and what is no HTTP/1.1: 400, an end, and nothing follows."""
    before = everything(engineer)
    answer = speak(engineer, head + SMUGGLED)

    assert [400] == statuses(answer)
    assert b"connection: close\r\n" in answer
    assert before == everything(engineer)


def test_fault_21_a_request_of_http_1_0_needs_no_host(viewer: Client) -> None:
    """It is older than the header."""
    assert [200] == statuses(speak(viewer, b"GET " + PATH + b" HTTP/1.0\r\n\r\n"))


def test_fault_21_who_offers_another_protocol_goes_on_in_this_one(viewer: Client) -> None:
    """An offer to upgrade is passed over, and what is asked behind it is answered as well."""
    offer = LINE + HOST + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    answer = speak(viewer, offer + LINE + HOST + b"Connection: close\r\n\r\n")

    assert [200, 200] == statuses(answer)


def test_fault_21_what_was_asked_before_is_answered_before(engineer: Client) -> None:
    """Garbage behind a request does not take the place of its answer, which would then be read as a refusal."""
    answer = speak(engineer, posted(b"Content-Length: 2", body=b"{}") + b"nonsense\r\n\r\n")

    assert [422] == statuses(answer)[:1]
    assert statuses(answer)[1:] in ([], [400])


@pytest.mark.parametrize("place", [0, 1])
def test_fault_21_nobody_asks_ahead_without_end(viewer: Client, place: int) -> None:
    """A hundred requests may be sent before the first is answered; a client that sends thousands is cut off."""
    count = (MAX_PIPELINED, 5000)[place]
    answer = speak(viewer, (LINE + HOST + b"\r\n") * (count - 1) + LINE + HOST + b"Connection: close\r\n\r\n")

    assert (count if place == 0 else 0) == len(statuses(answer))


@pytest.mark.parametrize(
    ("trailer", "expected"),
    [
        (b"Content-Type: application/json", 415),
        (b"Idempotency-Key: " + b"a" * 300, 415),
        (b"X-Anything: " + b"a" * 1000, 415),
    ],
)
def test_fault_21_a_trailer_is_no_header(engineer: Client, trailer: bytes, expected: int) -> None:
    """What comes behind the body is dropped: it is too late to say what the body was."""
    before = everything(engineer)
    body = right_body("/sprockets", "application/json")
    head = request(b"POST", b"/sprockets", b"Transfer-Encoding: chunked")
    answer = engineer.speak(head + b"%x\r\n%b\r\n0\r\n%b\r\n\r\n" % (len(body), body, trailer))

    assert expected == status_of(answer)
    assert before == everything(engineer)


@pytest.mark.parametrize("header", ["Authorization: Bearer {}", "X: {}"])
def test_fault_21_a_key_in_a_trailer_is_none(service: Service, engineer: Client, header: str) -> None:
    """Whatever stands in between has not looked at it, and the caller stays nobody."""
    trailer = header.format(make_key(service, "admin").secret).encode()
    head = request(b"GET", b"/keys", b"Transfer-Encoding: chunked")
    answer = engineer.speak(head + b"0\r\n%b\r\n\r\n" % trailer)

    assert 401 == status_of(answer)


@pytest.mark.parametrize(
    "beside",
    [b"X: " + b"a" * 1000 + b"\r\n", b"X-%d: 1\r\n", b"X" * 1000],
    ids=["long ones", "many", "one without end"],
)
def test_fault_21_trailers_without_end_are_refused(engineer: Client, beside: bytes) -> None:
    """413 once they are larger than a head may be; nothing is stored, and the connection ends."""
    before = everything(engineer)
    body = right_body("/sprockets", "application/json")
    head = kept_alive(request(b"POST", b"/sprockets", b"Content-Type: application/json", b"Transfer-Encoding: chunked"))
    trailers = b"".join(beside % number if b"%" in beside else beside for number in range(40_000))[: 20 * 65_536]
    answer = speak_slowly(engineer, head + b"%x\r\n%b\r\n0\r\n" % (len(body), body), trailers)

    assert [413] == statuses(answer)
    assert before == everything(engineer)


def test_fault_21_an_extension_of_a_chunk_without_end_is_refused(engineer: Client) -> None:
    """Bytes that are no body count as well, or a body could go on for ever under its limit."""
    before = everything(engineer)
    head = kept_alive(request(b"POST", b"/sprockets", b"Content-Type: application/json", b"Transfer-Encoding: chunked"))
    answer = speak_slowly(engineer, head + b"2;", b"a=b;" * 50_000)

    assert [413] == statuses(answer)
    assert before == everything(engineer)


def test_fault_21_a_body_in_the_smallest_chunks_is_read(engineer: Client) -> None:
    """Chunks of one byte with short extensions, and a few trailers, are allowed."""
    body = right_body("/sprockets", "application/json")
    chunks = b"".join(b"1;a=b\r\n%c\r\n" % byte for byte in body)
    head = request(b"POST", b"/sprockets", b"Content-Type: application/json", b"Transfer-Encoding: chunked")
    answer = engineer.speak(head + chunks + b"0\r\nX-Digest: 1\r\n\r\n")
    engineer.delete(engineer.address + re.findall(rb"location: (\S+)", answer)[0].decode())

    assert 201 == status_of(answer)


def speak_slowly(client: Client, beginning: bytes, rest: bytes) -> bytes:
    """Send the rest in pieces, as a network does, until the service ends the connection; return what it said."""
    with connected(client.address) as connection:
        connection.sendall(beginning)
        with suppress(ConnectionError):  # as above
            for place in range(0, len(rest), 4096):
                connection.sendall(rest[place : place + 4096])
        return rest_of(connection, 10_000)
