"""What comes in, read strictly: a body is of the right kind, whole, and exactly what it should be, or it is refused."""

import json
import re
from collections.abc import Callable, Iterable, Iterator
from difflib import get_close_matches
from typing import Any, TypeVar

import msgspec
from litestar import Request
from litestar.exceptions import InternalServerException

from sprocket_factory.entities import MAX_ID
from sprocket_factory.errors import Fault, Invalid, NotFound, Refusal, Unreadable, UnsupportedMediaType

_ID = re.compile(r"[1-9][0-9]{0,18}", re.ASCII)
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
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _unreadable(error) from error


def _decode(body: bytes, type_: type[T], in_path: dict[str, int]) -> T:
    try:
        thing = msgspec.json.decode(body, type=type_)
    except msgspec.ValidationError as first_fault:
        try:
            data = msgspec.json.decode(body)
        except msgspec.ValidationError:  # a number that no machine number can hold
            raise Invalid(_sentence(first_fault), faults=[_fault("", first_fault)]) from first_fault
        _refuse_duplicates(body)
        return _convert(data, type_, in_path)
    _refuse_duplicates(body)
    return thing


def _refuse_duplicates(body: bytes) -> None:
    # msgspec takes the last of two members with one name; which one the caller meant is anybody's guess.
    _find_duplicates(body.decode())


def _unique(pairs: list[tuple[str, Any]]) -> None:
    if len(dict(pairs)) < len(pairs):
        name = next(name for place, (name, _) in enumerate(pairs) if name in dict(pairs[:place]))
        raise Invalid(f"The member {name!r} is named twice.", faults=[Fault(f"/{_escape(name)}", "Named twice.")])


_find_duplicates = json.JSONDecoder(object_pairs_hook=_unique).decode


def _check_content(request: Request[Any, Any, Any]) -> None:
    content_type = b""
    for name, value in request.scope["headers"]:
        if name == b"content-encoding" and value != b"identity":
            raise UnsupportedMediaType("Compressed bodies are not read here.", hint="Send it as it is.")
        if name == b"content-type":
            content_type = value
    if content_type == b"application/json":
        return
    media_type, _, parameters = content_type.decode("latin-1").lower().partition(";")
    charset = parameters.strip().replace('"', "")
    if media_type.strip() != "application/json" or charset not in {"", "charset=utf-8"}:
        raise UnsupportedMediaType(
            f"The body is declared as {content_type.decode('latin-1') or 'nothing'!r}.",
            hint="Send JSON with Content-Type: application/json.",
        )


def _convert(data: Any, type_: type[T], in_path: dict[str, int]) -> T:
    """Return the decoded data as the type, or name everything that is wrong with it."""
    if not isinstance(data, dict):
        raise Invalid("The body must be one JSON object.", faults=[Fault("", "Expected an object.")])
    members = {name: value for name, value in data.items() if not _repeats(in_path, name, value)}
    faults = list(_faults(members, type_, in_path))
    if faults:
        raise Invalid(" ".join(f"{fault.pointer}: {fault.detail}" for fault in faults[:3]), faults=faults)
    return msgspec.convert(members, type_)


def _repeats(in_path: dict[str, int], name: str, value: Any) -> bool:
    return name in in_path and type(value) is int and value == in_path[name]


def _faults(members: dict[str, Any], type_: type[T], in_path: dict[str, int]) -> Iterator[Fault]:
    fields = {field.encode_name: field for field in msgspec.structs.fields(type_)}
    for name in members:
        if name in in_path:
            yield Fault(f"/{name}", f"The path says {in_path[name]}, and the body may not say otherwise.")
        elif name not in fields:
            yield Fault(f"/{_escape(name)}", f"There is no such member.{nearest(name, fields)}")
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


def _escape(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")


def _unreadable(error: Exception) -> Refusal:
    reason = "It is nested too deeply" if isinstance(error, RecursionError) else str(error)
    return Unreadable(f"The body is no JSON that can be read: {reason}.", hint="Send one JSON object in UTF-8.")
