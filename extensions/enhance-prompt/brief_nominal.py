"""Features worded as nouns: 'CSV export', 'number of lessons per teacher', 'timetable of a
class'."""

from __future__ import annotations

import brief_states as states
import brief_verbs as verbs
from brief_model import Clause
from brief_nouns import STOP, is_plural

_NOUNS = {
    "creation": "create",
    "deletion": "delete",
    "removal": "delete",
    "registration": "register",
    "overview": "list",
    "listing": "list",
    "report": "report",
    "export": "export",
    "import": "import",
    "search": "search",
    "statistics": "report",
    "editing": "edit",
    "management": "manage",
    "tracking": "track",
    "reminders": "remind",
    "reminder": "remind",
    "notifications": "notify",
    "notification": "notify",
    "booking": "book",
    "cancellation": "cancel",
    "list": "list",
    "summary": "report",
    "history": "list",
    "timetable": "list",
    "schedule": "list",
    "calendar": "list",
}


_FIGURES = {
    "number": "count",
    "count": "count",
    "total": "total",
    "sum": "sum",
    "average": "average",
    "value": "total",
    "revenue": "total",
    "turnover": "total",
    "income": "total",
    "sales": "total",
    "costs": "total",
    "expenses": "total",
    "kilometres": "total",
    "kilometers": "total",
    "hours": "total",
}


PLANS = frozenset(["history", "timetable", "schedule", "calendar"])


_PER = frozenset(["per", "by", "of", "each"])


_MODALS = frozenset(["may", "must", "can", "cannot", "should", "shall", "will"])


def nominal(words: list[str], is_item: bool) -> list[Clause]:
    """Features worded as nouns: 'CSV export', 'overdue list', 'number of lessons per teacher'."""
    while words and words[0].lower() in ("a", "an", "the", "also", "some"):
        words = words[1:]
    lowered = [w.lower() for w in words]
    opens = bool(words) and lowered[0] in (
        "export",
        "import",
        "overview",
        "report",
        "search",
        "list",
    )
    if not words or len(words) > (14 if opens else 10) or not (is_item or opens):
        return []
    if set(lowered) & _MODALS:
        return []
    ops = verbs.operations()
    figure = next((i for i, w in enumerate(lowered[:3]) if w in _FIGURES), None)
    if figure is not None and len(words) > 1 and set(lowered[1:]) & _PER:
        verb = _FIGURES[lowered[figure]]
        # the name of what is added up stays, so that its field is found
        kept = (
            words[1:]
            if figure == 0 and lowered[0] in ("number", "count", "total", "sum")
            else words
        )
        return [Clause("user", ops[verb], verb, tuple(_without_of(kept)), True)]
    for index, word in enumerate(lowered):
        following = words[index + 1] if index + 1 < len(words) else ""
        if word.endswith("ing") and following and not _object_follows(following):
            continue  # 'tracking code', 'booking date'
        if word in _NOUNS and (index or len(words) > 1 or not is_plural(word)):
            verb = _NOUNS[word]
            others = [*words[:index], *words[index + 1 :]]
            if word in PLANS:
                return [Clause("user", "list", word, tuple(_without_of(others)), True)]
            return [Clause("user", ops.get(verb, ""), verb, tuple(_without_of(others)), True)]
    state = lowered[0] in states.STATES or lowered[0] == "free"
    if state and len(words) > 1 and is_plural(words[1]):
        return [Clause("user", "list", "list", tuple(words), True)]
    return []


def _object_follows(word: str) -> bool:
    return word.lower() in STOP or not word[0].isalnum() or is_plural(word)


def _without_of(words: list[str]) -> list[str]:
    return words[1:] if words[:1] and words[0].lower() == "of" else words
