"""Reads an enhanced prompt and writes its requirements as a backlog, one row each.

Lines that are not understood are ignored, so a prompt that a person edited still works; a
requirement without the indented details becomes a row whose verb is its first word.
"""

from __future__ import annotations

import csv
import io
import re
from dataclasses import dataclass, field

COLUMNS = (
    "id",
    "feature",
    "actor",
    "verb",
    "noun",
    "fields",
    "priority",
    "acceptance",
    "depends_on",
)
_REQUIREMENT = re.compile(r"^R(?P<number>\d{1,6})\.\s+(?P<text>\S.*)$")
_DETAIL = re.compile(r"^\s+(?P<key>[A-Z][a-z]+(?: [a-z]+)*):\s*(?P<value>.*)$")
_CRITERION = re.compile(r"^\s+-\s+(?P<text>\S.*)$")


class NoRequirements(Exception):  # noqa: N818 - says what is wrong, as the reader meets it
    """The text is no enhanced prompt."""


@dataclass
class Row:
    number: int
    text: str
    details: dict[str, str] = field(default_factory=dict)
    acceptance: list[str] = field(default_factory=list)

    def value(self, key: str) -> str:
        value = self.details.get(key, "").strip()
        return "" if value == "-" else value


def rows(prompt: str) -> list[Row]:
    """The requirements of a prompt in its order."""
    found: list[Row] = []
    for line in prompt.splitlines():
        start = _REQUIREMENT.match(line)
        if start:
            found.append(Row(int(start["number"]), start["text"].strip()))
        elif line.startswith("#") and found:
            if not line.startswith("## Requirements"):
                break
        elif found and (detail := _DETAIL.match(line)):
            found[-1].details.setdefault(detail["key"], detail["value"])
        elif found and (criterion := _CRITERION.match(line)):
            found[-1].acceptance.append(criterion["text"].strip())
    return found


def extract(prompt: str) -> str:
    """The backlog as CSV (RFC 4180, LF). Feature Fn comes from requirement Rn.

    `fields` holds tokens separated by "; ": `name:type` with `?` optional, `!` unique, `>=n`;
    `name=value`; `name<today`; `name<5`; `@key=value`. `acceptance` holds one criterion a line.
    """
    found = rows(prompt)
    if not found and "## Requirements" not in prompt:
        raise NoRequirements
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    known = {row.number for row in found}
    seen: set[int] = set()
    for row in found:
        if row.number in seen:
            continue
        seen.add(row.number)
        wants = (int(n) for n in re.findall(r"R(\d+)", row.value("Depends on")))
        word = row.value("Word")
        verb = row.value("Operation") or row.text.split()[0].lower()
        fields = [f for f in (row.value("Details"), f"@word={word}" if word else "") if f]
        writer.writerow(
            (
                f"F{row.number}",
                row.text,
                row.value("Actor") or "user",
                verb,
                row.value("Noun"),
                "; ".join(fields),
                row.value("Priority") or "should",
                "\n".join(row.acceptance),
                " ".join(f"F{n}" for n in wants if n in known and n != row.number),
            )
        )
    return out.getvalue()
