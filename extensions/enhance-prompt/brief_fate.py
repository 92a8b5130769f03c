"""What became of each statement of the brief, so that none is dropped unseen.

Every statement that is read has a fate: requirements, or a reason why nothing is built for it.
"""

from __future__ import annotations

import brief_verbs as verbs
from brief_model import Fate, Requirement, Specification, Statement


def set_aside(spec: Specification, s: Statement, reason: str) -> None:
    """Keeps a statement as context."""
    spec.context.append(s.text if s.section != "out" else f"Out of scope: {s.text}")
    spec.fate(s).reasons.append(f"context: {reason}")


def ask(spec: Specification, s: Statement, reason: str) -> None:
    """Keeps a statement as an open question."""
    spec.questions.append(s.text)
    spec.fate(s).reasons.append(f"open question: {reason}")


def is_gap(made: Requirement) -> bool:
    """Nothing is generated for it but a stub that fails by its name."""
    known = made.verb in verbs.BUILDABLE or made.verb in ("rule", "quality")
    return not known or (made.verb == "rule" and not made.details)


def told(spec: Specification) -> list[str]:
    """One line for each statement of the brief: where it stands, what it says, what became of
    it."""
    numbers = {id(made): f"R{n}" for n, made in enumerate(spec.requirements, 1)}
    return [
        f"line {s.line}: “{_shown(s)}” → {_say(fate, numbers)}" for s, fate in spec.fates.items()
    ]


def _shown(s: Statement) -> str:
    return " ".join(f"{s.text} ({s.note})".split() if s.note else s.text.split())


def _say(fate: Fate, numbers: dict[int, str]) -> str:
    kept = {id(made): made for made in fate.requirements}
    parts = [
        numbers[key] + (" (a gap: stub only)" if is_gap(made) else "")
        for key, made in kept.items()
        if key in numbers
    ]
    if len(parts) < len(kept):
        parts.append("left out: the brief asks for more than is kept")
    return "; ".join([*parts, *dict.fromkeys(fate.reasons)])
