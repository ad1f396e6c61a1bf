"""What comes in, read strictly: a body is of the right kind, whole, and exactly what it should be, or it is refused."""

import re
from collections.abc import Callable, Iterable, Iterator
from difflib import get_close_matches
from typing import Any, TypeVar

import msgspec
from litestar import Request
from litestar.exceptions import InternalServerException

from sprocket_factory.endpoints.lenient import pointer_to, read_leniently, refuse_duplicates
from sprocket_factory.entities import MAX_ID
from sprocket_factory.errors import Fault, Invalid, NotFound, Refusal, Unreadable, UnsupportedMediaType, shown

_ID = re.compile(r"[1-9][0-9]{0,18}", re.ASCII)
MAX_PROPOSALS = 100

MAX_TOLD = 3
"""As many faults stand in the sentence; `errors` names them all."""

_AT = re.compile(r" - at `\$(.*)`$")

T = TypeVar("T", bound=msgspec.Struct)


def read_id(text: str, refusal: Callable[[str], NotFound]) -> int:
    """Return the id that a part of a path is. Raises the given NotFound where it is none: nothing has such an id."""
    if _ID.fullmatch(text) is None or (number := int(text)) > MAX_ID:
        raise refusal(text)
    return number


async def read_body(request: Request[Any, Any, Any], type_: type[T], **in_path: int) -> T:
    """Return the JSON body as the given type.

    Args:
        request: Whose body it is.
        type_: A struct that forbids unknown members.
        in_path: Members that the path has settled: the body may repeat them, with the same value.

    Raises:
        UnsupportedMediaType: It is not declared to be JSON, or it is compressed.
        Unreadable: It is no JSON, no UTF-8, or nested too deeply.
        Invalid: A member is unknown, missing, named twice, or not what it must be. Every such member is named.
    """
    _check_content(request)
    try:
        body = await request.body()
    except InternalServerException as error:
        raise Unreadable("The connection ended before the body did.") from error
    return decode(body, type_, **in_path)


def decode(body: bytes, type_: type[T], **in_path: int) -> T:
    """Return JSON text as the given type, strictly. Arguments and refusals are those of read_body."""
    try:
        return _decode(body, type_, in_path)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise _unreadable(error) from error


def _decode(body: bytes, type_: type[T], in_path: dict[str, int]) -> T:
    try:
        thing = msgspec.json.decode(body, type=type_)
    except msgspec.ValidationError:
        return _convert(read_leniently(body), type_, in_path)
    except msgspec.DecodeError:
        # Text with half a surrogate pair can be read and is wrong; anything else cannot be read.
        read_leniently(body)
        raise
    refuse_duplicates(body)
    return thing


def _check_content(request: Request[Any, Any, Any]) -> None:
    content_types = []
    for name, value in request.scope["headers"]:
        if name == b"content-encoding":
            raise UnsupportedMediaType("Compressed bodies are not read here.", hint="Send it without Content-Encoding.")
        if name == b"content-type":
            content_types.append(value)
    if content_types == [b"application/json"]:
        return
    declared = b", ".join(content_types).decode("latin-1")
    media_type, _, parameters = declared.lower().partition(";")
    charset = parameters.strip().replace('"', "")
    if media_type.strip() != "application/json" or charset not in {"", "charset=utf-8"}:
        raise UnsupportedMediaType(
            f"The body is declared as {shown(declared) if declared else 'nothing'}.",
            hint="Send JSON with Content-Type: application/json.",
        )


def _convert(data: Any, type_: type[T], in_path: dict[str, int]) -> T:
    """Return the decoded data as the type, or name everything that is wrong with it."""
    if not isinstance(data, dict):
        raise Invalid("The body must be one JSON object.", faults=[Fault("", "Expected an object.")])
    members = {name: value for name, value in data.items() if not _repeats(in_path, name, value)}
    faults = list(_faults(members, type_, in_path))
    if faults:
        told = [f"{fault.pointer}: {fault.detail}" for fault in faults[:MAX_TOLD]]
        more = [f"And {len(faults) - MAX_TOLD:,} more."] if len(faults) > MAX_TOLD else []
        raise Invalid(" ".join([*told, *more]), faults=faults)
    return msgspec.convert(members, type_)


def _repeats(in_path: dict[str, int], name: str, value: Any) -> bool:
    return name in in_path and type(value) is int and value == in_path[name]


def _faults(members: dict[str, Any], type_: type[T], in_path: dict[str, int]) -> Iterator[Fault]:
    fields = {field.encode_name: field for field in msgspec.structs.fields(type_)}
    unknown = [name for name in members if name not in fields and name not in in_path]
    for place, name in enumerate(unknown):
        proposal = nearest(name, fields) if place < MAX_PROPOSALS else ""
        yield Fault(pointer_to(name), f"There is no such member.{proposal}")
    for name, fixed in in_path.items():
        if name in members:
            yield Fault(f"/{name}", f"The path says {fixed}, and the body may not say otherwise.")
    for name, field in fields.items():
        if name in members:
            try:
                msgspec.convert(members[name], field.type)
            except msgspec.ValidationError as error:
                yield _fault(f"/{name}", error)
        elif field.required:
            yield Fault(f"/{name}", "This member is missing.")


def nearest(name: str, known: Iterable[str]) -> str:
    """Return a sentence that names the known name nearest to this one, or nothing where none is near."""
    return "".join(f" Did you mean {match}?" for match in get_close_matches(name, known, n=1))


def _fault(pointer: str, error: msgspec.ValidationError) -> Fault:
    inner = _AT.search(str(error))
    path = re.sub(r"\[(\d+)\]", r"/\1", inner.group(1)).replace(".", "/") if inner else ""
    return Fault(pointer + path, _sentence(error))


def _sentence(error: msgspec.ValidationError) -> str:
    return _AT.sub("", str(error)).replace("`", "") + "."


def _unreadable(error: Exception) -> Refusal:
    reason = "It is nested too deeply" if isinstance(error, RecursionError) else str(error)
    return Unreadable(f"The body is no JSON that can be read: {reason}.", hint="Send one JSON object in UTF-8.")
