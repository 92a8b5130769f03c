"""Reads a backlog: its rows as features, and the fields of entities that they name."""

from __future__ import annotations

import csv
import io
import keyword
import re

from plan_model import PYTHON_TYPES, Attribute, Feature

_FIELD = re.compile(
    r"^(?P<name>[a-z]\w*):(?P<type>[a-z]+(?:\([^)]*\))?)(?P<marks>[?!]*)(?:>=(?P<minimum>\d+))?(?:<=(?P<maximum>\d+))?$"
)


class UnreadableBacklog(Exception):  # noqa: N818 - says what is wrong, as the reader meets it
    """The text is no backlog."""


def features(backlog: str) -> list[Feature]:
    """Every row of a backlog. Raises UnreadableBacklog."""
    try:
        reader = csv.DictReader(io.StringIO(backlog), strict=True)
        table = list(reader)
    except csv.Error as problem:
        raise UnreadableBacklog(str(problem)) from None
    if "id" not in (reader.fieldnames or ()):
        raise UnreadableBacklog("it has no column 'id'")
    out: list[Feature] = []
    for number, row in enumerate(table, 1):
        cells = {
            k: (v or "").strip()
            for k, v in row.items()
            if isinstance(k, str) and not isinstance(v, list)
        }
        if not cells.get("id") or any(cells["id"] == f.id for f in out):
            told = f"has the id {cells['id']} again" if cells.get("id") else "has no id"
            raise UnreadableBacklog(f"row {number} {told}")
        tokens = [t.strip() for t in cells.get("fields", "").split(";") if t.strip()]
        out.append(
            Feature(
                cells["id"],
                " ".join(cells.get("feature", "").split()),
                cells.get("actor", "user"),
                cells.get("verb", ""),
                cells.get("noun", ""),
                tokens,
                cells.get("priority", ""),
                [a for a in cells.get("acceptance", "").split("\n") if a.strip()],
                cells.get("depends_on", "").split(),
            )
        )
    return out


def attribute(token: str) -> Attribute | None:
    match = _FIELD.match(token)
    if not match or keyword.iskeyword(match["name"]):
        return None
    kind, _, argument = match["type"].partition("(")
    if kind not in PYTHON_TYPES:
        return None
    minimum = int(match["minimum"]) if match["minimum"] else None
    return Attribute(
        match["name"],
        kind,
        argument.rstrip(")"),
        "?" in match["marks"],
        "!" in match["marks"],
        minimum,
        int(match["maximum"]) if match["maximum"] else None,
    )
