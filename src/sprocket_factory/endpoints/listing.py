"""The one query grammar of every list: filters, order, pages, counts and formats."""

import math
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, TypeVar, get_args

import msgspec
from litestar.types import ASGIApp

from sprocket_factory.endpoints.answers import Answer
from sprocket_factory.endpoints.formats import FORMATS, MEDIA_TYPES, Format
from sprocket_factory.endpoints.negotiation import preferred_type
from sprocket_factory.endpoints.paging import next_page, read_cursor
from sprocket_factory.endpoints.parameters import (
    BOOLEAN,
    TIME,
    Schema,
    parameters_of,
    read_boolean,
    read_choice,
    read_time,
    read_whole_number,
    wrong_parameter,
)
from sprocket_factory.endpoints.routing import ApiRequest
from sprocket_factory.endpoints.streaming import stream_answer
from sprocket_factory.entities import MAX_INTEGER
from sprocket_factory.entities.listing import (
    Filter,
    Kind,
    Listing,
    Operator,
    Order,
    Query,
    count_list,
    read_few,
    read_list,
    stream_list,
)
from sprocket_factory.errors import nearest, shown

T = TypeVar("T", bound=msgspec.Struct)

MAX_LIMIT = 10_000
MAX_CHOICES = 1000
MAX_TEXT = 1000

_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?", re.ASCII)

_SCHEMAS: Mapping[Kind, Schema] = {
    "integer": {"type": "integer", "minimum": -MAX_INTEGER, "maximum": MAX_INTEGER},
    "number": {"type": "number"},
    "text": {"type": "string", "minLength": 1, "maxLength": MAX_TEXT, "pattern": "^[^\\u0000]+$"},
    "time": TIME,
}


_COMPARING = {"lt": "less", "lte": "this or less", "gt": "more", "gte": "this or more"}


def grammar_of(listing: Listing[Any]) -> dict[str, Schema]:
    """Return every parameter that a list takes, with its schema."""
    return filters_of(listing) | {
        "cursor": {"type": "string", "format": "cursor", "description": "Where a page begins, as Link has it."},
        "count": BOOLEAN | {"description": "Say in X-Total-Count how many there are on all pages."},
        "format": {"enum": list(FORMATS), "description": "The format, whatever the header Accept says."},
    }


def filters_of(listing: Listing[Any]) -> dict[str, Schema]:
    """Return the parameters that say which things are listed and in which order, with their schemas."""
    parameters: dict[str, Schema] = {}
    for column, kind in listing.columns.items():
        if kind == "shown":
            continue
        schema = _SCHEMAS[kind]
        parameters[column] = schema | {"description": f"Those whose {column} is this."}
        for operator, words in _COMPARING.items():
            parameters[f"{column}__{operator}"] = schema | {"description": f"Those whose {column} is {words}."}
        one_of = f"Those whose {column} is one of these."
        item = schema | ({"pattern": "^[^,\\u0000]+$"} if kind == "text" else {})
        parameters[f"{column}__in"] = {"type": "array", "items": item, "minItems": 1, "description": one_of}
        if column in listing.folded:
            containing = f"Those whose {column} has this in it, in capitals or not."
            parameters[f"{column}__contains"] = schema | {"description": containing}
    terms = [sign + column for column in _sortable(listing) for sign in ("", "-")]
    parameters["sort"] = {
        "type": "array",
        "items": {"enum": terms},
        "uniqueItems": True,
        "minItems": 1,
        "description": "The order, one term after the other, each field once; - turns one around.",
    }
    parameters["limit"] = {
        "type": "integer",
        "minimum": 1,
        "maximum": MAX_LIMIT,
        "description": "At most so many; the header Link leads to the next page. Without it the list is whole.",
    }
    return parameters


async def answer_list(request: ApiRequest, listing: Listing[Any], **fixed: int) -> ASGIApp:
    """Answer a list as the request's parameters want it; `fixed` are columns that the path has settled.

    Raises:
        Invalid: A parameter is wrong.
        Busy: Too many lists are being read.
        TooSlow: It took longer than allowed to find.
    """
    parameters = parameters_of(request)
    query = read_query(listing, parameters, request.latest, **fixed)
    format_ = format_of(request, parameters)(listing.columns)
    headers = [(b"vary", b"accept")]
    if read_boolean(parameters, "count"):
        headers.append((b"x-total-count", b"%d" % await count_list(request.database, listing, query)))
    if query.limit is None:
        rows = read_few(request.database, listing, query)
        if rows is None:
            return await stream_answer(stream_list(request.database, listing, query), format_, headers)
    else:
        rows, next_ = await read_page(request, listing, query, query.limit)
        if next_ is not None:
            headers.append((b"link", f'<{next_}>; rel="next"'.encode()))
    return Answer(format_.whole(rows), media_type=format_.media_type.encode(), headers=headers)


