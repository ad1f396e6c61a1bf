"""What every answer has in common: the one body of refusals, the request's id, the methods a path allows."""

import re
from pathlib import Path
from typing import Any

import pytest

from harness import BASE_PATH, Client, NewDatabase, Service, a_sprocket
from log_lines import Logged
from sprocket_factory.settings import Settings

JSON = {"Content-Type": "application/json"}

REQUIRED = {"type", "title", "status", "detail", "instance", "request_id"}

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")

ALLOWED = {
    "/sprocketFactory/v1/sprockets": {"GET", "HEAD", "POST", "OPTIONS"},
    "/sprocketFactory/v1/sprockets/1": {"GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS"},
    "/sprocketFactory/v1/factories": {"GET", "HEAD", "POST", "OPTIONS"},
    "/sprocketFactory/v1/factories/1": {"GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS"},
    "/sprocketFactory/v1/production": {"GET", "HEAD", "POST", "DELETE", "OPTIONS"},
    "/sprocketFactory/v1/production/1": {"GET", "HEAD", "OPTIONS"},
    "/sprocketFactory/v1/production/1/2021-01-21T02:06:58Z": {"GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS"},
    "/openapi.json": {"GET", "HEAD", "OPTIONS"},
    "/docs": {"GET", "HEAD", "OPTIONS"},
    "/problems/invalid": {"GET", "HEAD", "OPTIONS"},
}

SECRET = "the vault opens at 17:03"


class UnforeseenError(Exception):
    """What nobody reckoned with."""


async def break_down(*_anything: object) -> None:
    """Fail as a bug would."""
    raise UnforeseenError(SECRET)


def header(answer: bytes, name: bytes) -> bytes | None:
    """Return a header of an answer as it came over the wire."""
    found = re.search(rb"(?im)^" + name + rb": *(.*?)\r$", answer)
    return found and found.group(1)


def allowed_by(header_line: str) -> set[str]:
    """Return the methods that an Allow header names."""
    return set(re.split(r"\s*,\s*", header_line))


@pytest.fixture(scope="module")
def settings(new_database: NewDatabase) -> Settings:
    """Return settings with which a body is soon too large."""
    return Settings(database_url=new_database(), max_body_bytes=2000)


@pytest.fixture(scope="module")
def service(running: Service) -> Service:
    """Return the service with a factory: what these tests look at does not depend on what is stored."""
    with Client(running.address) as engineer:
        engineer.post("/factories", json={"name": "Sheffield"})
    return running


@pytest.mark.parametrize(
    ("status", "slug", "method", "path", "request_parts"),
    [
        (404, "not-found", "GET", "/sprockets/999", {}),
        (404, "not-found", "GET", "/nothing", {}),
        (405, "method-not-allowed", "DELETE", "/sprockets", {}),
        (406, "not-acceptable", "GET", "/sprockets", {"headers": {"Accept": "text/html"}}),
        (422, "invalid", "GET", "/sprockets", {"params": {"nothing": "1"}}),
        (400, "unreadable", "POST", "/sprockets", {"content": b"{", "headers": JSON}),
        (413, "too-large", "POST", "/sprockets", {"content": b"x" * 2001, "headers": JSON}),
        (415, "unsupported-media-type", "POST", "/sprockets", {"content": b"{}"}),
        (422, "invalid", "POST", "/sprockets", {"json": {}}),
        (404, "not-found", "PUT", "/sprockets/999", {"json": a_sprocket()}),
        (404, "not-found", "PATCH", "/sprockets/999", {"json": {}}),
        (404, "not-found", "DELETE", "/factories/999", {}),
        (404, "not-found", "GET", "/production/999/yesterday", {}),
        (409, "conflict", "POST", "/factories", {"json": {"name": "Sheffield"}}),
        (412, "stale", "DELETE", "/factories/1", {"headers": {"If-Match": '"other"'}}),
        (413, "too-large", "POST", "/production", {"content": b"x" * 2001, "headers": {"Content-Type": "text/csv"}}),
        (422, "invalid", "DELETE", "/production", {}),
    ],
)
def test_every_refusal_has_the_same_body(  # noqa: PLR0913, PLR0917 - a refusal and what brings it about
    engineer: Client, status: int, slug: str, method: str, path: str, request_parts: dict[str, Any]
) -> None:
    """Our own refusals and the framework's are `application/problem+json` with the same members."""
    answer = engineer.request(method, path, **request_parts)
    problem = answer.json()

    assert (status, "application/problem+json") == (answer.status_code, answer.headers["Content-Type"])
    assert REQUIRED == problem.keys() - {"errors"}
    assert {
        "type": f"/problems/{slug}",
        "status": status,
        "instance": f"{BASE_PATH}{path}",
        "request_id": answer.headers["X-Request-ID"],
    }.items() <= problem.items()


