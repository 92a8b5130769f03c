"""Cuts a statement into clauses: who does what to what. Works on word order alone.

A clause keeps the brief's own verb; `op` is the operation it stands for, or "" where the
vocabulary has none.
"""

from __future__ import annotations

import re
from dataclasses import replace

import brief_verbs as verbs
import brief_words as vocabulary
from brief_cut import cut, gerunds, leading_verb
from brief_model import Clause
from brief_nominal import nominal
from brief_nouns import is_plural, noun_phrase, singular, words_of
from brief_words import words

_STORY = re.compile(
    r"^as an? (?P<actor>[\w -]+?),? (?:i|we) (?:(?:also )?(?:want|"
    r"need|would like|wish|have|should be able|can|must be able)"
    r"(?: to)?(?: be able to)?|like to)\s+(?P<rest>.*)$",
    re.IGNORECASE,
)
_MODAL = re.compile(
    r"^(?P<actor>(?:[\w'\u2019-]+\s+){0,4}?[\w'\u2019-]+?)\s+(?:(?:can|could|should|shall|must|may|might|will|would|needs?|wants?|has|have|ought|"
    r"wishes|likes?|(?:am|is|are)(?= (?:able|allowed|supposed)))\s+(?:also\s+|always\s+|"
    r"either\s+)?(?:(?:to|like to|love to|want to|need to|have to|able to|allowed to|supposed to|"
    r"be able to|be allowed to)\s+)*(?:be able to\s+)?(?:also\s+)?)(?P<rest>.*)$",
    re.IGNORECASE,
)
_LET = re.compile(
    r"^(?:[\w ]{0,40}?\b(?:let|lets|allow|allows|enable|enables|help|"
    r"helps)\s+(?P<actor>me|us|you|[\w-]+(?: [\w-]+)?)\s+(?:to\s+)?)(?P<rest>.*)$",
    re.IGNORECASE,
)
_POSSIBLE = re.compile(
    r"^(?:(?:it )?would be (?:nice|great|good|cool|helpful) if (?:the"
    r" (?:program|app|system|tool)|it|i|we|you) (?:could|can|would|also)|"
    r"(?:.{0,60}\b)?(?:app|tool|program|system|application|software|something|thing|website|"
    r"solution) (?:to|that (?:can|should|must|will)|so i can|where i can|with which i can)|"
    r"is (?:there|it) (?:an? |any )?(?:way|option|chance|possibility|possible) (?:to|for (?:me|us)"
    r" to)|(?:can|could|may) (?:i|we|you|it|users?)|"
    r"it (?:should|must|has to|needs to) be (?:possible|"
    r"easy|able) (?:to|for (?P<actor>[\w-]+(?: [\w-]+)?) to)|"
    r"(?:the )?(?:ability|option|possibility|way|function|feature|command|"
    r"button) (?:to|for)|be able to|able to|there (?:should|must) be a way to|"
    r"(?:please )?(?:let me|let us)|(?:also|then|and|maybe|perhaps|"
    r"ideally|later|finally|first|next|sometimes|please|optionally|"
    r"nice to have|must|should|could|would be (?:nice|great|cool|good)"
    r" (?:if (?:i|we|you|it) c(?:an|ould)|to)|a way to|need to|want to|to|"
    r"(?:need|want)(?= a way| to| the ability))[:,]?)\s+(?P<rest>.*)$",
    re.IGNORECASE,
)
_PASSIVE = re.compile(
    r"^(?P<object>.+?)\s+(?:can|could|should|must|may|will|need to|needs to|have"
    r" to|has to)\s+(?:also\s+)?be\s+(?:able to be\s+)?(?P<verb>\w+)(?P<rest>\b.*)$",
    re.IGNORECASE,
)
_ALTERNATIVE = re.compile(
    r"(?:\s*,\s*(?:and |or )?|\s+(?:and|or)\s+)(?:later |then |also |be )*"
    r"(?=(?:\w{3,}(?:ed|en)|sung|sold|lent|sent|paid|made|put|set|kept|cut|split|read)\b)"
    r"|^\s*(?:and|or)\s+(?=[^\W_])",
    re.IGNORECASE,
)
_RATIONALE = re.compile(
    r"[,\s]+(?:so that|so (?:i|we|they|you|he|she)\b|in order to|because|otherwise)\b.*$",
    re.IGNORECASE,
)
NEGATION = re.compile(
    r"\b(?:cannot|can't|can not|cant|must not|mustn't|may not|should not|shouldn't|"
    r"never|no two|not allow|no duplicates?|only once|(?:system|app|program|it) (?:shall"
    r" |must |should |will )?(?:reject|refuse|prevent|forbid)s?|not be|at most|"
    r"no more than|only if|not allowed|nobody|at least one)\b",
    re.IGNORECASE,
)
_PRONOUNS = words("i we you he she they it one me us")
_SYSTEMS = words("system app application tool program software it this service platform everything")
_PRELUDE = re.compile(
    r"^.{0,60}?:\s+(?=(?:i|we) (?:want|need|would like)\b)|"
    r"^(?:and|also|plus|but|so|oh|ok|then|hi|hello|please)[,!:]?\s+",
    re.IGNORECASE,
)
_AFTERTHOUGHT = re.compile(
    r"[,\s]+(?:would|could) be (?:nice|great|good|helpful|cool|"
    r"useful)\b(?! if).*$|[,\s]+(?:please|too|as well|if possible)$",
    re.IGNORECASE,
)
_LABELLED = re.compile(
    r"^(?P<who>[\w-]+(?: [\w-]+)?)(?::| -) +(?=(?:can|may|must|should|wants? to|needs? to) )",
    re.IGNORECASE,
)
_WHEN = re.compile(r"^when(?:ever)?\s+(?=(?:i|we|they|someone|a \w+)\s)", re.IGNORECASE)
_TIMES = re.compile(
    r"^(?:(?:when|if|once|after|before|whenever|every time)\b[^,]*,|"
    r"(?:at|by|towards) the (?:end|start|beginning) of (?:the|each|every) \w+,?)\s*(?P<rest>.*)$",
    re.IGNORECASE,
)
_NOWADAYS = re.compile(
    r"\b(?:(?:in|on) (?:an? |the |our )?(?:[\w-]+ )?(?:spreadsheets?|notebooks?|paper|excel|"
    r"whiteboard|binder)|by hand|at the moment|until now|so far|currently|nowadays)\b",
    re.IGNORECASE,
)
_WHICH = re.compile(r"^which (?=[\w-]+s (?:per|by|with|are|were|have been)\b)", re.IGNORECASE)
_TO_DO = re.compile(
    r"^(?P<object>[\w-]+(?: [\w-]+)?) "
    r"(?P<verbs>to \w+(?:(?:,| and| or)(?: also| later)* to \w+)*)$",
    re.IGNORECASE,
)


