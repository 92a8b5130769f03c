"""Markdown tables: which columns hold what, and the statements that the rows stand for."""

from __future__ import annotations

import re

from brief_model import Statement

_ROLES = {
    "actor": "actor role user persona who as",
    "entity": "entity table object thing class noun model entität",
    "fields": "fields attributes columns properties data felder",
    "field": "field attribute column property feld",
    "type": "type format datatype typ",
    "priority": "priority prio moscow importance priorität",
    "note": "notes note comment comments remark remarks detail details acceptance bemerkung",
    "text": "feature features requirement requirements description story function task what want"
    " anforderung funktion beschreibung fonction",
}
_PRIORITIES = {
    "must": "must high critical essential 1 p1 m hoch",
    "could": "could low optional nice 3 p3 c wont won't niedrig",
    "should": "should medium normal 2 p2 s mittel",
}


_NUMBERS = ("", "id", "no", "nr", "number", "ref")


def rows_to_statements(rows: list[tuple[int, list[str]]], section: str) -> list[Statement]:
    """`rows`: 1-based line and cells; the first row is the header."""
    if not rows:
        return []
    roles = _roles(rows[0][1])
    header = [re.sub(r"\W", "", cell).lower() for cell in rows[0][1]]
    others = [i for i, h in enumerate(header) if i not in roles.values() and h not in _NUMBERS]
    found: list[Statement] = []
    for line, cells in rows[1:]:
        row = {role: cells[i].strip() for role, i in roles.items() if i < len(cells)}
        told = [row.get("note", ""), *(cells[i].strip() for i in others if i < len(cells))]
        note = "; ".join(cell for cell in told if cell)
        if row.get("entity") and (listed := row.get("fields") or row.get("field")):
            kind = f" ({row['type']})" if row.get("type") else ""
            text = f"{row['entity']}: {listed}{kind}"
            found.append(Statement(text, "data", True, line, note=note))
        elif row.get("text"):
            text = row["text"]
            if row.get("actor") and section == "users":
                text = f"{row['actor']}: {text}"
            elif row.get("actor") and not text.lower().startswith(("as a", row["actor"].lower())):
                text = f"As a {row['actor']}, I want to {re.sub('^to ', '', text)}"
            priority = _priority(row.get("priority", ""))
            kept = section if section not in ("prose", "goal", "data", "") else "features"
            found.append(Statement(text, kept, True, line, "", priority, note))
        elif text := " | ".join(c for c in cells if c.strip()):
            found.append(Statement(text, section or "features", True, line))
    return found


def _roles(header: list[str]) -> dict[str, int]:
    roles: dict[str, int] = {}
    for index, cell in enumerate(header):
        words = re.findall(r"[^\W\d_]+", cell.lower())
        for role, marks in _ROLES.items():
            if role not in roles and set(words) & set(marks.split()):
                roles[role] = index
                break
    return roles


def _priority(cell: str) -> str:
    words = re.findall(r"[\w']+", cell.lower())
    found = [p for p, marks in _PRIORITIES.items() if set(words) & set(marks.split())]
    return found[0] if found else ""
