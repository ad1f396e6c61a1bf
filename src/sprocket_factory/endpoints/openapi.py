"""The description of the API in OpenAPI 3.1, made from what the endpoints run on.

Every endpoint says what it reads, gives and refuses (routing.py), and msgspec turns the types themselves into JSON
Schema, so the document cannot drift from the code.
"""

from collections import defaultdict
from collections.abc import Iterator
from inspect import getdoc
from typing import Any

import msgspec
from litestar import Litestar
from litestar.handlers import HTTPRouteHandler
from litestar.routes import HTTPRoute

from sprocket_factory import __version__, errors
from sprocket_factory.endpoints.parameters import EVENT_ID, TIME
from sprocket_factory.endpoints.problem_kinds import ALL_KINDS, INTERNAL, KINDS, Kind
from sprocket_factory.endpoints.problems import PROBLEM_JSON, Problem
from sprocket_factory.endpoints.reading import JSON, MERGE_PATCH
from sprocket_factory.endpoints.routing import BASE_PATH, CREDENTIALS
from sprocket_factory.entities import MAX_ID

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
"""In the order in which readers expect them."""

EVERYWHERE = (errors.Invalid, errors.NotAcceptable, errors.Busy, errors.TooSlow, errors.Unavailable)
"""What any endpoint may refuse: a parameter it does not know, a media type it cannot give, a busy database."""

WITH_BODY = (errors.Unreadable, errors.Stalled, errors.TooLarge, errors.UnsupportedMediaType)
"""What any endpoint that reads a body may refuse."""

STORING = (errors.StorageFull, errors.OutcomeUnknown)
"""What any endpoint that writes may refuse."""

WRITING = {"POST", "PUT", "PATCH", "DELETE"}

CREATED = 201

DONE = {200: "Done.", 201: "Created.", 204: "Done; there is nothing to say of it."}

TEXT = {"type": "string"}

ETAGS = {"type": "string", "pattern": r'^(\*|(W/)?"[!#-~]*"(, *(W/)?"[!#-~]*")*)$'}

REQUEST_HEADERS: dict[str, tuple[str, dict[str, Any]]] = {
    "If-Match": ("Do it only if this is the version that is stored.", ETAGS),
    "If-None-Match": ("Do it only if this is not the version that is stored; * stands for any.", ETAGS),
    "Idempotency-Key": (
        "Do it once: a repetition within 24 hours gets the first answer again.",
        {"type": "string", "pattern": "^[ -~]{1,255}$"},
    ),
    "Last-Event-ID": ("Go on behind the event with this id.", EVENT_ID),
}

KNOWN_VERSION = "Answer with 304 where this is the version; what is no list of ETags is no version."

RESPONSE_HEADERS = {
    "ETag": "The version of what is answered.",
    "Idempotent-Replayed": "Is there, and true, where this is the first answer again.",
    "Link": "Where the next page is (rel=next), if there is one.",
    "Location": "Where the new thing is.",
    "RateLimit": "How many requests the caller has left, and for how many seconds, where the operator limits them.",
    "RateLimit-Policy": "How many requests a caller has in a minute, where the operator limits them.",
    "X-Request-ID": "The id under which the log knows this request.",
    "X-Total-Count": "How many there are on all pages, if count=true was asked for.",
}