_SEVERAL = re.compile(
    r"^(?:the )?(?P<noun>[\w-]+(?: [\w-]+)?): ?(?P<verbs>\w+(?:(?:, ?|/| and |, and | or )\w+)+)$",
    re.IGNORECASE,
)
_TWO_STATES = re.compile(
    r"^(?P<head>.*\bmark .+?) as (?P<a>.+?),? (?:and |or )?(?:then |later )?as (?P<b>.+)$",
    re.IGNORECASE,
)
_WANTED = re.compile(
    r"^(?:i|we) (?:also )?(?:want|need|would like)(?: to have)? (?:an? |the |some )?", re.IGNORECASE
)
_RECORDED = re.compile(
    r"^(?P<object>.+?)\s+(?:is|are|gets?)\s+(?:also\s+)?(?P<verb>recorded|stored|logged|kept|registered|entered|noted)\b(?P<rest>.*)$",
    re.IGNORECASE,
)


def clauses(text: str, is_item: bool, actors: frozenset[str] = vocabulary.ACTORS) -> list[Clause]:
    """The clauses of a sentence; empty if it asks for nothing. `actors`: who may be a subject."""
    if twice := _TWO_STATES.match(text.strip(" .")):
        first = clauses(f"{twice['head']} as {twice['a']}", is_item, actors)
        return first + clauses(f"{twice['head']} as {twice['b']}", is_item, actors)
    several = _SEVERAL.match(text.strip(" ."))
    if several and all(verbs.lemma(w) for w in re.findall(r"\w+", several["verbs"])):
        text = f"{several['verbs']} {several['noun']}"
    todo = _TO_DO.match(text.strip(" ."))
    to_do = re.findall(r"\bto (\w+)", todo["verbs"]) if todo and is_item else []
    if todo and to_do and all(verbs.lemma(v) for v in to_do) and not head_of(text):
        text = f"{' and '.join(to_do)} {todo['object']}"
    text = _LABELLED.sub(r"\g<who> ", text)
    text = _RATIONALE.sub("", _WHICH.sub("list ", text.strip(" .!;?")))
    wished = bool(_AFTERTHOUGHT.search(text))
    text = _PRELUDE.sub("", _AFTERTHOUGHT.sub("", text))
    actor, rest, asked = _strip(text)
    if not asked and not is_item and _NOWADAYS.search(text):
        return []
    if wanted := _WANTED.match(rest):
        asked, rest = True, rest[wanted.end() :]
    asked = asked or wished
    passive = (
        None
        if asked and leading_verb(words_of(rest))
        else _PASSIVE.match(_TIMES.sub(r"\g<rest>", text))
    )
    recorded = None if head_of(rest) else _RECORDED.match(text)
    if recorded and not NEGATION.search(text) and (is_item or verbs.lemma(recorded["verb"])):
        words = [*words_of(recorded["object"]), *words_of(recorded["rest"])]
        return cut("user", [verbs.lemma(recorded["verb"]) or "record", *words], True)
    if passive and not NEGATION.search(text):
        verb = verbs.lemma(passive["verb"])
        if verb is None and _ALTERNATIVE.search(passive["rest"]):
            return _passive(passive["verb"].lower(), passive["object"], passive["rest"])
        if (verb and passive["verb"].lower() not in (verb, verb + "s")) or verb in ("set",):
            return _passive(verb or "", passive["object"], passive["rest"])
    words = words_of(rest)
    head = leading_verb(words)
    if head:
        imperative = actor == "" and (
            is_item or words[0].lower() in (head[0], *gerunds(head[0])) or asked
        )
        return cut(actor or "user", words, asked or imperative)
    if asked:
        named = [replace(clause, actor=actor or clause.actor) for clause in nominal(words, True)]
        return named or cut(actor or "user", words, True)
    subject = _third_person(words_of(_WHEN.sub("", rest)), actors, is_item)
    return subject or nominal(words, is_item)


