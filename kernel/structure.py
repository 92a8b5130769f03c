"""Turns a document into a msgspec Struct, with every structural fault at its line.

The fast path is msgspec, which stops at the first fault. Only when it fails is the document read
again with JSON Schema, which finds them all, and each is put in words that need no schema. Faulty
parts are then left out, or given a stand-in where they are indispensable, and the rest is converted
once more, so that the checks of meaning that follow can report what else is wrong in the same go.
"""

from __future__ import annotations

import copy
import fnmatch
import itertools
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

import msgspec

from .document import MAX_FAULTS, Document, KeyPath
from .errors import Problem, Problems
from .syntax import hint

if TYPE_CHECKING:
    from jsonschema.exceptions import SchemaError, ValidationError

T = TypeVar("T")

_WORDS: Final = {
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "array": "a list",
    "object": "a table",
    "null": "null",
}


DROP: Final = object()  # as a stand-in: leave out the whole table that the key stands in
StandIns = Mapping[str, object]  # by dotted key, with * for any one name or index


class Finding(NamedTuple):
    """A fault at a key path; it becomes a `Problem` once its line is known."""

    key: KeyPath
    message: str
    help: str | None = None


class Report:
    """Collects the findings of one document and raises them together."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._findings: dict[Finding, None] = {}
        self._broken: set[KeyPath] = set()
        self._above_broken: set[KeyPath] = set()
        self._break(fault.key for fault in document.faults if fault.odd)

    def add(self, key: KeyPath, message: str, help: str | None = None) -> None:  # noqa: A002
        """Adds a fault, unless it lies in a part whose structure is already reported as wrong."""
        if not self.is_broken(key):
            self._findings[Finding(key, message, help)] = None

    def add_structural(self, findings: Iterable[Finding]) -> None:
        """Adds faults of structure: later ones in the same places would only repeat them."""
        new = [finding for finding in findings if not self.is_broken(finding.key)]
        self._findings.update(dict.fromkeys(new))
        self._break(finding.key for finding in new)

    @property
    def full(self) -> bool:
        """True if there are so many faults that further ones are of no use."""
        return len(self._findings) >= MAX_FAULTS

    def is_broken(self, key: KeyPath) -> bool:
        """True if the structure is wrong at `key`, above or below it.

        What follows from that alone is not worth a finding of its own.
        """
        above = (key[:size] for size in range(len(key) + 1))
        return key in self._above_broken or any(part in self._broken for part in above)

    def _break(self, keys: Iterable[KeyPath]) -> None:
        for key in keys:
            self._broken.add(key)
            self._above_broken.update(key[:size] for size in range(len(key)))

    def raise_if_any(self) -> None:
        """Raises `Problems` in the order of the file if anything was found."""
        document = self._document
        found: list[tuple[int, str, str | None]] = [
            (fault.line, fault.message, fault.help) for fault in document.faults
        ]
        found += [(document.line(f.key), f.message, f.help) for f in self._findings]
        if found:
            found.sort(key=lambda fault: fault[0])
            raise Problems(
                Problem(message, f"{document.path}:{line}", remedy)
                for line, message, remedy in found
            )


def decode(
    document: Document, shape: type[T], report: Report, stand_ins: StandIns | None = None
) -> T | None:
    """The document as `shape`; what is wrong goes to `report`.

    After faults the value lacks the faulty parts or has their stand-ins; it is None where neither
    gives a whole.
    """
    odd = {fault.key for fault in document.faults if fault.odd}
    data = _mended(document.data, odd, stand_ins or {}) if odd else document.data
    try:
        return msgspec.convert(data, shape)
    except msgspec.ValidationError as error:
        found = schema_findings(data, msgspec.json.schema(shape))
        findings = list(itertools.islice(found, MAX_FAULTS))
        report.add_structural(findings or [Finding((), str(error))])
        try:
            mended = _mended(data, {f.key for f in findings}, stand_ins or {})
            return msgspec.convert(mended, shape)
        except msgspec.ValidationError:
            return None


def schema_findings(
    value: object, schema: Mapping[str, Any], base: KeyPath = ()
) -> Iterator[Finding]:
    """Every way in which `value`, standing at `base`, breaks the JSON Schema, in plain words."""
    from jsonschema import Draft202012Validator  # 50 ms: only when there is a fault to explain
    from jsonschema_specifications import REGISTRY

    validator = Draft202012Validator(schema, registry=REGISTRY)
    for error in validator.iter_errors(value):
        yield from explain(error, base)


def dotted(key: KeyPath) -> str:
    """A key path as users write it: `steps[2].retry.attempts`."""
    text = ""
    for part in key:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def explain(error: ValidationError | SchemaError, base: KeyPath = ()) -> Iterator[Finding]:
    """A fault found by JSON Schema, in plain words."""
    key: KeyPath = (*base, *error.absolute_path)
    rule = str(error.validator)
    limit: Any = error.validator_value
    value: Any = error.instance
    if rule == "required":
        for name in limit:
            if name not in value:
                yield Finding((*key, name), f'"{dotted((*key, name))}" is missing', "add it")
    elif rule == "additionalProperties" and limit is False:
        known = _entry(error, "properties") or {}
        for name in value:
            if name not in known:
                inner = (*key, name)
                yield Finding(inner, f'unknown key "{dotted(inner)}"', hint(name, known, "keys"))
    elif "propertyNames" in error.relative_schema_path:
        message = f"the name {shown(value)} is not well formed"
        yield Finding((*key, value), message, _remedy(rule, error))
    elif rule == "anyOf":
        yield from _explain_choice(error, key, base)
    else:
        what = f'"{dotted(key)}"' if key else "the value"
        yield Finding(key, f"{what} {_must(rule, limit, value)}", _remedy(rule, error))


def _explain_choice(
    error: ValidationError | SchemaError, key: KeyPath, base: KeyPath
) -> Iterator[Finding]:
    """Of several allowed forms explain the one that has the right type, else list the types."""
    branches: dict[int, list[ValidationError]] = {}
    for inner in error.context or ():
        branches.setdefault(int(inner.relative_schema_path[0]), []).append(inner)
    fitting = [
        errors
        for errors in branches.values()
        if not any(inner.validator == "type" and not inner.relative_path for inner in errors)
    ]
    if fitting:
        for inner in fitting[0]:
            yield from explain(inner, base)
        return
    types: list[Any] = [
        inner.validator_value
        for errors in branches.values()
        for inner in errors
        if inner.validator == "type" and inner.validator_value != "null"
    ]
    words = " or ".join(dict.fromkeys(map(_type_words, types)))
    yield Finding(key, f'"{dotted(key)}" must be {words}, not {shown(error.instance)}')


def _must(rule: str, limit: Any, value: object) -> str:
    match rule:
        case "type":
            return f"must be {_type_words(limit)}, not {shown(value)}"
        case "enum":
            return f"must be one of {', '.join(map(_literal, limit))}, not {shown(value)}"
        case "const":
            return f"must be {_literal(limit)}, not {shown(value)}"
        case "minimum":
            return f"must be at least {limit}, not {shown(value)}"
        case "maximum":
            return f"must be at most {limit}, not {shown(value)}"
        case "exclusiveMinimum":
            return f"must be more than {limit}, not {shown(value)}"
        case "exclusiveMaximum":
            return f"must be less than {limit}, not {shown(value)}"
        case "multipleOf":
            return f"must be a multiple of {limit}, not {shown(value)}"
        case "minLength":
            return f"must have at least {limit} characters"
        case "maxLength":
            return f"must have at most {limit} characters"
        case "minItems" | "minProperties":
            return f"must have at least {limit} entries"
        case "maxItems" | "maxProperties":
            return f"must have at most {limit} entries"
        case "uniqueItems":
            return "must not name anything twice"
        case "pattern":
            return f"is not well formed: {shown(value)}"
        case _:
            return f"is not valid: {shown(value)}"


def _remedy(rule: str, error: ValidationError | SchemaError) -> str | None:
    if rule == "enum" and isinstance(error.instance, str):
        values: Any = error.validator_value
        return hint(error.instance, map(str, values), "values")
    if rule == "pattern":
        return _entry(error, "description") or f"the pattern is {error.validator_value}"
    return None


def _entry(error: ValidationError | SchemaError, name: str) -> Any:
    """A keyword of the schema that was broken, or None."""
    schema: Any = error.schema
    return schema.get(name) if isinstance(schema, dict) else None


def _type_words(types: str | Iterable[str]) -> str:
    names = [types] if isinstance(types, str) else types
    return " or ".join(_WORDS.get(name, name) for name in names)


def shown(value: object) -> str:
    """A value for an error message: short, and by its kind where it is long or nested."""
    if isinstance(value, Mapping):
        return "a table"
    if isinstance(value, list | tuple):
        return "a list"
    text = _literal(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def _literal(value: object) -> str:
    try:
        return msgspec.json.encode(value).decode()
    except (TypeError, ValueError, OverflowError):
        return type(value).__name__


def _mended(data: object, keys: set[KeyPath], stand_ins: StandIns) -> object:
    """A copy of `data` without the faulty keys; lists keep their length, so that indexes hold."""
    rest = copy.deepcopy(data)
    for key in sorted(filter(None, keys), key=len, reverse=True):
        stand_in = _stand_in(key, stand_ins)
        whole = stand_in is DROP or (stand_in is None and isinstance(key[-1], int))
        _set(rest, key[:-1] if whole else key, None if whole else stand_in)
    return rest


def _stand_in(key: KeyPath, stand_ins: StandIns) -> object | None:
    path = _joined(key)
    return next((value for p, value in stand_ins.items() if fnmatch.fnmatchcase(path, p)), None)


def _set(data: Any, key: KeyPath, value: object | None) -> None:
    """Puts `value` at `key`, or removes the key if it is None and stands in a table."""
    for part in key[:-1]:
        try:
            data = data[part]
        except (LookupError, TypeError):  # left out already
            return
    if key and isinstance(data, dict):
        if value is None:
            data.pop(key[-1], None)
        else:
            data[key[-1]] = value


def _joined(key: KeyPath) -> str:
    return ".".join(map(str, key))
