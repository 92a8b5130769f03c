"""Whether a JSON Schema that an author wrote is one, and stands alone.

A schema that refers outside itself would make the kernel fetch what the author names.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import msgspec

from .structure import explain, shown


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
    return None


def _references(schema: object) -> Iterator[str]:
    stack = [schema]
    while stack:
        node = stack.pop()
        if isinstance(node, dict):
            yield from (
                node[key] for key in ("$ref", "$dynamicRef") if isinstance(node.get(key), str)
            )
            stack.extend(node.values())
        elif isinstance(node, list):
            stack.extend(node)


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
