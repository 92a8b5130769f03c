"""Text from outside made harmless: one line of it, that a terminal only shows.

Players name their errors, report progress and choose file names. What of that is no character to be
seen would move the cursor, write lines in our name or turn the rest around; it is shown as an
escape, as Python writes it.
"""

from __future__ import annotations

import re
from typing import Final

# C0, DEL and C1 controls; separators of lines and paragraphs; marks that turn the direction of
# writing; halves of surrogate pairs (bytes of an argument that are not UTF-8).
_UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
LONGEST: Final = 2_000
_LONE = re.compile("[\ud800-\udfff]")


def one_line(text: str) -> str:
    """The text for a terminal: a single line, every character of which can be seen."""
    return _UNSEEN.sub(_escape, text)


def short(text: str) -> str:
    """No more of a text from outside than a person reads."""
    left = len(text) - LONGEST
    return text if left <= 0 else f"{text[:LONGEST]}… ({left} more characters)"


def encodable(text: str) -> str:
    """The text for JSON, which escapes by itself whatever UTF-8 can hold."""
    return _LONE.sub(_escape, text)


def _escape(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode("ascii")
