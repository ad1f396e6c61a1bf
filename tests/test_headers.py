"""What every answer tells browsers: security headers, and which pages from elsewhere may read it. On one engine."""

import re
import ssl
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest

from faults import HEAD, connected, status_of
from harness import BASE_PATH, Program, Service
from keyholders import caller, make_key
from long_lists import rest_of
from sprocket_factory.settings import Settings

SPROCKETS = f"{BASE_PATH}/sprockets"


class Asked(NamedTuple):
    """A request, and the status that it is answered with."""

    status: int
    method: str
    path: str
    headers: dict[str, str]


def named(asked: Asked) -> str:
    """Return what a request is called."""
    return " ".join([str(asked.status), asked.method, asked.path, *asked.headers])


ANSWERS = [
    Asked(200, "GET", SPROCKETS, {}),
    Asked(200, "GET", f"{SPROCKETS}?format=csv", {}),
    Asked(200, "GET", f"{SPROCKETS}?limit=1&count=true", {}),
    Asked(200, "HEAD", SPROCKETS, {}),
    Asked(304, "GET", f"{BASE_PATH}/me", {"If-None-Match": "*"}),
    Asked(204, "OPTIONS", SPROCKETS, {}),
    Asked(401, "GET", f"{BASE_PATH}/me", {"Authorization": "Bearer wrong"}),
    Asked(403, "GET", f"{BASE_PATH}/keys", {}),
    Asked(404, "GET", f"{SPROCKETS}/1", {}),
    Asked(404, "GET", "/nothing", {}),
    Asked(405, "PATCH", SPROCKETS, {}),
    Asked(406, "GET", SPROCKETS, {"Accept": "text/html"}),
    Asked(415, "POST", SPROCKETS, {}),
    Asked(422, "GET", f"{SPROCKETS}?nothing=1", {}),
    Asked(200, "GET", "/openapi.json", {}),
    Asked(200, "GET", "/board/files/docs.css", {}),
]

PAGES = ["/docs", "/problems/forbidden"]

HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "private, no-cache",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}

BOARD = "https://board.example"
OTHER = "http://localhost:3000"

ALLOWED = "Access-Control-Allow-Origin"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Run one service for all these tests, which lets two pages from elsewhere read its answers."""
    url = f"sqlite:///{tmp_path_factory.mktemp('headers') / 'factory.db'}"
    with Service(Settings(database_url=url, cors_origins=f"{BOARD}, {OTHER}")) as running:
        yield running


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Run one service as it comes."""
    url = f"sqlite:///{tmp_path_factory.mktemp('closed') / 'factory.db'}"
    with Service(Settings(database_url=url)) as running:
        yield running


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """Make a certificate for this machine, signed by itself, and return it and its key."""
    certificate, key = folder / "ours.crt", folder / "ours.key"
    command = "openssl req -x509 -nodes -days 1 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -subj /CN=localhost"
    files = ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run(
        [*command.split(), "-addext", "subjectAltName=IP:127.0.0.1", *files], check=True, capture_output=True
    )
    return certificate, key


def told(answer: httpx.Response) -> dict[str, str]:
    """Return what an answer says of these headers; what it says twice stands there twice."""
    return {name: ", ".join(answer.headers.get_list(name)) for name in HEADERS}


@pytest.mark.parametrize("asked", ANSWERS, ids=named)
def test_every_answer_tells_browsers_to_make_nothing_of_it(closed: Service, asked: Asked) -> None:
    """It is what it is declared to be, runs nothing, is shown in no frame, kept by no proxy, and asked for anew."""
    with caller(closed, make_key(closed, "engineer").secret) as engineer:
        answer = engineer.request(asked.method, closed.address + asked.path, headers=asked.headers)

    assert (asked.status, HEADERS) == (answer.status_code, told(answer))


