"""The description of the API for programs: what it names, and that what is answered is what it says."""

import re
from collections.abc import Iterator
from typing import Any

import pytest

import harness
from harness import BASE_PATH, Client, NewDatabase, Service, a_sprocket
from sprocket_factory.settings import Settings

Document = dict[str, Any]

METHODS = {
    "/sprockets": ["get", "head", "post"],
    "/sprockets/{sprocket_id}": ["get", "head", "put", "patch", "delete"],
    "/sprockets/{sprocket_id}/geometry": ["get", "head"],
    "/sprockets/{sprocket_id}/drawing": ["get", "head"],
    "/factories": ["get", "head", "post"],
    "/factories/{factory_id}": ["get", "head", "put", "patch", "delete"],
    "/production": ["get", "head", "post", "delete"],
    "/production/{factory_id}": ["get", "head"],
    "/production/{factory_id}/{time}": ["get", "head", "put", "patch", "delete"],
    "/attainment": ["get", "head"],
    "/events": ["get", "head"],
    "/keys": ["get", "head", "post"],
    "/keys/{key_id}": ["get", "head", "delete"],
    "/changes": ["get", "head"],
    "/changes/{change_id}/rows": ["get", "head"],
    "/me": ["get", "head"],
}

OPERATIONS = {(BASE_PATH + path, method) for path, methods in METHODS.items() for method in methods}

LENGTH = {"type": "number", "exclusiveMinimum": 0, "maximum": 1e6}
TEETH = {"type": "integer", "minimum": 3, "maximum": 10_000}
COUNT = {"type": "integer", "minimum": 0, "maximum": 2_147_483_647}
ID: Document = {"type": "integer", "minimum": 1, "maximum": 2**63 - 1}
NAME = {"type": "string", "minLength": 1, "maxLength": 100}
TEXT = {"type": "string"}
TIME: Document = {"type": "string", "format": "date-time"}
SECONDS = {"minimum": 315_532_800, "anyOf": [{"type": "integer"}, {"type": "number"}]}
ANY_TIME = {"anyOf": [TIME, {"type": "number", "minimum": 315_532_800}]}
NUMBER_OF = {"type": "integer"}
NUMBER = {"type": "number"}

ROLE = {"enum": ["admin", "engineer", "operator", "viewer"]}
OR_NULL = {"type": "null"}
FACTORY_IDS = {"anyOf": [{"type": "array", "maxItems": 1000}, OR_NULL]}
OBJECT_OR_NULL = {"anyOf": [{"type": "object"}, OR_NULL]}
TIME_OR_NULL = {"anyOf": [TIME, OR_NULL]}
KEY: dict[str, Document] = {
    "id": ID,
    "name": NAME,
    "role": ROLE,
    "factory_ids": FACTORY_IDS,
    "created_at": TIME,
    "expires_at": TIME_OR_NULL,
    "last_used_at": TIME_OR_NULL,
}

MEASURES: dict[str, Document] = {"teeth": TEETH, "pitch_diameter": LENGTH, "outside_diameter": LENGTH, "pitch": LENGTH}
COUNTS: dict[str, Document] = {"sprocket_production_actual": COUNT, "sprocket_production_goal": COUNT}

