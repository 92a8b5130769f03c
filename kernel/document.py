"""Loads TOML and JSON files to plain data and knows the line of every key.

Plain data here is what both formats and the wire can hold: maps with text keys, lists, text,
integers of 64 bits, finite numbers, booleans and (JSON only) null. A file that cannot be read as a
whole is refused as `Problems` with file and line. Single values that are not plain data, and keys
given twice, are `faults` of the document: they are reported with whatever else is wrong in it.
"""

from __future__ import annotations

import json
import math
import re
import stat
import tomllib
from pathlib import Path
from typing import Any, Final, NamedTuple, NoReturn

from .errors import Problem, Problems

MAX_BYTES: Final = 4 << 20
MAX_DEPTH: Final = 64
MAX_VALUES: Final = 400_000  # locating an error takes some microseconds for each
MAX_FAULTS: Final = 1_000  # in one document; what is beyond is of no use to anybody

KeyPath = tuple[str | int, ...]
# A dotted key costs the TOML reader the cube of its length, so a long one is refused before.
_LONG_KEY = re.compile(rf"(?<![\w.-])(?:[\w-]++[ \t]*+\.[ \t]*+){{{MAX_DEPTH}}}")
_QUOTED = re.compile(r"""\"(?:\\.|[^"\\\n])*+"|'[^'\n]*+'""")
_TOML_LINE = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")


class Fault(NamedTuple):
    """A value that is not plain data (`odd`), or a key that is given twice (and not `odd`)."""

    key: KeyPath
    line: int
    message: str
    help: str
    odd: bool = True


class Document:
    """A file as plain data. `data` is its top table; `where` locates a key path in it.

    `data` still holds the odd values that `faults` names.
    """

    def __init__(self, path: Path, source: bytes, data: dict[str, Any]) -> None:
        self.path = path
        self.data = data
        self.faults: tuple[Fault, ...] = ()
        self._source = source
        self._lines: dict[KeyPath, int] | None = None

    def line(self, key: KeyPath) -> int:
        """The line (from 1) of `key`, or of its nearest ancestor that is written in the file."""
        if self._lines is None:
            from . import locator  # tree-sitter costs 25 ms: only when an error is located

            if is_json(self.path):
                self._lines = locator.json_lines(self._source)[0]
            else:
                self._lines = locator.toml_lines(self._source)
        for size in range(len(key), 0, -1):
            if key[:size] in self._lines:
                return self._lines[key[:size]]
        return 1

    def where(self, key: KeyPath) -> str:
        """`FILE:LINE` of `key`."""
        return f"{self.path}:{self.line(key)}"


def is_json(path: Path) -> bool:
    """JSON files end in `.json`; everything else is TOML."""
    return path.suffix == ".json"


