"""Query parameters: only known ones, each once, and what the API document says of them."""

import re
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar
from urllib.parse import parse_qsl

from litestar import Request
from litestar.types import Scope

from sprocket_factory.entities.instant import EARLIEST, SECOND, read_instant
from sprocket_factory.errors import Fault, Invalid, nearest, shown

Schema = dict[str, Any]

Choice = TypeVar("Choice", bound=str)

TIME: Schema = {
    "anyOf": [
        {"type": "string", "format": "date-time"},
        {"type": "number", "minimum": EARLIEST // SECOND, "description": "Seconds since 1970."},
    ]
}
EVENT_ID: Schema = {"type": "string", "pattern": r"^(0|[1-9][0-9]{0,18})(\.[1-9][0-9]{0,9})?$"}

BOOLEAN: Schema = {"type": "boolean", "default": False}

_LOST_PLUS = re.compile(r" (?=[0-9]{2}:[0-9]{2}$)", re.ASCII)
_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]{0,18})", re.ASCII)


def check_parameters(given: Iterable[tuple[str, str]], known: Iterable[str]) -> dict[str, str]:
    """Return the parameters by name. Raises Invalid for one that is unknown or repeated."""
    parameters: dict[str, str] = {}
    for name, value in given:
        if name not in known:
            raise wrong_parameter(name, f"There is no parameter {shown(name)} here.{nearest(name, known)}")
        if name in parameters:
            raise wrong_parameter(name, f"The parameter {shown(name)} is given twice.")
        parameters[name] = value
    return parameters


def parameters_of(request: Request[Any, Any, Any]) -> Mapping[str, str]:
    """Return the parameters of a request; checks.py has seen to it that each is known and there once."""
    return dict(given_parameters(request.scope))


def required_parameters(request: Request[Any, Any, Any]) -> Mapping[str, str]:
    """Return the parameters of a request. Raises Invalid, which names each that its endpoint requires and lacks."""
    parameters = parameters_of(request)
    missing = [name for name in request.route_handler.opt["required"] if name not in parameters]
    if missing:
        faults = [Fault(name, f"The parameter {name} is missing.") for name in missing]
        raise Invalid(" ".join(fault.detail for fault in faults), faults=faults)
    return parameters


def given_parameters(scope: Scope) -> list[tuple[str, str]]:
    """Return the parameters of a request in their order. Raises Invalid where the query is no UTF-8."""
    if not scope["query_string"]:
        return []
    try:
        return parse_qsl(scope["query_string"].decode(), keep_blank_values=True, errors="strict")
    except UnicodeDecodeError:
        detail = "The query is not in UTF-8."
        raise Invalid(detail, faults=[Fault("", detail)]) from None


def wrong_parameter(name: str, detail: str, hint: str = "") -> Invalid:
    """Return the refusal for a parameter."""
    return Invalid(detail, hint=hint, faults=[Fault(name, f"{detail} {hint}".strip())])


def read_boolean(parameters: Mapping[str, str], name: str) -> bool:
    """Return a parameter that is true or false, and false where it is left out. Raises Invalid."""
    value = parameters.get(name, "false")
    if value not in {"true", "false"}:
        raise wrong_parameter(name, f"{shown(value)} is neither true nor false.")
    return value == "true"


def read_choice(parameters: Mapping[str, str], name: str, choices: Iterable[Choice], default: Choice) -> Choice:
    """Return a parameter that is one of these; where it is left out, the default. Raises Invalid."""
    value = parameters.get(name, default)
    for choice in choices:
        if choice == value:
            return choice
    raise wrong_parameter(name, f"{shown(value)} is none of {', '.join(choices)}.")


def read_whole_number(parameters: Mapping[str, str], name: str, least: int, most: int) -> int:
    """Return a parameter that is a whole number within these bounds. Raises Invalid."""
    text = parameters[name]
    if _INTEGER.fullmatch(text) and least <= (number := int(text)) <= most:
        return number
    raise wrong_parameter(name, f"{shown(text)} is no whole number from {least:,} to {most:,}.")


def read_time(parameters: Mapping[str, str], name: str, latest: int) -> int:
    """Return a parameter that is a time, in any form that is read. Raises Invalid."""
    text = parameters[name]
    try:
        # A space before an offset was a plus sign before somebody forgot to encode it.
        return read_instant(_LOST_PLUS.sub("+", text), latest)
    except Invalid as refusal:
        raise wrong_parameter(name, refusal.detail, refusal.hint) from refusal