ENTITIES: dict[str, dict[str, Document]] = {
    "Sprocket": {"id": ID} | MEASURES,
    "Geometry": {
        "standard": TEXT,
        "pitch_diameter": {},
        "outside_diameter": {},
        "verdict": {"enum": ["deviates", "fits"]},
    },
    "Compared": dict.fromkeys(["stored", "expected", "deviation"], NUMBER),
    "NewSprocket": MEASURES,
    "SprocketChanges": MEASURES,
    "Factory": {"id": ID, "name": NAME, "time_zone": TEXT},
    "NewFactory": {"name": NAME, "time_zone": TEXT | {"default": "UTC"}},
    "WholeFactory": {"name": NAME, "time_zone": TEXT},
    "FactoryChanges": {"name": NAME, "time_zone": TEXT},
    "Production": COUNTS | {"time": TIME, "factory_id": ID},
    "NewProduction": {"factory_id": ID, "time": {"anyOf": [TIME, SECONDS]}} | COUNTS,
    "Counts": COUNTS,
    "CountChanges": COUNTS,
    "Merged": dict.fromkeys(["records", "created", "replaced", "unchanged", "skipped"], NUMBER_OF),
    "Removed": {"removed": NUMBER_OF},
    "Attainment": {
        "factory_id": ID,
        "start": TIME,
        "end": TIME,
        **dict.fromkeys(["actual", "goal", "variance"], NUMBER_OF),
        "attainment": {"anyOf": [{"type": "number"}, OR_NULL]},
        "records": NUMBER_OF,
        "first": TIME,
        "last": TIME,
    },
    "Key": KEY,
    "KeyWithSecret": KEY | {"secret": TEXT},
    "NewKey": {
        "name": NAME,
        "role": ROLE,
        "factory_ids": FACTORY_IDS | {"default": None},
        "expires_at": {"anyOf": [TIME, SECONDS, OR_NULL], "default": None},
    },
    "Change": {
        "id": ID,
        "at": TIME,
        "actor": TEXT,
        "action": {"enum": ["create", "import", "remove", "replace", "revoke", "update"]},
        "entity": {"enum": ["factory", "key", "production", "sprocket"]},
        "key": TEXT,
        "before": OBJECT_OR_NULL,
        "after": OBJECT_OR_NULL,
        "records": NUMBER_OF | {"minimum": 1},
        "request_id": TEXT,
        "spans": {"anyOf": [{"type": "array"}, OR_NULL]},
    },
    "Span": {"factory_id": ID, "from": TIME, "to": TIME, "records": NUMBER_OF},
    "Me": {"name": TEXT, "role": ROLE, "factory_ids": FACTORY_IDS, "expires_at": TIME_OR_NULL},
}

OPTIONAL = {
    "NewFactory": {"time_zone"},
    "SprocketChanges": {*MEASURES},
    "FactoryChanges": {"name", "time_zone"},
    "CountChanges": {*COUNTS},
    "NewKey": {"factory_ids", "expires_at"},
}

BOUNDS = {
    *("type", "enum", "minimum", "exclusiveMinimum", "maximum", "minLength", "maxLength", "maxItems"),
    *("default", "anyOf"),
}

LISTED = {
    "/sprockets": "Sprocket",
    "/factories": "Factory",
    "/production": "Production",
    "/production/{factory_id}": "Production",
    "/keys": "Key",
    "/changes": "Change",
    "/changes/{change_id}/rows": "Production",
}

NOT_ASKED_FOR = {"Key": {"factory_ids", "expires_at", "last_used_at"}, "Change": {"before", "after", "spans"}}
"""What is shown in a list that can neither be filtered nor sorted by it."""

SEARCHED = {"Factory", "Key"}
"""What is found by a part of its name."""

READ = {
    ("/sprockets", "post"): "NewSprocket",
    ("/sprockets/{sprocket_id}", "put"): "NewSprocket",
    ("/sprockets/{sprocket_id}", "patch"): "SprocketChanges",
    ("/factories", "post"): "NewFactory",
    ("/factories/{factory_id}", "put"): "WholeFactory",
    ("/factories/{factory_id}", "patch"): "FactoryChanges",
    ("/production/{factory_id}/{time}", "put"): "Counts",
    ("/production/{factory_id}/{time}", "patch"): "CountChanges",
    ("/keys", "post"): "NewKey",
}

JSON = {"Content-Type": "application/json"}

COUNTS_OF_RECORD = {"sprocket_production_actual": 32, "sprocket_production_goal": 33}
RECORD: Document = {"factory_id": 1, "time": "2021-01-21T02:06:58Z"} | COUNTS_OF_RECORD
SPAN: Document = {"factory_id": 1, "time__gte": "1990-01-01T00:00:00Z", "time__lt": "2000-01-01T00:00:00Z"}


@pytest.fixture(scope="module")
def settings(new_database: NewDatabase) -> Settings:
    """Return settings with which a body is soon too large."""
    return Settings(database_url=new_database(), max_body_bytes=2000)


@pytest.fixture(scope="module")
def service(running: Service) -> Service:
    """Return the service with one of each thing: what these tests read is the same whatever is stored."""
    with Client(running.address) as engineer:
        engineer.post("/sprockets", json=a_sprocket())
        engineer.post("/factories", json={"name": "Sheffield"})
        engineer.post("/production", json=RECORD)
    return running


@pytest.fixture
def api(viewer: Client) -> Document:
    """Return the description for programs."""
    document: Document = viewer.get(f"{viewer.address}/openapi.json").json()
    return document


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


