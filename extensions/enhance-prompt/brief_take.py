"""Takes one statement into a specification: as a rule, a quality, features, a question or
context."""

from __future__ import annotations

import re

import brief_verbs as verbs
from brief_changes import FOREIGN
from brief_clauses import NEGATION, clauses, head_of
from brief_define import RECORDED_OF
from brief_entities import several
from brief_fate import ask, set_aside
from brief_known import entity_of
from brief_model import Clause, Requirement, Specification, Statement
from brief_nouns import noun_phrase, words_of
from brief_operations import known, requirement
from brief_rules import rule, rule_of_capacity
from brief_wishes import commands, only_asks
from brief_words import words

_QUALITIES = (
    (
        "offline",
        (
            r"\b(?:offline|no (?:internet|network|server|cloud|account)|without"
            r" (?:internet|a network|network|the internet|a server|an account)|locally)\b"
        ),
    ),
    ("command-line", r"\b(?:command[- ]line|terminal|cli|console)\b"),
    (
        "persistence",
        (
            r"\b(?:sqlite|persist\w*|survives?|restart\w*|local file|one file|single file|"
            r"database file|saved? (?:to|on) disk|not (?:be )?los[et]|"
            r"lose (?:any )?data|stored (?:locally|in a file))\b"
        ),
    ),
    ("python", r"\b(?:in python|python (?:3|package)|installable|pip install)\b"),
)


_WHOLE = re.compile(
    r"\b(?:want|need|like|looking for|build|make|create)s?(?: us| me| to have)? an?"
    r" [\w -]*(?:tool|app|application|program|system|tracker|book|"
    r"manager|software|diary|planner|solution|list|database)\b",
    re.IGNORECASE,
)


_DESCRIPTION = re.compile(
    r"^(?:(?:also|and|plus|for),? )?(?P<noun>(?:an? |"
    r"the |each |every |all )?[\w'-]+(?: [\w'-]+)?)\s*"
    r"(?:has\b|have (?!to\b)|consists? of|contains?|"
    r"includes?|belongs? to|stands? (?:at|in|on)|[:(,=]|-\s)",
    re.IGNORECASE,
)


_MUST = re.compile(
    r"\b(?:must|has to|have to|need(?:s|ed)?|required|essential|important|critical)\b",
    re.IGNORECASE,
)


_COULD = re.compile(
    r"\b(?:could|nice to have|maybe|perhaps|later|ideally|optional(?:ly)?|"
    r"would be (?:nice|great|good)|might|some ?day|if possible)\b",
    re.IGNORECASE,
)


_ASKING = re.compile(
    r"\b(?:should|must|shall|need|needs|want|can|could|has to|have"
    r" to|able to|would like|please|wish|nice to have|ability)\b",
    re.IGNORECASE,
)


def take(spec: Specification, s: Statement, actors: frozenset[str]) -> None:
    """One statement: a user, a fact about data, a rule, a quality, features, a question or
    context."""
    text = s.text.strip()
    if not any(c.isalpha() for c in text):
        spec.fate(s).reasons.append("context: it holds no words")
    elif s.section == "questions" or (only_asks(text) and not s.is_item):
        ask(spec, s, "it wants an answer and asks for nothing to be built")
    elif s.section == "out":
        set_aside(spec, s, "it stands under what is not wanted")
    elif s.section == "example":
        set_aside(spec, s, "an example")
    elif s.section == "users" and not _MAY_DO.search(text):
        _user(spec, s)
    elif not (
        _take_rule(spec, s, enforced=True)
        or _take_quality(spec, s, actors)
        or _take_rule(spec, s, enforced=False)
    ):
        _take_features(spec, s, actors)
    if text.endswith("?") and not spec.fate(s).reasons:
        ask(spec, s, "it is worded as one")


_MAY_DO = re.compile(r"^[\w -]+[:,-]? +(?:can|may|must|should|wants? to|needs? to) ", re.IGNORECASE)


def _user(spec: Specification, s: Statement) -> None:
    phrase, _ = noun_phrase(words_of(re.split(r"[:(,\u2013-]", s.text)[0]))
    if phrase and len(phrase) <= 3:
        name = " ".join(phrase)
        spec.users += [name] if name not in spec.users else []
    set_aside(spec, s, "it says who uses the program")