def test_a_refusal_says_where_a_body_is_wrong(engineer: Client) -> None:
    """`errors` has a pointer and a sentence for each fault, and nothing else."""
    answer = engineer.post("/sprockets", json={})

    assert [{"pointer", "detail"}] * 4 == [error.keys() for error in answer.json()["errors"]]


@pytest.mark.parametrize(
    ("path", "offered"),
    [
        ("/sprockets/1", "Accept application/json."),
        ("/sprockets", "Accept application/json or application/x-ndjson or text/csv."),
    ],
)
def test_a_refusal_of_a_media_type_names_those_that_can_be_given(viewer: Client, path: str, offered: str) -> None:
    """Who accepts nothing of ours is told what there is: one for a single thing, three for a list."""
    answer = viewer.get(path, headers={"Accept": "text/html"})

    assert f"Nothing of 'text/html' can be given here. {offered}" == answer.json()["detail"]


def test_a_refusal_without_a_wrong_body_has_no_list_of_errors(viewer: Client) -> None:
    """What concerns the whole request has no empty list beside it."""
    answer = viewer.get("/sprockets/999")

    assert answer.json().keys() == REQUIRED


def test_head_of_what_is_refused_has_no_body(viewer: Client) -> None:
    """The headers of a refusal are those that GET gives, its body is left out."""
    head = viewer.head("/sprockets/999")
    get = viewer.get("/sprockets/999", headers={"X-Request-ID": head.headers["X-Request-ID"]})

    assert (404, b"") == (head.status_code, head.content)
    assert get.headers.items() - head.headers.items() <= {("date", get.headers["Date"])}


@pytest.mark.parametrize(
    "path", ["/nothing", "/board/nothing", "/sprocketFactory", "/sprocketFactory/v1", "/sprocketFactory/v2/sprockets"]
)
def test_an_unknown_path_is_not_found(viewer: Client, path: str) -> None:
    """Wherever it is, what nobody knows is 404 in the body of all refusals, and tells where paths are listed."""
    answer = viewer.get(viewer.address + path)

    assert (404, "/problems/not-found", path) == (
        answer.status_code,
        answer.json()["type"],
        answer.json()["instance"],
    )
    assert "/openapi.json" in answer.json()["detail"]


@pytest.mark.parametrize("path", ["/sprockets/", "/factories/", "/production/", "/production/1/"])
@pytest.mark.parametrize("text", ["a" * 60_000, "%00%1B%5B2J%0A"], ids=["long", "control"])
def test_a_path_is_repeated_no_further_than_a_reader_needs(viewer: Client, path: str, text: str) -> None:
    """What is no id stands in the detail as any other text does: quoted, escaped and cut off."""
    detail = viewer.get(path + text).json()["detail"]

    assert (True, True) == (len(detail) < 300, detail.isprintable())


@pytest.mark.parametrize("path", ["/sprockets/{}", "/{}", "/sprockets?sort={}", "/sprockets?limit={}"])
@pytest.mark.parametrize("begin", ["sfk_", "sfs_"], ids=["key", "session"])
def test_a_secret_in_the_wrong_place_is_not_shown_to_who_reads_the_answer(
    viewer: Client, path: str, begin: str
) -> None:
    """Answers end in tickets and on screens."""
    answer = viewer.get(path.format(begin + "A" * 43))

    assert (True, False) == (f"{begin}..." in answer.text, "AAA" in answer.text)


