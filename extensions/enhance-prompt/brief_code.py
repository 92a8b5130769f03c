"""What a fenced block of code in a brief tells: the tables of a database are its data, all else is
an example."""

from __future__ import annotations

import re

from brief_model import Statement
from brief_nouns import singular

PROSE = frozenset(["", "text", "txt", "md", "markdown", "gherkin", "feature", "cucumber"])
_TABLE = re.compile(
    r"\bcreate table (?:if not exists )?[\"`\[]?(?P<name>\w+)[\"`\]]?\s*"
    r"\((?P<columns>.*?)\)\s*(?:;|$)",
    re.IGNORECASE | re.DOTALL,
)
_CONSTRAINT = re.compile(r"^(?:primary|foreign|unique|check|constraint|key|index)\b", re.IGNORECASE)
_REFERENCES = re.compile(r"\breferences [\"`\[]?(\w+)", re.IGNORECASE)
_TYPES = (
    ("integer", r"int"),
    ("datetime", r"datetime|timestamp"),
    ("date", r"date"),
    ("boolean", r"bool"),
    ("decimal", r"real|float|double|decimal|numeric|money"),
)


def block(language: str, content: str, line: int) -> list[Statement]:
    """The statements of a block in a programming language. `line`: 1-based line of its fence."""
    found = [
        Statement(text, "data", True, line)
        for match in _TABLE.finditer(content)
        if (text := _described(match["name"], match["columns"]))
    ]
    example = " ".join(content.split())
    if found or not example:
        return found
    short = example if len(example) <= 160 else example[:159] + "…"
    return [Statement(f"Example ({language}): {short}", "example", False, line)]


def _described(name: str, columns: str) -> str:
    """'movie: title (text), year (integer)' for the columns of a table."""
    fields = []
    for column in re.split(r",(?![^(]*\))", columns):
        words = column.split()
        if len(words) < 2 or _CONSTRAINT.match(column.strip()) or words[0].lower() == "id":
            continue
        target = _REFERENCES.search(column)
        field = singular(target[1]) if target else words[0].strip('"`[]').replace("_", " ")
        marks = [] if target else [_type(words[1])]
        marks += ["unique"] if re.search(r"\bunique\b", column, re.IGNORECASE) else []
        fields.append(f"{field} ({', '.join(marks)})" if marks else field)
    return f"{singular(name).replace('_', ' ')}: {', '.join(fields)}" if fields else ""


def _type(word: str) -> str:
    return next((name for name, mark in _TYPES if re.match(mark, word, re.IGNORECASE)), "text")