def _described(spec: Specification, s: Statement) -> bool:
    """The statement only says what an entity consists of; it was used for that already."""
    if s.section == "data" and not _MUST_BE.search(s.text.lower()):
        return True
    owned = entity_of(spec.entities, noun_phrase(words_of(s.parent))[0]) is not None
    says = re.search(
        r"\b(?:is|are|can|must|should|shall|may)\b|^(?:total|sum|number) of\b", s.text.lower()
    )
    if s.parent and owned and not says and not clauses(s.parent, True) and not head_of(s.text):
        return True
    return _describes(spec, s.text) or (" with " in s.text and "unique" in s.text)


def _take_rule(spec: Specification, s: Statement, *, enforced: bool) -> bool:
    """A constraint: first those that the code can enforce, then those that become gaps."""
    low = s.text.lower()
    narrated = s.section in ("prose", "goal") and not s.is_item and not _MAY.search(low)
    restricts = NEGATION.search(low) or _RESTRICTS.search(low)
    if not restricts or narrated or _described(spec, s):
        return False
    if s.section == "data" and s in spec.described:
        return False
    limits = rule(spec, s.text, s.line)
    if limits is None or enforced != bool(limits.details):
        return False
    add(spec, limits, s)
    return True


def _take_quality(spec: Specification, s: Statement, actors: frozenset[str]) -> bool:
    low = s.text.lower()
    quality = next((name for name, pattern in _QUALITIES if re.search(pattern, low)), None)
    wanted = s.is_item or s.section == "quality" or _ASKING.search(s.text)
    if not quality or not wanted or s.section in ("goal", "data"):
        return False
    parts = clauses(s.text, s.is_item or s.section == "features", actors)
    if any(p.asked and p.op and known(spec, p) for p in parts):
        return False
    add(spec, Requirement(s.text, "user", "quality", quality, line=s.line, word="quality"), s)
    return True


def _take_features(spec: Specification, s: Statement, actors: frozenset[str]) -> None:
    parts = clauses(s.text, s.is_item or s.section in ("features", "acceptance"), actors)
    asked = [p for p in parts if p.asked or (s.is_item and p.op and s.section == "features")]
    wishes = any(p.asked and p.op != "track" for p in parts)
    if (s in spec.described or _described(spec, s)) and (s.section == "data" or not wishes):
        _describe(spec, s)
        return
    stated = [p for p in parts if not p.asked and _says_what_is_done(p) and known(spec, p)]
    if s.section == "goal" and not _ASKING.search(s.text):
        stated = []
    imperative = s.section == "goal" and not (spec.entities and any(known(spec, p) for p in asked))
    overall = [p for p in asked if p.op in ("track", "manage") and not known(spec, p)]
    if overall and overall == asked and spec.entities and not s.is_item:
        set_aside(spec, s, "it names the program as a whole")
        return
    for clause in [] if imperative else asked or stated:
        for one in [c for part in several(clause) for c in expand(part)]:
            made = requirement(spec, one, s.text, s.line)
            if not (one.op or made.noun) and len(asked) == 1:
                made = gap(s.text, s)  # its own words name it better than its verb alone
            _add_with_formats(spec, made, one, s)
    if (asked or stated) and not imperative:
        full = rule_of_capacity(spec, s.text, s.line)
        if full:
            add(spec, full, s)
        return
    required = s.section in ("features", "quality", "acceptance") or (
        s.section == "prose" and s.is_item
    )
    wished = _ASKING.search(s.text) and s.section != "goal" and not _WHOLE.search(s.text)
    told = s.section == "prose" and commands(s.text)
    if required or wished or told or s.text.endswith("?"):
        add(spec, gap(s.text, s), s)
    elif s.section == "data":
        _describe(spec, s)
    else:
        set_aside(spec, s, "it says what for" if s.section == "goal" else "it asks for nothing")


def _says_what_is_done(clause: Clause) -> bool:
    """'I water a plant' tells a wish as 'I add a plant' does, though nothing can be built of it."""
    return clause.op in _STATED or (not clause.op and clause.verb in verbs.GAPS)


