"""The formats in which lists go out: JSON, NDJSON and CSV, piece by piece."""

import csv
import io
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import msgspec

from sprocket_factory.entities.listing import Kind
from sprocket_factory.entities.version import encode

DANGEROUS = ("=", "+", "-", "@", "\t", "\r", "'")
"""A spreadsheet would run a cell that begins so, or hide the apostrophe."""

encode_lines = msgspec.json.Encoder().encode_lines
to_builtins = msgspec.to_builtins


class Format(ABC):
    """Writes one list: its beginning, any number of pieces, its end."""

    media_type: str

    def __init__(self, columns: Mapping[str, Kind]) -> None:
        self._columns = columns

    def begin(self) -> bytes:
        """Return what comes before the first row."""
        return b""

    @abstractmethod
    def rows(self, things: list[Any], *, first: bool) -> bytes:
        """Return some rows, at least one; `first` are those with nothing before them."""

    def end(self) -> bytes:
        """Return what comes after the last row."""
        return b""

    def whole(self, things: list[Any]) -> bytes:
        """Return a list that is not streamed."""
        return self.begin() + (self.rows(things, first=True) if things else b"") + self.end()


class Json(Format):
    """One JSON array."""

    media_type = "application/json"

    def whole(self, things: list[Any]) -> bytes:
        """Return the array at once."""
        return encode(things)

    def begin(self) -> bytes:
        """Open the array."""
        return b"["

    def rows(self, things: list[Any], *, first: bool) -> bytes:
        """Return the things with commas between them."""
        rows: bytes = encode(things)[1:-1]
        return rows if first else b"," + rows

    def end(self) -> bytes:
        """Close the array."""
        return b"]"


class Ndjson(Format):
    """One JSON object on each line."""

    media_type = "application/x-ndjson"

    def rows(self, things: list[Any], *, first: bool) -> bytes:  # noqa: ARG002 - every line is as the first
        """Return a line for each."""
        return encode_lines(things)


class Csv(Format):
    """RFC 4180 with a header row. Text that a spreadsheet would run begins with an apostrophe instead."""

    media_type = "text/csv"

    def begin(self) -> bytes:
        """Return the header row."""
        return ",".join(self._columns).encode() + b"\r\n"

    def rows(self, things: list[Any], *, first: bool) -> bytes:  # noqa: ARG002 - every row is as the first
        """Return a row for each."""
        text = io.StringIO(newline="")
        cells = [_CELLS[kind] for kind in self._columns.values()]
        csv.writer(text).writerows(
            [cell(value) for cell, value in zip(cells, msgspec.structs.astuple(thing), strict=True)] for thing in things
        )
        return text.getvalue().encode()


def _same(value: Any) -> Any:
    return value


def _text(value: str) -> str:
    return f"'{value}" if value.startswith(DANGEROUS) else value


def _time(value: datetime) -> str:
    return f"{value.replace(tzinfo=None).isoformat()}Z"


def _shown(value: Any) -> str:
    """Return nothing for null, a time as such, and anything else as JSON."""
    if value is None:
        return ""
    return _time(value) if isinstance(value, datetime) else encode(value).decode()


_CELLS: dict[Kind, Callable[[Any], Any]] = {
    "integer": _same,
    "number": repr,
    "text": _text,
    "time": _time,
    "shown": _shown,
}

FORMATS: dict[str, type[Format]] = {"json": Json, "ndjson": Ndjson, "csv": Csv}
"""By the name that `format=` gives it; the first is the default."""

MEDIA_TYPES = tuple(format_.media_type for format_ in FORMATS.values())