async def read_page(request: ApiRequest, listing: Listing[T], query: Query, limit: int) -> tuple[list[T], str | None]:
    """Return up to so many rows of a list, and the address of the page behind them. Raises Busy or TooSlow."""
    rows = await read_list(request.database, listing, query._replace(limit=limit + 1))
    if len(rows) <= limit:
        return rows, None
    rows.pop()
    return rows, next_page(request, listing, query, rows[-1])


def read_query(listing: Listing[Any], parameters: Mapping[str, str], latest: int, **fixed: int) -> Query:
    """Return what the parameters ask of a list, `latest` being the last instant that may be named. Raises Invalid."""
    if not parameters and not fixed:
        return _everything(listing)
    filters = [Filter(column, "eq", (value,)) for column, value in fixed.items()]
    filters += _filters(listing, parameters, latest)
    limit = read_whole_number(parameters, "limit", 1, MAX_LIMIT) if "limit" in parameters else None
    query = Query(tuple(filters), tuple(_order(listing, parameters.get("sort"))), limit)
    if "cursor" not in parameters:
        return query
    return query._replace(after=read_cursor(listing, query, parameters["cursor"]))


@lru_cache
def _everything(listing: Listing[Any]) -> Query:
    return Query((), tuple(_order(listing, None)))


def format_of(request: ApiRequest, parameters: Mapping[str, str]) -> type[Format]:
    """Return the format that a request wants its list in. Raises Invalid."""
    if "format" in parameters:
        return FORMATS[read_choice(parameters, "format", FORMATS, "json")]
    # checks.py has refused what accepts none of them.
    wanted = preferred_type(request.scope, MEDIA_TYPES)
    return next(format_ for format_ in FORMATS.values() if format_.media_type == wanted)


def _filters(listing: Listing[Any], parameters: Mapping[str, str], latest: int) -> Iterator[Filter]:
    for name, text in parameters.items():
        column, _, operator = name.partition("__")
        if column not in listing.columns:
            continue
        kind = listing.columns[column]
        if operator == "in":
            choices = text.split(",")
            if len(choices) > MAX_CHOICES:
                raise wrong_parameter(name, f"These are {len(choices):,}; up to {MAX_CHOICES:,} may be named.")
            yield Filter(column, "in", tuple(_value(name, kind, choice, latest) for choice in choices))
        else:
            yield Filter(column, _operator(operator), (_value(name, kind, text, latest),))


def _operator(text: str) -> Operator:
    (operator,) = (operator for operator in get_args(Operator) if operator == (text or "eq"))
    known: Operator = operator
    return known


def _value(name: str, kind: Kind, text: str, latest: int) -> int | float | str:
    match kind:
        case "time":
            return read_time({name: text}, name, latest)
        case "text":
            if not 1 <= len(text) <= MAX_TEXT or "\0" in text:
                raise wrong_parameter(name, f"Text has 1 to {MAX_TEXT:,} characters, none of them NUL.")
            return text
        case "integer":
            return read_whole_number({name: text}, name, -MAX_INTEGER, MAX_INTEGER)
        case "number":
            if _NUMBER.fullmatch(text) and math.isfinite(number := float(text)):
                return number
            raise wrong_parameter(name, f"{shown(text)} is no finite number.")
        case "shown":
            raise wrong_parameter(name, f"{name} is no parameter.")


def _sortable(listing: Listing[Any]) -> list[str]:
    return [column for column, kind in listing.columns.items() if kind != "shown"]


def _order(listing: Listing[Any], text: str | None) -> Iterator[Order]:
    """Give the wanted terms, then those columns of the key that are not among them."""
    seen: set[str] = set()
    for term in text.split(",") if text is not None else ():
        column = term.removeprefix("-")
        if column not in _sortable(listing):
            proposal = nearest(column, _sortable(listing))
            raise wrong_parameter("sort", f"There is no {shown(column)} to sort by.{proposal}")
        if column in seen:
            raise wrong_parameter("sort", f"{column} is named twice.")
        seen.add(column)
        yield Order(column, descending=term.startswith("-"))
    for column in listing.key:
        if column not in seen:
            yield Order(column)
