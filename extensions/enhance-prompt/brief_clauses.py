"""Cuts a statement into clauses: who does what to what. Works on word order alone.

A clause keeps the brief's own verb; `op` is the operation it stands for, or "" where the vocabulary has none.
"""

# ruff: noqa: E501, RUF001 - patterns and sentences read better unbroken

from __future__ import annotations

import re
from dataclasses import dataclass

import brief_words as vocabulary
from brief_nouns import is_plural, noun_phrase, singular, words_of

_STORY = re.compile(
    r"^as an? (?P<actor>[\w -]+?),? (?:i|we) (?:(?:also )?(?:want|need|would like|wish|have|should be able|can|must be able)"
    r"(?: to)?(?: be able to)?|like to)\s+(?P<rest>.*)$",
    re.IGNORECASE,
)
_MODAL = re.compile(
    r"^(?P<actor>(?:[\w'’-]+\s+){0,4}?[\w'’-]+?)\s+(?:(?:can|could|should|shall|must|may|might|will|would|needs?|wants?|has|have|ought|"
    r"wishes|likes?|(?:am|is|are)(?= (?:able|allowed|supposed)))\s+(?:also\s+|always\s+|either\s+)?(?:(?:to|like to|love to|want to|need to|have to|able to|allowed to|supposed to|"
    r"be able to|be allowed to)\s+)*(?:be able to\s+)?(?:also\s+)?)(?P<rest>.*)$",
    re.IGNORECASE,
)
_LET = re.compile(
    r"^(?:[\w ]{0,40}?\b(?:let|lets|allow|allows|enable|enables|help|helps)\s+(?P<actor>me|us|you|[\w-]+(?: [\w-]+)?)\s+(?:to\s+)?)(?P<rest>.*)$",
    re.IGNORECASE,
)
_POSSIBLE = re.compile(
    r"^(?:(?:it )?would be (?:nice|great|good|cool|helpful) if (?:the (?:program|app|system|tool)|it|i|we|you) (?:could|can|would|also)|"
    r"(?:.{0,60}\b)?(?:app|tool|program|system|application|software|something|website|solution) (?:to|that (?:can|should|must|will)|so i can|where i can|with which i can)|"
    r"it (?:should|must|has to|needs to) be (?:possible|easy|able) (?:to|for (?P<actor>[\w-]+(?: [\w-]+)?) to)|"
    r"(?:the )?(?:ability|option|possibility|way|function|feature|command|button) (?:to|for)|be able to|able to|there (?:should|must) be a way to|"
    r"(?:please )?(?:let me|let us)|(?:also|then|and|maybe|perhaps|ideally|later|finally|first|next|sometimes|please|optionally|"
    r"nice to have|must|should|could|would be (?:nice|great|cool|good) (?:if (?:i|we|you|it) c(?:an|ould)|to)|a way to|need to|want to|to|"
    r"(?:need|want)(?= a way| to| the ability))[:,]?)\s+(?P<rest>.*)$",
    re.IGNORECASE,
)
_PASSIVE = re.compile(
    r"^(?P<object>.+?)\s+(?:can|could|should|must|may|will|need to|needs to|have to|has to)\s+(?:also\s+)?be\s+(?:able to be\s+)?(?P<verb>\w+)(?P<rest>\b.*)$",
    re.IGNORECASE,
)
_RATIONALE = re.compile(
    r"[,\s]+(?:so that|so (?:i|we|they|you|he|she)\b|in order to|because|otherwise)\b.*$",
    re.IGNORECASE,
)
NEGATION = re.compile(
    r"\b(?:cannot|can't|can not|cant|must not|mustn't|may not|should not|shouldn't|never|no two|not allow|no duplicates?|only once|not be|at most|no more than|only if|not allowed|nobody|at least one)\b",
    re.IGNORECASE,
)
_PRONOUNS = frozenset(["i", "we", "you", "he", "she", "they", "it", "one", "me", "us"])
_SYSTEMS = frozenset(
    [
        "system",
        "app",
        "application",
        "tool",
        "program",
        "software",
        "it",
        "this",
        "service",
        "platform",
        "everything",
    ]
)
_PRELUDE = re.compile(
    r"^.{0,60}?:\s+(?=(?:i|we) (?:want|need|would like)\b)|^(?:and|also|plus|but|so|oh|ok|then|hi|hello|please)[,!:]?\s+",
    re.IGNORECASE,
)
_AFTERTHOUGHT = re.compile(
    r"[,\s]+(?:would|could) be (?:nice|great|good|helpful|cool|useful)\b.*$|[,\s]+(?:please|too|as well|if possible)$",
    re.IGNORECASE,
)
_WHEN = re.compile(r"^when(?:ever)?\s+(?=(?:i|we|they|someone|a \w+)\s)", re.IGNORECASE)
_TIMES = re.compile(
    r"^(?:when|if|once|after|before|whenever|every time)\b[^,]*,\s*(?P<rest>.*)$", re.IGNORECASE
)


