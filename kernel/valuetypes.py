"""The types of values that steps exchange, and what fits what.

A value is plain data, or refers to a file or folder: `{"$file": PATH}`, `{"$folder": PATH}`,
`{"$artifact": "blake3:HEX"}`, further keys being hints (bus protocol, section 4). Text and files
convert into each other: a text input may be given as a file and a file input as its text.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from .document import KeyPath
from .errors import Problem, Problems
from .schemacheck import author_findings, schema_fault
from .structure import Finding, dotted, shown
from .syntax import MediaType, hint

TypeName = Literal["text", "integer", "number", "boolean", "json", "file", "folder"]
_NOUNS: Final[dict[TypeName, str]] = {
    "text": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "json": "JSON data",
    "file": "a file",
    "folder": "a folder",
}
_EXAMPLES: Final[dict[TypeName, str]] = {
    "text": 'write it in quotes, such as "abc"',
    "file": "refer to a file, or write its text in quotes",
    "folder": "refer to a folder",
    "integer": "write a whole number such as 3",
    "number": "write a number such as 0.5",
    "boolean": "write true or false",
    "json": 'write JSON such as {"a": [1, 2]}',
}
_WIDENINGS: Final = {
    ("integer", "number"),
    ("text", "json"),
    ("integer", "json"),
    ("number", "json"),
    ("boolean", "json"),
}
_REFERENCE = re.compile(r"blake3:[0-9a-f]{64}\Z")


class ValueType(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The declared type of one input or output."""

    type: Annotated[TypeName, Meta(description="what kind of value it is")]
    description: Annotated[str, Meta(description="what it means, for people")] = ""
    schema: Annotated[
        dict[str, Any] | UnsetType, Meta(description="a JSON Schema, only for type json")
    ] = UNSET
    media: MediaType | UnsetType = UNSET
    optional: Annotated[bool, Meta(description="it may be absent")] = False
    default: Annotated[Any, Meta(description="the value when none is given")] = UNSET
    file: Annotated[
        str | UnsetType, Meta(description="usual name of the file or folder, for file and folder")
    ] = UNSET

    @property
    def required(self) -> bool:
        """True if a value must be given."""
        return not self.optional and self.default is UNSET

    @property
    def may_be_absent(self) -> bool:
        """True if there may be no value, not even a default."""
        return self.optional and self.default is UNSET

    @property
    def remedy(self) -> str:
        """What to write where a value of another type stands."""
        return _EXAMPLES[self.type]

    def check(self, value: object, field: str = "value", *, convert: bool = False) -> list[Problem]:
        """Why `value` is not of this type; every problem names its field in `where`.

        `convert` also accepts text for a file, as an input or a default may be written.
        """
        return [Problem(message, inner) for inner, message in self._faults(value, field, convert)]

    def _faults(self, value: object, field: str, convert: bool) -> Iterator[tuple[str, str]]:
        wrong = (field, f'"{field}" must be {_NOUNS[self.type]}, not {shown(value)}')
        match self.type:
            case "text":
                if not isinstance(value, str) and not _refers(value, "$file", "$artifact"):
                    yield wrong
            case "integer":
                if not isinstance(value, int) or isinstance(value, bool):
                    yield wrong
                elif not -(1 << 63) <= value < 1 << 63:
                    yield field, f'"{field}" does not fit in 64 bits'
            case "number":
                if not isinstance(value, int | float) or isinstance(value, bool):
                    yield wrong
                elif not math.isfinite(value):
                    yield field, f'"{field}" must be a finite number'
            case "boolean":
                if not isinstance(value, bool):
                    yield wrong
            case "json":
                yield from self._json_faults(value, field)
            case "file":
                text = convert and isinstance(value, str) and _is_text(self.media)
                if not text and not _refers(value, "$file", "$artifact"):
                    yield wrong
            case "folder":
                if not _refers(value, "$folder", "$artifact"):
                    yield wrong

    def _json_faults(self, value: object, field: str) -> Iterator[tuple[str, str]]:
        if not _is_json(value):
            yield field, f'"{field}" must be JSON data'
            return
        if self.schema is UNSET:
            return
        if schema_fault(msgspec.json.encode(self.schema)):
            yield field, f'"{field}" cannot be checked: its JSON Schema is not valid'
            return
        try:
            for finding in author_findings(value, self.schema, (field,)):
                yield dotted(finding.key), finding.message
        except RecursionError:
            yield field, f'"{field}" is nested too deeply for its schema'


def declaration_findings(key: KeyPath, declared: ValueType) -> Iterator[Finding]:
    """What is wrong in a declared type itself; `key` is where it stands in its document."""
    if declared.schema is not UNSET:
        if declared.type != "json":
            yield Finding((*key, "schema"), f"a {declared.type} has no schema", "use type json")
        elif fault := schema_fault(msgspec.json.encode(declared.schema)):
            yield Finding((*key, "schema"), f"not a valid JSON Schema: {fault}")
            return
    if declared.media is not UNSET and declared.type not in {"file", "text"}:
        yield Finding((*key, "media"), f"a {declared.type} has no media type", "use type file")
    if declared.file is not UNSET:
        if declared.type not in {"file", "folder"}:
            yield Finding((*key, "file"), f"a {declared.type} has no file name", "remove it")
        elif not is_safe_path(declared.file):
            yield Finding(
                (*key, "file"),
                f"{shown(declared.file)} does not stay inside the outbox",
                "give a relative path without ..",
            )
    if declared.default is not UNSET:
        name = dotted((*key, "default"))
        for problem in declared.check(declared.default, name, convert=True):
            yield Finding((*key, "default"), problem.message)


