"""A second look at JSON: finds what a strict decoder passes over in silence, or gives up on too early.

msgspec takes the last of two members with one name; which one the caller meant is anybody's guess. And it stops at a
number that no machine number holds, and at half a surrogate pair, where the caller wants to hear of everything wrong.
"""

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from sprocket_factory.errors import MAX_SHOWN, Fault, Invalid

MAX_DIGITS = 30

_HALF_A_PAIR = re.compile("[\ud800-\udfff]")


class _NamedTwice(NamedTuple):
    """Stands for an object that has two members of one name."""

    name: str


def read_leniently(body: bytes) -> Any:
    """Return the JSON text as plain data, with infinity for a number that is too large.

    Raises:
        Invalid: A member is named twice, or text has half a surrogate pair.
        ValueError: It is no JSON, or no UTF-8. (JSONDecodeError and UnicodeDecodeError are ValueErrors.)
        RecursionError: It is nested too deeply.
    """
    named_twice: list[_NamedTwice] = []
    data = _decoder(named_twice).decode(body.decode())
    # Half a pair can only be written as an escape. Nearly always there is neither, and nothing to look for.
    if named_twice or b"\\ud" in body or b"\\uD" in body:
        _refuse_first(data)
    return data


def _refuse_first(data: Any) -> None:
    """Raise Invalid for the first thing that is wrong. What is kept grows with the depth alone, not with the width."""
    path: list[str] = []
    waiting = [_members([data])]
    while waiting:
        for name, node in waiting[-1]:
            path[len(waiting) - 1 :] = [name]
            _refuse_text(path, name)
            if isinstance(node, _NamedTwice):
                fault = Fault(_pointer([*path, node.name]), "This member is named twice.")
                raise Invalid(f"The member {fault.pointer} is named twice.", faults=[fault])
            if isinstance(node, dict | list):
                waiting.append(_members(node))
                break
            if isinstance(node, str):
                _refuse_text(path, node)
        else:
            waiting.pop()


def _refuse_text(path: list[str], text: str) -> None:
    if _HALF_A_PAIR.search(text):
        detail = "This text has half a surrogate pair, which stands for no character."
        raise Invalid(detail, faults=[Fault(_pointer(path), detail)])


def _members(node: dict[str, Any] | list[Any]) -> Iterator[tuple[str, Any]]:
    return iter(node.items()) if isinstance(node, dict) else ((str(place), value) for place, value in enumerate(node))


def _pointer(path: list[str]) -> str:
    """Return the pointer to what a path leads to; its first part stands for the whole text."""
    return "".join(map(pointer_to, path[1:]))


def refuse_duplicates(body: bytes) -> None:
    """Raise Invalid where a member of JSON that is otherwise right is named twice."""
    try:
        _decode_unique(body.decode())
    except _FoundTwice:
        read_leniently(body)


def pointer_to(name: str) -> str:
    """Return the JSON pointer to a member (RFC 6901), shortened where the name is endless."""
    name = name if len(name) <= MAX_SHOWN else f"{name[:MAX_SHOWN]}..."
    return f"/{name.replace('~', '~0').replace('/', '~1')}".encode(errors="backslashreplace").decode()


def _decoder(named_twice: list[_NamedTwice]) -> json.JSONDecoder:
    """Return a decoder that puts a mark in place of each object that names a member twice, and notes it."""

    def object_of(pairs: list[tuple[str, Any]]) -> dict[str, Any] | _NamedTwice:
        members = dict(pairs)
        if len(members) == len(pairs):
            return members
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                named_twice.append(_NamedTwice(name))
                break
            seen.add(name)
        return named_twice[-1]

    return json.JSONDecoder(object_pairs_hook=object_of, parse_int=_integer, parse_constant=_constant)


class _FoundTwice(Exception):  # noqa: N818 - ends a search
    pass


def _only_unique(pairs: list[tuple[str, Any]]) -> None:
    if len(dict(pairs)) < len(pairs):
        raise _FoundTwice


def _integer(text: str) -> float:
    return int(text) if len(text) <= MAX_DIGITS else float(text)


def _constant(text: str) -> None:
    raise ValueError(f"{text} is no JSON")


_decode_unique = json.JSONDecoder(object_pairs_hook=_only_unique).decode