def reference_to(entity: str) -> Document:
    """Return how the description refers to an entity."""
    return {"$ref": f"#/components/schemas/{entity}"}


def bounds(rule: Document) -> Document:
    """Return what a schema says of the values of a member, without examples and explanations."""
    kept = {key: value for key, value in rule.items() if key in BOUNDS}
    if "anyOf" in rule:
        kept["anyOf"] = [bounds(inner) for inner in rule["anyOf"]]
    return kept | ({"format": "date-time"} if rule.get("format") == "date-time" else {})


def grammar(entity: str) -> set[str]:
    """Return every parameter that a list of these takes."""
    operators = ("", "__lt", "__lte", "__gt", "__gte", "__in")
    members = ENTITIES[entity].keys() - NOT_ASKED_FOR.get(entity, set())
    filters = {member + operator for member in members for operator in operators}
    searches = {"name__contains"} if entity in SEARCHED else set()
    return {*filters, *searches, "sort", "limit", "cursor", "count", "format"}


def parameters_in(operation: Document, where: str) -> list[Document]:
    """Return the parameters of an operation that stand there."""
    return [parameter for parameter in operation.get("parameters", ()) if parameter["in"] == where]


def required_in_query(operation: Document) -> dict[str, bool]:
    """Return for each parameter of the query whether it is required."""
    return {parameter["name"]: parameter["required"] for parameter in parameters_in(operation, "query")}


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
    """Each name in braces has to be there: an id from 1 to 2^63 - 1, or a time."""
    expected = {
        place: [
            {"name": name, "in": "path", "required": True, "schema": ANY_TIME if name == "time" else ID}
            for name in re.findall(r"{(\w+)}", place[0])
        ]
        for place in OPERATIONS
    }

    assert expected == {
        place: [
            {"name": part["name"], "in": "path", "required": part["required"], "schema": bounds(part["schema"])}
            for part in parameters_in(operation, "path")
        ]
        for place, operation in operations(api).items()
    }


def test_every_parameter_of_a_list_is_described(api: Document) -> None:
    """Each member of the entity with every operator, and what orders, cuts up, counts and formats; none is required."""
    expected = {
        (BASE_PATH + path, method): dict.fromkeys(grammar(entity), False)
        for path, entity in LISTED.items()
        for method in ("get", "head")
    }

    assert expected == {place: required_in_query(operations(api)[place]) for place in expected}


def test_every_parameter_of_another_operation_is_described(api: Document) -> None:
    """Writes of production, attainment, events and drawings take a few, some of them required; nothing else does."""
    production = f"{BASE_PATH}/production"
    drawing = f"{BASE_PATH}/sprockets/{{sprocket_id}}/drawing"
    sums = dict.fromkeys(["by", "factory_id", "factory_id__in", "time__gte", "time__lt", "format", "cumulated"], False)
    lists = {(BASE_PATH + path, method) for path in LISTED for method in ("get", "head")}

    assert {
        (drawing, "get"): {"format": False},
        (drawing, "head"): {"format": False},
        (production, "post"): {"on_conflict": False, "dry_run": False},
        (production, "delete"): {"factory_id": True, "time__gte": True, "time__lt": True, "dry_run": False},
        (f"{BASE_PATH}/events", "get"): {"last_event_id": False},
        (f"{BASE_PATH}/events", "head"): {"last_event_id": False},
        (f"{BASE_PATH}/attainment", "get"): sums,
        (f"{BASE_PATH}/attainment", "head"): sums,
    } == {
        place: required
        for place, operation in operations(api).items()
        if place not in lists and (required := required_in_query(operation))
    }


def test_every_header_that_is_listened_to_is_described(api: Document) -> None:
    """Reads take If-None-Match, unless they have no end, POSTs but of keys an Idempotency-Key, single things both."""
    expected: dict[tuple[str, str], set[str]] = {}
    for path, method in OPERATIONS:
        match method:
            case "get" | "head" if path == f"{BASE_PATH}/events":
                expected[path, method] = {"Last-Event-ID"}
            case "get" | "head":
                expected[path, method] = {"If-None-Match"}
            case "post" if path == f"{BASE_PATH}/keys":
                expected[path, method] = set()
            case "post":
                expected[path, method] = {"Idempotency-Key"}
            case _:
                expected[path, method] = {"If-Match", "If-None-Match"} if path.endswith("}") else set()

    assert expected == {
        place: {parameter["name"] for parameter in parameters_in(operation, "header")}
        for place, operation in operations(api).items()
    }


