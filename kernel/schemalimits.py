"""JSON Schemas of authors, evaluated within bounds.

They come with an extension and are checked in the kernel: one that refers to itself twice at each
of thirty levels, or a pattern such as `^(a+)+$`, would stop everything. So the steps of a check are
counted, and patterns are matched in linear time, by the regular expressions of CEL.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from cel import Program
    from jsonschema.exceptions import ValidationError

    Keyword = Callable[[Any, Any, Any, Any], Iterator[ValidationError] | None]

MAX_STEPS: Final = 300_000  # each takes some microseconds


class TooMuchWorkError(Exception):
    """A check that takes more steps than it may."""


_left = threading.local()


def errors(value: object, schema: Mapping[str, Any]) -> list[ValidationError]:
    """Every way in which `value` breaks the schema. Raises `TooMuchWorkError`."""
    from jsonschema_specifications import REGISTRY

    _left.steps = MAX_STEPS
    return list(_validator()(schema, registry=REGISTRY).iter_errors(value))


def pattern_fault(pattern: str) -> str | None:
    """Why a pattern cannot be matched in linear time, e.g. since it looks ahead."""
    try:
        _matches(pattern, "")
    except (RuntimeError, ValueError) as error:  # of the library, with a drawing of the place
        return str(error).rpartition("error: ")[2].partition(". ")[0]
    return None


@functools.cache
def _validator() -> Any:
    from jsonschema import Draft202012Validator, validators

    extend: Any = validators.extend  # it has no types
    own = {**Draft202012Validator.VALIDATORS, "pattern": _pattern}
    own |= {"patternProperties": _pattern_properties}
    own |= {"additionalProperties": _additional_properties}
    return extend(Draft202012Validator, {name: _counted(check) for name, check in own.items()})


def _counted(check: Keyword) -> Keyword:
    def counted(validator: Any, rule: Any, value: Any, schema: Any) -> Iterator[ValidationError]:
        _left.steps -= 1
        if _left.steps < 0:
            raise TooMuchWorkError
        yield from check(validator, rule, value, schema) or ()

    return counted


def _pattern(_: Any, pattern: str, value: Any, __: Any) -> Iterator[ValidationError]:
    from jsonschema.exceptions import ValidationError

    if isinstance(value, str) and not _matches(pattern, value):
        yield ValidationError("does not match")


def _pattern_properties(
    validator: Any, patterns: Mapping[str, Any], value: Any, _: Any
) -> Iterator[ValidationError]:
    if isinstance(value, dict):
        for pattern, inner in patterns.items():
            for name in value:
                if _matches(pattern, name):
                    yield from validator.descend(value[name], inner, name, pattern)


def _additional_properties(
    validator: Any, rule: Any, value: Any, schema: Mapping[str, Any]
) -> Iterator[ValidationError]:
    from jsonschema.exceptions import ValidationError

    if not isinstance(value, dict):
        return
    for name in value:
        if name in schema.get("properties", {}) or any(
            _matches(pattern, name) for pattern in schema.get("patternProperties", {})
        ):
            continue
        if rule is False:
            yield ValidationError("unknown key")
            return
        yield from validator.descend(value[name], rule, path=name)


def _matches(pattern: str, text: str) -> bool:
    return bool(_program().execute({"text": text, "pattern": pattern}))


@functools.cache
def _program() -> Program:
    import cel

    return cel.compile("text.matches(pattern)")