def load_document(path: Path) -> Document:
    """Reads and parses `path`. Raises `Problems` for whatever makes it unreadable."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            _refuse("not a regular file", str(path), "name a TOML or JSON file")
        with path.open("rb") as file:
            source = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        _refuse("there is no such file", str(path), "check the path")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        _refuse(f"cannot read the file: {reason}", str(path), "check its path and permissions")
    return parse_document(path, source)


def parse_document(path: Path, source: bytes) -> Document:
    """`source` as the content of `path`; the suffix tells the format."""
    if len(source) > MAX_BYTES:
        _refuse("the file is larger than 4 MiB", str(path), "split it, or move bulk data to files")
    try:
        text = source.decode()
    except UnicodeDecodeError as error:
        line = source.count(b"\n", 0, error.start) + 1
        _refuse("the file is not UTF-8 text", f"{path}:{line}", "save it as UTF-8")
    repeated = False
    try:
        if is_json(path):
            data, repeated = _parse_json(path, text)
        else:
            data = _parse_toml(path, text)
    except RecursionError:
        _refuse_depth(str(path))
    except ValueError as error:  # beside syntax: an integer of thousands of digits
        _refuse(f"a value cannot be read: {error}", str(path), "use a smaller number")
    if not isinstance(data, dict):
        _refuse(f"the file must hold a table, not {_kind(data)}", f"{path}:1", "begin with {")
    document = Document(path, source, data)
    odd = _odd_values(data)
    if odd.too_many:
        remedy = "split it, or move bulk data to files"
        _refuse(f"the file holds more than {MAX_VALUES} values", str(path), remedy)
    faults = [
        Fault(key, document.line(key), message, remedy) for key, message, remedy in odd.values
    ]
    if repeated:
        faults += _repeated_keys(source)
    faults.sort(key=lambda fault: fault.line)
    if odd.unreadable:
        raise Problems(Problem(f.message, f"{path}:{f.line}", f.help) for f in faults)
    document.faults = tuple(faults)
    return document


def _parse_toml(path: Path, text: str) -> object:
    for number, row in enumerate(text.split("\n"), 1):
        if row.count(".") >= MAX_DEPTH and _LONG_KEY.search(_QUOTED.sub("q", row)):
            _refuse_depth(f"{path}:{number}")
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        message = str(error)
        place = _TOML_LINE.search(message)
        if place is None:
            raise
        line = int(place[1]) if place[1] else text.rstrip("\n").count("\n") + 1
        column = f", column {place[2]}" if place[2] else ""
        what = message[: place.start()]
        _refuse(f"not valid TOML: {what}{column}", f"{path}:{line}", "see https://toml.io")


def _parse_json(path: Path, text: str) -> tuple[object, bool]:
    """What the text holds, and whether any key is given twice in it."""
    repeated = False

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal repeated
        table = dict(pairs)
        repeated = repeated or len(table) != len(pairs)
        return table

    try:
        data = json.loads(text, object_pairs_hook=unique, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        _refuse(
            f"not valid JSON: {error.msg}, column {error.colno}",
            f"{path}:{error.lineno}",
            "see https://json.org",
        )
    return data, repeated


def _repeated_keys(source: bytes) -> list[Fault]:
    from . import locator

    return [
        Fault(key, line, f'the key "{key[-1]}" is given twice', "remove one of them", odd=False)
        for key, line in locator.json_lines(source)[1][:MAX_FAULTS]
    ]


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


class _Odd(NamedTuple):
    values: list[tuple[KeyPath, str, str]]
    unreadable: bool = False  # too deep to be walked, or with text that cannot even be shown
    too_many: bool = False


def _odd_values(data: object) -> _Odd:
    """What the format allows and plain data does not."""
    found: list[tuple[KeyPath, str, str]] = []
    unreadable = False
    count = 0
    stack: list[tuple[object, KeyPath]] = [(data, ())]
    while stack and len(found) < MAX_FAULTS:
        value, path = stack.pop()
        if isinstance(value, dict | list):
            count += len(value)
            if count > MAX_VALUES:
                return _Odd([], too_many=True)
            if len(path) >= MAX_DEPTH:
                found.append((path, f"nested deeper than {MAX_DEPTH} levels", "flatten it"))
                unreadable = True
            else:
                items = value.items() if isinstance(value, dict) else enumerate(value)
                stack.extend((item, (*path, key)) for key, item in items)
                if isinstance(value, dict) and not all(map(_is_text, value)):
                    found.append((path, "a key holds half a surrogate pair", "use whole letters"))
                    unreadable = True
            continue
        if isinstance(value, str):
            if not _is_text(value):
                found.append((path, "the text holds half a surrogate pair", "use whole letters"))
                unreadable = True
        elif isinstance(value, float):
            if not math.isfinite(value):
                found.append((path, "the number is not finite", "give an ordinary number"))
        elif isinstance(value, int):
            if not -(1 << 63) <= value < 1 << 63:
                found.append((path, "the integer does not fit in 64 bits", "give it as text"))
        elif value is not None:
            found.append((path, "dates and times have no type here", "put it in quotes, as text"))
    return _Odd(found, unreadable)


def _is_text(value: str) -> bool:
    if value.isascii():
        return True
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _kind(value: object) -> str:
    return {list: "a list", str: "text", type(None): "null"}.get(type(value), "a single value")


def _refuse_depth(where: str) -> NoReturn:
    _refuse("the file is nested too deeply", where, f"use at most {MAX_DEPTH} levels")


def _refuse(message: str, where: str, remedy: str) -> NoReturn:
    raise Problems([Problem(message, where, remedy)])