@pytest.mark.parametrize("path", PAGES)
def test_a_page_may_have_a_style_of_ours_and_nothing_else(closed: Service, path: str) -> None:
    """No script, no form, no frame, and nothing from elsewhere."""
    policy = "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    with caller(closed) as reader:
        answer = reader.get(closed.address + path)

    assert HEADERS | {"Content-Security-Policy": policy} == told(answer)


def test_a_secret_is_kept_nowhere(closed: Service) -> None:
    """The answer that shows a key is the one that not even its reader may store."""
    with caller(closed, make_key(closed, "admin").secret) as admin:
        answer = admin.post("/keys", json={"name": "press", "role": "viewer"})

    assert 201 == answer.status_code
    assert HEADERS | {"Cache-Control": "no-store"} == told(answer)


def test_what_is_refused_before_it_is_asked_says_the_same(closed: Service) -> None:
    """A head that does not end is answered by the server itself."""
    with connected(closed.address) as connection:
        connection.sendall(HEAD)
        closed.let_seconds_pass(12)
        answer = rest_of(connection, 10_000)

    assert 408 == status_of(answer)
    assert list(HEADERS.values()) == [
        found for name in HEADERS for found in re.findall(rf"(?i){name}: (.*)\r\n", answer.decode())
    ]


def test_what_may_not_be_kept_need_not_be_sent_again(closed: Service) -> None:
    """Asking anew is cheap: who has the version that is stored gets 304."""
    with caller(closed) as viewer:
        etag = viewer.get("/sprockets").headers["ETag"]
        answer = viewer.get("/sprockets", headers={"If-None-Match": etag})

    assert (304, b"") == (answer.status_code, answer.content)


def test_over_tls_a_browser_is_told_to_stay_there(start: Callable[..., Program], tmp_path: Path) -> None:
    """And only there: over HTTP nobody could be sure who says it."""
    certificate, key = make_certificate(tmp_path)
    address = start("serve", "--port", "0", "--tls-cert", str(certificate), "--tls-key", str(key)).wait_for_address()
    trusting = ssl.create_default_context(cafile=str(certificate))
    with httpx.Client(verify=trusting, trust_env=False) as client:
        answers = [client.get(f"{address}{path}") for path in ("/docs", f"{SPROCKETS}/1")]

    assert ["max-age=31536000"] * 2 == [answer.headers["Strict-Transport-Security"] for answer in answers]


def test_fault_20_a_handshake_that_does_not_end_is_given_up(start: Callable[..., Program], tmp_path: Path) -> None:
    """Whoever connects and does not go on to speak TLS has as long as for a head, and others are served meanwhile."""
    certificate, key = make_certificate(tmp_path)
    files = ["--tls-cert", str(certificate), "--tls-key", str(key)]
    address = start("serve", "--port", "0", *files, "--head-seconds", "2").wait_for_address()
    trusting = ssl.create_default_context(cafile=str(certificate))
    with ExitStack() as stack, httpx.Client(verify=trusting, trust_env=False) as client:
        slow = [stack.enter_context(connected(address)) for _ in range(50)]
        for connection in slow[::2]:
            connection.sendall(b"\x16\x03\x01\x02\x00")
        answer = client.get(f"{address}/docs")
        ends = {rest_of(connection) for connection in slow}

    assert (200, {b""}) == (answer.status_code, ends)


def test_without_tls_nothing_is_said_of_it(closed: Service) -> None:
    """Whatever a caller says of a proxy that nobody has named."""
    with caller(closed) as viewer:
        answer = viewer.get("/sprockets", headers={"X-Forwarded-Proto": "https"})

    assert "Strict-Transport-Security" not in answer.headers


@pytest.mark.parametrize("asked", ANSWERS, ids=named)
def test_no_page_from_elsewhere_reads_anything_unless_it_is_named(closed: Service, asked: Asked) -> None:
    """By default no origin is: nothing is said that would let a browser hand out an answer."""
    headers = asked.headers | {"Origin": BOARD, "Access-Control-Request-Method": "GET"}
    with caller(closed, make_key(closed, "engineer").secret) as engineer:
        answer = engineer.request(asked.method, closed.address + asked.path, headers=headers)

    assert asked.status == answer.status_code
    assert [] == [name for name in answer.headers if name.startswith("access-control-")]
    assert "origin" not in answer.headers.get("Vary", "")


