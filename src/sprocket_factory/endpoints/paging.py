"""Pages: an opaque cursor says after which row a page begins, and for which list it was made."""

from base64 import b64decode, urlsafe_b64encode
from collections.abc import Sequence
from hashlib import blake2b
from typing import Any
from urllib.parse import urlencode

import msgspec

from sprocket_factory.database import Value
from sprocket_factory.endpoints.parameters import given_parameters, wrong_parameter
from sprocket_factory.endpoints.routing import ApiRequest
from sprocket_factory.entities import MAX_INTEGER
from sprocket_factory.entities.instant import EARLIEST, LATEST, from_datetime
from sprocket_factory.entities.listing import Kind, Listing, Query


def next_page(request: ApiRequest, listing: Listing[Any], query: Query, last: msgspec.Struct) -> str:
    """Return where the page after the one is that ends with this row."""
    values = [getattr(last, column) for column, _ in query.order]
    values = [
        from_datetime(value) if listing.columns[column] == "time" else value
        for (column, _), value in zip(query.order, values, strict=True)
    ]
    sealed = urlsafe_b64encode(msgspec.msgpack.encode((_seal(listing, query, values), values))).rstrip(b"=").decode()
    kept = [(name, value) for name, value in given_parameters(request.scope) if name != "cursor"]
    return f"{request.scope['path']}?{urlencode([*kept, ('cursor', sealed)])}"


def read_cursor(listing: Listing[Any], query: Query, cursor: str) -> tuple[Value, ...]:
    """Return the ordered columns of the row that a page begins after.

    Raises:
        Invalid: It is no cursor of ours, or one of another list, other filters or another order.
    """
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        packed = b64decode(padded, altchars=b"-_", validate=True)
        seal, values = msgspec.msgpack.decode(packed, type=tuple[bytes, list[int | float | str]])
    except (ValueError, msgspec.DecodeError, RecursionError):
        raise _wrong("This is no cursor.") from None
    if packed != msgspec.msgpack.encode((seal, values)):
        raise _wrong("This is no cursor.")
    if seal != _seal(listing, query, values):
        raise _wrong("This cursor is not whole, or belongs to another list: other filters, or another order.")
    kinds = [listing.columns[column] for column, _ in query.order]
    if len(kinds) != len(values) or not all(map(_may_be, kinds, values)):
        raise _wrong("This is no cursor.")
    return tuple(values)


def _seal(listing: Listing[Any], query: Query, values: Sequence[Value]) -> bytes:
    """Return a digest of where the page begins, and of everything that has to stay the same from page to page.

    It tells a slip from a cursor of ours. It is no secret: whoever makes a cursor sees no more than by a filter.
    """
    list_ = repr((listing.table, sorted(query.filters, key=repr), query.order, list(values)))
    return blake2b(list_.encode(errors="backslashreplace"), digest_size=8).digest()


def _may_be(kind: Kind, value: Any) -> bool:
    match kind:
        case "integer":
            return type(value) is int and abs(value) <= MAX_INTEGER
        case "time":
            return type(value) is int and EARLIEST <= value <= LATEST
        case "number":
            return type(value) is float
        case "text":
            return type(value) is str and "\0" not in value
        case "shown":
            return False


def _wrong(detail: str) -> Exception:
    return wrong_parameter("cursor", detail, "Follow the Link with rel=next as it came, or begin without a cursor.")
