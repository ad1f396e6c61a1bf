"""How much of the service one may take: connections, requests at once, requests in a minute. On one engine."""

import asyncio
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import httpx
import pytest
import uvloop
from litestar import Litestar
from litestar.types import ASGIApp, Receive, Scope, Send

from bulk import PATIENCE_SECONDS, a_row, add_factory, as_csv, send
from faults import BODIES, begun_body, connected, status_of
from harness import BASE_PATH, TLS, Client, Clock, HeldMerge, Program, Service, run_program
from keyholders import WRONG_KEY, caller, make_key
from sprocket_factory.access import limits
from sprocket_factory.access.callers import OPEN
from sprocket_factory.access.limits import MAX_KNOWN, WrongKeys
from sprocket_factory.access.proxies import Proxies
from sprocket_factory.app import limits_of
from sprocket_factory.endpoints.answers import Answer
from sprocket_factory.endpoints.asking import ask_endpoints
from sprocket_factory.endpoints.headers import protect_answers, read_origins
from sprocket_factory.endpoints.reading import REFUSAL
from sprocket_factory.endpoints.routing import ApiRequest, get
from sprocket_factory.errors import Busy, TooMany, Unusable
from sprocket_factory.observe import observe_requests
from sprocket_factory.server import listen, make_server
from sprocket_factory.settings import Settings

GET_LIST = f"GET {BASE_PATH}/sprockets HTTP/1.1\r\nHost: x\r\n\r\n".encode()

Start = Callable[..., Service]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Return the clock by which minutes are counted."""
    hands = Clock()
    monkeypatch.setattr(limits, "time", SimpleNamespace(monotonic=hands.monotonic))
    return hands


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Start]:
    """Return what runs a service with settings of a test's own."""
    with ExitStack() as running:

        def start_service(role: str = "engineer", **settings: Any) -> Service:
            url = f"sqlite:///{tmp_path / 'factory.db'}"
            return running.enter_context(Service(Settings(database_url=url, **settings), anonymous_role=role))

        yield start_service


def ask(connection: socket.socket) -> bytes:
    """Ask for a list on this connection and return the answer; nothing where it has ended."""
    try:
        connection.sendall(GET_LIST)
        return connection.recv(10_000)
    except ConnectionError:
        return b""


def test_beyond_its_connections_the_one_that_waited_longest_makes_room(serve: Start) -> None:
    """Whoever has nothing to ask keeps nobody out: the newest is served, the oldest is closed, the others stay."""
    service = serve(max_connections=10)
    with ExitStack() as stack:
        idle = [stack.enter_context(connected(service.address)) for _ in range(10)]
        answers = [ask(connection) for connection in idle]
        service.let_seconds_pass(1)
        newest = ask(stack.enter_context(connected(service.address)))
        again = [ask(connection) for connection in idle]

    assert [200] * 11 == [status_of(answer) for answer in [*answers, newest]]
    assert [b"", *[b"HTTP/1.1 200"] * 9] == [answer[:12] for answer in again]


@pytest.mark.parametrize("beginning", [b"", b"GET / HTTP/1.1\r\nHost: x\r\n"], ids=["silent", "slow"])
def test_clients_who_ask_nothing_take_no_place_from_those_who_do(serve: Start, beginning: bytes) -> None:
    """However many of them keep their connections open, and open new ones."""
    service = serve(max_connections=10)
    with ExitStack() as stack, Client(service.address) as engineer:
        statuses = set()
        for _ in range(20):
            for _ in range(5):
                stack.enter_context(connected(service.address)).sendall(beginning)
            service.let_seconds_pass(1)
            statuses.add(engineer.get("/sprockets").status_code)

    assert {200} == statuses


def test_beyond_its_connections_a_request_is_told_to_come_again(serve: Start) -> None:
    """Where all of them are busy, one more is answered with 503 and Retry-After; and served once there is room."""
    service = serve(max_connections=3)
    with ExitStack() as stack:
        busy = [stack.enter_context(connected(service.address)) for _ in range(3)]
        for connection in busy:
            connection.sendall(begun_body())
        service.let_seconds_pass(1)
        one_more = stack.enter_context(connected(service.address))
        refused = ask(one_more)
        busy[0].close()
        served = ask_until_served(one_more)

    assert 503 == status_of(refused)
    assert b'"type":"/problems/busy"' in refused
    assert b"retry-after: 1\r\n" in refused
    assert 200 == served