EXAMPLES = {
    "id": 1,
    "teeth": 20,
    "pitch_diameter": 162.37,
    "outside_diameter": 175.61,
    "pitch": 25.4,
    "standard": "ASME B29.1",
    "stored": 162.37,
    "expected": 162.3683118260914,
    "deviation": 1.0397188279032551e-05,
    "verdict": "fits",
    "name": "press 1",
    "role": "operator",
    "factory_ids": [1],
    "created_at": "2021-01-21T02:06:58Z",
    "expires_at": "2030-01-01T00:00:00Z",
    "secret": "sfk_...",
    "at": "2021-01-21T02:06:58Z",
    "from": "2021-01-21T02:06:58Z",
    "to": "2021-01-21T02:07:58Z",
    "actor": "press 1 (key:3)",
    "action": "create",
    "entity": "production",
    "key": "1/2021-01-21T02:06:58Z",
    "Change.records": 1,
    "Change.after": {
        "sprocket_production_actual": 31,
        "sprocket_production_goal": 32,
        "time": "2021-01-21T02:06:58Z",
        "factory_id": 1,
    },
    "Factory.name": "Sheffield",
    "NewFactory.name": "Sheffield",
    "WholeFactory.name": "Sheffield",
    "FactoryChanges.name": "Sheffield",
    "time_zone": "Europe/London",
    "factory_id": 1,
    "time": "2021-01-21T02:06:58Z",
    "sprocket_production_actual": 31,
    "sprocket_production_goal": 32,
    "records": 1440,
    "created": 1440,
    "replaced": 0,
    "unchanged": 0,
    "skipped": 0,
    "removed": 1440,
    "type": "/problems/invalid",
    "title": "What was sent breaks a rule",
    "status": 422,
    "detail": "Expected int >= 3.",
    "instance": "/sprocketFactory/v1/sprockets",
    "request_id": "49f2c4c48e22-4",
    "pointer": "/teeth",
    "row": 17,
    "errors_total": 1,
}
"""By the name of the member, which means the same wherever it stands."""

Document = dict[str, Any]


def describe_api(app: Litestar) -> Document:
    """Return the document for every endpoint of the application under the base path."""
    handlers = sorted(_handlers(app), key=lambda pair: (pair[0], METHODS.index(min(pair[1].http_methods))))
    types = list({Problem: None} | dict.fromkeys(type_ for _, handler in handlers for type_ in _types(handler)))
    schemas, components = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
    schema_of = dict(zip(types, schemas, strict=True))
    for component, described in components.items():
        for name, schema in described["properties"].items():
            example = EXAMPLES.get(f"{component}.{name}", EXAMPLES.get(name))
            if example is not None and "$ref" not in schema:
                schema["examples"] = [example]
    paths: dict[str, Document] = defaultdict(dict)
    for path, handler in handlers:
        for method in sorted(handler.http_methods):
            paths[path][method.lower()] = _operation(path, handler, method, schema_of)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Sprocket Factory",
            "version": __version__,
            "summary": "A sprocket manufacturer's catalogue, factories and production.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": CREDENTIALS,
            "headers": {name: {"description": text, "schema": TEXT} for name, text in RESPONSE_HEADERS.items()},
            "responses": _problem_responses(schema_of[Problem]),
        },
    }


def _handlers(app: Litestar) -> Iterator[tuple[str, HTTPRouteHandler]]:
    for route in app.routes:
        if isinstance(route, HTTPRoute) and route.path.startswith(BASE_PATH):
            for handler in route.route_handlers:
                if "gives" in handler.opt:
                    yield route.path_format, handler


def _gives(handler: HTTPRouteHandler) -> dict[int, Any]:
    gives = handler.opt["gives"]
    return gives if isinstance(gives, dict) else {200: gives}


def _reads(handler: HTTPRouteHandler) -> dict[str, Any]:
    reads = handler.opt.get("reads", {})
    if isinstance(reads, dict):
        return reads
    return dict.fromkeys(MERGE_PATCH if "PATCH" in handler.http_methods else JSON, reads)


def _types(handler: HTTPRouteHandler) -> Iterator[Any]:
    for given in (*_gives(handler).values(), *_reads(handler).values()):
        if isinstance(given, tuple):
            yield from given
        elif given is not None:
            yield given


def _operation(path: str, handler: HTTPRouteHandler, method: str, schema_of: dict[Any, Document]) -> Document:
    name = str(handler.handler_name)
    summary, _, description = (getdoc(handler.fn) or "").partition("\n\n")
    reads = _reads(handler)
    problems = _problems(handler, method)
    operation: Document = {
        "operationId": name if method != "HEAD" else name.replace("get_", "head_"),
        "summary": summary.replace("\n", " ") if method != "HEAD" else f"As GET, without the body: {summary}",
        "tags": [path.removeprefix(BASE_PATH).split("/")[1]],
        "responses": {
            **{str(status): _success(handler, status, method, schema_of) for status in _gives(handler)},
            **{str(kind.status): {"$ref": f"#/components/responses/{kind.status}"} for kind in problems},
        },
        "x-role": handler.opt["role"],
        "security": [{name: []} for name in CREDENTIALS],
        "x-problems": [kind.slug for kind in problems],
    }
    if method in {"GET", "HEAD"} and "endless" not in handler.opt:
        operation["responses"]["304"] = {"description": "The caller has this version already."}
    if description:
        operation["description"] = description.replace("\n", " ")
    if parameters := list(_parameters(path, handler, method)):
        operation["parameters"] = parameters
    if reads:
        content = {media_type: {"schema": _schema(type_, schema_of)} for media_type, type_ in reads.items()}
        operation["requestBody"] = {"required": True, "content": content}
    return operation


