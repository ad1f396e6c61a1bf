"""What comes in, read strictly: a body is of the right kind, whole, and exactly what it should be, or it is refused."""

import math
import re
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from functools import cache
from types import MappingProxyType
from typing import Any, TypeVar

import msgspec
from litestar import Request
from litestar.types import Scope

from sprocket_factory.endpoints.lenient import pointer_to, read_leniently, refuse_duplicates
from sprocket_factory.entities import MAX_ID
from sprocket_factory.errors import (
    Fault,
    Invalid,
    NotFound,
    Refusal,
    TooLarge,
    Unreadable,
    UnsupportedMediaType,
    nearest,
    shown,
)

REFUSAL = "sprocket_factory.refusal"
"""Under this name the server leaves in a request's scope why it is to be refused, where it knows more than we do."""

_ID = re.compile(r"[1-9][0-9]{0,18}", re.ASCII)
MAX_PROPOSALS = 20

MAX_TOLD = 3
"""As many faults stand in the sentence; `errors` names them all."""

_AT = re.compile(r" - at `\$(.*)`$")

JSON = ("application/json",)
MERGE_PATCH = ("application/merge-patch+json", "application/json")

HARMLESS = {"", "charset=utf-8", "header=present"}
"""What may stand behind a media type without changing what is read."""

MAX_OBJECT_BYTES = 2 * 1024 * 1024
"""To say what is wrong with a JSON text it is read as a whole, and nobody else is served meanwhile."""

_fields = cache(msgspec.structs.fields)

T = TypeVar("T", bound=msgspec.Struct)


Rules = Mapping[str, Callable[[Any], object]]
"""What a member has to pass beside its type: each raises Invalid."""

NO_RULES: Rules = MappingProxyType({})

Settled = int | Callable[[Any], bool]
"""What the path has settled of a member: its value, or what tells whether a value is the same."""


def read_id(text: str, refusal: Callable[[str], NotFound]) -> int:
    """Return the id that a part of a path is. Raises the given NotFound where it is none: nothing has such an id."""
    if _ID.fullmatch(text) is None or (number := int(text)) > MAX_ID:
        raise refusal(shown(text))
    return number


async def read_body(
    request: Request[Any, Any, Any], type_: type[T], media_types: Sequence[str] = JSON, **in_path: Settled
) -> T:
    """Return the JSON body as the given type.

    Args:
        request: Whose body it is.
        type_: A struct that forbids unknown members.
        media_types: What it may be declared as.
        in_path: Members that the path has settled: the body may repeat them, with the same value.

    Raises:
        UnsupportedMediaType: It is not declared to be JSON, or it is compressed.
        TooLarge: It is larger than a JSON text may be.
        Unreadable: It is no JSON, no UTF-8, or nested too deeply.
        Invalid: A member is unknown, missing, named twice, or not what it must be. Every such member is named.
    """
    media_type_of(request, media_types)
    return decode(await read_whole(request), type_, NO_RULES, **in_path)


def media_type_of(request: Request[Any, Any, Any], accepted: Sequence[str]) -> str:
    """Return the media type of the body. Raises UnsupportedMediaType where it is none of these, or compressed."""
    content_types = []
    for name, value in request.scope["headers"]:
        if name == b"content-encoding":
            raise UnsupportedMediaType("Compressed bodies are not read here.", hint="Send it without Content-Encoding.")
        if name == b"content-type":
            content_types.append(value)
    declared = b", ".join(content_types).decode("latin-1")
    if declared in accepted:
        return declared
    media_type, *parameters = (part.strip() for part in declared.lower().replace('"', "").split(";"))
    if media_type in accepted and set(parameters) <= HARMLESS:
        return media_type
    raise UnsupportedMediaType(
        f"The body is declared as {shown(declared) if declared else 'nothing'}.",
        hint=f"Send it with Content-Type: {' or '.join(accepted)}.",
    )


async def read_pieces(request: Request[Any, Any, Any]) -> AsyncGenerator[bytes]:
    """Give the body as it arrives.

    Raises:
        Unreadable: The connection ended before the body did.
        Stalled: It did not come in time.
        TooLarge: It is larger than this server reads, or has more beside its data than is passed over.
    """
    body = _Body(request)
    while not body.is_whole:
        yield await body.next_piece()


async def read_whole(request: Request[Any, Any, Any], most: int = MAX_OBJECT_BYTES) -> bytes:
    """Return the whole body, which a JSON text has to be read from. Raises as read_pieces."""
    body = _Body(request)
    pieces = []
    size = 0
    while not body.is_whole:
        pieces.append(await body.next_piece())
        size += len(pieces[-1])
        if size > most:
            raise too_large(most)
    return b"".join(pieces)


