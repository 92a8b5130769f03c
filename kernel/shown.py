"""A body of the bus as JSON shows it: readable, and nothing of it lost.

msgpack holds more than JSON does. What JSON cannot hold stands as a map with one of `MARKS`:
`{"$bytes": HEX}`; `{"$ext": [TYPE, HEX]}`, timestamps too; `{"$float": "nan"}` or an infinity;
`{"$text": HEX}` for text that is not UTF-8; `{"$map": [[KEY, VALUE], ...]}` for a map with a key
that is no text or stands twice, or that has one of these marks as a key itself. A body that is not
one msgpack item, or is nested too deeply, is `{"$msgpack": HEX}` as a whole.
"""

from __future__ import annotations

import math
import struct
from typing import Any, Final

MARKS: Final = frozenset({"$bytes", "$ext", "$float", "$text", "$map", "$msgpack"})
MAX_DEPTH: Final = 100

_NUMBERS: Final = {  # by their first byte
    0xCA: ">f",
    0xCB: ">d",
    0xCC: ">B",
    0xCD: ">H",
    0xCE: ">I",
    0xCF: ">Q",
    0xD0: ">b",
    0xD1: ">h",
    0xD2: ">i",
    0xD3: ">q",
}
_SIZES: Final = {  # what it is, and how many bytes tell its size
    0xC4: ("bytes", 1),
    0xC5: ("bytes", 2),
    0xC6: ("bytes", 4),
    0xC7: ("ext", 1),
    0xC8: ("ext", 2),
    0xC9: ("ext", 4),
    0xD9: ("text", 1),
    0xDA: ("text", 2),
    0xDB: ("text", 4),
    0xDC: ("array", 2),
    0xDD: ("array", 4),
    0xDE: ("map", 2),
    0xDF: ("map", 4),
}


def shown(body: bytes) -> Any:
    """The value that JSON can hold; an empty body is null."""
    if not body:
        return None
    reader = _Reader(body)
    try:
        value = reader.value(MAX_DEPTH)
    except _UnreadableError:
        return {"$msgpack": body.hex()}
    return value if reader.at_end() else {"$msgpack": body.hex()}


class _UnreadableError(Exception):
    """Not one msgpack item, or one that is nested too deeply."""


class _Reader:
    def __init__(self, body: bytes) -> None:
        self._body = body
        self._place = 0

    def at_end(self) -> bool:
        return self._place == len(self._body)

    def value(self, depth: int) -> Any:
        first = self._take(1)[0]
        if first < 0x80:
            return first
        if first >= 0xE0:
            return first - 0x100
        if first in (0xC0, 0xC2, 0xC3):
            return {0xC0: None, 0xC2: False, 0xC3: True}[first]
        if first in _NUMBERS:
            return self._number(_NUMBERS[first])
        return self._sized(*self._what(first), depth)

    def _what(self, first: int) -> tuple[str, int]:
        """The kind of an item with a size, and the size."""
        if first < 0x90:
            return "map", first & 0x0F
        if first < 0xA0:
            return "array", first & 0x0F
        if first < 0xC0:
            return "text", first & 0x1F
        if 0xD4 <= first <= 0xD8:
            return "ext", 1 << (first - 0xD4)
        if first not in _SIZES:
            raise _UnreadableError
        kind, width = _SIZES[first]
        return kind, int.from_bytes(self._take(width), "big")

    def _sized(self, kind: str, size: int, depth: int) -> Any:
        if kind == "text":
            return _text(self._take(size))
        if kind == "bytes":
            return {"$bytes": self._take(size).hex()}
        if kind == "ext":
            (code,) = struct.unpack(">b", self._take(1))
            return {"$ext": [code, self._take(size).hex()]}
        if depth == 0:
            raise _UnreadableError
        if kind == "array":
            return [self.value(depth - 1) for _ in range(size)]
        return _map([[self.value(depth - 1), self.value(depth - 1)] for _ in range(size)])

    def _number(self, form: str) -> Any:
        (number,) = struct.unpack(form, self._take(struct.calcsize(form)))
        if isinstance(number, float) and not math.isfinite(number):
            return {"$float": str(number)}
        return number

    def _take(self, size: int) -> bytes:
        taken = self._body[self._place : self._place + size]
        if len(taken) < size:
            raise _UnreadableError
        self._place += size
        return taken


def _text(raw: bytes) -> Any:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return {"$text": raw.hex()}


def _map(items: list[list[Any]]) -> Any:
    keys = [key for key, _ in items]
    texts = {key for key in keys if isinstance(key, str)}
    if len(texts) < len(items) or texts & MARKS:
        return {"$map": items}
    return {key: value for key, value in items}  # noqa: C416 - of lists, not pairs
