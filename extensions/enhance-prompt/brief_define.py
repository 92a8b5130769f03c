"""Sentences that say what a thing consists of: 'each book has a title', 'Task: title, due date'."""

from __future__ import annotations

import re

import brief_fields
from brief_clauses import clauses
from brief_known import NOT_THINGS, add_entity, name_of
from brief_model import Entity, Field, Statement
from brief_nouns import identifier, is_plural, noun_phrase, singular, words_of
from brief_verbs import lemma
from brief_words import words

_KEEP = (
    r"(?:store|keep|record|save|note|track|know|need|want|writes? down|remember|capture|see|enter)"
)


_EACH = r"(?:each|every|an?|the|all|one)"


_HAS = re.compile(
    rf"^(?:{_EACH}\s+)?(?P<noun>[\w'-]+(?: [\w'-]+){{0,2}}?)\s+(?:can"
    rf" |may |should |must |will |also |always )*"
    r"(?:has|have|consists? of|contains?|includes?|is described by|is made of|are made"
    r" of|comes? with|belongs? to|stands? (?:in|at|on)|lives? in|"
    r"is identified by|needs?|carr(?:y|ies))[:\s]+(?P<list>.+)$",
    re.IGNORECASE,
)


_FOR_EACH = re.compile(
    rf"^(?:for|of|about|with|at|during|after) {_EACH}\s+"
    rf"(?P<noun>[\w'-]+(?: (?!(?:the|we|i|you|they)\b)[\w'-]+)?)"
    rf"(?: \([^)]*\))?[,:]?\s+(?:the (?:system|app|tool) )?"
    rf"(?:we|i|you|they|please|staff|the \w+(?= \w+s\b))?\s*"
    rf"(?:should |must |also |want to |need to |have to |will |would"
    rf" like to )*{_KEEP}?s?\s*(?:to know )?[:]?\s*(?P<list>.+)$",
    re.IGNORECASE,
)


_KEEP_OF = re.compile(
    rf"\b{_KEEP}s?\s+(?P<list>.+?)\s+(?:of|for|about)\s+(?:each|every|all)\s+(?P<noun>[\w'-]+(?:"
    rf" [\w'-]+)?)$",
    re.IGNORECASE,
)


RECORDED_OF = re.compile(
    r"^(?:the )?(?P<list>[\w -]+?(?:, [\w -]+)*) of (?:each|every|all|an?) (?P<noun>[\w'-]+(?:"
    r" [\w'-]+)?) (?:is|are|must be|should be|has to be|needs"
    r" to be) (?:recorded|stored|kept|noted|saved|entered)$",
    re.IGNORECASE,
)


_COLON = re.compile(
    r"^(?:an? |the |each |every )?(?P<noun>[\w'-]+(?: [\w'-]+){0,1})(?: (?:fields|"
    r"data|details|record|info))?\s*(?::|\s[-\u2013\u2014=]\s|\s\()\s*(?P<list>.+?)\)?$",
    re.IGNORECASE,
)


_KINDS_OF = re.compile(
    r"^(?:the )?(?P<noun>[\w-]+s)(?: (?:are|can be))? (?:like|such as|are|can be|:)? ?"
    r"(?P<list>[\w-]+, [\w-]+(?:, [\w-]+)*(?:,? (?:and|or) [\w-]+)?)(?: - .*)?$",
    re.IGNORECASE,
)