_SEVERAL = re.compile(
    r"^(?:the )?(?P<noun>[\w-]+(?: [\w-]+)?): ?(?P<verbs>\w+(?:(?:, ?|/| and |, and | or )\w+)+)$", re.IGNORECASE
)
_RECORDED = re.compile(
    r"^(?P<object>.+?)\s+(?:is|are|gets?)\s+(?:also\s+)?(?P<verb>recorded|stored|logged|kept|registered|entered|noted)\b(?P<rest>.*)$",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Clause:
    actor: str
    op: str
    verb: str
    words: tuple[str, ...]  # after the verb
    asked: bool  # worded as a wish or a command, not as a description


def clauses(
    text: str, is_item: bool, actors: frozenset[str] = vocabulary.ACTORS
) -> list[Clause]:
    """The clauses of a sentence; empty if it asks for nothing. `actors`: who may be a subject."""
    several = _SEVERAL.match(text.strip(" ."))
    if several and all(vocabulary.lemma(w) for w in re.findall(r"\w+", several["verbs"])):
        text = f"{several['verbs']} {several['noun']}"
    text = _RATIONALE.sub("", text.strip(" .!;"))
    wished = bool(_AFTERTHOUGHT.search(text))
    text = _PRELUDE.sub("", _AFTERTHOUGHT.sub("", text))
    actor, rest, asked = _strip(text)
    asked = asked or wished
    passive = None if asked and _leading_verb(words_of(rest)) else _PASSIVE.match(text)
    recorded = None if head_of(rest) else _RECORDED.match(text)
    if recorded and not NEGATION.search(text) and (is_item or vocabulary.lemma(recorded["verb"])):
        words = [*words_of(recorded["object"]), *words_of(recorded["rest"])]
        return _cut("user", [vocabulary.lemma(recorded["verb"]) or "record", *words], True)
    if passive and not NEGATION.search(text):
        verb = vocabulary.lemma(passive["verb"])
        if (verb and passive["verb"].lower() not in (verb, verb + "s")) or verb in ("set",):
            objects = words_of(passive["object"])
            return _cut("user", [verb or "", *objects, *words_of(passive["rest"])], True)
    words = words_of(rest)
    head = _leading_verb(words)
    if head:
        imperative = actor == "" and (
            is_item or words[0].lower() in (head[0], *_gerunds(head[0])) or asked
        )
        return _cut(actor or "user", words, asked or imperative)
    if asked:
        return _nominal(words, True) or _cut(actor or "user", words, True)
    subject = _third_person(words_of(_WHEN.sub("", rest)), actors, is_item)
    return subject or _nominal(words, is_item)


def head_of(text: str) -> bool:
    return _leading_verb(words_of(text)) is not None


def _gerunds(verb: str) -> tuple[str, ...]:
    return tuple(f for f in (verb + "ing", verb.rstrip("e") + "ing", verb + verb[-1] + "ing"))


def _strip(text: str) -> tuple[str, str, bool]:
    """Takes off the preludes: 'As a clerk I want to …', 'Members can …', 'It should be possible to …'."""
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
            if first and vocabulary.lemma(first[0]) and not _noun_first(text)
            else _MODAL.match(text)
        )
        if modal and (
            _leading_verb(words_of(modal["rest"]))
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
    phrase, _ = noun_phrase(words_of(text))
    name = "_".join([*phrase[:-1], singular(phrase[-1])]) if phrase else ""
    return "" if name in _PRONOUNS or name in _SYSTEMS or not name.isidentifier() else name


def _leading_verb(words: list[str]) -> tuple[str, int] | None:
    """The verb at the start and the words it takes; typing errors are forgiven."""
    phrase = vocabulary.take_phrase([w.lower() for w in words])
    if phrase:
        return phrase
    if not words:
        return None
    verb = vocabulary.lemma(words[0], fuzzy=True)
    if verb and words[0].lower().endswith("s") and verb != words[0].lower():
        return None  # a third person, or a plural noun: told apart elsewhere
    return (verb, 1) if verb else None


def _cut(actor: str, words: list[str], asked: bool) -> list[Clause]:
    """'add, edit and delete tasks' → three clauses that share their object."""
    starts: list[tuple[int, str, int]] = []
    for index in range(len(words)):
        previous = words[index - 1].lower() if index else ""
        before = words[index - 2].lower() if index > 1 else ""
        if index and not (
            previous in (",", ";", "and", "or", "/")
            or (
                previous in ("then", "also", "to", "can", "i", "we", "they")
                and before in (",", ";", "and", "or")
            )
        ):
            continue
        head = _leading_verb(words[index:])
        exact = head and (
            index == 0 or head[1] > 1 or words[index].lower() in (head[0], *_gerunds(head[0]))
        )
        if head and exact and not (index and _is_object(words, index)):
            starts.append((index, head[0], head[1]))
    if not starts or starts[0][0] > 0:
        first = words[0].lower() if words else ""
        starts.insert(0, (0, first, 1))
    out: list[Clause] = []
    ops = vocabulary.operations()
    for number, (index, verb, size) in enumerate(starts):
        end = starts[number + 1][0] if number + 1 < len(starts) else len(words)
        body = words[index + size : end]
        while body and body[-1].lower() in (
            ",",
            ";",
            "and",
            "or",
            "then",
            "also",
            "to",
            "can",
            "i",
            "we",
            "they",
            "/",
        ):
            body.pop()
        out.append(Clause(actor, ops.get(verb, ""), verb, tuple(body), asked))
    for number in range(len(out) - 2, -1, -1):
        if not out[number].words and out[number].op != "sort":
            out[number] = Clause(
                actor, out[number].op, out[number].verb, out[number + 1].words, asked
            )
    return out


def _is_object(words: list[str], index: int) -> bool:
    """A verb form that is really a noun in a list: 'title, note and due date', 'cost, place'."""
    following = words[index + 1].lower() if index + 1 < len(words) else ""
    as_list = following in ("", ",", "and", "or", ")", ":")
    first = vocabulary.lemma(words[0]) if words else None
    after_with = any(
        w.lower() in ("with", "by", "has", "have", "including", ":", "(") for w in words[:index]
    )
    both = words[index].lower() in (
        "note",
        "book",
        "record",
        "place",
        "order",
        "plan",
        "post",
        "issue",
        "label",
        "report",
        "count",
        "total",
        "cost",
        "rate",
        "tag",
        "list",
        "address",
        "email",
        "e-mail",
        "load",
        "share",
        "open",
        "view",
        "loan",
        "average",
        "store",
    )
    return both and (
        after_with
        or (as_list and first != words[index].lower() and following not in ("and", "or", ","))
    )


def _third_person(words: list[str], actors: frozenset[str], is_item: bool) -> list[Clause]:
    """'The librarian lends a book': a subject of up to three words and a verb that agrees with it.

    In a list item it is a wish; elsewhere it may only describe how things are.
    """
    lowered = [w.lower() for w in words]
    for index in range(1, min(5, len(words))):
        verb = vocabulary.lemma(lowered[index])
        if verb is None or lowered[index] == "set":
            continue
        subject, left = noun_phrase(words[:index])
        pronoun = lowered[index - 1] in _PRONOUNS and index == 1
        known = bool(subject) and singular(subject[-1]) in actors
        many = bool(subject) and is_plural(subject[-1])
        agrees = bool(subject) and lowered[index] != verb if not many else lowered[index] == verb
        stranger = is_item and agrees and (many or lowered[0] in ("the", "a", "an", "each", "every"))
        if not left and (known or pronoun or stranger) and index + 1 < len(words):
            phrase = vocabulary.take_phrase(lowered[index:])
            rest = words[index:] if phrase else [verb, *words[index + 1 :]]
            actor = "user" if pronoun else _actor(" ".join(subject)) or "user"
            return _cut(actor, rest, is_item and not pronoun)
    return []


_NOUNS = {
    "creation": "create", "deletion": "delete", "removal": "delete", "registration": "register",
    "overview": "list", "listing": "list", "report": "report", "export": "export", "import": "import",
    "search": "search", "statistics": "report", "editing": "edit", "management": "manage",
    "tracking": "track", "reminders": "remind", "reminder": "remind", "notifications": "notify",
    "notification": "notify", "booking": "book", "cancellation": "cancel", "list": "list", "summary": "report",
    "history": "list", "timetable": "list", "schedule": "list", "calendar": "list",
}  # fmt: skip
_FIGURES = {
    "number": "count", "count": "count", "total": "total", "sum": "sum", "average": "average", "value": "total",
    "revenue": "total", "turnover": "total", "income": "total", "sales": "total", "costs": "total",
    "expenses": "total", "kilometres": "total", "kilometers": "total", "hours": "total",
}  # fmt: skip
_PER = frozenset(["per", "by", "of", "each"])


def _nominal(words: list[str], is_item: bool) -> list[Clause]:
    """Features worded as nouns: 'CSV export', 'overdue list', 'number of lessons per teacher'."""
    while words and words[0].lower() in ("a", "an", "the", "also", "some"):
        words = words[1:]
    lowered = [w.lower() for w in words]
    opens = bool(words) and lowered[0] in ("export", "import", "overview", "report", "search", "list")
    if not words or len(words) > (14 if opens else 10) or not (is_item or opens):
        return []
    ops = vocabulary.operations()
    figure = next((i for i, w in enumerate(lowered[:3]) if w in _FIGURES), None)
    if figure is not None and len(words) > 1 and set(lowered[1:]) & _PER:
        verb = _FIGURES[lowered[figure]]
        # the name of what is added up stays, so that its field is found
        kept = words[1:] if figure == 0 and lowered[0] in ("number", "count", "total", "sum") else words
        return [Clause("user", ops[verb], verb, tuple(_without_of(kept)), True)]
    for index, word in enumerate(lowered):
        if word in _NOUNS and (index or len(words) > 1 or not is_plural(word)):
            verb = _NOUNS[word]
            others = [*words[:index], *words[index + 1 :]]
            return [Clause("user", ops.get(verb, ""), verb, tuple(_without_of(others)), True)]
    state = lowered[0] in vocabulary.STATES or lowered[0] == "free"
    if state and len(words) > 1 and is_plural(words[1]):
        return [Clause("user", "list", "list", tuple(words), True)]
    return []


def _without_of(words: list[str]) -> list[str]:
    return words[1:] if words[:1] and words[0].lower() == "of" else words
