"""The verbs: which of them mean which operation, in all their forms.

An operation is what the code generator can build; a verb that is in no list stays as the brief
wrote it and ends up as a named gap, never as a guess.
"""

from __future__ import annotations

import difflib
from functools import cache

from brief_states import past
from brief_words import words

OPERATIONS: dict[str, str] = {
    "create": "add create register enter record log book"
    " schedule place make save store submit enrol"
    " enroll open post capture define plan note insert input write introduce keep raise take issue"
    " jot reserve build offer document request",
    "list": "list view see browse display show print overview look"
    " get check review filter tell know highlight visualise",
    "update": "update edit change modify rename set correct"
    " adjust reschedule move postpone amend revise"
    " extend renew alter fix replace rate",
    "status": "complete finish close cancel archive approve"
    " reject pay confirm start stop reopen activate"
    " deactivate ship deliver accept decline mark resolve publish suspend freeze block tick flag"
    " unpublish retire settle fulfil dispatch pause resume"
    " end refund retire void lock unlock decommission hide",
    "delete": "delete remove drop erase discard",
    "search": "search find lookup",
    "count": "count tally",
    "sum": "total sum calculate compute average",
    "report": "report summarise summarize",
    "export": "export download backup",
    "import": "import load upload",
    "lend": "lend borrow loan rent hire",
    "return": "return",
    "assign": "assign allocate attach link connect",
    "tag": "tag label categorise categorize",
    "increase": "restock receive increase replenish refill buy purchase deposit",
    "decrease": "decrease reduce sell deduct consume use drink eat withdraw",
    "sort": "sort",
    "manage": "manage maintain administer",
    "track": "track",
}
GAPS = words(
    "remind notify send email sync synchronise synchronize integrate predict recommend"
    " suggest alert warn draw plot render scan translate encrypt undo share invite merge"
    " substitute plot talk respond water split match optimise optimize convert generate"
    " scale log-in login authenticate upload attach"
)
BUILDABLE = words(
    "create list show update status delete search count sum export import lend return tag"
    " increase decrease"
)  # what a requirement's verb may be without being a gap; `rule` and `quality` besides
MANAGE = ("create", "list", "update", "delete")
TRACK = ("create", "list")
_IRREGULAR = {
    "written": "write",
    "wrote": "write",
    "sold": "sell",
    "lent": "lend",
    "found": "find",
    "made": "make",
    "kept": "keep",
    "seen": "see",
    "shown": "show",
    "paid": "pay",
    "set": "set",
    "sent": "send",
    "taken": "take",
    "bought": "buy",
    "added": "add",
    "built": "build",
}
_PHRASES = {
    "sign up for": "book",
    "signs up for": "book",
    "sign up": "register",
    "look up": "find",
    "looking up": "find",
    "set up": "create",
    "check in": "check-in",
    "checks in": "check-in",
    "checked in": "check-in",
    "check out": "lend",
    "checks out": "lend",
    "checked out": "lend",
    "write down": "write",
    "put in": "enter",
    "type in": "enter",
    "fill in": "enter",
    "keep track of": "track",
    "keeps track of": "track",
    "keeping track of": "track",
    "cross off": "complete",
    "tick off": "complete",
    "give back": "return",
    "bring back": "return",
    "brings back": "return",
    "bring": "return",
    "get rid of": "delete",
    "throw away": "delete",
    "call off": "cancel",
    "hand out": "lend",
    "take out": "borrow",
    "lend out": "lend",
    "work out": "calculate",
    "add up": "sum",
    "mark off": "complete",
    "look at": "view",
    "give out": "lend",
    "keep a list of": "track",
    "keep an eye on": "track",
    "keep a record of": "track",
    "keep list of": "track",
    "log in": "log-in",
    "know how many": "count",
    "see how many": "count",
}


@cache
def _forms() -> dict[str, str]:
    forms: dict[str, str] = {}
    for verb in [v for verbs in OPERATIONS.values() for v in verbs.split()] + sorted(GAPS):
        stem = verb[:-1] if verb.endswith("e") else verb
        es = verb.endswith(("s", "sh", "ch", "x"))
        forms[verb + ("es" if es else "s")] = verb
        if verb.endswith("y") and verb[-2] not in "aeou":
            forms[verb[:-1] + "ies"] = verb
        for form in (
            stem + "ing",
            past(verb),
            stem + "ed",
            verb + verb[-1] + "ing",
            verb + verb[-1] + "ed",
        ):
            forms.setdefault(form, verb)
    forms |= _IRREGULAR
    for verb in [v for verbs in OPERATIONS.values() for v in verbs.split()] + sorted(GAPS):
        forms[verb] = verb
    return forms


@cache
def operations() -> dict[str, str]:
    return {v: op for op, verbs in OPERATIONS.items() for v in verbs.split()} | {
        "check-in": "status"
    }


def take_phrase(words: list[str]) -> tuple[str, int] | None:
    """The verb that a multi-word phrase at the start stands for, and how many words it took."""
    for size in (4, 3, 2):
        verb = _PHRASES.get(" ".join(words[:size])) if len(words) >= size else None
        if verb:
            return verb, size
    return None


def lemma(word: str, fuzzy: bool = False) -> str | None:
    """The base form of a known verb, or None. `fuzzy` forgives a typing error in a longer word."""
    word = word.lower()
    known = _forms().get(word)
    if known is None and fuzzy and len(word) >= 5:
        close = difflib.get_close_matches(word, _forms(), 1, 0.84)
        known = _forms()[close[0]] if close else None
    return known
