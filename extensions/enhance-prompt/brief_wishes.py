"""Tells wishes by their form: commands and habits, and questions that ask for more than an
answer."""

from __future__ import annotations

import re

from brief_nouns import is_plural, words_of
from brief_words import words

_INTERROGATIVE = re.compile(
    r"^(?:(?:and|but|or|so|also|then|plus|hm+|oh),? )*(?:who|whom|whose|what|when|where|why|which|"
    r"how|do|does|did|is|are|was|were|should|shall|must|will|has|have|am|may|might)\b",
    re.IGNORECASE,
)
_WISH = re.compile(
    r"\b(?:(?:what|how) about|why not|how (?:can|could|do|would) (?:i|we)|would like|want|wish|"
    r"please|is (?:there|it) (?:an? |any )?(?:way|option|chance|possibility|possible|function))\b",
    re.IGNORECASE,
)


def only_asks(text: str) -> bool:
    """'Who may delete a plant?', but not 'Plus a photo diary?' or 'Is there a way to print?'."""
    question = text.rstrip(" )\"'").endswith("?")
    return question and bool(_INTERROGATIVE.match(text)) and not _WISH.search(text)


_MORE = re.compile(
    r"^(?:and )?(?:also|plus|please|maybe|perhaps|ideally|later)\b,? \w", re.IGNORECASE
)
_STATES = re.compile(r"\b(?:is|are|was|were|has|have|had)\b", re.IGNORECASE)
_HABIT = re.compile(
    r"^(?:when|whenever|every time|each time) (?:i|we|they|someone|an?)\b", re.IGNORECASE
)


_NO_VERBS = words(
    "this that these those it i we you he she they there here"
    " so but and or all our my what when if for in on at to"
    " with the a an every each some no not since because best kind many dear"
    " after before until while today now hi hello"
)


def commands(text: str) -> bool:
    """A sentence that tells what is to be done, though no verb in it is known."""
    added = _MORE.match(text) and not _STATES.search(text)
    return bool(added or _HABIT.match(text)) or _imperative(text)


def _imperative(text: str) -> bool:
    """'Talk to me when …', 'Water the plants': a bare word that is no noun with its verb behind
    it."""
    words = [w.lower() for w in words_of(text)]
    if len(words) < 2 or is_plural(words[0]) or not words[0].isalpha() or words[0] in _NO_VERBS:
        return False
    objects = (
        "the",
        "a",
        "an",
        "my",
        "our",
        "me",
        "us",
        "all",
        "each",
        "every",
        "to",
        "it",
        "them",
    )
    short = len(words) <= 4 and is_plural(words[1])  # 'Fold kites'
    return (words[1] in objects or short) and not _STATES.search(text)
