"""Reads a brief: bytes to statements. Markdown, plain text and a mess of both are welcome.

Structure comes from markdown-it-py, once brief_lines has made Markdown of the lines. Text is cut
into sentences only where a capital or a line end makes that safe.
"""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path

import brief_code
import brief_gherkin
from brief_lines import prepared
from brief_model import Statement
from brief_tables import rows_to_statements
from brief_tidy import one_fact_each, spelling, without_emoticons, without_id
from brief_verbs import lemma
from brief_words import SECTIONS

MAX_BYTES = 4 * 1024 * 1024
MAX_STATEMENTS = 400
_TASK_BOX = re.compile(r"^\[[ xX]?\]\s+")
_SENTENCE = re.compile(r"(?:(?<=[.!?…])|(?<=[.!?][\"')]))\s+(?=[\"'(]?[A-Za-z])")
_ABBREVIATION = re.compile(
    r"\b(?:e\.g|i\.e|vs|approx|no|nr|mr|mrs|ms|dr|st|incl)\.$", re.IGNORECASE
)
_LABEL = re.compile(r"^(?P<label>[A-Za-z][A-Za-z /-]{1,28}):$")
_INLINE_LABEL = re.compile(r"^(?P<label>[A-Za-z]{3,20}(?: [a-z]+)?): (?P<rest>\S.{12,})$")


class UnreadableBrief(Exception):  # noqa: N818 - says what is wrong, as the reader meets it
    """The brief cannot be worked with; `help` says what to do."""

    def __init__(self, message: str, help_text: str) -> None:
        super().__init__(message)
        self.help = help_text


def load(brief: Path | str | bytes) -> str:
    """The text of a brief, whatever encoding it came in. Raises UnreadableBrief."""
    if isinstance(brief, str):
        text = brief
    else:
        data = brief if isinstance(brief, bytes) else brief.read_bytes()
        text = _decode(data)
    if len(text) > MAX_BYTES:
        raise UnreadableBrief(
            f"the brief has {len(text)} characters, more than {MAX_BYTES}",
            "give a brief of a few pages",
        )
    text = unicodedata.normalize(
        "NFC", text.replace("\r\n", "\n").replace("\r", "\n").lstrip("\ufeff")
    )
    text = "".join(c if c in "\n\t" or unicodedata.category(c)[0] != "C" else " " for c in text)
    if not any(c.isalpha() for c in text):
        raise UnreadableBrief(
            "the brief is empty" if not text.strip() else "the brief holds no words",
            "describe in a few sentences what should be built and for whom",
        )
    return text


def _decode(data: bytes) -> str:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", errors="replace")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        text = data.decode("cp1252", errors="replace")
    odd = sum(
        1
        for c in text[:65536]
        if c == "\ufffd" or (unicodedata.category(c) == "Cc" and c not in "\n\r\t\f")
    )
    if odd * 20 > len(text[:65536]):
        raise UnreadableBrief(
            "the brief is binary data, not text", "save it as plain text or Markdown in UTF-8"
        )
    return text


def section_of(heading: str, above: str = "features") -> str:
    """The kind of section that a heading opens; `above` if it says nothing of itself."""
    words = set(
        re.findall(
            r"[^\W\d_]+(?:-[^\W\d_]+)*", heading.lower().replace("out of scope", "out-of-scope")
        )
    )
    for section, marks in SECTIONS.items():
        if words & set(marks.split()):
            return section
    return above


