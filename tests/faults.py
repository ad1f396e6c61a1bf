"""What the tests of bad inputs share: a service with one of each thing, odd texts, and requests as they travel."""

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from harness import BASE_PATH, Client, Service, a_sprocket
from sprocket_factory.settings import Settings

JSON = {"Content-Type": "application/json"}

TIME = "2021-01-21T02:06:58Z"
RECORD = f"/production/1/{TIME}"

LISTS = ["/sprockets", "/factories", "/production", "/production/1"]
SINGLE = ["/sprockets/1", "/factories/1", RECORD]

COUNTS = {"sprocket_production_actual": 32, "sprocket_production_goal": 33}

BODIES: dict[str, dict[str, object]] = {
    "/sprockets": a_sprocket(),
    "/sprockets/1": a_sprocket(),
    "/factories": {"name": "Rotherham", "time_zone": "UTC"},
    "/factories/1": {"name": "Sheffield", "time_zone": "UTC"},
    "/production": {"factory_id": 1, "time": "2021-01-21T03:00:00Z", **COUNTS},
    RECORD: {**COUNTS},
}
"""For each path a right body. To what is stored it makes no difference, but where it adds something."""

WRITES = [(method, path) for path in BODIES for method in (("PUT", "PATCH") if path in SINGLE else ("POST",))]
"""Every operation that reads a body."""

LINES = ["application/x-ndjson", "text/csv"]

READ_AS: list[tuple[str, str, str]] = [
    *((method, path, "application/json") for method, path in WRITES),
    *((method, path, "application/merge-patch+json") for method, path in WRITES if method == "PATCH"),
    *(("POST", "/production", media_type) for media_type in LINES),
]
"""Every operation that reads a body, in every media type that it reads."""

WITHOUT_BODY = [
    *(("GET", path) for path in [*LISTS, *SINGLE]),
    *(("DELETE", path) for path in [*SINGLE, "/production"]),
]
"""Every other operation, HEAD left out."""

HEAD = f"GET {BASE_PATH}/sprockets HTTP/1.1\r\nHost: x\r\nX-Slow: and so on\r\n".encode()
"""One that does not end."""

LITTLE_CPU_SECONDS = 2

SQL = [
    "'; DROP TABLE sprockets; --",
    "1 OR 1=1",
    '1"; DELETE FROM production; --',
    "1) UNION SELECT name, name, name, name, name FROM sqlite_schema --",
    ":id",
    "%' ESCAPE '",
]

FORMS_OF_NUMBERS = st.from_regex(r"-?(0|[1-9][0-9]{0,20})(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?", fullmatch=True)

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=20), inner, max_size=5),
    max_leaves=20,
)

patiently = hypothesis_settings(
    deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
"""A client may serve for many inputs, and how long one takes on a busy machine is no promise."""


@contextmanager
def one_of_each(database_url: str, **settings: int) -> Iterator[Service]:
    """Run a service with one sprocket, one factory and one record: what is refused leaves them as they are."""
    with Service(Settings(database_url=database_url, **settings)) as running:  # type: ignore[arg-type]  # numbers alone
        with Client(running.address) as engineer:
            engineer.post("/sprockets", json=BODIES["/sprockets/1"])
            engineer.post("/factories", json=BODIES["/factories/1"])
            engineer.put(RECORD, json=BODIES[RECORD])
        yield running


def shortened(value: object) -> str:
    """Return what a parameter is called."""
    text = str(value).encode("unicode_escape").decode()
    return text if len(text) <= 40 else f"{text[:20]}... of {len(text)}"


def everything(client: Client) -> list[object]:
    """Return everything that is stored."""
    return [client.get(path).json() for path in ("/sprockets", "/factories", "/production")]


def body_with(path: str, member: str, text: str) -> bytes:
    """Return the right JSON for a path, in which this text stands for the value of this member."""
    others = {name: value for name, value in BODIES[path].items() if name != member}
    return f'{json.dumps(others)[:-1]}{", " if others else ""}"{member}": {text}}}'.encode()


def sprocket_with(member: str, text: str) -> bytes:
    """Return the JSON of a sprocket in which this text stands for the value of this member."""
    return body_with("/sprockets", member, text)


def lines(media_type: str) -> str:
    """Return one right record in a format of lines."""
    record = BODIES["/production"]
    if media_type == "text/csv":
        return ",".join(record) + "\n" + ",".join(map(str, record.values())) + "\n"
    return json.dumps(record) + "\n"


def right_body(path: str, media_type: str, size: int = 0) -> bytes:
    """Return a body that is right, with white space behind it up to this size."""
    body = lines(media_type) if media_type in LINES else json.dumps(BODIES[path])
    return body.encode().ljust(size, b"\n" if media_type in LINES else b" ")


def get(target: bytes, *headers: bytes) -> bytes:
    """Return a request as it goes over the wire, for what no client library would send."""
    return request(b"GET", target, *headers)


def post(body: bytes, *headers: bytes) -> bytes:
    """Return a request with a body as it goes over the wire."""
    return request(b"POST", b"/sprockets", b"Content-Length: %d" % len(body), *headers) + body


def request(method: bytes, target: bytes, *headers: bytes) -> bytes:
    """Return the head of a request as it goes over the wire."""
    host = [] if any(header.startswith(b"Host:") for header in headers) else [b"Host: x"]
    lines = [method + b" " + BASE_PATH.encode() + target + b" HTTP/1.1", *host, b"Connection: close", *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n"


def begun_body(media_type: str = "text/csv", length: int = 10_000_000, path: str = "/production") -> bytes:
    """Return a request of which the body has not begun."""
    headers = [f"Content-Type: {media_type}".encode(), b"Content-Length: %d" % length]
    return kept_alive(request(b"POST", path.encode(), *headers))


def connected(address: str) -> socket.socket:
    """Return a connection of its own to a service."""
    url = httpx.URL(address)
    return socket.create_connection((url.host, url.port or 80), timeout=10)


def kept_alive(head: bytes) -> bytes:
    """Return the head of a request without its wish that the connection be closed."""
    return head.replace(b"Connection: close\r\n", b"")


def status_of(answer: bytes) -> int:
    """Return the status of an answer as it came over the wire."""
    return int(answer.split(b" ", 2)[1])


def percent_encoded(text: str) -> str:
    """Return text for a path with every byte encoded, so that no client library tidies it up."""
    return "".join(f"%{byte:02X}" for byte in text.encode())
