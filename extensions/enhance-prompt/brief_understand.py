"""From statements to a specification: requirements, what they imply, assumptions and open
questions."""

from __future__ import annotations

import re

import brief_conflicts
import brief_gherkin
import brief_verbs as verbs
import brief_words as vocabulary
from brief_clauses import NEGATION, clauses, head_of
from brief_complete import borrow_fields, finish, imply, order, say
from brief_entities import find
from brief_gherkin import is_criterion
from brief_known import add_entity, name_of
from brief_model import Clause, Fate, Specification, Statement
from brief_nouns import noun_phrase, singular, words_of
from brief_operations import known, requirement
from brief_take import add, expand, gap, take
from brief_wishes import only_asks

MAX_REQUIREMENTS = 120


def understand(title: str, found: list[Statement], left_out: int) -> Specification:
    """The whole specification of a brief."""
    spec = Specification(title=title or "Untitled", goal="")
    actors = _actors(found)
    spec.fates = {s: Fate() for s in found}
    spec.entities, spec.described = find(found, actors)
    _add_lending(spec, found, actors)
    criteria_stated: list[Statement] = []
    parents = {s.parent for s in found}
    for statement in found:
        if is_criterion(statement.text):
            criteria_stated.append(statement)
        elif statement.text in parents and _heads(statement):
            spec.fate(statement).reasons.append("heading: it stands above the list below it")
        else:
            take(spec, statement, actors)
    if not any(r.verb in verbs.BUILDABLE for r in spec.requirements):
        _take_goal(spec, found, actors)
    if not spec.requirements and not spec.entities:
        _take_subject(spec, title, found)
    for statement in criteria_stated:
        if made := brief_gherkin.attach(spec, statement.text):
            spec.fate(statement).give(made)
        else:
            add(spec, gap(statement.text, statement), statement)
    for statement, fate in spec.fates.items():
        if not (fate.requirements or fate.reasons):
            add(spec, gap(statement.text, statement), statement)
    borrow_fields(spec)
    imply(spec)
    finish(spec)
    if left_out:
        spec.unread = (
            f"after line {found[-1].line}: {left_out} further statements were not read,"
            " the brief is too long"
        )
        spec.questions.append(
            f"The brief is long: {left_out} further statements were not read. Which of them matter?"
        )
    if len(spec.requirements) > MAX_REQUIREMENTS:
        spec.questions.append(
            f"{len(spec.requirements) - MAX_REQUIREMENTS} further"
            f" requirements were left out. Split the brief?"
        )
        del spec.requirements[MAX_REQUIREMENTS:]
    if not title:
        spec.title = _title(spec)
    spec.goal = _goal(spec.title, found)
    spec.questions += brief_conflicts.questions(spec, found)
    order(spec)
    return spec


def _heads(statement: Statement) -> bool:
    """'Tasks:' above a list of what can be done with them, but not 'Delete tasks'."""
    words = words_of(statement.text)
    return len(statement.text.split()) <= 3 and not (len(words) > 1 and head_of(statement.text))


_STORY_ACTOR = re.compile(
    r"^(?:as an? |the |an? )?(?P<who>[\w-]+(?: [\w-]+)?),? (?:i |we"
    r" |can\b|may\b|must\b|should\b|shall\b|needs? to\b|wants? to\b)",
    re.IGNORECASE,
)


def _actors(found: list[Statement]) -> frozenset[str]:
    """Who may be the subject of a requirement: the usual roles, and those that the brief names."""
    named: set[str] = set()
    for s in found:
        match = _STORY_ACTOR.match(s.text)
        text = (
            re.split(r"[:(,\u2013-]", s.text)[0]
            if s.section == "users"
            else match["who"]
            if match
            else ""
        )
        phrase, rest = noun_phrase(words_of(text))
        if phrase and not rest and len(phrase) <= 2:
            named.add(singular(phrase[-1]))
    return vocabulary.ACTORS | (named - {"system", "app", "program", "tool", "it", "data"})


def _add_lending(spec: Specification, found: list[Statement], actors: frozenset[str]) -> None:
    """Loans exist as soon as anything is lent; earlier sentences may already speak of what is
    overdue."""
    for s in found:
        for clause in clauses(s.text, s.is_item or s.section == "features", actors):
            if clause.op == "lend" and clause.asked and not NEGATION.search(s.text):
                requirement(spec, clause, s.text, s.line)


def _take_goal(spec: Specification, found: list[Statement], actors: frozenset[str]) -> None:
    """Where no sentence asks for anything that can be built, what the brief says of its purpose
    is taken."""
    for s in found:
        if s.section in ("goal", "prose", "") and not only_asks(s.text):
            for clause in clauses(s.text, True, actors):
                if clause.op and known(spec, clause):
                    for one in expand(clause):
                        add(spec, requirement(spec, one, s.text, s.line), s)


_KINDS = r"(?:app|tool|program|manager|tracker|organi[sz]er|database|system|diary|log|list)"
_SUBJECT = re.compile(
    rf"^(?:an? |the |my |our |simple |small )*"
    rf"(?:(?P<a>[\w-]+(?: [\w-]+)?) {_KINDS}|{_KINDS} (?:for|of|about) (?P<b>[\w' -]+))$",
    re.IGNORECASE,
)


def _take_subject(spec: Specification, title: str, found: list[Statement]) -> None:
    """'todo app', 'A list of my records': nothing is asked for, but it is said what it is about."""
    for s in [*found, Statement(title, "prose", False, 1)]:
        match = _SUBJECT.match(s.text.strip(" .!"))
        phrase, rest = noun_phrase(words_of(match["a"] or match["b"])) if match else ([], [])
        entity = add_entity(spec.entities, name_of(phrase), [], stated=False) if phrase else None
        if entity is None or rest:
            continue
        for one in expand(Clause("user", "manage", "manage", (entity.plural,), True)):
            add(spec, requirement(spec, one, s.text, s.line), s)
        spec.assumptions.append(
            f"{say(entity.plural).capitalize()} can be added, listed, changed and deleted;"
            " the brief only says what it is about."
        )
        return


def _title(spec: Specification) -> str:
    """A brief without a heading is named for the things it is about."""
    names = [say(e.plural) for e in spec.entities.values()][:3]
    return (
        (", ".join(names[:-1]) + " and " * (len(names) > 1) + names[-1]).capitalize()
        if names
        else "Untitled"
    )


def _goal(title: str, found: list[Statement]) -> str:
    stated = [s.text for s in found if s.section == "goal" and not s.is_item][:3]
    if not stated:
        stated = [
            s.text
            for s in found
            if s.section == "prose"
            and not s.is_item
            and len(s.text.split()) > 4
            and not re.match(r"as an? ", s.text, re.IGNORECASE)
        ][:2]
    stated = stated or [s.text for s in found if s.section in ("prose", "") and not s.is_item][:1]
    text = " ".join(stated) or title
    return text if len(text) <= 600 else text[:597] + "…"
