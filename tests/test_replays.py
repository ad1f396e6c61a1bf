"""Idempotency-Key: what was sent again because its answer was lost is answered again, and done once."""

import itertools
import json
import socket
import struct
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, Self

import httpx
import pytest

from harness import BASE_PATH, Client, Program, Service, a_sprocket, forget_everything
from sprocket_factory.database import Transaction
from sprocket_factory.entities.factory import NewFactory, add_factory
from sprocket_factory.entities.instant import DAY, MINUTE
from sprocket_factory.settings import Settings

JSON = "application/json"
NDJSON = "application/x-ndjson"
CSV = "text/csv"

KEY = "Idempotency-Key"

PATIENCE_SECONDS = 20

LONG = 100_000
"""A list of so many records is more than all the buffers between server and reader hold."""

LASTING = ["Location", "ETag", "Content-Type", "Content-Length"]
"""The headers of an answer that do not belong to the moment."""


class Post(NamedTuple):
    """A request that stores something, what is sent as what, and another body that would be as right."""

    title: str
    path: str
    content_type: str
    body: str
    other: str
    query: str
    """Another query under which the request would be as right."""

    def __str__(self) -> str:
        return self.title


def a_record(**members: object) -> dict[str, object]:
    """Return a record as one posts it, with these members instead of the usual ones."""
    usual = {"factory_id": 1, "sprocket_production_actual": 29, "sprocket_production_goal": 32}
    return {"time": "2021-01-21T02:06:58Z"} | usual | members


def csv(*records: dict[str, object]) -> str:
    """Return records as CSV."""
    return "".join(",".join(map(str, row)) + "\r\n" for row in [a_record(), *(record.values() for record in records)])


ONE, OTHER = a_record(), a_record(time="2021-01-21T02:07:58Z")

SPROCKET = Post("sprocket", "/sprockets", JSON, json.dumps(a_sprocket()), json.dumps(a_sprocket(teeth=21)), "")
FACTORY = Post("factory", "/factories", JSON, '{"name": "Leeds"}', '{"name": "York"}', "")
RECORD = Post("record", "/production", JSON, json.dumps(ONE), json.dumps(OTHER), "")
ARRAY = Post("array", "/production", JSON, json.dumps([ONE]), json.dumps([OTHER]), "?on_conflict=skip")
LINES = Post("ndjson", "/production", NDJSON, json.dumps(ONE), json.dumps(OTHER), "?on_conflict=replace")
TABLE = Post("csv", "/production", CSV, csv(ONE), csv(OTHER), "?on_conflict=error")
TRIAL = Post("dry-run", "/production?dry_run=true", CSV, csv(ONE), csv(OTHER), "&on_conflict=error")

POSTS = [SPROCKET, FACTORY, RECORD, ARRAY, LINES, TABLE, TRIAL]
UPLOADS = [LINES, TABLE]


@pytest.fixture
def service(running: Service) -> Service:
    """Return the service with one factory and no answer kept."""
    running.run(running.database.write, begin_with_one_factory, by="test")
    return running


async def begin_with_one_factory(tx: Transaction) -> None:
    """Remove every row, and that ids were ever given, then add the factory."""
    await forget_everything(tx)
    await add_factory(tx, NewFactory(name="Sheffield"))


async def let_time_pass(tx: Transaction, microseconds: int) -> None:
    """Let every answer that is kept be older than it is."""
    for key, at in await tx.all("SELECT key, at FROM replays"):
        await tx.run("UPDATE replays SET at = :at WHERE key = :key", at=at - microseconds, key=key)


def send(client: Client, post: Post, key: str | None = "order-1", **changes: str) -> httpx.Response:
    """Send a request with a key, with these parts of it changed."""
    post = post._replace(**changes)
    headers = {"Content-Type": post.content_type} | ({KEY: key} if key is not None else {})
    return client.post(post.path, content=post.body, headers=headers)


def everything(client: Client) -> list[object]:
    """Return all that is stored."""
    return [client.get(path).json() for path in ("/sprockets", "/factories", "/production")]


