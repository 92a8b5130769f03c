"""Makes the lines of a brief into Markdown: odd bullets, HTML, and headings that are not marked
as such. What stands in a fenced block is left alone."""

from __future__ import annotations

import re

from brief_verbs import lemma
from brief_words import SECTIONS

_ODD_BULLET = re.compile(
    r"^(\s*)(?:[•‣◦·▪●\u2013\u2014→>]|->|=>|\*\)|o(?=\s+\w{2,})|\(?[a-z0-9]{1,2}\)|\[[ xX]?\])\s+"
)
_BULLET = re.compile(r"^\s*(?:[-*+]|\d+[.)])\s")
_FENCE = re.compile(r"^\s*(?:```|~~~)")
_ITEM = re.compile(r"<li\b[^>]*>", re.IGNORECASE)
_BREAK = re.compile(
    r"<(?:br|hr)\s*/?>|</?(?:p|div|ul|ol|li|tr|table|h[1-6])\b[^>]*>", re.IGNORECASE
)
_TAG = re.compile(r"</?[a-zA-Z][\w-]*(?:\s+[\w-]+(?:=(?:\"[^\"]*\"|'[^']*'|[^\s>]+))?)*\s*/?>")
_BOLD = re.compile(r"^(?:\*\*|__)(?P<text>[^*_]{2,40}?):?(?:\*\*|__):?$")
_NUMBERED = re.compile(r"^\d{1,2}\s+(?P<text>[A-Z][A-Za-z /-]{2,40})$")
_LABEL = re.compile(r"^[A-Za-z][A-Za-z /-]{1,28}:$")
_HEADING = re.compile(r"^(?:#{1,6}\s|=+$|-{3,}$)")


def prepared(text: str) -> str:
    """The text of a brief as Markdown."""
    lines: list[str] = []
    fenced = False
    for line in text.replace("\t", "  ").split("\n"):
        if _FENCE.match(line):
            fenced = not fenced
        elif not fenced:
            lines += _unmarked(line).split("\n")
            continue
        lines.append(line)
    return "\n".join(_titled(_headed(lines)))


def _unmarked(line: str) -> str:
    if "<" in line:
        line = _TAG.sub("", _BREAK.sub("\n", _ITEM.sub("\n- ", line)))
    return _ODD_BULLET.sub(r"\1- ", line)


def _headed(lines: list[str]) -> list[str]:
    """Headings written as a bold line, as '2 Requirements', or as a label right below a list."""
    out: list[str] = []
    for index, line in enumerate(lines):
        alone = not any(near.strip() for near in lines[max(index - 1, 0) : index])
        bold, numbered = _BOLD.match(line), _NUMBERED.match(line)
        if bold and alone:
            line = f"## {bold['text']}"
        elif numbered and _says_section(numbered["text"]):
            line = f"## {numbered['text']}"
        elif _LABEL.match(line) and out and out[-1].strip():
            out.append("")
        out.append(line)
    return out


def _says_section(text: str) -> bool:
    words = set(re.findall(r"[a-z-]+", text.lower()))
    return any(words & set(marks.split()) for marks in SECTIONS.values())


def _titled(lines: list[str]) -> list[str]:
    """A short first line with the rest set off from it is the title, if no heading is above."""
    first = next((n for n, line in enumerate(lines) if line.strip()), None)
    if first is None or any(_HEADING.match(line) for line in lines[: first + 2]):
        return lines
    text, after = lines[first].strip(), [*lines[first + 1 :], ""]
    words = text.rstrip(":").split()
    label = text.endswith(":")
    apart = not after[0].strip() or (label and bool(_BULLET.match(after[0])))
    opens = re.match(r"^[A-Za-z][\w ,'/()&.\u2019-]*:?$", text) and not text.endswith(".")
    asks = lemma(words[0]) is not None or words[0].lower() in (
        "i",
        "we",
        "as",
        "it",
        "there",
        "the",
    )
    fits = (2 if label else 1) <= len(words) <= 9 and not asks and not _BULLET.match(text)
    if not (apart and opens and fits and any(line.strip() for line in after)):
        return lines
    if _says_section(text) and label:
        return lines
    return [*lines[:first], f"# {text.rstrip(':')}", "", *lines[first + 1 :]]