class _Body:
    """A body as it arrives."""

    def __init__(self, request: Request[Any, Any, Any]) -> None:
        """Raises TooLarge where it is said to be larger than this server reads."""
        self.is_whole = False
        self._request = request
        self._left = request.route_handler.resolve_request_max_body_size() or math.inf
        if _declared_length(request.scope) > self._left:
            raise _over_the_limit()

    async def next_piece(self) -> bytes:
        """Return what comes next. Raises as read_pieces."""
        scope = self._request.scope
        message: Any = await self._request.receive()
        if message["type"] == "http.disconnect":
            raise Unreadable("The connection ended before the body did.")
        if REFUSAL in scope:
            raise scope[REFUSAL]  # type: ignore[literal-required]
        piece: bytes = message["body"]
        self._left -= len(piece)
        if self._left < 0:
            raise _over_the_limit()
        if not message["more_body"]:
            self.is_whole = scope["state"]["body_is_read"] = True
        return piece


def _declared_length(scope: Scope) -> int:
    """Return how long the body is said to be; 0 where nothing is said. Litestar makes all headers into a map for it."""
    return next((int(value) for name, value in scope["headers"] if name == b"content-length"), 0)


def _over_the_limit() -> TooLarge:
    return TooLarge("The body is larger than this server reads.", hint="Its operator may raise --max-body-bytes.")


def too_large(most: int) -> TooLarge:
    """Return the refusal for a JSON text that has more bytes."""
    return TooLarge(
        f"A JSON text has up to {most:,} bytes here.",
        hint="Production of any length is read as text/csv or application/x-ndjson.",
    )


def decode(body: bytes, type_: type[T], rules: Rules = NO_RULES, **in_path: Settled) -> T:
    """Return JSON text as the given type, strictly.

    Other arguments and the refusals are those of read_body. `rules` are looked at where something else is wrong, so
    that all of it is named at once; where nothing is, the caller goes by them himself.
    """
    try:
        return _decode(body, type_, rules, in_path)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise unreadable(error) from error


def _decode(body: bytes, type_: type[T], rules: Rules, in_path: Mapping[str, Settled]) -> T:
    try:
        thing = msgspec.json.decode(body, type=type_)
    except msgspec.ValidationError:
        if not body.lstrip().startswith(b"{"):
            msgspec.json.decode(body, type=msgspec.Raw)  # it may be no JSON at all
            raise Invalid("The body must be one JSON object.", faults=[Fault("", "Expected an object.")]) from None
        return _convert(read_leniently(body), type_, rules, in_path)
    except msgspec.DecodeError:
        # Text with half a surrogate pair can be read and is wrong; anything else cannot be read.
        read_leniently(body)
        raise
    # A colon for each member that had to be there, and none more: so none of them is there twice.
    if body.count(b":") > _count_required(type_):
        refuse_duplicates(body)
    return thing


@cache
def _count_required(type_: type[msgspec.Struct]) -> int:
    return sum(field.required for field in _fields(type_))


def _convert(data: Any, type_: type[T], rules: Rules, in_path: Mapping[str, Settled]) -> T:
    """Return the decoded data as the type, or name everything that is wrong with it."""
    members = {name: value for name, value in data.items() if not _repeats(in_path, name, value)}
    faults = list(_faults(members, type_, rules, in_path))
    if faults:
        told = [f"{fault.pointer}: {fault.detail}" for fault in faults[:MAX_TOLD]]
        more = [f"And {len(faults) - MAX_TOLD:,} more."] if len(faults) > MAX_TOLD else []
        raise Invalid(" ".join([*told, *more]), faults=faults)
    return msgspec.convert(members, type_)


def _repeats(in_path: Mapping[str, Settled], name: str, value: Any) -> bool:
    if name not in in_path:
        return False
    settled = in_path[name]
    return settled(value) if callable(settled) else type(value) is int and value == settled


def _faults(members: dict[str, Any], type_: type[T], rules: Rules, in_path: Mapping[str, Settled]) -> Iterator[Fault]:
    fields = {field.encode_name: field for field in _fields(type_)}
    unknown = [name for name in members if name not in fields and name not in in_path]
    for place, name in enumerate(unknown):
        proposal = nearest(name, fields) if place < MAX_PROPOSALS else ""
        yield Fault(pointer_to(name), f"There is no such member.{proposal}")
    for name in in_path:
        if name in members:
            yield Fault(f"/{name}", "The path settles this member, and the body may not say otherwise.")
    for name, field in fields.items():
        if name in members:
            try:
                msgspec.convert(members[name], field.type)
                if name in rules:
                    rules[name](members[name])
            except msgspec.ValidationError as error:
                yield _fault(f"/{name}", error)
            except Invalid as refusal:
                yield Fault(f"/{name}", str(refusal))
        elif field.required:
            yield Fault(f"/{name}", "This member is missing.")


def _fault(pointer: str, error: msgspec.ValidationError) -> Fault:
    inner = _AT.search(str(error))
    path = re.sub(r"\[(\d+)\]", r"/\1", inner.group(1)).replace(".", "/") if inner else ""
    return Fault(pointer + path, _sentence(error))


def _sentence(error: msgspec.ValidationError) -> str:
    return _AT.sub("", str(error)).replace("`", "") + "."


def unreadable(error: Exception) -> Refusal:
    """Return the refusal for what no JSON decoder can read."""
    reason = "It is nested too deeply" if isinstance(error, RecursionError) else str(error)
    return Unreadable(f"The body is no JSON that can be read: {reason}.", hint="Send one JSON object in UTF-8.")
