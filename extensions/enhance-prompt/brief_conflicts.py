"""Finds statements of a brief that seem to contradict each other, so that they are asked about.

One forbids or denies what another says with the same words.
"""

from __future__ import annotations

import re

import brief_verbs as verbs
from brief_model import Specification, Statement
from brief_nouns import singular
from brief_words import words

MAX_QUESTIONS = 20
_DENIES = re.compile(
    r"\b(?:nobody|no one|never|not|cannot|can't|don't|doesn't|mustn't|no longer|more than once)\b",
    re.IGNORECASE,
)
_EMPTY = words(
    "a an the no not never nobody one cannot can't don't doesn't mustn't do does be is are was were"
    " has have must may can should shall will need any all each every to of in on with for by and"
    " or that it i we they at than from there also"
)
_KEEPS = words("store keep save record note hold unique need have")


def questions(spec: Specification, found: list[Statement]) -> list[str]:
    """One open question for each pair of statements that seem to contradict each other."""
    told = [s.text for s in found if s.section not in ("questions", "out", "example")]
    content = {text: _content(text) for text in told}
    denying = [text for text in content if _DENIES.search(text)]
    affirming = [text for text in content if not _DENIES.search(text)]
    fields = [f for e in spec.entities.values() for f in e.fields]
    names = {f.name for f in fields}
    unique = [set(f.name.split("_")) for f in fields if f.unique]
    pairs: list[tuple[str, str]] = []
    for first in denying:
        denied = content[first]
        again = "more than once" in first.lower()
        for second in affirming:
            said = content[second]
            if again:
                against = "unique" in second.lower() and any(u <= denied & said for u in unique)
            else:
                against = denied <= said and (len(denied) > 1 or bool(denied & names))
            pairs += [(first, second)] if against else []
    return [
        f"“{first}” and “{second}” seem to contradict each other. Which one holds?"
        for first, second in pairs[:MAX_QUESTIONS]
    ]


def _content(text: str) -> set[str]:
    """The words that tell what a statement is about, in one form each."""
    stems = set()
    for word in re.findall(r"[a-z][a-z'-]*", text.lower().replace("\u2019", "'")):
        if word not in _EMPTY:
            stem = verbs.lemma(word) or singular(word)
            stems |= {stem} - _KEEPS
    return stems
