"""The states that a thing can be in, and which words of a brief mean which of them."""

from __future__ import annotations

from brief_words import words

STATES = words(
    "open closed done completed pending active inactive cancelled canceled paid unpaid"
    " finished archived started confirmed approved rejected published unfinished late"
    " overdue expired available upcoming past current incomplete outstanding shipped"
    " delivered returned resolved unresolved suspended booked lent borrowed"
)
OVERDUE = frozenset(["overdue", "late", "expired", "past-due", "lapsed"])
UNFINISHED = words("unfinished incomplete outstanding current undone remaining unresolved pending")
TIMES = frozenset(["late", "upcoming", "past", "current"])
FIRST_STATE = {
    "inactive": "active",
    "retired": "active",
    "frozen": "active",
    "suspended": "active",
    "dead": "alive",
    "archived": "active",
    "blocked": "active",
    "returned": "open",
    "refunded": "sold",
    "unpublished": "published",
    "decommissioned": "active",
    "locked": "unlocked",
}
PAST = {
    "pay": "paid",
    "ship": "shipped",
    "stop": "stopped",
    "check-in": "checked-in",
    "tick": "done",
    "freeze": "frozen",
    "complete": "completed",
    "cancel": "cancelled",
    "reopen": "open",
    "settle": "settled",
    "flag": "flagged",
    "fulfil": "fulfilled",
    "resume": "active",
    "activate": "active",
    "deactivate": "inactive",
    "hide": "hidden",
}
SAME_STATE = (
    frozenset(["done", "completed", "finished", "complete", "closed"]),
    frozenset(["cancelled", "canceled"]),
    frozenset(["checked-in", "arrived"]),
    frozenset(["returned", "back"]),
)


def past(verb: str) -> str:
    """The state that a status verb leads to: archive → archived."""
    if verb in PAST:
        return PAST[verb]
    if verb.endswith("y") and verb[-2:-1] not in "aeou":
        return verb[:-1] + "ied"
    return verb + ("d" if verb.endswith("e") else "ed")


def same_state(state: str, choices: list[str]) -> str | None:
    """The choice that means the same as `state`, if there is one."""
    if state in choices:
        return state
    for group in SAME_STATE:
        if state in group:
            return next((c for c in choices if c in group), None)
    return None