def _describe(spec: Specification, s: Statement) -> None:
    """Keeps a description of data; asks back where no field could be read from it."""
    set_aside(spec, s, "it describes data, see Data")
    used = s in spec.described or s.parent or " | " in s.text
    if not used and any(c.isalpha() for c in s.text) and not spec.fate(s).requirements:
        ask(spec, s, "no field was recognised in it")


def _add_with_formats(spec: Specification, made: Requirement, clause: Clause, s: Statement) -> None:
    """A requirement and, where it also names a format that is not generated, a gap for that."""
    add(spec, made, s)
    foreign = FOREIGN.search(" ".join(clause.words)) if made.verb in ("export", "import") else None
    if foreign:
        verb, word = f"{made.verb}-{foreign[1].lower()}", f"{made.verb} {foreign[1]}".lower()
        add(spec, Requirement(s.text, made.actor, verb, made.noun, line=s.line, word=word), s)


_MAY = re.compile(
    r"\b(?:must|may|should|shall|can|cannot|can't|cant|allowed|never|no two|at most|only)\b"
)


_MUST_BE = re.compile(
    r"\b(?:must|may|should|shall|can)(?:not| not|n't)\b|\b(?:never|no two)\b|"
    r"\b(?:i|we|users?|staff) (?:want|need|would like|must|can|should)\b"
)


_RESTRICTS = re.compile(
    r"\b(?:unique|required|mandatory|positive|double.?book\w*|sold out|"
    r"(?:system|app|program|it) (?:shall |must |should )?(?:reject|refuse|prevent|forbid)s?)\b"
)


_STATED = words("create list update status delete search lend return count increase decrease")


def _describes(spec: Specification, text: str) -> bool:
    """The statement only says what an entity consists of; it was used for that already."""
    if RECORDED_OF.match(text.strip(" .")):
        return True
    match = _DESCRIPTION.match(text)
    phrase = noun_phrase(words_of(match["noun"].lower()))[0] if match else []
    name = entity_of(spec.entities, phrase)
    examples = match is not None and match[0].endswith("(")  # 'recurring expenses (rent)'
    return name is not None and not (examples and len(phrase) > len(name.split("_")))


def gap(text: str, s: Statement) -> Requirement:
    rest = re.sub(
        r"^.{0,40}?\b(?:i|we) (?:want|need|would like)(?: to (?:have|see))? (?:an? |the |some )?",
        "",
        text,
        flags=re.IGNORECASE,
    )
    rest = re.sub(
        r"^(?:and |but |or |so |also )*is (?:there|it) (?:an? |any )?\w+ (?:to|for|of) ",
        "",
        rest,
        flags=re.IGNORECASE,
    )
    rest = re.sub(
        r"^(?:(?:and|plus|also|it|the|system|app|program|should|must|shall|can|an?) )+",
        "",
        rest,
        flags=re.IGNORECASE,
    )
    words = [w for w in words_of(rest or text) if w[0].isalnum()]
    return Requirement(text, "user", "provide", "", line=s.line, word=" ".join(words[:5]).lower())


def expand(clause: Clause) -> list[Clause]:
    many = {"manage": verbs.MANAGE, "track": verbs.TRACK}.get(clause.op)
    if not many:
        return [clause]
    words = {"create": "add", "list": "list", "update": "edit", "delete": "delete"}
    return [Clause(clause.actor, op, words[op], clause.words, clause.asked) for op in many]


def add(spec: Specification, new: Requirement, s: Statement) -> None:
    stated = "could" if _COULD.search(s.text) else "must" if _MUST.search(s.text) else "should"
    new.priority = s.priority or stated
    new.text += f" ({s.note})" if s.note else ""
    for old in spec.requirements:
        gap = new.verb not in verbs.BUILDABLE
        same = (old.verb, old.noun, sorted(old.details)) == (
            new.verb,
            new.noun,
            sorted(new.details),
        )
        if same and (not gap or old.text == new.text):
            if new.text != old.text and new.text not in old.also:
                old.also.append(new.text)
            spec.fate(s).give(old)
            return
    spec.fate(s).give(new)
    spec.requirements.append(new)
