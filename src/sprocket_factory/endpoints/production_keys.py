"""How a record of production is named over HTTP: by its factory and its time, which comes in several forms."""

from typing import Any

from sprocket_factory.endpoints.routing import BASE_PATH, ApiRequest
from sprocket_factory.entities.factory import no_factory
from sprocket_factory.entities.instant import LATEST, read_instant, to_text
from sprocket_factory.entities.production import Key, NewProduction
from sprocket_factory.errors import Fault, Invalid, NotFound


def key_in_path(request: ApiRequest) -> Key:
    """Return the factory and time in the path. Raises NotFound where one is malformed: nothing can be there."""
    factory_id = request.id_in_path("factory_id", no_factory)
    try:
        return Key(factory_id, read_instant(request.scope["path_params"]["time"], LATEST))
    except Invalid as refusal:
        raise NotFound(f"No record has such a time. {refusal.detail}", hint=refusal.hint) from refusal


def key_to_write(request: ApiRequest) -> Key:
    """Return the factory and time in the path. Raises NotFound, and Forbidden where the caller may not write there."""
    key = key_in_path(request)
    request.caller.check_factory(key.factory_id)
    return key


def key_to_create(request: ApiRequest) -> Key:
    """Return the factory and time in the path. Raises as key_to_write, and Invalid for a time too far ahead."""
    key = key_to_write(request)
    if key.time > request.latest:
        read_time_at(request.scope["path_params"]["time"], request.latest, "")
    return key


def key_in_body(new: NewProduction, latest: int) -> Key:
    """Return the factory and time of a record that comes in. Raises Invalid."""
    return Key(new.factory_id, read_time_at(new.time, latest, "/time"))


def read_time_at(value: str | float, latest: int, pointer: str) -> int:
    """Return the instant that a member is. Raises Invalid, which says where it was."""
    try:
        return read_instant(value, latest)
    except Invalid as refusal:
        raise Invalid(refusal.detail, hint=refusal.hint, faults=[Fault(pointer, str(refusal))]) from refusal


def is_instant(value: Any, instant: int) -> bool:
    """Return whether a value from a body is this instant, in any form that is read."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return False
    try:
        return read_instant(value, LATEST) == instant
    except Invalid:
        return False


def location_of(key: Key) -> str:
    """Return the path of a record."""
    return f"{BASE_PATH}/production/{key.factory_id}/{to_text(key.time)}"
