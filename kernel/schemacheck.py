"""Whether a JSON Schema that an author wrote is one, and stands alone; what breaks it.

A schema that refers outside itself would make the kernel fetch what the author names.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from .document import KeyPath
from .schemalimits import TooMuchWorkError, errors, pattern_fault
from .structure import Finding, explain, shown


@functools.lru_cache(maxsize=256)  # the same few schemas are used at every check
def schema_fault(encoded: bytes) -> str | None:
    """Why this JSON is no JSON Schema that stands alone: it may refer to nothing outside itself."""
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import SchemaError

    schema = msgspec.json.decode(encoded)
    try:
        Draft202012Validator.check_schema(
            schema, format_checker=Draft202012Validator.FORMAT_CHECKER
        )
    except SchemaError as error:
        return next(explain(error)).message
    except RecursionError:
        return "nested too deeply"
    for reference in _references(schema):
        if not _resolves(schema, reference):
            return f"the reference {shown(reference)} leads nowhere in it"
    for pattern in _patterns(schema):
        if fault := pattern_fault(pattern):
            return f"the pattern {shown(pattern)} cannot be used: {fault}"
    unevaluated = any("unevaluatedProperties" in table for table in _tables(schema))
    if unevaluated and any("patternProperties" in table for table in _tables(schema)):
        return "unevaluatedProperties cannot be used with patternProperties"
    return None


def author_findings(value: object, schema: Mapping[str, Any], base: KeyPath) -> Iterator[Finding]:
    """Every way in which `value`, standing at `base`, breaks an author's valid JSON Schema."""
    try:
        for error in errors(value, schema):
            yield from explain(error, base)
    except TooMuchWorkError:
        yield Finding(base, f"{shown(value)} takes too long to check against its JSON Schema")


def _tables(schema: object) -> Iterator[dict[str, Any]]:
    stack = [schema]
    while stack:
        node = stack.pop()
        if isinstance(node, dict):
            yield node
            stack.extend(node.values())
        elif isinstance(node, list):
            stack.extend(node)


def _references(schema: object) -> Iterator[str]:
    for table in _tables(schema):
        yield from (
            table[key] for key in ("$ref", "$dynamicRef") if isinstance(table.get(key), str)
        )


def _patterns(schema: object) -> Iterator[str]:
    for table in _tables(schema):
        if isinstance(pattern := table.get("pattern"), str):
            yield pattern
        if isinstance(properties := table.get("patternProperties"), dict):
            yield from properties


def _resolves(schema: dict[str, Any], reference: str) -> bool:
    from referencing import Registry
    from referencing.exceptions import Unresolvable
    from referencing.jsonschema import DRAFT202012

    resource = DRAFT202012.create_resource(schema)
    root = resource.id() or ""
    try:
        Registry().with_resource(root, resource).resolver(root).lookup(reference)
    except Unresolvable:
        return False
    return True