@pytest.mark.parametrize("entity", ENTITIES)
def test_every_member_is_described_with_its_bounds(api: Document, entity: str) -> None:
    """Types and bounds are those of the contract, and in the promised order; what may be left out is not required."""
    schema = api["components"]["schemas"][entity]

    assert list(ENTITIES[entity].items()) == [(name, bounds(rule)) for name, rule in schema["properties"].items()]
    assert ENTITIES[entity].keys() - OPTIONAL.get(entity, set()) == set(schema["required"])


@pytest.mark.parametrize("place", READ)
def test_the_body_of_a_write_is_described(api: Document, place: tuple[str, str]) -> None:
    """A body is required JSON of the type without what the path says, and takes no unknown member."""
    path, method = place
    body = operations(api)[BASE_PATH + path, method]["requestBody"]
    schemas = [resolve(api, content["schema"]) for content in body["content"].values()]
    media_types = ["application/merge-patch+json"] * (method == "patch") + ["application/json"]

    assert (True, media_types) == (body["required"], list(body["content"]))
    assert [api["components"]["schemas"][READ[place]]] * len(media_types) == schemas
    assert not any(schema["additionalProperties"] for schema in schemas)


def test_the_body_that_brings_production_is_described(api: Document) -> None:
    """One record or an array of them in JSON; NDJSON and CSV are text."""
    body = operations(api)[f"{BASE_PATH}/production", "post"]["requestBody"]
    record = {"$ref": "#/components/schemas/NewProduction"}
    alternatives = body["content"].pop("application/json")["schema"]["anyOf"]

    assert body["required"]
    assert {"application/x-ndjson": TEXT, "text/csv": TEXT} == {
        media_type: {"type": content["schema"]["type"]} for media_type, content in body["content"].items()
    }
    assert [record, {"type": "array", "items": record}] == sorted(alternatives, key=len)


def test_only_writes_have_a_body(api: Document) -> None:
    """What reads or removes describes no body."""
    with_body = {place for place, operation in operations(api).items() if "requestBody" in operation}

    assert {place for place in OPERATIONS if place[1] in {"post", "put", "patch"}} == with_body


def test_every_success_is_described_by_what_it_gives(api: Document) -> None:
    """Lists are arrays of their entity or text, single things the entity itself; HEAD and what is gone have no body."""
    given = {
        (path.removeprefix(BASE_PATH), method, status): {
            media_type: content["schema"] for media_type, content in response.get("content", {}).items()
        }
        for (path, method), operation in operations(api).items()
        for status, response in operation["responses"].items()
        if status.startswith("2")
    }
    expected: dict[tuple[str, str, str], Document] = {
        (path, "get", "200"): {
            "application/json": {"type": "array", "items": reference_to(entity)},
            "application/x-ndjson": TEXT,
            "text/csv": TEXT,
        }
        for path, entity in (LISTED | {"/attainment": "Attainment"}).items()
    }
    expected["/attainment", "get", "200"]["image/svg+xml"] = TEXT
    for path, entity in (
        ("/sprockets/{sprocket_id}", "Sprocket"),
        ("/factories/{factory_id}", "Factory"),
        ("/production/{factory_id}/{time}", "Production"),
    ):
        collection = "/" + path.split("/")[1]
        one = {"application/json": reference_to(entity)}
        expected |= {(path, method, "200"): one for method in ("get", "put", "patch")}
        expected |= {(path, "delete", "204"): {}, (collection, "post", "201"): one}
    expected |= {(path, "head", "200"): {} for path in METHODS}
    expected |= {
        ("/production/{factory_id}/{time}", "put", "201"): {"application/json": reference_to("Production")},
        ("/production", "delete", "200"): {"application/json": reference_to("Removed")},
        ("/production", "post", "200"): {
            "application/json": {"anyOf": [reference_to("Merged"), reference_to("Production")]}
        },
        ("/keys", "post", "201"): {"application/json": reference_to("KeyWithSecret")},
        ("/keys/{key_id}", "get", "200"): {"application/json": reference_to("Key")},
        ("/keys/{key_id}", "delete", "204"): {},
        ("/me", "get", "200"): {"application/json": reference_to("Me")},
        ("/sprockets/{sprocket_id}/geometry", "get", "200"): {"application/json": reference_to("Geometry")},
        ("/sprockets/{sprocket_id}/drawing", "get", "200"): {"image/svg+xml": TEXT, "image/vnd.dxf": TEXT},
        ("/events", "get", "200"): {"text/event-stream": TEXT},
    }

    assert expected == given