def ask_until_served(connection: socket.socket) -> int:
    """Ask until the answer is no 503 any more, for some seconds, and return the status of the last one."""
    until = time.monotonic() + 5
    while (status := status_of(ask(connection))) == 503 and time.monotonic() < until:
        time.sleep(0.01)
    return status


def test_beyond_its_requests_at_once_one_more_is_told_to_come_again(serve: Start, held: HeldMerge) -> None:
    """503 and Retry-After while as many as are allowed are under way, and nothing is done; then it is served."""
    service = serve(max_requests=1)
    with Client(service.address) as engineer, Client(service.address) as other, ThreadPoolExecutor() as callers:
        factory_id = add_factory(engineer)
        engineer.get("/sprockets/999")  # so that the client knows which refusals are described
        merge = callers.submit(send, other, "text/csv", as_csv([a_row(factory_id)]))
        assert held.begun.wait(PATIENCE_SECONDS)
        refused = [engineer.get("/sprockets"), engineer.post("/sprockets", json=BODIES["/sprockets"])]
        held.go_on.set()
        assert 200 == merge.result().status_code
        served = engineer.get("/sprockets")

    assert [(503, "/problems/busy")] * 2 == [(answer.status_code, answer.json()["type"]) for answer in refused]
    assert {"1"} == {answer.headers["Retry-After"] for answer in refused}
    assert (200, []) == (served.status_code, served.json())


def test_a_body_on_its_way_is_no_request_under_way(serve: Start) -> None:
    """Slow uploads, however many, leave others the places."""
    service = serve(max_requests=1)
    with ExitStack() as stack, Client(service.address) as engineer:
        for _ in range(20):
            stack.enter_context(connected(service.address)).sendall(begun_body())
        answers = {engineer.get("/sprockets").status_code for _ in range(5)}

    assert {200} == answers


@get("/how-it-is", role=OPEN, even_if_busy=True)
async def get_how_it_is(request: ApiRequest) -> ASGIApp:  # noqa: ARG001 - endpoints are asked with a request
    """Say how the service is."""
    return Answer("well")


@get("/anything", role=OPEN)
async def get_anything(request: ApiRequest) -> ASGIApp:  # noqa: ARG001 - as above
    """Say anything."""
    return Answer("else")


@pytest.mark.parametrize(("path", "expected"), [("/how-it-is", 200), ("/anything", 503)])
async def test_what_tells_how_the_service_is_is_answered_even_if_it_is_busy(path: str, expected: int) -> None:
    """Whoever looks whether it lives would start it anew otherwise, in the middle of its work."""
    app = ask_endpoints(
        Litestar([get_how_it_is, get_anything], request_class=ApiRequest, logging_config=None, openapi_config=None)
    )
    identified: Any = observe_requests(protect_answers(app, Proxies(""), frozenset()), asyncio.Event())

    async def busy(scope: Scope, receive: Receive, send: Send) -> None:
        scope[REFUSAL] = Busy("The service has as much to do as it can.")  # type: ignore[literal-required]
        await identified(scope, receive, send)

    async with httpx.AsyncClient(transport=httpx.ASGITransport(busy), base_url="http://service") as client:  # type: ignore[arg-type]
        answer = await client.get(path)

    assert expected == answer.status_code


def test_requests_are_counted_only_if_the_operator_says_so(serve: Start) -> None:
    """By default nothing is said of them."""
    with caller(serve()) as viewer:
        answer = viewer.get("/sprockets")

    assert {"ratelimit", "ratelimit-policy"}.isdisjoint(answer.headers)


def test_every_answer_says_how_many_requests_are_left(serve: Start, clock: Clock) -> None:
    """In the headers of the IETF's draft: the policy, what is left of it, and for how many seconds."""
    with caller(serve(max_requests_per_minute=5)) as viewer:
        answers = [viewer.get("/sprockets")]
        clock.seconds += 20.5
        answers += [viewer.get("/sprockets?nothing=1"), viewer.get("/sprockets/999"), viewer.head("/sprockets")]

    assert [200, 422, 404, 200] == [answer.status_code for answer in answers]
    assert {'"minute";q=5;w=60'} == {answer.headers["RateLimit-Policy"] for answer in answers}
    assert ['"minute";r=4;t=60', *(f'"minute";r={left};t=40' for left in (3, 2, 1))] == [
        answer.headers["RateLimit"] for answer in answers
    ]