def told(answer: httpx.Response) -> tuple[object, ...]:
    """Return what an answer says, whenever it is given."""
    return answer.status_code, answer.content, *(answer.headers.get(name) for name in LASTING)


def is_replay(answer: httpx.Response) -> bool:
    """Return whether an answer says of itself that it was given before."""
    return bool(answer.headers.get("Idempotent-Replayed") == "true")


def send_until_free(client: Client, post: Post, key: str = "order-1") -> httpx.Response:
    """Send a request again for as long as the first one with its key is still running."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (answer := send(client, post, key)).status_code == 409:
        assert time.monotonic() < deadline, "the key is never free again"
    return answer


class Sender:
    """A caller on a connection of its own whose request is under way: its head was sent, of the body only parts."""

    def __init__(self, client: Client, post: Post, key: str = "order-1") -> None:
        self._connection = connect(client)
        self._connection.sendall(
            f"POST {BASE_PATH}{post.path} HTTP/1.1\r\nHost: x\r\nContent-Type: {post.content_type}\r\n"
            f"{KEY}: {key}\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n".encode()
        )
        # The server asks for the body once it has begun with the request.
        assert b"HTTP/1.1 100 " in self._connection.recv(1000)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._connection.close()

    def send(self, text: str) -> None:
        """Send a part of the body."""
        self._connection.sendall(b"%x\r\n%s\r\n" % (len(text), text.encode()))

    def end(self) -> None:
        """Say that the body is whole."""
        self._connection.sendall(b"0\r\n\r\n")

    def read(self) -> bytes:
        """Return the answer."""
        return b"".join(iter(lambda: self._connection.recv(65536), b""))

    def vanish(self) -> None:
        """Be gone at once, as with the power cut."""
        vanish(self._connection)


def connect(client: Client) -> socket.socket:
    """Return a connection to the service that a client calls."""
    url = httpx.URL(client.address)
    return socket.create_connection((url.host, url.port or 80), timeout=PATIENCE_SECONDS)


def vanish(connection: socket.socket) -> None:
    """Reset a connection."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def begin_to_read_and_vanish(client: Client, path: str) -> bytes:
    """Ask for something long, read how the answer begins, and be gone."""
    connection = connect(client)
    connection.sendall(f"GET {BASE_PATH}{path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    beginning = connection.recv(12, socket.MSG_WAITALL)
    vanish(connection)
    return beginning


@pytest.mark.parametrize("post", POSTS, ids=str)
def test_fault_09_the_same_request_again_gets_the_first_answer_again(engineer: Client, post: Post) -> None:
    """Status, body, Location and ETag are those of the first answer, and nothing more is stored."""
    first = send(engineer, post)
    stored = everything(engineer)
    again = [send(engineer, post) for _ in range(3)]

    assert first.status_code == (201 if "Location" in first.headers else 200)
    assert [told(first)] * 3 == [told(answer) for answer in again]
    assert [False, True, True, True] == [is_replay(answer) for answer in [first, *again]]
    assert stored == everything(engineer)


@pytest.mark.parametrize("post", POSTS, ids=str)
def test_fault_09_another_body_with_the_same_key_is_refused(engineer: Client, post: Post) -> None:
    """A key stands for one request: another body is 422 and stores nothing, and the first answer is kept."""
    first = send(engineer, post)
    stored = everything(engineer)
    other = send(engineer, post, body=post.other)

    assert (422, [KEY]) == (other.status_code, [error["pointer"] for error in other.json()["errors"]])
    assert stored == everything(engineer)
    assert told(first) == told(send(engineer, post))


@pytest.mark.parametrize("post", [ARRAY, LINES, TABLE, TRIAL], ids=str)
def test_fault_09_another_query_with_the_same_key_is_refused(engineer: Client, post: Post) -> None:
    """The query belongs to the request: another one is 422 and stores nothing, even where it means the same."""
    send(engineer, post)
    stored = everything(engineer)
    other = send(engineer, post, path=post.path + post.query)

    assert (422, [KEY]) == (other.status_code, [error["pointer"] for error in other.json()["errors"]])
    assert stored == everything(engineer)


@pytest.mark.parametrize("post", POSTS, ids=str)
def test_fault_09_another_content_type_with_the_same_key_is_refused(engineer: Client, post: Post) -> None:
    """The content type belongs to the request: another one is 422 and stores nothing, even where it means the same."""
    send(engineer, post)
    stored = everything(engineer)
    other = send(engineer, post, content_type=f"{post.content_type}; charset=utf-8")

    assert (422, [KEY]) == (other.status_code, [error["pointer"] for error in other.json()["errors"]])
    assert stored == everything(engineer)


def test_what_was_tried_with_a_key_is_done_with_another(engineer: Client) -> None:
    """A dry run and the run itself are two requests."""
    send(engineer, TRIAL, "trial")
    refused = send(engineer, TABLE, "trial")
    done = send(engineer, TABLE, "run")

    assert [422, 200] == [refused.status_code, done.status_code]
    assert 1 == len(engineer.get("/production").json())


@pytest.mark.parametrize("post", [SPROCKET, FACTORY, RECORD], ids=str)
def test_an_answer_is_given_again_whatever_became_of_what_it_tells(engineer: Client, post: Post) -> None:
    """What was removed since is not made anew, and the first answer is given again all the same."""
    first = send(engineer, post)
    engineer.delete(engineer.address + first.headers["Location"])
    stored = everything(engineer)
    again = send(engineer, post)

    assert told(first) == told(again)
    assert stored == everything(engineer)


def test_without_a_key_each_request_is_done(engineer: Client) -> None:
    """Nobody is held to what he sent before unless he says so."""
    answers = [send(engineer, SPROCKET, None) for _ in range(3)]

    assert [(1, False), (2, False), (3, False)] == [(answer.json()["id"], is_replay(answer)) for answer in answers]


def test_each_key_is_its_own(engineer: Client) -> None:
    """Equal requests with different keys are different requests; upper and lower case differ."""
    answers = [send(engineer, SPROCKET, key) for key in ("order-1", "order-2", "Order-1")]

    assert [(1, False), (2, False), (3, False)] == [(answer.json()["id"], is_replay(answer)) for answer in answers]


def test_a_key_on_another_path_is_its_own(engineer: Client) -> None:
    """A key belongs to the path it was sent to."""
    answers = [send(engineer, post) for post in (SPROCKET, FACTORY, RECORD)]

    assert [(201, False)] * 3 == [(answer.status_code, is_replay(answer)) for answer in answers]


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
def test_a_key_with_another_method_is_not_heeded(engineer: Client, method: str) -> None:
    """What may be repeated anyway needs no key: PUT and PATCH are done each time."""
    key = {KEY: "order-1"}
    engineer.post("/sprockets", json=a_sprocket(), headers=key)
    answers = [
        engineer.request(method, "/sprockets/1", json=a_sprocket(teeth=teeth), headers=key) for teeth in (21, 22)
    ]

    assert [(21, False), (22, False)] == [(answer.json()["teeth"], is_replay(answer)) for answer in answers]
    assert 22 == engineer.get("/sprockets/1").json()["teeth"]


@pytest.mark.parametrize("key", ["k", "k" * 255, "{ 'a' : \"b\", \\c~ }", "'; DROP TABLE replays; --"])
def test_a_key_is_any_printable_text(engineer: Client, key: str) -> None:
    """A key has 1 to 255 characters, whichever can be printed."""
    answers = [send(engineer, SPROCKET, key) for _ in range(2)]

    assert [(201, False), (201, True)] == [(answer.status_code, is_replay(answer)) for answer in answers]
    assert 1 == len(engineer.get("/sprockets").json())


@pytest.mark.parametrize(
    "keys", [[b""], [b"k" * 256], ["cl\u00e9".encode()], [b"\xff"], [b"a\tb"], [b"a", b"a"], [b"a", b"b"]]
)
@pytest.mark.parametrize("post", [SPROCKET, RECORD, TABLE], ids=str)
def test_what_is_no_key_is_refused(engineer: Client, post: Post, keys: list[bytes]) -> None:
    """A key that is empty, too long, not in ASCII or given twice is 422 by name, and nothing is stored."""
    stored = everything(engineer)
    headers = [(b"Content-Type", post.content_type.encode()), *((KEY.encode(), key) for key in keys)]
    answer = engineer.post(post.path, content=post.body, headers=headers)

    assert (422, [KEY]) == (answer.status_code, [error["pointer"] for error in answer.json()["errors"]])
    assert stored == everything(engineer)


@pytest.mark.parametrize("post", POSTS, ids=str)
@pytest.mark.parametrize(("wrong", "expected"), [("{", {400, 422}), ("[{}]", {422}), ("{}", {422})])
def test_a_refusal_is_not_kept(engineer: Client, post: Post, wrong: str, expected: set[int]) -> None:
    """A request that was refused, mended and sent again with its key is done."""
    stored = everything(engineer)
    refused = send(engineer, post, body=wrong)
    after = everything(engineer)
    mended = send(engineer, post)

    assert refused.status_code in expected
    assert stored == after
    assert mended.status_code in {200, 201}
    assert not is_replay(mended)


def test_a_request_for_an_unknown_factory_works_once_the_factory_is_known(engineer: Client) -> None:
    """404 is not kept: the same request with the same key is done when what it needs is there."""
    post = RECORD._replace(body=json.dumps(a_record(factory_id=2)))
    refused = send(engineer, post)
    engineer.post("/factories", json={"name": "Leeds"})
    done = send(engineer, post)

    assert [(404, False), (201, False)] == [(answer.status_code, is_replay(answer)) for answer in (refused, done)]
    assert [a_record(factory_id=2)] == engineer.get("/production").json()


@pytest.mark.parametrize("post", [RECORD, ARRAY, LINES, TABLE, TRIAL], ids=str)
def test_a_request_that_clashed_works_once_nothing_stands_against_it(engineer: Client, post: Post) -> None:
    """409 is not kept: the same request with the same key is done when what it clashed with is gone."""
    engineer.post("/production", json=a_record(sprocket_production_actual=1))
    refused = send(engineer, post)
    engineer.delete("/production/1/2021-01-21T02:06:58Z")
    done = send(engineer, post)

    assert 409 == refused.status_code
    assert done.status_code in {200, 201}
    assert not is_replay(done)


def test_a_name_that_was_taken_may_be_asked_for_again(engineer: Client) -> None:
    """409 is not kept: the same request with the same key is done when the name is free."""
    engineer.patch("/factories/1", json={"name": "Leeds"})
    refused = send(engineer, FACTORY)
    engineer.patch("/factories/1", json={"name": "Sheffield"})
    done = send(engineer, FACTORY)

    assert [(409, False), (201, False)] == [(answer.status_code, is_replay(answer)) for answer in (refused, done)]


@pytest.mark.parametrize("post", POSTS, ids=str)
def test_fault_09_while_the_first_is_still_running_the_second_is_refused(engineer: Client, post: Post) -> None:
    """409 stores nothing and spoils nothing: the first ends as if alone, and from then on its answer is given again."""
    stored = everything(engineer)
    with Sender(engineer, post) as first:
        first.send(post.body[:10])
        second = send(engineer, post)
        meanwhile = everything(engineer)
        first.send(post.body[10:])
        first.end()
        head, _, body = first.read().partition(b"\r\n\r\n")
    third = send(engineer, post)

    assert (409, "/problems/conflict") == (second.status_code, second.json()["type"])
    assert stored == meanwhile
    assert (third.status_code, third.content) == (int(head.split()[1]), body)
    assert is_replay(third)


def test_fault_09_while_the_first_is_still_running_other_keys_and_paths_are_free(engineer: Client) -> None:
    """Only the same key on the same path has to wait."""
    with Sender(engineer, LINES):
        answers = [send(engineer, LINES, "order-2"), send(engineer, LINES, None), send(engineer, SPROCKET)]

    assert [200, 200, 201] == [answer.status_code for answer in answers]


@pytest.mark.parametrize("post", [SPROCKET, FACTORY, RECORD, TABLE], ids=str)
def test_fault_09_the_same_request_from_many_at_once_is_done_once(engineer: Client, post: Post) -> None:
    """One is the first; the others get its answer, or 409 as long as it is still running."""
    with ThreadPoolExecutor(8) as callers:
        answers = list(callers.map(lambda _: send(engineer, post), range(32)))
    done = [answer for answer in answers if answer.status_code != 409]

    assert 1 == len({told(answer) for answer in done})
    assert [False] + [True] * (len(done) - 1) == sorted(is_replay(answer) for answer in done)
    assert told(done[0]) == told(send(engineer, post))


@pytest.mark.parametrize("post", POSTS, ids=str)
def test_an_answer_is_kept_for_24_hours(engineer: Client, service: Service, post: Post) -> None:
    """A minute before they have passed the answer is given again."""
    first = send(engineer, post)
    service.run(service.database.write, let_time_pass, DAY - MINUTE, by="test")
    again = send(engineer, post)

    assert (told(first), True) == (told(again), is_replay(again))


def test_an_answer_is_kept_no_longer_than_24_hours(engineer: Client, service: Service) -> None:
    """After that the key is as new: the same request is done again, and another one may have the key."""
    send(engineer, SPROCKET)
    service.run(service.database.write, let_time_pass, DAY + MINUTE, by="test")
    again = send(engineer, SPROCKET)
    replayed = send(engineer, SPROCKET)
    service.run(service.database.write, let_time_pass, DAY + MINUTE, by="test")
    other = send(engineer, SPROCKET, body=SPROCKET.other)

    assert [(2, False), (2, True), (3, False)] == [
        (answer.json()["id"], is_replay(answer)) for answer in (again, replayed, other)
    ]


@pytest.mark.parametrize("again_with", ["same", "other"])
def test_a_key_is_counted_from_its_first_answer(engineer: Client, service: Service, again_with: str) -> None:
    """An answer that is asked for again and again is not kept the longer for it, nor one that is misused."""
    send(engineer, SPROCKET)
    service.run(service.database.write, let_time_pass, DAY - MINUTE, by="test")
    send(engineer, SPROCKET, body=SPROCKET.body if again_with == "same" else SPROCKET.other)
    service.run(service.database.write, let_time_pass, 2 * MINUTE, by="test")

    assert not is_replay(send(engineer, SPROCKET))


def test_answers_survive_a_restart(database_url: str) -> None:
    """A key means the same to the service that is started on the same database."""
    settings = Settings(database_url=database_url)
    posts = [FACTORY, SPROCKET, RECORD, TABLE._replace(body=csv(OTHER))]
    with Service(settings) as before, Client(before.address) as engineer:
        first = [send(engineer, post, str(post)) for post in posts]
    with Service(settings) as after, Client(after.address) as engineer:
        again = [send(engineer, post, str(post)) for post in posts]
        stored = everything(engineer)

    assert [told(answer) for answer in first] == [told(answer) for answer in again]
    assert [True] * 4 == [is_replay(answer) for answer in again]
    assert [1, 1, 2] == [len(things) for things in stored if isinstance(things, list)]


def test_fault_09_after_kill_9_everything_sent_again_is_there_once(
    start: Callable[..., Program], database_url: str
) -> None:
    """Callers who cannot know what was stored before the crash send all of it again, and each thing is there once."""
    arguments = ("serve", "--port", "0", "--database-url", database_url)
    sent: list[str] = []
    answered: dict[str, int] = {}

    def post_for_ever(caller: int, address: str) -> None:
        with Client(address) as client:
            for number in itertools.count(1):
                key = f"caller {caller}, order {number}"
                sent.append(key)
                try:
                    answered[key] = send(client, SPROCKET, key).json()["id"]
                except httpx.TransportError:
                    return

    server = start(*arguments)
    address = server.wait_for_address()
    callers = [threading.Thread(target=post_for_ever, args=(caller, address)) for caller in range(8)]
    for caller in callers:
        caller.start()
    while len(answered) < 300:
        callers[0].join(0.005)
    server.kill()
    for caller in callers:
        caller.join()
    with Client(start(*arguments).wait_for_address()) as client:
        again = {key: send(client, SPROCKET, key).json()["id"] for key in sent}
        stored = [sprocket["id"] for sprocket in client.get("/sprockets").json()]

    assert answered == {key: again[key] for key in answered}
    assert sorted(again.values()) == stored
    assert len(sent) == len(stored)


@pytest.mark.parametrize("post", UPLOADS, ids=str)
def test_fault_11_a_caller_gone_while_uploading_leaves_nothing(engineer: Client, post: Post) -> None:
    """Of an upload that was cut off nothing is stored; its key is free, and the whole upload works."""
    with Sender(engineer, post) as caller:
        caller.send(post.body + "\r\n" * 100_000)
        caller.vanish()
    again = send_until_free(engineer, post)

    assert (200, 1, False) == (again.status_code, again.json()["created"], is_replay(again))


@pytest.mark.parametrize("post", [SPROCKET, FACTORY, RECORD, ARRAY], ids=str)
def test_fault_11_a_caller_gone_in_mid_request_leaves_nothing(engineer: Client, post: Post) -> None:
    """Of a request whose last byte never came nothing is stored; its key is free, and the whole request works."""
    stored = everything(engineer)
    with Sender(engineer, post) as caller:
        caller.send(post.body)
        after = everything(engineer)
        caller.vanish()
    again = send_until_free(engineer, post)

    assert stored == after
    assert again.status_code in {200, 201}
    assert not is_replay(again)


def test_fault_11_uploads_cut_off_one_after_the_other_hold_up_nobody(engineer: Client) -> None:
    """However many callers vanish in mid-upload, nothing is stored, each key is free and others are served."""
    keys = [f"order-{number}" for number in range(30)]
    for key in keys:
        with Sender(engineer, LINES, key) as caller:
            caller.send(LINES.body + "\n")
            caller.vanish()
    trials = [send_until_free(engineer, TRIAL, key) for key in keys]
    whole = send(engineer, LINES, "whole")

    assert [1] * 30 == [trial.json()["created"] for trial in trials]
    assert (200, [ONE]) == (whole.status_code, engineer.get("/production").json())


def test_fault_11_a_caller_gone_before_the_answer_sends_again_and_it_is_done_once(engineer: Client) -> None:
    """Whether or not it was stored when the caller vanished, sent again with its key it is there once."""
    keys = [f"order-{number}" for number in range(30)]
    for key in keys:
        with Sender(engineer, SPROCKET, key) as caller:
            caller.send(SPROCKET.body)
            caller.end()
            caller.vanish()
    again = [send_until_free(engineer, SPROCKET, key) for key in keys]

    assert [201] * 30 == [answer.status_code for answer in again]
    assert sorted(answer.json()["id"] for answer in again) == [
        thing["id"] for thing in engineer.get("/sprockets").json()
    ]


def test_fault_11_readers_gone_in_mid_answer_hold_up_nobody(engineer: Client, viewer: Client) -> None:
    """However many readers of a long list vanish, the next is served at once and whole, and writing goes on."""
    lines = (json.dumps(a_record(time=1_600_000_000 + second)) for second in range(LONG))
    engineer.post("/production", content="\n".join(lines), headers={"Content-Type": NDJSON})
    beginnings = [begin_to_read_and_vanish(viewer, "/production") for _ in range(30)]
    listed = viewer.get("/production")
    written = engineer.post("/production", json=ONE)

    assert [b"HTTP/1.1 200"] * 30 == beginnings
    assert (200, LONG) == (listed.status_code, len(listed.json()))
    assert 201 == written.status_code