def compatible(source: ValueType, target: ValueType) -> str | None:
    """Why a value of type `source` cannot be given where `target` is wanted; None if it can.

    Beside equal types: an integer as a number, plain values as JSON, text and text files as each
    other. Media types must agree where both are stated; `text/*` stands for all of a kind.
    """
    kinds = (source.type, target.type)
    if set(kinds) == {"text", "file"}:
        file = source if source.type == "file" else target
        return None if _is_text(file.media) else f"{file.media} is not text"
    if source.type != target.type and kinds not in _WIDENINGS:
        return f"{_NOUNS[source.type]} is not {_NOUNS[target.type]}"
    if source.media is UNSET or target.media is UNSET or _media_match(source.media, target.media):
        return None
    return f"{source.media} is not {target.media}"


def parse_inputs(
    assignments: Sequence[str], declared: Mapping[str, ValueType]
) -> dict[str, object]:
    """Command line values `NAME=VALUE` by name, defaults filled in. Raises all `Problems` at once.

    A file or folder becomes an absolute `Path` that exists; everything else is plain data.
    """
    problems: list[Problem] = []
    values: dict[str, object] = {}
    for assignment in assignments:
        name, given, text = assignment.partition("=")
        where = f"--input {name}"
        if not given:
            problems.append(Problem("an input is NAME=VALUE", where, f"write {name}=VALUE"))
        elif name not in declared:
            remedy = hint(name, declared, "inputs")
            problems.append(Problem(f'there is no input "{name}"', where, remedy))
        elif name in values:
            problems.append(Problem(f'the input "{name}" is given twice', where, "remove one"))
        else:
            values[name], faults = _parse(declared[name], name, text)
            problems += [Problem(fault.message, where, fault.help) for fault in faults]
    for name, kind in declared.items():
        if name in values:
            continue
        if kind.default is not UNSET:
            values[name] = kind.default
        elif kind.required:
            noun = _NOUNS[kind.type]
            meaning = f": {kind.description}" if kind.description else ""
            remedy = f"add --input {name}=…, {noun}{meaning}"
            problems.append(Problem(f'the input "{name}" is missing', f"--input {name}", remedy))
    if problems:
        raise Problems(problems)
    return values


def is_safe_path(path: str) -> bool:
    """True for a relative path with no `..`, `.` or empty part: it stays below its folder."""
    parts = path.split("/")
    return "\0" not in path and all(part not in {"", ".", ".."} for part in parts)


def _parse(kind: ValueType, name: str, text: str) -> tuple[object, list[Problem]]:
    value: object = text
    if kind.type in {"file", "folder"}:
        return _parse_path(kind, text)
    if kind.type != "text":
        try:
            value = msgspec.json.decode(text)
        except (ValueError, RecursionError):
            example = _EXAMPLES[kind.type]
            return None, [
                Problem(f'"{name}" must be {_NOUNS[kind.type]}, not {shown(text)}', None, example)
            ]
    return value, kind.check(value, name)


def _parse_path(kind: ValueType, text: str) -> tuple[object, list[Problem]]:
    try:
        path = Path(text).expanduser().absolute()
        exists, fits = path.exists(), path.is_file() if kind.type == "file" else path.is_dir()
    except (OSError, ValueError, RuntimeError) as error:
        return None, [Problem(f"cannot look at {shown(text)}: {error}", None, "check the path")]
    if fits and os.access(path, os.R_OK):
        return path, []
    if not exists:
        return None, [Problem(f"there is no {kind.type} {shown(text)}", None, "check the path")]
    if not fits:
        return None, [Problem(f"{shown(text)} is not {_NOUNS[kind.type]}", None, "check the path")]
    return None, [Problem(f"{shown(text)} is not readable", None, "check its permissions")]


def _is_json(value: object) -> bool:
    """True if `value` comes back from JSON as it was: no bytes, no other keys than text."""
    try:
        return bool(json.loads(json.dumps(value, allow_nan=False)) == value)
    except (TypeError, ValueError, RecursionError):
        return False


def _refers(value: object, *keys: str) -> bool:
    """True if `value` is a reference by exactly one of the reference keys, and by one of `keys`."""
    if not isinstance(value, Mapping):
        return False
    used = [key for key in ("$file", "$folder", "$artifact") if key in value]
    if len(used) != 1 or used[0] not in keys or not isinstance(target := value[used[0]], str):
        return False
    if used == ["$artifact"]:
        return _REFERENCE.match(target) is not None
    return is_safe_path(target)


def _is_text(media: str | UnsetType) -> bool:
    """True for a media type whose bytes are text, and for none."""
    if media is UNSET:
        return True
    name = media.partition(";")[0]
    return (
        _media_match(name, "text/*")
        or name in {"application/json", "application/toml", "application/xml"}
        or name.endswith(("+json", "+xml"))
    )


def _media_match(one: str, other: str) -> bool:
    pairs = zip(one.partition(";")[0].split("/"), other.partition(";")[0].split("/"), strict=False)
    return all("*" in (left, right) or left == right for left, right in pairs)
