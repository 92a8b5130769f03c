"""Criteria in the brief's own words: 'Given …, when …, then …'. Finds the requirement that each
belongs to."""

from __future__ import annotations

import re
from dataclasses import replace

import brief_verbs as verbs
from brief_model import Requirement, Specification, Statement
from brief_nouns import singular

_STEP = re.compile(r"^(given|when|then|and|but)\b", re.IGNORECASE)
_CRITERION = re.compile(
    r"^(?:given\b.+\bwhen\b.+\bthen\b|(?:given|when|if)\b.+\bthen\b)", re.IGNORECASE
)
_TITLE = re.compile(r"^(?:scenario|example|feature)(?: outline)?\s*:", re.IGNORECASE)


def joined(found: list[Statement]) -> list[Statement]:
    """Makes one statement of 'Given …', 'When …', 'Then …' that stand one below the other."""
    out: list[Statement] = []
    for one in found:
        word = _STEP.match(one.text)
        before = out[-1].text.lower() if out else ""
        opened = before.startswith("given") or (before.startswith("when") and "then" not in before)
        if word and word[1].lower() != "given" and opened:
            text = f"{out[-1].text.rstrip(' .,')}, {one.text[:1].lower()}{one.text[1:]}"
            out[-1] = replace(out[-1], text=text)
        elif not _TITLE.match(one.text):
            out.append(one)
    return out


def is_criterion(text: str) -> bool:
    return bool(_CRITERION.match(text))


def attach(spec: Specification, criterion: str) -> Requirement | None:
    """Gives a criterion to the requirement whose words it shares most, if there is one."""
    words = [w.lower() for w in re.findall(r"[^\W\d_]+", criterion)]
    stems = {singular(w) for w in words}
    told = {v for w in words if (v := verbs.lemma(w))}
    after = (
        {v for w in words[words.index("when") :] if (v := verbs.lemma(w))}
        if "when" in words
        else told
    )
    best, best_score = None, 0
    for made in spec.requirements:
        score = _score(made, stems, told, after)
        if score > best_score:
            best, best_score = made, score
    if best is None or best_score < 4:
        return None
    best.stated.append(criterion)
    return best


def _score(made: Requirement, stems: set[str], told: set[str], after: set[str]) -> int:
    """4 for the thing that it is about, 3 for the verb of its 'when', 1 for each other word."""
    operation = verbs.operations()
    operations = {operation.get(v, v) for v in after}
    score = 4 * bool(set(made.noun.split("_")) & stems)
    score += 3 * (made.word in after or made.verb in operations) + (made.word in told)
    own = {singular(w.lower()) for w in re.findall(r"[^\W\d_]{4,}", made.text)}
    return score + min(len(own & stems), 3)