def statements(text: str) -> tuple[str, list[Statement], int]:
    """The title, the statements in order, and how many were left out beyond MAX_STATEMENTS."""
    from markdown_it import MarkdownIt

    tokens = MarkdownIt("commonmark", {"maxNesting": 20}).enable("table").parse(prepared(text))
    title, found = "", list[Statement]()
    section = ""
    above: dict[int, str] = {}  # heading level → section
    items: list[str] = []
    table: list[tuple[int, list[str]]] = []
    heading = in_row = False
    level = 0
    for token in tokens:
        kind = token.type
        line = token.map[0] + 1 if token.map else 1
        if kind == "list_item_open":
            items.append("")
        elif kind == "list_item_close":
            items.pop()
        elif kind == "heading_open":
            heading, level = True, int(token.tag[1:])
        elif kind == "tr_open":
            in_row = True
            table.append((line, []))
        elif kind == "tr_close":
            in_row = False
        elif kind == "table_close":
            found += rows_to_statements(table, section)
            table = []
        elif kind == "inline" and heading:
            heading = False
            if not title and not found:
                title = _plain(token)
            else:
                above = {n: name for n, name in above.items() if n < level}
                section = section_of(_plain(token), above[max(above)] if above else "features")
                above[level] = section
        elif kind == "inline" and in_row:
            table[-1][1].append(_plain(token))
        elif kind == "inline":
            section = _add(found, _plain(token), section, items, line)
        elif kind == "fence" and (language := token.info.strip().lower()) not in brief_code.PROSE:
            found += brief_code.block(language, token.content, line)
        elif kind in ("fence", "code_block"):
            for number, text in enumerate(token.content.splitlines(), line + 1):
                section = _add(found, text.strip(), section, items, number)
    found = brief_gherkin.joined(found)
    return title, found[:MAX_STATEMENTS], max(0, len(found) - MAX_STATEMENTS)


def _add(found: list[Statement], content: str, section: str, items: list[str], line: int) -> str:
    """Appends the statements of one block; gives the section that holds after it."""
    parent = next((i for i in reversed(items[:-1]) if i), "")
    for part in _wrapped(content):
        label = _LABEL.match(part)
        if label and not items:
            section = section_of(label["label"])
            continue
        inline = _INLINE_LABEL.match(part)
        own = section_of(inline["label"], section) if inline else section
        if inline and own != section:
            rest = sentences(spelling(without_emoticons(inline["rest"])))
            found += [Statement(sentence, own, False, line) for sentence in rest]
            continue
        part = spelling(without_emoticons(without_id(_TASK_BOX.sub("", part))))
        for sentence in sentences(part):
            found.append(Statement(sentence, section or "prose", bool(items), line, parent))
        if items and not items[-1]:
            items[-1] = part
    return section


def _wrapped(content: str) -> list[str]:
    """Joins lines that were only wrapped. A new statement starts after a full stop, a colon or a
    short line."""
    parts: list[str] = []
    short = True
    for line in (part.strip() for part in content.split("\n")):
        if (parts and not short and not re.search(r"[.!?:;]$", parts[-1])) or (
            parts and line[:1].islower() and re.search(r"[,\w]$", parts[-1]) and not _begins(line)
        ):
            parts[-1] += " " + line
        else:
            parts.append(line)
        short = len(line) < 60
    return [part for part in parts if part]


def _begins(line: str) -> bool:
    words = line.lower().split()
    return bool(words) and (
        lemma(words[0]) is not None or words[0] in ("i", "we", "also", "customers", "they")
    )


def _plain(token: object) -> str:
    """Inline text without its markup; line ends are kept."""
    parts = []
    for child in getattr(token, "children", None) or []:
        if child.type in ("text", "code_inline"):
            parts.append(child.content)
        elif child.type in ("softbreak", "hardbreak"):
            parts.append("\n")
    return "".join(parts).strip()


def sentences(text: str) -> list[str]:
    """Cuts a paragraph into sentences, minding abbreviations."""
    out: list[str] = []
    for part in _SENTENCE.split(" ".join(text.split())):
        if out and _ABBREVIATION.search(out[-1]):
            out[-1] += " " + part
        elif part.strip():
            out.append(part.strip())
    facts = [(part, one_fact_each(part)) for part in out]
    return [
        fact.strip()
        for part, several in facts
        for fact in ([part] if several == part else _SENTENCE.split(several))
    ]
