"""The description of the API, for programs and for people. It needs nothing from the internet."""

from typing import Any

import msgspec
from litestar import Request
from litestar.types import ASGIApp

from sprocket_factory.access.callers import OPEN
from sprocket_factory.endpoints.answers import Answer
from sprocket_factory.endpoints.headers import PAGE
from sprocket_factory.endpoints.openapi import Document
from sprocket_factory.endpoints.pages import HTML, HTML_ALONE, pages
from sprocket_factory.endpoints.routing import get


@get("/openapi.json", role=OPEN)
async def get_openapi(request: Request[Any, Any, Any]) -> ASGIApp:
    """Return the description of the API in OpenAPI 3.1."""
    return Answer(request.app.state.openapi)


@get("/docs", role=OPEN, media_types=HTML_ALONE, headers=PAGE)
async def get_docs(request: Request[Any, Any, Any]) -> ASGIApp:
    """Return the description of the API as a page that needs no script and no internet."""
    page = pages.get_template("docs.html").render(api=request.app.state.openapi, example=example_of, grouped=grouped)
    return Answer(page.encode(), media_type=HTML)


def grouped(parameters: list[Document]) -> list[tuple[Document, list[str]]]:
    """Return the parameters, each with the operators that may follow its name."""
    operators: dict[str, list[str]] = {}
    for parameter in parameters:
        column, separator, operator = parameter["name"].partition("__")
        if column in operators and operator:
            operators[column].append(separator + operator)
        else:
            operators[parameter["name"]] = []
    return [(parameter, operators[parameter["name"]]) for parameter in parameters if parameter["name"] in operators]


def example_of(api: Document, schema: Document) -> str:
    """Return an example of what the schema describes, as indented JSON."""
    return msgspec.json.format(msgspec.json.encode(_example(api, schema)), indent=2).decode()


def _example(api: Document, schema: Document) -> Any:
    if "examples" in schema:
        return schema["examples"][0]
    if "anyOf" in schema:
        return _example(api, schema["anyOf"][0])
    if "$ref" in schema:
        return _example(api, api["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]])
    if "properties" in schema:
        return {name: _example(api, inner) for name, inner in schema["properties"].items()}
    if "items" in schema:
        return [_example(api, schema["items"])]
    return None


docs_handlers = [get_openapi, get_docs]