def test_beyond_its_requests_a_caller_has_to_wait(serve: Start, clock: Clock) -> None:
    """429 with Retry-After as long as the minute goes on, nothing is done, and then it is served again."""
    with caller(serve(max_requests_per_minute=2)) as engineer:
        statuses = [engineer.get("/sprockets").status_code for _ in range(2)]
        clock.seconds += 59
        refused = engineer.post("/sprockets", json=BODIES["/sprockets"])
        clock.seconds += int(refused.headers["Retry-After"])
        served = engineer.get("/sprockets")

    assert [200, 200] == statuses
    assert (429, "/problems/too-many") == (refused.status_code, refused.json()["type"])
    assert ("1", '"minute";r=0;t=1') == (refused.headers["Retry-After"], refused.headers["RateLimit"])
    assert (200, []) == (served.status_code, served.json())


@pytest.mark.usefixtures("clock")
def test_every_caller_has_requests_of_his_own(serve: Start) -> None:
    """A key its own, wherever it is used; those without a key as many as come from their address."""
    service = serve(max_requests_per_minute=2)
    keys = [make_key(service, "viewer").secret for _ in range(2)]
    asked = [(secret, source) for secret in (*keys, None) for source in ("127.0.0.1", "127.0.0.2")] * 2
    statuses = [ask_from(service, source, secret) for secret, source in asked]

    assert [200] * 6 + [429] * 4 + [200] * 2 == statuses


def ask_from(service: Service, source: str, secret: str | None) -> int:
    """Ask for a list from this address, with this key or none, and return the status of the answer."""
    headers = {} if secret is None else {"Authorization": f"Bearer {secret}"}
    with httpx.Client(transport=httpx.HTTPTransport(local_address=source, verify=TLS), trust_env=False) as client:
        return client.get(f"{service.address}{BASE_PATH}/sprockets", headers=headers).status_code


@pytest.mark.usefixtures("clock")
def test_wrong_keys_take_nobodys_requests(serve: Start) -> None:
    """They are counted for themselves, and what asks for no key is not counted at all."""
    service = serve(max_requests_per_minute=1)
    with caller(service) as viewer, caller(service, WRONG_KEY) as stranger:
        others = [
            *(stranger.get("/me") for _ in range(5)),
            *(viewer.options("/sprockets") for _ in range(5)),
            *(viewer.get(f"{service.address}/docs") for _ in range(5)),
        ]
        answer = viewer.get("/me")

    assert {401, 204, 200} == {answer.status_code for answer in others}
    assert 200 == answer.status_code


@pytest.mark.usefixtures("clock")
def test_how_many_wrong_keys_are_too_many_is_a_setting(serve: Start) -> None:
    """One more than --max-wrong-keys is 429."""
    with caller(serve(max_wrong_keys=3), WRONG_KEY) as stranger:
        statuses = [stranger.get("/me").status_code for _ in range(4)]

    assert [401, 401, 401, 429] == statuses


def scope_of(address: str) -> Any:
    """Return the scope of a request that comes from an address."""
    return {"type": "http", "client": (address, 1)}


def test_the_addresses_of_one_site_are_one() -> None:
    """Whoever has one address of version 6 has 2^64 of them: they are counted together; others are not."""
    wrong_keys = WrongKeys(3)
    for number in range(3):
        wrong_keys.count(scope_of(f"2001:db8:1:2:{number}::1"))
    with pytest.raises(TooMany):
        wrong_keys.count(scope_of("2001:db8:1:2:ffff::1"))
    wrong_keys.count(scope_of("2001:db8:1:3::1"))
    wrong_keys.count(scope_of("192.0.2.1"))


def test_an_address_of_version_4_is_the_same_in_version_6() -> None:
    """It may be written in both ways, and is one address."""
    wrong_keys = WrongKeys(1)
    wrong_keys.count(scope_of("::ffff:192.0.2.1"))
    with pytest.raises(TooMany):
        wrong_keys.count(scope_of("192.0.2.1"))
    wrong_keys.count(scope_of("::ffff:192.0.2.2"))


