"""The description of the API, for programs and for people."""

import re
from collections.abc import Iterator
from html import unescape
from typing import Any
from urllib.parse import urljoin

import pytest

from harness import BASE_PATH, Client, Service, a_sprocket
from sprocket_factory.settings import Settings

Document = dict[str, Any]

OPERATIONS = {
    ("/sprocketFactory/v1/sprockets", "get"),
    ("/sprocketFactory/v1/sprockets", "head"),
    ("/sprocketFactory/v1/sprockets", "post"),
    ("/sprocketFactory/v1/sprockets/{sprocket_id}", "get"),
    ("/sprocketFactory/v1/sprockets/{sprocket_id}", "head"),
    ("/sprocketFactory/v1/sprockets/{sprocket_id}", "put"),
    ("/sprocketFactory/v1/production", "get"),
    ("/sprocketFactory/v1/production", "head"),
    ("/sprocketFactory/v1/production/{factory_id}", "get"),
    ("/sprocketFactory/v1/production/{factory_id}", "head"),
}

LENGTH = {"type": "number", "exclusiveMinimum": 0, "maximum": 1e6}
TEETH = {"type": "integer", "minimum": 3, "maximum": 10_000}
COUNT = {"type": "integer", "minimum": 0, "maximum": 2_147_483_647}
ID = {"type": "integer", "minimum": 1, "maximum": 2**63 - 1}

ENTITIES: dict[str, dict[str, Document]] = {
    "Sprocket": {"id": ID, "teeth": TEETH, "pitch_diameter": LENGTH, "outside_diameter": LENGTH, "pitch": LENGTH},
    "NewSprocket": {"teeth": TEETH, "pitch_diameter": LENGTH, "outside_diameter": LENGTH, "pitch": LENGTH},
    "Production": {
        "sprocket_production_actual": COUNT,
        "sprocket_production_goal": COUNT,
        "time": {"type": "string", "format": "date-time"},
        "factory_id": ID,
    },
}

JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Run one service for all these tests: what they read is the same whatever is stored."""
    folder = tmp_path_factory.mktemp("docs")
    with Service(Settings(database_url=f"sqlite:///{folder / 'factory.db'}", max_body_bytes=2000)) as running:
        with Client(running.address) as engineer:
            engineer.post("/sprockets", json=a_sprocket())
        yield running


@pytest.fixture
def api(viewer: Client) -> Document:
    """Return the description for programs."""
    document: Document = viewer.get(f"{viewer.address}/openapi.json").json()
    return document


@pytest.fixture
def page(viewer: Client) -> str:
    """Return the description for people."""
    return viewer.get(f"{viewer.address}/docs").text


def operations(api: Document) -> dict[tuple[str, str], Document]:
    """Return every operation by its path and method."""
    return {
        (path, method): operation for path, methods in api["paths"].items() for method, operation in methods.items()
    }


def resolve(api: Document, part: Document) -> Document:
    """Return what a part of the description refers to, or the part itself."""
    while "$ref" in part:
        (root, *names) = part["$ref"].split("/")
        assert root == "#"
        part = api
        for name in names:
            part = part[name]
    return part


def references(part: object) -> Iterator[str]:
    """Give every reference in a part of the description."""
    if isinstance(part, dict):
        yield from ([part["$ref"]] if "$ref" in part else [])
        for inner in part.values():
            yield from references(inner)
    elif isinstance(part, list):
        for inner in part:
            yield from references(inner)


def words_of(page: str) -> str:
    """Return the text of a page as it is read."""
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", page)).split())


def test_the_description_for_programs_is_openapi_3_1(viewer: Client) -> None:
    """/openapi.json is JSON of the version that it says, with a title and a version of its own."""
    answer = viewer.get(f"{viewer.address}/openapi.json")

    assert (200, "application/json") == (answer.status_code, answer.headers["Content-Type"])
    assert re.fullmatch(r"3\.1\.\d+", answer.json()["openapi"])
    assert {"title", "version"} <= answer.json()["info"].keys()


def test_every_endpoint_is_described_with_every_method(api: Document) -> None:
    """Nothing is served that is not described, HEAD included, and nothing is described that is not served."""
    described = operations(api).keys()

    assert OPERATIONS == described


def test_every_operation_has_a_name_of_its_own(api: Document) -> None:
    """Programs are generated from these names."""
    names = [operation["operationId"] for operation in operations(api).values()]

    assert sorted(set(names)) == sorted(names)


def test_every_operation_says_what_it_does(api: Document) -> None:
    """Each has a summary, and each of its answers a description."""
    wordless = [
        place
        for place, operation in operations(api).items()
        if not operation["summary"]
        or not all(resolve(api, response)["description"] for response in operation["responses"].values())
    ]

    assert [] == wordless


def test_every_reference_leads_somewhere(api: Document) -> None:
    """The document is whole in itself."""
    found = [resolve(api, {"$ref": reference}) for reference in references(api)]

    assert all(found)
    assert found


def test_every_parameter_of_a_path_is_described_with_its_bounds(api: Document) -> None:
    """Each name in braces is an id from 1 to 2^63 - 1 that has to be there; there are no other parameters."""
    expected = {
        place: [
            {"name": name, "in": "path", "required": True, "schema": ID} for name in re.findall(r"{(\w+)}", place[0])
        ]
        for place in OPERATIONS
    }

    assert expected == {place: operation.get("parameters", []) for place, operation in operations(api).items()}


@pytest.mark.parametrize("entity", ENTITIES)
def test_every_member_is_described_with_its_bounds(api: Document, entity: str) -> None:
    """Types and bounds are those of the contract, every member is always there, and in the promised order."""
    schema = api["components"]["schemas"][entity]
    bounds = {
        name: {key: value for key, value in rule.items() if key != "description"}
        for name, rule in schema["properties"].items()
    }

    assert list(ENTITIES[entity].items()) == list(bounds.items())
    assert list(ENTITIES[entity]) == schema["required"]


@pytest.mark.parametrize(
    "place", [(f"{BASE_PATH}/sprockets", "post"), (f"{BASE_PATH}/sprockets/{{sprocket_id}}", "put")]
)
def test_the_body_of_a_write_is_described(api: Document, place: tuple[str, str]) -> None:
    """A body is required JSON of the type without id, and takes no unknown member."""
    body = operations(api)[place]["requestBody"]
    schema = resolve(api, body["content"]["application/json"]["schema"])

    assert (True, ["application/json"]) == (body["required"], list(body["content"]))
    assert api["components"]["schemas"]["NewSprocket"] == schema
    assert schema["additionalProperties"] is False


def test_only_writes_have_a_body(api: Document) -> None:
    """What reads describes no body."""
    with_body = {place for place, operation in operations(api).items() if "requestBody" in operation}

    assert {place for place in OPERATIONS if place[1] in {"post", "put"}} == with_body


def test_every_success_is_described_by_what_it_gives(api: Document) -> None:
    """Lists are arrays of their entity, single things the entity itself, and HEAD has no body."""
    one = {"$ref": "#/components/schemas/Sprocket"}
    given = {
        (path.removeprefix(BASE_PATH), method, status): response.get("content", {})
        .get("application/json", {})
        .get("schema")
        for (path, method), operation in operations(api).items()
        for status, response in operation["responses"].items()
        if status.startswith("2")
    }

    assert {
        ("/sprockets", "get", "200"): {"type": "array", "items": one},
        ("/sprockets", "head", "200"): None,
        ("/sprockets", "post", "201"): one,
        ("/sprockets/{sprocket_id}", "get", "200"): one,
        ("/sprockets/{sprocket_id}", "head", "200"): None,
        ("/sprockets/{sprocket_id}", "put", "200"): one,
        ("/production", "get", "200"): {"type": "array", "items": {"$ref": "#/components/schemas/Production"}},
        ("/production", "head", "200"): None,
        ("/production/{factory_id}", "get", "200"): {
            "type": "array",
            "items": {"$ref": "#/components/schemas/Production"},
        },
        ("/production/{factory_id}", "head", "200"): None,
    } == given


def test_every_refusal_is_described_as_the_one_body(api: Document) -> None:
    """Whatever the status, a refusal is `application/problem+json` with the members of a problem."""
    refusals = [
        resolve(api, response)["content"]
        for operation in operations(api).values()
        for status, response in operation["responses"].items()
        if not status.startswith("2")
    ]
    schema = api["components"]["schemas"]["Problem"]

    assert [{"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}] * len(
        refusals
    ) == refusals
    assert {"type", "title", "status", "detail", "instance", "request_id"} == set(schema["required"])
    assert {"errors", "errors_total"} == schema["properties"].keys() - set(schema["required"])


@pytest.mark.parametrize(
    ("status", "method", "path", "request_parts"),
    [
        (200, "GET", "/sprockets", {}),
        (200, "HEAD", "/sprockets", {}),
        (406, "GET", "/sprockets", {"headers": {"Accept": "text/html"}}),
        (422, "GET", "/sprockets", {"params": {"nothing": 1}}),
        (406, "HEAD", "/sprockets", {"headers": {"Accept": "text/html"}}),
        (201, "POST", "/sprockets", {"json": a_sprocket()}),
        (400, "POST", "/sprockets", {"content": b"{", "headers": JSON}),
        (406, "POST", "/sprockets", {"json": a_sprocket(), "headers": {"Accept": "text/html"}}),
        (413, "POST", "/sprockets", {"content": b" " * 2001, "headers": JSON}),
        (415, "POST", "/sprockets", {"content": b"{}"}),
        (422, "POST", "/sprockets", {"json": {}}),
        (200, "GET", "/sprockets/{sprocket_id}", {}),
        (404, "GET", "/sprockets/{unknown}", {}),
        (406, "GET", "/sprockets/{sprocket_id}", {"headers": {"Accept": "text/html"}}),
        (422, "GET", "/sprockets/{sprocket_id}", {"params": {"nothing": 1}}),
        (404, "HEAD", "/sprockets/{unknown}", {}),
        (200, "PUT", "/sprockets/{sprocket_id}", {"json": a_sprocket()}),
        (400, "PUT", "/sprockets/{sprocket_id}", {"content": b"{", "headers": JSON}),
        (404, "PUT", "/sprockets/{unknown}", {"json": a_sprocket()}),
        (413, "PUT", "/sprockets/{sprocket_id}", {"content": b" " * 2001, "headers": JSON}),
        (415, "PUT", "/sprockets/{sprocket_id}", {"content": b"{}"}),
        (422, "PUT", "/sprockets/{sprocket_id}", {"json": {}}),
        (200, "GET", "/production", {}),
        (422, "GET", "/production", {"params": {"nothing": 1}}),
        (404, "GET", "/production/{factory_id}", {}),
        (404, "HEAD", "/production/{factory_id}", {}),
    ],
)
def test_every_answer_is_described(  # noqa: PLR0913, PLR0917 - an answer and what brings it about
    engineer: Client, api: Document, status: int, method: str, path: str, request_parts: dict[str, Any]
) -> None:
    """What an operation answers, its status and its media type, is what the description of it says."""
    target = path.format(sprocket_id=1, factory_id=1, unknown=99)
    answer = engineer.request(method, target, **request_parts)
    responses = operations(api)[BASE_PATH + path.replace("unknown", "sprocket_id"), method.lower()]["responses"]

    assert status == answer.status_code
    assert str(status) in responses
    assert method == "HEAD" or answer.headers["Content-Type"] in resolve(api, responses[str(status)])["content"]


def test_every_operation_says_that_it_may_fail(api: Document) -> None:
    """A program that follows the description is ready for a database that is busy, and for a bug."""
    unprepared = [
        place for place, operation in operations(api).items() if not {"500", "503"} <= operation["responses"].keys()
    ]

    assert [] == unprepared


def test_the_page_for_people_is_html(viewer: Client) -> None:
    """/docs is a page."""
    answer = viewer.get(f"{viewer.address}/docs")

    assert (200, "text/html; charset=utf-8") == (answer.status_code, answer.headers["Content-Type"])
    assert answer.text.startswith("<!doctype html>")


def test_the_page_names_every_operation(api: Document, page: str) -> None:
    """Each method and path is there, with what it does. HEAD is left out: it is as GET wherever GET is."""
    words = words_of(page)
    missing = [
        place
        for place, operation in operations(api).items()
        if place[1] != "head" and f"{place[1].upper()} {place[0]} {operation['summary']}" not in words
    ]

    assert [] == missing


def test_the_page_shows_a_body_that_works(engineer: Client, page: str) -> None:
    """The example beside POST can be sent as it is."""
    section = page.partition('<section id="post_sprocket">')[2].partition("</section>")[0]
    (example, *_) = re.findall(r"<pre>(.*?)</pre>", section, re.DOTALL)
    answer = engineer.post("/sprockets", content=unescape(example).encode(), headers=JSON)

    assert 201 == answer.status_code


def test_the_page_refers_to_no_other_host(page: str) -> None:
    """It works with no internet, and tells nobody who reads it."""
    assert not re.search(r"//|@import|url\(", page)


def test_every_link_of_the_page_leads_somewhere(viewer: Client, page: str) -> None:
    """Links to other pages are served, and links within the page have a target there."""
    links = set(re.findall(r'(?:href|src)="([^"]*)"', page))
    within = {link[1:] for link in links if link.startswith("#")}
    without = {link for link in links if not link.startswith("#")}

    assert within <= set(re.findall(r'id="([^"]*)"', page))
    assert {"/board/docs.css", "/openapi.json"} <= without
    assert [200] * len(without) == [viewer.get(urljoin(f"{viewer.address}/docs", link)).status_code for link in without]


def test_the_page_runs_no_script(viewer: Client) -> None:
    """Its policy forbids everything but its own style, and it holds nothing that the policy would have to stop."""
    answer = viewer.get(f"{viewer.address}/docs")
    directives = dict(directive.split(maxsplit=1) for directive in answer.headers["Content-Security-Policy"].split(";"))

    assert ("'none'", "'self'") == (directives["default-src"], directives["style-src"])
    assert directives.keys().isdisjoint({"script-src", "script-src-elem", "script-src-attr"})
    assert not re.search(r"<script|<style|\sstyle=|\son\w+=|javascript:", answer.text)


def test_the_style_of_the_page_loads(viewer: Client) -> None:
    """A browser takes a style only under its own media type; it refers to no other host either."""
    answer = viewer.get(f"{viewer.address}/board/docs.css")

    assert (200, "text/css; charset=utf-8") == (answer.status_code, answer.headers["Content-Type"])
    assert "body {" in answer.text
    assert not re.search(r"//|@import|url\(", answer.text)