@pytest.mark.parametrize("path", ALLOWED)
def test_allow_names_exactly_what_works(viewer: Client, path: str) -> None:
    """A method is 405 if and only if Allow, which every 405 carries, does not name it."""
    answers = {method: viewer.request(method, viewer.address + path) for method in METHODS}
    refused = {method for method, answer in answers.items() if answer.status_code == 405}

    assert set(METHODS) - ALLOWED[path] == refused
    assert [ALLOWED[path]] * len(refused) == [allowed_by(answers[method].headers["Allow"]) for method in refused]


@pytest.mark.parametrize("path", ALLOWED)
def test_options_names_the_same_methods_as_a_refusal(viewer: Client, path: str) -> None:
    """OPTIONS is answered without a body, with everything the path allows."""
    answer = viewer.options(viewer.address + path)

    assert (204, b"") == (answer.status_code, answer.content)
    assert ALLOWED[path] == allowed_by(answer.headers["Allow"])


def test_options_of_an_unknown_path_is_not_found(viewer: Client) -> None:
    """Nothing is allowed where nothing is."""
    answer = viewer.options("/nothing")

    assert (404, None) == (answer.status_code, answer.headers.get("Allow"))


def test_every_answer_has_a_request_id_of_its_own(engineer: Client) -> None:
    """Answers and refusals of every kind say their request's id, and no two are the same."""
    answers = [
        engineer.post("/sprockets", json=a_sprocket()),
        engineer.get("/sprockets"),
        engineer.head("/sprockets/1"),
        engineer.options("/sprockets"),
        engineer.post("/sprockets", content=b"{", headers=JSON),
        engineer.get("/sprockets/999"),
        engineer.get("/nothing"),
        engineer.delete("/sprockets"),
        engineer.delete("/sprockets/999"),
        engineer.get("/sprockets", headers={"Accept": "text/html"}),
        engineer.post("/sprockets", content=b"{}"),
        engineer.get(f"{engineer.address}/docs"),
        engineer.get(f"{engineer.address}/openapi.json"),
    ]
    ids = {answer.headers["X-Request-ID"] for answer in answers}

    assert len(answers) == len(ids)
    assert all(re.fullmatch(r"[A-Za-z0-9-]{8,64}", request_id) for request_id in ids)


@pytest.mark.parametrize("request_id", ["7", "a" * 128, "0af7651916cd43dd8448eb211c80319c-b7ad6b", "A.b_c:d/e+f=-"])
@pytest.mark.parametrize("path", ["/sprockets", "/sprockets/999"])
def test_a_sane_request_id_of_the_callers_is_kept(viewer: Client, request_id: str, path: str) -> None:
    """A request keeps the id that it was given on its way here, so that it can be followed across machines."""
    answer = viewer.get(path, headers={"X-Request-ID": request_id})

    assert request_id == answer.headers["X-Request-ID"]


@pytest.mark.parametrize(
    "request_id",
    [b"", b"a" * 129, b"a b", b"a\tb", b'"a"', b"<b>", b"a;b", b"a%0Ab", b"\xff", "naïve".encode(), "٣".encode()],
)
def test_an_insane_request_id_of_the_callers_is_replaced(viewer: Client, request_id: bytes) -> None:
    """What is too long or could forge a line of a log is not taken over; the request itself is served."""
    answer = viewer.speak(
        f"GET {BASE_PATH}/sprockets HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Request-ID: ".encode()
        + request_id
        + b"\r\n\r\n"
    )

    assert answer.startswith(b"HTTP/1.1 200 ")
    assert re.fullmatch(rb"[a-z0-9-]{8,64}", header(answer, b"X-Request-ID") or b"")


@pytest.mark.parametrize("request_id", [b"a\x00b", b"a\x01b", b"a\x7fb", b"a\rb", b"a\nb", b"a\r\n b"])
def test_a_request_id_with_control_characters_is_no_http(viewer: Client, request_id: bytes) -> None:
    """A header that breaks HTTP's own rules gets a plain 400 and a closed connection, and is not sent back."""
    answer = viewer.speak(
        f"GET {BASE_PATH}/sprockets HTTP/1.1\r\nHost: x\r\nX-Request-ID: ".encode() + request_id + b"\r\n\r\n"
    )

    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"close" == header(answer, b"Connection")
    assert request_id not in answer