def test_who_comes_from_many_addresses_fills_no_memory() -> None:
    """The counts of those who came first are let go of, one by one, and those of the last are kept."""
    wrong_keys = WrongKeys(1)
    for number in range(2 * MAX_KNOWN):
        wrong_keys.count(scope_of(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"))
    with pytest.raises(TooMany):
        wrong_keys.count(scope_of(f"10.0.{(2 * MAX_KNOWN - 1) >> 8 & 255}.{(2 * MAX_KNOWN - 1) & 255}"))
    wrong_keys.count(scope_of("10.0.0.1"))

    assert MAX_KNOWN == len(wrong_keys._times)  # noqa: SLF001 - what it holds is the promise


def test_the_limits_of_a_head_are_settings(start: Callable[..., Program]) -> None:
    """What is too large by --max-header-bytes or too many by --max-headers is 400."""
    program = start("serve", "--port", "0", "--max-header-bytes", "2000", "--max-headers", "20")
    address = program.wait_for_address()
    lengths = [{"X": "a" * length} for length in (1500, 2500)]
    numbers = [{f"X{number}": "" for number in range(count)} for count in (10, 20)]
    with Client(address) as viewer:
        statuses = [viewer.get("/sprockets", headers=headers).status_code for headers in (*lengths, *numbers)]

    assert [200, 400, 200, 400] == statuses


class Newcomer(asyncio.Protocol):
    """Asks again and again, and counts the answers of all until each has had one."""

    def __init__(self, answers: "Counter[Newcomer]", count: int, are_served: asyncio.Event) -> None:
        self._answers = answers
        self._count = count
        self._are_served = are_served
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask."""
        self.transport = cast("asyncio.Transport", transport)
        self.transport.write(GET_LIST)

    def data_received(self, data: bytes) -> None:
        """Ask again."""
        assert data.startswith(b"HTTP/1.1 204")
        self._answers[self] += 1
        if len(self._answers) == self._count:
            self._are_served.set()
        self.transport.write(GET_LIST)


async def count_until_all_are_served(count: int) -> int:
    """Let so many come at once, and return how many answers all had got when the last of them got his first one."""

    async def nothing(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    listener = listen("127.0.0.1", 0, anybody_writes=True)
    server = make_server(nothing, limits_of(Settings()))
    server.config.load()
    await server.startup([listener])
    answers, are_served = Counter[Newcomer](), asyncio.Event()
    new = partial(Newcomer, answers, count, are_served)
    connect = partial(asyncio.get_running_loop().create_connection, new, *listener.getsockname())
    newcomers = [newcomer for _, newcomer in await asyncio.gather(*(connect() for _ in range(count)))]
    await are_served.wait()
    answered = answers.total()
    for newcomer in newcomers:
        newcomer.transport.abort()
    for one in server.servers:
        one.close()
    return answered


def test_who_comes_to_a_busy_service_is_served_in_turn() -> None:
    """Of 200 who come at once, each asking again when answered, nobody waits until the others have asked for ages."""
    assert uvloop.run(count_until_all_are_served(200)) < 200 * 10


@pytest.mark.parametrize(
    ("flag", "value", "complaint"),
    [
        ("--trusted-proxies", "127.0.0.1, proxy.example", "'proxy.example' is no address and no network"),
        ("--cors-origins", "https://board.example, *", "'*' is no origin"),
    ],
)
def test_a_proxy_or_an_origin_that_cannot_be_one_is_refused(
    tmp_path: Path, flag: str, value: str, complaint: str
) -> None:
    """The service does not start, says which it is and what it should look like; nothing is made."""
    done = run_program("serve", "--port", "0", flag, value, folder=tmp_path)

    assert 1 == done.returncode
    assert complaint in done.stderr
    assert f"as in {flag}" in done.stderr
    assert [] == list(tmp_path.iterdir())


@pytest.mark.parametrize("text", ["proxy.example", "10.0.0.0/33", "10.0.0.7/24", "10.0.0.7;10.0.0.8", "*", "10.0.0"])
def test_what_is_no_address_is_no_proxy(text: str) -> None:
    """Whom to believe is not guessed at."""
    with pytest.raises(Unusable):
        Proxies(text)


@pytest.mark.parametrize(
    "text",
    [
        "*",
        "null",
        "board.example",
        "https://board.example/",
        "https://*.example",
        "https://Board.example",
        "https://board.example:443",
        "http://board.example:80",
        "https://a@board.example",
        "ftp://board.example",
        "https://",
        "https://a b",
    ],
)
def test_what_no_browser_names_is_no_origin(text: str) -> None:
    """It would never be the same as what a browser sends, or stand for whoever has a page."""
    with pytest.raises(Unusable):
        read_origins(text)