def _passive(verb: str, about: str, rest: str) -> list[Clause]:
    """'An order can be' 'paid or moved to another day': a clause for each participle."""
    objects, found = words_of(about), list[Clause]()
    for index, part in enumerate(_ALTERNATIVE.split(rest)):
        words = words_of(part)
        if index:
            verb, words = words[0].lower(), words[1:]
        known = verbs.lemma(verb)
        found += (
            cut("user", [known, *objects, *words], True)
            if known
            else [Clause("user", "", verb, (*objects, *words), True)]
        )
    return found


def head_of(text: str) -> bool:
    return leading_verb(words_of(text)) is not None


def _strip(text: str) -> tuple[str, str, bool]:
    """Takes off the preludes: 'As a clerk I want to …', 'Members can …', 'It should be possible
    to …'."""
    actor, asked = "", False
    for _ in range(4):
        if timed := _TIMES.match(text):
            text = timed["rest"]
        if story := _STORY.match(text):
            actor, text, asked = _actor(story["actor"]), story["rest"], True
            continue
        if possible := _POSSIBLE.match(text):
            actor, text, asked = _actor(possible["actor"] or "") or actor, possible["rest"], True
            continue
        if let := _LET.match(text):
            actor, text, asked = _actor(let["actor"]) or actor, let["rest"], True
            continue
        first = words_of(text)[:1]
        modal = (
            None
            if first and verbs.lemma(first[0]) and not _noun_first(text)
            else _MODAL.match(text)
        )
        if modal and (
            leading_verb(words_of(modal["rest"]))
            or modal["rest"].lower().startswith(("a way", "to "))
        ):
            actor, text, asked = _actor(modal["actor"]) or actor, modal["rest"], True
            continue
        break
    return actor, text, asked


def _noun_first(text: str) -> bool:
    """'Users can …', but also 'Orders can …', whose first word is a verb form too."""
    return bool(re.match(r"^\w+s? (?:can|should|must|may)\b", text, re.IGNORECASE))


def _actor(text: str) -> str:
    if (own := words_of(text)) and own[-1].lower() in _PRONOUNS:
        return ""  # 'For every hive I want to …'
    phrase, _ = noun_phrase(own)
    name = "_".join([*phrase[:-1], singular(phrase[-1])]) if phrase else ""
    return "" if name in _PRONOUNS or name in _SYSTEMS or not name.isidentifier() else name


def _plain_forms(words: list[str]) -> list[str]:
    """'approves or rejects requests': the second verb as the first is written by now."""
    return (
        [
            (verbs.lemma(word) or word)
            if index and words[index - 1].lower() in ("and", "or", ",") and word.endswith("s")
            else word
            for index, word in enumerate(words)
        ]
        if words and words[0].lower() in ("and", "or", ",")
        else words
    )


def _third_person(words: list[str], actors: frozenset[str], is_item: bool) -> list[Clause]:
    """'The librarian lends a book': a subject of up to three words and a verb that agrees with it.

    In a list item it is a wish; elsewhere it may only describe how things are.
    """
    lowered = [w.lower() for w in words]
    for index in range(1, min(5, len(words))):
        verb = verbs.lemma(lowered[index])
        if verb is None or lowered[index] == "set":
            continue
        subject, left = noun_phrase(words[:index])
        pronoun = lowered[index - 1] in _PRONOUNS and index == 1
        known = bool(subject) and singular(subject[-1]) in actors
        many = bool(subject) and is_plural(subject[-1])
        agrees = bool(subject) and lowered[index] != verb if not many else lowered[index] == verb
        stranger = (
            is_item and agrees and (many or lowered[0] in ("the", "a", "an", "each", "every"))
        )
        if (pronoun or (not left and (known or stranger))) and index + 1 < len(words):
            phrase = verbs.take_phrase(lowered[index:])
            rest = words[index:] if phrase else [verb, *_plain_forms(words[index + 1 :])]
            actor = "user" if pronoun else _actor(" ".join(subject)) or "user"
            return cut(actor, rest, is_item and not pronoun)
    return []