def test_what_is_known_already_is_described_without_a_body(api: Document) -> None:
    """Whatever has an end and is read may be answered with 304, and nothing else may."""
    known = {place: operation["responses"].get("304") for place, operation in operations(api).items()}

    assert {place for place in OPERATIONS if place[1] in {"get", "head"} and "/events" not in place[0]} == {
        place for place, response in known.items() if response and "content" not in response
    }
    assert OPERATIONS == known.keys()


def test_every_refusal_is_described_as_the_one_body(api: Document) -> None:
    """Whatever the status, a refusal is `application/problem+json` with the members of a problem."""
    refusals = [
        resolve(api, response)["content"]
        for operation in operations(api).values()
        for status, response in operation["responses"].items()
        if int(status) >= 400
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
        (412, "PUT", "/sprockets/{sprocket_id}", {"json": a_sprocket(), "headers": {"If-Match": '"other"'}}),
        (422, "PUT", "/sprockets/{sprocket_id}", {"json": {}}),
        (200, "PATCH", "/sprockets/{sprocket_id}", {"json": {}}),
        (404, "PATCH", "/sprockets/{unknown}", {"json": {}}),
        (412, "PATCH", "/sprockets/{sprocket_id}", {"json": {}, "headers": {"If-Match": '"other"'}}),
        (415, "PATCH", "/sprockets/{sprocket_id}", {"content": b"{}"}),
        (404, "DELETE", "/sprockets/{unknown}", {}),
        (412, "DELETE", "/sprockets/{sprocket_id}", {"headers": {"If-Match": '"other"'}}),
        (200, "GET", "/sprockets/{sprocket_id}/geometry", {}),
        (304, "GET", "/sprockets/{sprocket_id}/geometry", {"headers": {"If-None-Match": "*"}}),
        (404, "GET", "/sprockets/{unknown}/geometry", {}),
        (200, "GET", "/sprockets/{sprocket_id}/drawing", {}),
        (200, "GET", "/sprockets/{sprocket_id}/drawing", {"headers": {"Accept": "image/vnd.dxf"}}),
        (200, "HEAD", "/sprockets/{sprocket_id}/drawing", {}),
        (404, "GET", "/sprockets/{unknown}/drawing", {}),
        (406, "GET", "/sprockets/{sprocket_id}/drawing", {"headers": {"Accept": "text/html"}}),
        (422, "GET", "/sprockets/{sprocket_id}/drawing", {"params": {"format": "png"}}),
        (200, "GET", "/factories", {"headers": {"Accept": "text/csv"}}),
        (200, "GET", "/factories", {"headers": {"Accept": "application/x-ndjson"}}),
        (304, "GET", "/factories", {"headers": {"If-None-Match": "*"}}),
        (304, "HEAD", "/factories/{factory_id}", {"headers": {"If-None-Match": "*"}}),
        (409, "POST", "/factories", {"json": {"name": "Sheffield"}}),
        (409, "DELETE", "/factories/{factory_id}", {}),
        (200, "GET", "/production", {}),
        (422, "GET", "/production", {"params": {"nothing": 1}}),
        (200, "POST", "/production", {"json": RECORD}),
        (200, "POST", "/production", {"json": [RECORD]}),
        (404, "POST", "/production", {"json": RECORD | {"factory_id": 99}}),
        (409, "POST", "/production", {"json": RECORD | {"sprocket_production_goal": 1}}),
        (413, "POST", "/production", {"content": b" " * 2001, "headers": {"Content-Type": "text/csv"}}),
        (422, "POST", "/production", {"json": [RECORD], "headers": {"Idempotency-Key": ""}}),
        (200, "DELETE", "/production", {"params": SPAN}),
        (404, "DELETE", "/production", {"params": SPAN | {"factory_id": 99}}),
        (422, "DELETE", "/production", {}),
        (200, "GET", "/production/{factory_id}", {}),
        (404, "GET", "/production/{unknown}", {}),
        (404, "HEAD", "/production/{unknown}", {}),
        (200, "GET", "/production/{factory_id}/{time}", {}),
        (404, "GET", "/production/{unknown}/{time}", {}),
        (200, "PUT", "/production/{factory_id}/{time}", {"json": COUNTS_OF_RECORD}),
        (404, "PUT", "/production/{unknown}/{time}", {"json": COUNTS_OF_RECORD}),
        (200, "PATCH", "/production/{factory_id}/{time}", {"json": {}}),
        (412, "DELETE", "/production/{factory_id}/{time}", {"headers": {"If-Match": '"other"'}}),
        (200, "GET", "/attainment", {"params": {"by": "hour"}}),
        (304, "HEAD", "/attainment", {"headers": {"If-None-Match": "*"}}),
        (422, "GET", "/attainment", {"params": {"by": "minute"}}),
        (200, "GET", "/attainment", {"headers": {"Accept": "image/svg+xml"}}),
        (422, "GET", "/attainment", {"params": {"cumulated": "yes"}}),
        (200, "HEAD", "/events", {}),
        (422, "GET", "/events", {"params": {"last_event_id": "x"}}),
        (200, "GET", "/me", {}),
        (304, "GET", "/me", {"headers": {"If-None-Match": "*"}}),
        (401, "GET", "/me", {"headers": {"Authorization": "Bearer nothing"}}),
        (401, "GET", "/keys", {}),
        (401, "HEAD", "/keys", {}),
        (401, "POST", "/keys", {"json": {"name": "mine", "role": "admin"}}),
        (401, "GET", "/keys/{key_id}", {}),
        (401, "DELETE", "/keys/{key_id}", {}),
    ],
)
def test_every_answer_is_described(  # noqa: PLR0913, PLR0917 - an answer and what brings it about
    engineer: Client, api: Document, status: int, method: str, path: str, request_parts: dict[str, Any]
) -> None:
    """What an operation answers, its status and its media type, is what the description of it says."""
    names = {"sprocket_id": 1, "factory_id": 1, "key_id": 1, "time": RECORD["time"]}
    answer = engineer.request(method, path.format(unknown=99, **names), **request_parts)
    place = BASE_PATH + path.replace("unknown", "sprocket_id" if "sprockets" in path else "factory_id")
    responses = operations(api)[place, method.lower()]["responses"]
    content = resolve(api, responses[str(status)]).get("content", {})

    assert status == answer.status_code
    assert bool(content) == (bool(answer.content) or (method == "HEAD" and status >= 400))
    assert not answer.content or answer.headers["Content-Type"] in content


