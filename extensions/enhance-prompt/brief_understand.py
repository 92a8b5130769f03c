"""From statements to a specification: requirements, what they imply, assumptions and open
questions."""

from __future__ import annotations

import re

import brief_gherkin
import brief_words as vocabulary
from brief_clauses import NEGATION, clauses
from brief_complete import borrow_fields, finish, imply, order, say
from brief_entities import find
from brief_gherkin import is_criterion
from brief_model import Specification, Statement
from brief_nouns import noun_phrase, singular, words_of
from brief_operations import known, requirement
from brief_take import add, expand, gap, take

MAX_REQUIREMENTS = 120


def understand(title: str, found: list[Statement], left_out: int) -> Specification:
    """The whole specification of a brief."""
    spec = Specification(title=title or "Untitled", goal="")
    actors = _actors(found)
    spec.entities = find(found, actors)
    _add_lending(spec, found, actors)
    criteria_stated: list[Statement] = []
    parents = {s.parent for s in found}
    for statement in found:
        if is_criterion(statement.text):
            criteria_stated.append(statement)
        elif not (statement.text in parents and len(statement.text.split()) <= 3):
            take(spec, statement, actors)
    if not any(r.verb in vocabulary.BUILDABLE for r in spec.requirements):
        _take_goal(spec, found, actors)
    for statement in criteria_stated:
        if not brief_gherkin.attach(spec, statement.text):
            add(spec, gap(statement.text, statement), statement)
    borrow_fields(spec)
    imply(spec)
    finish(spec)
    if left_out:
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
    spec.goal = _goal(title, found)
    order(spec)
    return spec


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
        if s.section in ("goal", "prose", ""):
            for clause in clauses(s.text, True, actors):
                if clause.op and known(spec, clause):
                    for one in expand(clause):
                        add(spec, requirement(spec, one, s.text, s.line), s)


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
            if s.section == "prose" and not s.is_item and len(s.text.split()) > 4
        ][:2]
    text = " ".join(stated) or title
    return text if len(text) <= 600 else text[:597] + "…"