@pytest.mark.parametrize("junk", [b"junk\r\n\r\n", b"\x16\x03\x01\x00\xa5\x01\x00\x00", b"\x00" * 100 + b"\r\n\r\n"])
def test_what_is_not_http_at_all_gets_a_plain_400(viewer: Client, junk: bytes) -> None:
    """Nonsense and TLS on a plain port are answered in a way that anybody reads, and the connection is closed."""
    answer = viewer.speak(junk)

    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"close" == header(answer, b"Connection")


@pytest.mark.parametrize(
    ("function", "method", "path"),
    [
        ("sprockets.find_sprocket", "GET", "/sprockets/1"),
        ("sprockets.add_sprocket", "POST", "/sprockets"),
        ("sprockets.replace_sprocket", "PUT", "/sprockets/1"),
        ("sprockets.change_sprocket", "PATCH", "/sprockets/1"),
        ("sprockets.remove_sprocket", "DELETE", "/sprockets/1"),
        ("factories.remove_factory", "DELETE", "/factories/1"),
        ("production.check_factory_exists", "GET", "/production/1"),
        ("production.remove_production", "DELETE", "/production/1/2021-01-21T02:06:58Z"),
    ],
)
def test_fault_40_the_caller_learns_the_request_id_and_nothing_else(
    engineer: Client, monkeypatch: pytest.MonkeyPatch, function: str, method: str, path: str
) -> None:
    """What nobody foresaw is a 500 whose only news is the id under which the log knows more."""
    monkeypatch.setattr(f"sprocket_factory.endpoints.{function}", break_down)
    answer = engineer.request(method, path, json=a_sprocket(), headers={"X-Request-ID": "find-me"})
    problem = answer.json()

    assert (500, "application/problem+json") == (answer.status_code, answer.headers["Content-Type"])
    assert problem.keys() == REQUIRED
    assert "find-me" == problem["request_id"] == answer.headers["X-Request-ID"]
    assert not re.search(rf"{SECRET}|{UnforeseenError.__name__}|Traceback|\.py", answer.text)


def test_fault_40_the_log_has_the_traceback_under_the_request_id(
    viewer: Client, monkeypatch: pytest.MonkeyPatch, logged: Logged
) -> None:
    """Who keeps the service finds everything in the log by the id that the caller tells."""
    monkeypatch.setattr("sprocket_factory.endpoints.sprockets.find_sprocket", break_down)
    viewer.get("/sprockets/1", headers={"X-Request-ID": "find-me"})
    line = logged.wait_for("nobody foresaw this", level="error")

    assert "find-me" == line["request_id"]
    assert "/sprocketFactory/v1/sprockets/1" == line["path"]
    assert f"{UnforeseenError.__name__}: {SECRET}" in line["exception"]
    assert Path(__file__).name in line["exception"]


def test_fault_40_a_path_cannot_forge_a_line_of_the_log(
    viewer: Client, monkeypatch: pytest.MonkeyPatch, logged: Logged
) -> None:
    """A line break that a caller wrote into a path does not break the line that tells of it."""

    def break_down_at_once(*_anything: object) -> None:
        raise UnforeseenError(SECRET)

    monkeypatch.setattr("sprocket_factory.endpoints.routing.read_id", break_down_at_once)
    viewer.get("/sprockets/1%0D%0AERROR%20all%20is%20lost")
    line = logged.wait_for("nobody foresaw this", level="error")
    (raw,) = (raw for raw in logged.raw if b"nobody foresaw" in raw)

    assert "all is lost" in line["path"]
    assert 1 == len(raw.decode().splitlines())


def test_fault_40_the_next_request_is_served(engineer: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process lives, the connection goes on, and the failed write left nothing."""
    stored = engineer.get("/sprockets").json()
    with monkeypatch.context() as patch:
        patch.setattr("sprocket_factory.endpoints.sprockets.add_sprocket", break_down)
        assert 500 == engineer.post("/sprockets", json=a_sprocket()).status_code

    assert stored == engineer.get("/sprockets").json()
    assert 201 == engineer.post("/sprockets", json=a_sprocket()).status_code
