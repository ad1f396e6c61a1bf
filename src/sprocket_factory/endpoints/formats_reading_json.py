"""Production records that come in as JSON: a text on each line, or an array."""

import re
from collections.abc import Iterator

import msgspec

from sprocket_factory.endpoints.formats_reading import MAX_LINE_BYTES, RecordReader
from sprocket_factory.endpoints.reading import decode, unreadable
from sprocket_factory.entities.production import NewProduction
from sprocket_factory.errors import Fault, Invalid, Refusal

BLOCK_BYTES = 64 * 1024

MAX_BLOCK_ROWS = 500

JSON_SPACE = b" \t\r\n"

COMMAS_IN_A_RECORD = len(msgspec.structs.fields(NewProduction)) - 1

_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_FLAT = rb'(?:[^"\[\]{}]++|' + _STRING + rb")*+"
_ELEMENT = rb'(?:[^"\[\]{},]++|' + _STRING + rb"|\{" + _FLAT + rb"\}|\[" + _FLAT + rb"\])++(?:,|\Z)"
_ELEMENTS = re.compile(rb"(?:%b){1,%d}+" % (_ELEMENT, MAX_BLOCK_ROWS), re.DOTALL)
"""Elements of an array, and in them nothing that is nested deeper. The array is known to be JSON."""

_STRINGS_AND_BRACKETS = re.compile(_STRING + rb"|[\[\]{}]", re.DOTALL)
_DEPTH = {b"[": 1, b"{": 1, b"]": -1, b"}": -1}
_NOTHING = re.compile(rb"[ \t\r\n]*+")

_decode_records = msgspec.json.Decoder(list[NewProduction]).decode
_decode_elements = msgspec.json.Decoder(list[msgspec.Raw]).decode


class NdjsonReader(RecordReader):
    """One JSON object on each line; blank lines are passed over."""

    def _take(self, lines: bytes) -> Iterator[None]:
        place = 0
        while place < len(lines) and not self._gave_up():
            end = lines.find(b"\n", place + BLOCK_BYTES) + 1 or len(lines)
            block, place = lines[place:end], end
            if not self._take_lines(block):
                yield from self._take_each((line for line in block.split(b"\n") if line.strip()), self._take_row)
            yield

    def _take_lines(self, lines: bytes) -> bool:
        """Keep lines that are one object each, or return False, and keep none, where one may be anything else."""
        records = lines.strip(JSON_SPACE).replace(b"\r\n", b"\n").replace(b"\n", b",\n")
        count = records.count(b"\n") + 1
        return (
            records.count(b"{") == records.count(b"}") == count
            and records.count(b"},\n{") == count - 1
            and self._take_records(records)
        )

    def _take_records(self, records: bytes) -> bool:
        """Keep the elements of an array, or return False, and keep none, where one is not right.

        A record with all its members and no other has so many commas. One more stands for a member that is named
        twice, which the decoder passes over.
        """
        try:
            rows = _decode_records(b"[" + records + b"]")
            if records.count(b",") != len(rows) * (COMMAS_IN_A_RECORD + 1) - 1:
                return False
            return self._keep_all(
                [row.factory_id for row in rows],
                self._instants.read_all([row.time for row in rows]),
                [row.sprocket_production_actual for row in rows],
                [row.sprocket_production_goal for row in rows],
            )
        except (msgspec.DecodeError, ValueError, RecursionError, Invalid):
            return False

    def _take_row(self, text: bytes) -> None:
        if len(text) > MAX_LINE_BYTES:
            raise self._too_long()
        self._rows += 1
        try:
            row = decode(text, NewProduction, {"time": self._instants.read})
            time = self._instants.read(row.time)
        except Refusal as refusal:
            for fault in refusal.faults or (Fault("/time" if isinstance(refusal, Invalid) else "", str(refusal)),):
                self._fault(fault.pointer, fault.detail)
            return
        self._keep(row.factory_id, time, row.sprocket_production_actual, row.sprocket_production_goal)


class ArrayReader(NdjsonReader):
    """One JSON array, fed whole. It is taken apart a block at a time: element by element it would fill the memory."""

    def feed(self, data: bytes) -> Iterator[None]:
        """Read the array, step by step. Raises Unreadable."""
        try:
            msgspec.json.decode(data, type=msgspec.Raw)
        except (msgspec.DecodeError, RecursionError) as error:
            raise unreadable(error) from error
        place, end = data.index(b"[") + 1, data.rindex(b"]")
        if _NOTHING.fullmatch(data, place, end):
            return
        while place < end and not self._gave_up():
            found = _ELEMENTS.match(data, place, end)
            after = found.end() if found else self._end_of_nested(data, place, end)
            block, place = data[place:after].removesuffix(b","), after
            if not self._take_records(block):
                yield from self._take_each(map(bytes, _decode_elements(b"[" + block + b"]")), self._take_row)
            yield

    def _end_of_nested(self, data: bytes, place: int, end: int) -> int:
        """Return where an element that nests, and the comma behind it, end. Raises Unreadable."""
        depth = 0
        for token in _STRINGS_AND_BRACKETS.finditer(data, place, end):
            depth += _DEPTH.get(token.group(), 0)
            if token.end() - place > MAX_LINE_BYTES:
                break
            if depth == 0:
                comma = data.find(b",", token.end(), end)
                return end if comma < 0 else comma + 1
        raise self._too_long()