def _success(handler: HTTPRouteHandler, status: int, method: str, schema_of: dict[Any, Document]) -> Document:
    given = _gives(handler)[status]
    names = ["X-Request-ID", "RateLimit", "RateLimit-Policy"]
    names += ["ETag"] if given is not None and "endless" not in handler.opt else []
    names += ["Location"] if status == CREATED else []
    names += ["Idempotent-Replayed"] if "once" in handler.opt else []
    names += ["Link", "X-Total-Count"] if "limit" in handler.opt.get("parameters", ()) else []
    success: Document = {
        "description": DONE[status],
        "headers": {name: {"$ref": f"#/components/headers/{name}"} for name in names},
    }
    if given is not None and method != "HEAD":
        first, *others = handler.opt["media_types"]
        success["content"] = {first: {"schema": _schema(given, schema_of)}}
        success["content"] |= {media_type: {"schema": TEXT} for media_type in others}
    return success


def _schema(type_: Any, schema_of: dict[Any, Document]) -> Document:
    if isinstance(type_, tuple):
        return {"anyOf": [schema_of[one] for one in type_]}
    return schema_of[type_]


def _parameters(path: str, handler: HTTPRouteHandler, method: str) -> Iterator[Document]:
    for part in path.split("/"):
        if part.startswith("{"):
            yield {"name": part.strip("{}"), "in": "path", "required": True, "schema": _path_schema(part)}
    required = handler.opt.get("required", ())
    for name, rules in handler.opt.get("parameters", {}).items():
        schema = {rule: value for rule, value in rules.items() if rule != "description"}
        parameter = {"name": name, "in": "query", "required": name in required, "schema": schema}
        parameter["description"] = rules["description"]
        if schema.get("type") == "array":
            parameter |= {"style": "form", "explode": False}
        yield parameter
    headers = ["If-Match", "If-None-Match"] if "conditional" in handler.opt else []
    headers += ["Idempotency-Key"] if "once" in handler.opt else []
    headers += ["If-None-Match"] if method in {"GET", "HEAD"} and "endless" not in handler.opt else []
    headers += ["Last-Event-ID"] if "endless" in handler.opt else []
    for name in headers:
        is_known = method not in WRITING and name == "If-None-Match"
        description, schema = (KNOWN_VERSION, TEXT) if is_known else REQUEST_HEADERS[name]
        yield {"name": name, "in": "header", "required": False, "description": description, "schema": schema}


def _path_schema(part: str) -> Document:
    if part == "{time}":
        return TIME
    return {"type": "integer", "minimum": 1, "maximum": MAX_ID}


def _problems(handler: HTTPRouteHandler, method: str) -> list[Kind]:
    refuses = [*handler.opt.get("refuses", ()), *EVERYWHERE]
    refuses += [errors.Unauthenticated, errors.Forbidden, errors.TooMany]
    refuses += WITH_BODY if _reads(handler) else ()
    refuses += STORING if method in WRITING else ()
    kinds = {KINDS[refusal] for refusal in refuses} | {INTERNAL}
    return [kind for kind in ALL_KINDS if kind in kinds]


def _problem_responses(schema: Document) -> Document:
    described: dict[int, list[str]] = defaultdict(list)
    for kind in ALL_KINDS:
        described[kind.status].append(f"{kind.title} (`/problems/{kind.slug}`).")
    return {
        str(status): {"description": " ".join(lines), "content": {PROBLEM_JSON: {"schema": schema}}}
        for status, lines in described.items()
    }