def define(entities: dict[str, Entity], s: Statement) -> bool:
    """Takes the fields that a statement names; False if it names none."""
    text = re.sub(
        r"^(?:and|also|then|plus|so)[,:]?\s+", "", s.text.strip(" .;"), flags=re.IGNORECASE
    )
    if s.parent and (
        s.section == "data"
        or re.search(r"(?:has|have|:|with|fields)\s*:?$", s.parent, re.IGNORECASE)
    ):
        noun = re.sub(
            r"\s+(?:has|have|with|fields|data|consists of|contains)\b.*$",
            "",
            s.parent.strip(" :.*"),
            flags=re.IGNORECASE,
        )
        phrase, rest = noun_phrase(words_of(noun))
        listed = (
            [brief_fields.parse_one(text)]
            if "(" in text or ":" in text
            else list(brief_fields.parse(text))
        )
        fields = [f for f in listed if f]
        if phrase and not rest and fields and len(phrase) <= 2 and not clauses(s.parent, True):
            return add_entity(entities, name_of(phrase), fields) is not None
        return False
    if s.section == "users" and re.search(r"[:(]", text) and _does_something(text):
        return False
    if " | " in text:
        cells = [c.strip() for c in text.split("|")]
        if s.section == "data" and len(cells) >= 2 and "," in cells[1]:
            name = name_of(words_of(cells[0]))
            return add_entity(entities, name, brief_fields.parse(cells[1])) is not None
        return False
    for pattern in (RECORDED_OF, _FOR_EACH, _HAS, _KEEP_OF, _COLON):
        match = pattern.search(text)
        if not match:
            continue
        phrase, rest = noun_phrase(words_of(match["noun"]))
        fields = brief_fields.parse(match["list"])
        examples = "(" in text and ":" not in text and not any(map(_tells, fields))
        loose = (
            pattern is _COLON
            and s.section != "data"
            and (
                len(fields) < 2
                or examples
                or not (s.is_item or is_plural(words_of(match["noun"])[-1]))
                or clauses(text, True)
            )
        )
        if pattern is _HAS and not _plausible(text, match["list"], fields):
            continue
        name = name_of(phrase)
        if (
            phrase
            and not rest
            and fields
            and not loose
            and name
            and name not in NOT_THINGS
            and name not in ("i", "we", "it", "they", "user", "you")
        ):
            entity = add_entity(entities, name, fields)
            if entity:
                guessed, unread = brief_fields.not_understood(match["list"])
                for one in guessed:
                    entity.add(one)
                entity.unread += [part for part in unread if part not in entity.unread]
            return entity is not None
    return False


def _tells(field: Field) -> bool:
    """Surely a field: '(name, price)', but not 'recurring expenses (rent, insurance)'."""
    return field.type != "text" or field.name in _SURE


_SURE = words("name title email phone address description author code number note")


def _does_something(text: str) -> bool:
    """'Nurse: works shifts' tells what somebody does, not what is kept of them."""
    after = words_of(re.split(r"[:(]", text, maxsplit=1)[1])
    verb = after and after[0].lower().endswith("s") and after[1:2] != [","]
    return bool(verb) or bool(after and lemma(after[0]))


def _plausible(text: str, listed: str, fields: list[Field]) -> bool:
    """'has a title and an author', but not 'has to pay' or 'needs to be fast'."""
    if re.match(
        r"(?:to|been|not|no|too|become|got|many problems|only|about|some|some"
        r" \d+|\d+|two|three|four|an? (?:app|program|tool|system)|\w{3,}ed)\b",
        listed.strip(),
        re.IGNORECASE,
    ):
        return False
    if re.match(r"^(?:i|we|it|they|you|he|she|there|my|our)\b", text, re.IGNORECASE):
        return False
    return bool(fields)


def kinds(entities: dict[str, Entity], found: list[Statement]) -> set[Statement]:
    """'categories like soup, main, dessert' are what the category of the thing spoken of may be.

    Gives the statements that say so."""
    used = set()
    for statement in found:
        match = _KINDS_OF.match(statement.text.strip(" ."))
        name = identifier(singular(match["noun"])) if match else ""
        if match and entities and name not in entities and statement.section != "data":
            field = brief_fields.parse_one(f"{name} ({match['list']})")
            if field and field.type.startswith("choice"):
                next(reversed(entities.values())).add(field)
                used.add(statement)
    return used