def test_every_operation_says_that_it_asks_for_a_key(api: Document) -> None:
    """A program sends its key as a Bearer token everywhere, or a browser its cookie, and is ready to be refused."""
    key, session = api["components"]["securitySchemes"].values()
    unprepared = [
        place
        for place, operation in operations(api).items()
        if not {"401", "403", "429"} <= operation["responses"].keys()
        or operation["security"] != [{"key": []}, {"session": []}]
    ]

    assert [] == unprepared
    assert ("http", "bearer") == (key["type"], key["scheme"])
    assert ("apiKey", "cookie", "__Host-sprocket-factory") == (session["type"], session["in"], session["name"])


def test_every_operation_says_that_it_may_fail(api: Document) -> None:
    """A program that follows the description is ready for a database that is busy, and for a bug."""
    unprepared = [
        place for place, operation in operations(api).items() if not {"500", "503"} <= operation["responses"].keys()
    ]

    assert [] == unprepared


def test_every_slug_is_described_with_its_status(api: Document) -> None:
    """An operation names the types of its problems, and each is one of a status that it describes, and the reverse."""
    slugs_of = {
        status: set(re.findall(r"/problems/([a-z-]+)", response["description"]))
        for status, response in api["components"]["responses"].items()
    }
    unequal = [
        place
        for place, operation in operations(api).items()
        if {status for status, slugs in slugs_of.items() if slugs & set(operation["x-problems"])}
        != {status for status in operation["responses"] if int(status) >= 400}
    ]

    assert [] == unequal


def test_a_refusal_that_is_not_described_does_not_pass(viewer: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everybody in these tests compares every refusal with the description, so that none can be missing there."""
    described = harness.operations_at(viewer.address)
    without = [operation._replace(slugs=frozenset({"invalid"})) for operation in described]
    monkeypatch.setattr(harness, "operations_at", lambda _address: without)

    with pytest.raises(AssertionError, match=r"GET /sprocketFactory/v1/sprockets/999 .* 404 not-found"):
        viewer.get("/sprockets/999")