@pytest.mark.parametrize("origin", [BOARD, OTHER])
@pytest.mark.parametrize("asked", ANSWERS, ids=named)
def test_a_page_from_an_origin_that_is_named_reads_every_answer(service: Service, origin: str, asked: Asked) -> None:
    """Refusals included, and with the headers that tell a client how to go on; credentials are never let through."""
    with caller(service, make_key(service, "engineer").secret) as engineer:
        headers = asked.headers | {"Origin": origin}
        answer = engineer.request(asked.method, service.address + asked.path, headers=headers)
    exposed = answer.headers["Access-Control-Expose-Headers"].split(", ")

    assert (asked.status, [origin]) == (answer.status_code, answer.headers.get_list(ALLOWED))
    assert {"etag", "link", "location", "x-total-count", "x-request-id", "retry-after"} <= set(exposed)
    assert "Access-Control-Allow-Credentials" not in answer.headers
    assert HEADERS == told(answer)


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "http://board.example",
        "https://board.example:8443",
        "https://board.example.evil.example",
        "https://evil.example/https://board.example",
        "https://BOARD.example",
        "https://board.example,https://evil.example",
        "null",
        "*",
        "",
    ],
)
@pytest.mark.parametrize("method", ["GET", "OPTIONS"])
def test_a_page_from_any_other_origin_reads_nothing(service: Service, origin: str, method: str) -> None:
    """What only looks like one that is named is none."""
    headers = {"Origin": origin, "Access-Control-Request-Method": "GET"}
    with caller(service) as viewer:
        answer = viewer.request(method, "/sprockets", headers=headers)

    assert [] == [name for name in answer.headers if name.startswith("access-control-")]


@pytest.mark.parametrize("headers", [{}, {"Origin": BOARD}, {"Origin": "https://evil.example"}])
def test_a_cache_keeps_the_answers_to_different_origins_apart(service: Service, headers: dict[str, str]) -> None:
    """Vary names Origin on every answer, beside what it names anyway."""
    with caller(service) as viewer:
        varies = [viewer.get(path, headers=headers).headers["Vary"] for path in ("/sprockets", "/sprockets/1")]

    assert ["accept, origin", "origin"] == varies


@pytest.mark.parametrize(
    ("path", "methods"),
    [("/sprockets", "GET, HEAD, OPTIONS, POST"), ("/sprockets/1", "DELETE, GET, HEAD, OPTIONS, PATCH, PUT")],
)
def test_a_preflight_names_what_may_be_done_there(service: Service, path: str, methods: str) -> None:
    """Without a key, which browsers do not send with it: the methods of this path, and the headers of the API."""
    headers = {
        "Origin": BOARD,
        "Access-Control-Request-Method": "PUT",
        "Access-Control-Request-Headers": "authorization,content-type,if-match",
    }
    with caller(service) as nobody:
        answer = nobody.options(path, headers=headers)
    allowed = "authorization, content-type, idempotency-key, if-match, if-none-match, last-event-id, x-request-id"

    assert (204, BOARD, methods) == (
        answer.status_code,
        answer.headers[ALLOWED],
        answer.headers["Access-Control-Allow-Methods"],
    )
    assert (allowed, "600") == (
        answer.headers["Access-Control-Allow-Headers"],
        answer.headers["Access-Control-Max-Age"],
    )
    assert methods == answer.headers["Allow"]


def test_a_request_from_another_origin_is_not_refused(service: Service) -> None:
    """It is the browser that keeps its answer from the page; other clients say what they like."""
    with caller(service) as viewer:
        answer = viewer.get("/sprockets", headers={"Origin": "https://evil.example"})

    assert (200, []) == (answer.status_code, answer.json())
