"""The description of the API in OpenAPI 3.1, made from what the endpoints run on.

Every endpoint says what it reads, gives and refuses (routing.py), and msgspec turns the types themselves into JSON
Schema, so the document cannot drift from the code.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from inspect import getdoc
from typing import Any

import msgspec
from litestar import Litestar
from litestar.handlers import HTTPRouteHandler
from litestar.routes import HTTPRoute

from sprocket_factory import __version__, errors
from sprocket_factory.endpoints.problems import INTERNAL, KINDS, METHOD_NOT_ALLOWED, Kind, Problem
from sprocket_factory.endpoints.routing import BASE_PATH
from sprocket_factory.entities import MAX_ID

JSON = "application/json"
PROBLEM_JSON = "application/problem+json"

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
"""In the order in which readers expect them."""

EVERYWHERE = (errors.Invalid, errors.NotAcceptable, errors.Busy, errors.Unavailable)
"""What any endpoint may refuse: a parameter it does not know, a media type it cannot give, a busy database."""

WRITING = (errors.Unreadable, errors.TooLarge, errors.UnsupportedMediaType, errors.StorageFull)
"""What any endpoint that reads a body may refuse."""

Document = dict[str, Any]


def describe_api(app: Litestar) -> Document:
    """Return the document for every endpoint of the application under the base path."""
    handlers = sorted(_handlers(app), key=lambda pair: (pair[0], METHODS.index(min(pair[1].http_methods))))
    named = (handler.opt.get(part) for _, handler in handlers for part in ("reads", "gives"))
    types = {Problem, *(type_ for type_ in named if type_ is not None)}
    schemas, components = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
    schema_of = dict(zip(types, schemas, strict=True))
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
        "components": {"schemas": components, "responses": _problem_responses(schema_of[Problem])},
    }


def _handlers(app: Litestar) -> Iterator[tuple[str, HTTPRouteHandler]]:
    for route in app.routes:
        if isinstance(route, HTTPRoute) and route.path.startswith(BASE_PATH):
            for handler in route.route_handlers:
                if "gives" in handler.opt:
                    yield route.path_format, handler


def _operation(path: str, handler: HTTPRouteHandler, method: str, schema_of: dict[Any, Document]) -> Document:
    name = str(handler.handler_name)
    summary, _, description = (getdoc(handler.fn) or "").partition("\n\n")
    reads = handler.opt.get("reads")
    success = {"description": "Done.", "headers": {"X-Request-ID": {"schema": {"type": "string"}}}}
    if method != "HEAD":
        success["content"] = {JSON: {"schema": schema_of[handler.opt["gives"]]}}
    operation: Document = {
        "operationId": name if method != "HEAD" else name.replace("get_", "head_"),
        "summary": summary.replace("\n", " ") if method != "HEAD" else f"As GET, without the body: {summary}",
        "tags": [path.removeprefix(BASE_PATH).split("/")[1]],
        "responses": {str(handler.status_code): success, **_problems(handler.opt.get("refuses", ()), reads)},
    }
    if description:
        operation["description"] = description
    if parameters := [_path_parameter(part) for part in path.split("/") if part.startswith("{")]:
        operation["parameters"] = parameters
    if reads is not None:
        operation["requestBody"] = {"required": True, "content": {JSON: {"schema": schema_of[reads]}}}
    return operation


def _path_parameter(part: str) -> Document:
    schema = {"type": "integer", "minimum": 1, "maximum": MAX_ID}
    return {"name": part.strip("{}"), "in": "path", "required": True, "schema": schema}


def _problems(refuses: Iterable[type[errors.Refusal]], reads: Any) -> Document:
    kinds = {KINDS[refusal] for refusal in (*refuses, *EVERYWHERE, *(WRITING if reads else ()))} | {INTERNAL}
    return {str(kind.status): {"$ref": f"#/components/responses/{kind.status}"} for kind in sorted(kinds, key=_status)}


def _problem_responses(schema: Document) -> Document:
    described: dict[int, list[str]] = defaultdict(list)
    for kind in sorted({*KINDS.values(), METHOD_NOT_ALLOWED, INTERNAL}, key=_status):
        described[kind.status].append(f"{kind.title} (`/problems/{kind.slug}`).")
    return {
        str(status): {"description": " ".join(lines), "content": {PROBLEM_JSON: {"schema": schema}}}
        for status, lines in described.items()
    }


def _status(kind: Kind) -> tuple[int, str]:
    return kind.status, kind.slug
