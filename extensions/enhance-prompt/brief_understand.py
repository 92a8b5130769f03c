"""From statements to a specification: requirements, what they imply, assumptions and open questions."""

# ruff: noqa: ARG001, B035, E501, RUF001 - patterns and sentences read better unbroken

from __future__ import annotations

import re

import brief_words as vocabulary
import brief_gherkin
from brief_acceptance import criteria
from brief_changes import FOREIGN
from brief_clauses import NEGATION, Clause, clauses, head_of
from brief_entities import entity_of, find, several
from brief_gherkin import is_criterion
from brief_model import Entity, Field, Requirement, Specification, Statement
from brief_nouns import is_plural, noun_phrase, singular, words_of
from brief_operations import known, requirement
from brief_rules import rule

MAX_REQUIREMENTS = 120
_QUALITIES = (
    (
        "offline",
        r"\b(?:offline|no (?:internet|network|server|cloud|account)|without (?:internet|a network|network|the internet|a server|an account)|locally)\b",
    ),
    ("command-line", r"\b(?:command[- ]line|terminal|cli|console)\b"),
    (
        "persistence",
        r"\b(?:sqlite|persist\w*|survives?|restart\w*|local file|one file|single file|database file|saved? (?:to|on) disk|not lose|lose (?:any )?data|stored (?:locally|in a file))\b",
    ),
    ("python", r"\b(?:in python|python (?:3|package)|installable|pip install)\b"),
)
_WHOLE = re.compile(
    r"\b(?:want|need|like|looking for|build|make|create)s?(?: us| me| to have)? an? [\w -]*(?:tool|app|application|program|system|tracker|book|manager|software|diary|planner|solution|list|database)\b",
    re.IGNORECASE,
)
_DESCRIPTION = re.compile(
    r"^(?:(?:also|and|plus|for),? )?(?P<noun>(?:an? |the |each |every |all )?[\w'-]+(?: [\w'-]+)?)\s*"
    r"(?:has\b|have (?!to\b)|consists? of|contains?|includes?|belongs? to|stands? (?:at|in|on)|[:(,=]|-\s)",
    re.IGNORECASE,
)
_MUST = re.compile(
    r"\b(?:must|has to|have to|need(?:s|ed)?|required|essential|important|critical)\b",
    re.IGNORECASE,
)
_COULD = re.compile(
    r"\b(?:could|nice to have|maybe|perhaps|later|ideally|optional(?:ly)?|would be (?:nice|great|good)|might|some ?day|if possible)\b",
    re.IGNORECASE,
)
_ASKING = re.compile(
    r"\b(?:should|must|shall|need|needs|want|can|could|has to|have to|able to|would like|please|wish|nice to have|ability)\b",
    re.IGNORECASE,
)


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
            _take(spec, statement, actors)
    if not any(r.verb in vocabulary.BUILDABLE for r in spec.requirements):
        _take_goal(spec, found, actors)
    for statement in criteria_stated:
        if not brief_gherkin.attach(spec, statement.text):
            _add(spec, _gap(statement.text, statement), statement)
    _borrowed_fields(spec)
    _imply(spec)
    _finish(spec)
    if left_out:
        spec.questions.append(
            f"The brief is long: {left_out} further statements were not read. Which of them matter?"
        )
    if len(spec.requirements) > MAX_REQUIREMENTS:
        spec.questions.append(
            f"{len(spec.requirements) - MAX_REQUIREMENTS} further requirements were left out. Split the brief?"
        )
        del spec.requirements[MAX_REQUIREMENTS:]
    if not title:
        spec.title = _title(spec)
    spec.goal = _goal(spec, title, found)
    _order(spec)
    return spec


_STORY_ACTOR = re.compile(r"^(?:as an? |the |an? )?(?P<who>[\w-]+(?: [\w-]+)?),? (?:i |we |can\b|may\b|must\b|should\b|shall\b|needs? to\b|wants? to\b)", re.IGNORECASE)  # fmt: skip


def _actors(found: list[Statement]) -> frozenset[str]:
    """Who may be the subject of a requirement: the usual roles, and those that the brief names."""
    named: set[str] = set()
    for s in found:
        match = _STORY_ACTOR.match(s.text)
        text = re.split(r"[:(,–-]", s.text)[0] if s.section == "users" else match["who"] if match else ""
        phrase, rest = noun_phrase(words_of(text))
        if phrase and not rest and len(phrase) <= 2:
            named.add(singular(phrase[-1]))
    return vocabulary.ACTORS | (named - {"system", "app", "program", "tool", "it", "data"})


def _add_lending(spec: Specification, found: list[Statement], actors: frozenset[str]) -> None:
    """Loans exist as soon as anything is lent; earlier sentences may already speak of what is overdue."""
    for s in found:
        for clause in clauses(s.text, s.is_item or s.section == "features", actors):
            if clause.op == "lend" and clause.asked and not NEGATION.search(s.text):
                requirement(spec, clause, s.text, s.line)


def _take_goal(spec: Specification, found: list[Statement], actors: frozenset[str]) -> None:
    """Where no sentence asks for anything that can be built, what the brief says of its purpose is taken."""
    for s in found:
        if s.section in ("goal", "prose", ""):
            for clause in clauses(s.text, True, actors):
                if clause.op and known(spec, clause):
                    for one in _expand(clause):
                        _add(spec, requirement(spec, one, s.text, s.line), s)


def _take(spec: Specification, s: Statement, actors: frozenset[str]) -> None:
    """One statement: a user, a fact about data, a rule, a quality, features, a question or context."""
    text = s.text.strip()
    if not any(c.isalpha() for c in text):
        return
    if s.section == "questions" or (text.endswith("?") and not s.is_item):
        spec.questions.append(text)
    elif s.section == "out":
        spec.context.append(f"Out of scope: {text}")
    elif s.section == "users":
        _user(spec, text)
    elif not (_take_rule(spec, s) or _take_quality(spec, s, actors)):
        _take_features(spec, s, actors)


def _user(spec: Specification, text: str) -> None:
    phrase, _ = noun_phrase(words_of(re.split(r"[:(,–-]", text)[0]))
    if phrase and len(phrase) <= 3:
        name = " ".join(phrase)
        spec.users += [name] if name not in spec.users else []
    spec.context.append(text)


def _described(spec: Specification, s: Statement) -> bool:
    """The statement only says what an entity consists of; it was used for that already."""
    if s.section == "data":
        return True
    owned = entity_of(spec.entities, noun_phrase(words_of(s.parent))[0]) is not None
    if s.parent and owned and not clauses(s.parent, True) and not head_of(s.text):
        return True
    return _describes(spec, s.text) or (" with " in s.text and "unique" in s.text)


def _take_rule(spec: Specification, s: Statement) -> bool:
    low = s.text.lower()
    narrated = s.section in ("prose", "goal") and not s.is_item and not _MAY.search(low)
    restricts = NEGATION.search(low) or _RESTRICTS.search(low)
    if not restricts or narrated or _described(spec, s):
        return False
    limits = rule(spec, s.text, s.line)
    if limits is not None:
        _add(spec, limits, s)
    return limits is not None


def _take_quality(spec: Specification, s: Statement, actors: frozenset[str]) -> bool:
    low = s.text.lower()
    quality = next((name for name, pattern in _QUALITIES if re.search(pattern, low)), None)
    wanted = s.is_item or s.section == "quality" or _ASKING.search(s.text)
    if not quality or not wanted or s.section in ("goal", "data"):
        return False
    parts = clauses(s.text, s.is_item or s.section == "features", actors)
    if any(p.asked and p.op and known(spec, p) for p in parts):
        return False
    _add(spec, Requirement(s.text, "user", "quality", quality, line=s.line, word="quality"), s)
    return True


def _take_features(spec: Specification, s: Statement, actors: frozenset[str]) -> None:
    parts = clauses(s.text, s.is_item or s.section in ("features", "acceptance"), actors)
    asked = [p for p in parts if p.asked or (s.is_item and p.op and s.section == "features")]
    if s.section == "data" or (
        _described(spec, s) and not any(p.asked and p.op != "track" for p in parts)
    ):
        spec.context.append(s.text)
        return
    stated = [p for p in parts if not p.asked and p.op in _STATED and known(spec, p)]
    if s.section == "goal" and not _ASKING.search(s.text):
        stated = []
    imperative = s.section == "goal" and not (spec.entities and any(known(spec, p) for p in asked))
    for clause in [] if imperative else asked or stated:
        for one in [c for part in several(clause) for c in _expand(part)]:
            _add_with_formats(spec, requirement(spec, one, s.text, s.line), one, s)
    if (asked or stated) and not imperative:
        return
    required = s.section in ("features", "quality", "acceptance") or (s.section == "prose" and s.is_item)
    wished = _ASKING.search(s.text) and s.section not in ("goal", "users") and not _WHOLE.search(s.text)
    if required or wished or (s.section == "prose" and _imperative(s.text)):
        _add(spec, _gap(s.text, s), s)
    else:
        spec.context.append(s.text)


def _imperative(text: str) -> bool:
    """'Talk to me when …', 'Water the plants': a bare word that is no noun with its verb behind it."""
    words = [w.lower() for w in words_of(text)]
    if len(words) < 2 or is_plural(words[0]) or not words[0].isalpha() or words[0] in _NO_VERBS:
        return False
    objects = ("the", "a", "an", "my", "our", "me", "us", "all", "each", "every", "to", "it", "them")
    return words[1] in objects and not re.search(r"\b(?:is|are|was|were|has|have|had)\b", text.lower())


def _add_with_formats(spec: Specification, made: Requirement, clause: Clause, s: Statement) -> None:
    """A requirement and, where it also names a format that is not generated, a gap for that."""
    _add(spec, made, s)
    foreign = FOREIGN.search(" ".join(clause.words)) if made.verb in ("export", "import") else None
    if foreign:
        verb, word = f"{made.verb}-{foreign[1].lower()}", f"{made.verb} {foreign[1]}".lower()
        _add(spec, Requirement(s.text, made.actor, verb, made.noun, line=s.line, word=word), s)


_MAY = re.compile(r"\b(?:must|may|should|shall|can|cannot|can't|cant|allowed|never|no two|at most|only)\b")
_RESTRICTS = re.compile(
    r"\b(?:unique|required|mandatory|positive|double.?book\w*|sold out|(?:system|app|program|it) (?:shall |must |should )?(?:reject|refuse)s?)\b"
)
_STATED = frozenset("create list update status delete search lend return count increase decrease".split())
_NO_VERBS = frozenset(
    "this that these those it i we you he she they there here so but and or all our my what when if for in on at to"
    " with the a an every each some no not since because after before until while today now hi hello".split()
)


def _describes(spec: Specification, text: str) -> bool:
    """The statement only says what an entity consists of; it was used for that already."""
    match = _DESCRIPTION.match(text)
    return bool(match and entity_of(spec.entities, noun_phrase(words_of(match["noun"].lower()))[0]))


def _gap(text: str, s: Statement) -> Requirement:
    rest = re.sub(r"^.{0,40}?\b(?:i|we) (?:want|need|would like)(?: to (?:have|see))? (?:an? |the |some )?", "", text, flags=re.IGNORECASE)  # fmt: skip
    rest = re.sub(r"^(?:(?:and|also|it|the|system|app|program|should|must|shall|can|an?) )+", "", rest, flags=re.IGNORECASE)  # fmt: skip
    words = [w for w in words_of(rest or text) if w[0].isalnum()]
    return Requirement(text, "user", "provide", "", line=s.line, word=" ".join(words[:5]).lower())


def _expand(clause: Clause) -> list[Clause]:
    many = {"manage": vocabulary.MANAGE, "track": vocabulary.TRACK}.get(clause.op)
    if not many:
        return [clause]
    words = {"create": "add", "list": "list", "update": "edit", "delete": "delete"}
    return [Clause(clause.actor, op, words[op], clause.words, clause.asked) for op in many]


def _add(spec: Specification, new: Requirement, s: Statement) -> None:
    stated = "could" if _COULD.search(s.text) else "must" if _MUST.search(s.text) else "should"
    new.priority = s.priority or stated
    new.text += f" ({s.note})" if s.note else ""
    for old in spec.requirements:
        gap = new.verb not in vocabulary.BUILDABLE
        same = (old.verb, old.noun, sorted(old.details)) == (
            new.verb,
            new.noun,
            sorted(new.details),
        )
        if same and (not gap or old.text == new.text):
            if new.text != old.text and new.text not in old.also:
                old.also.append(new.text)
            return
    spec.requirements.append(new)


def _borrowed_fields(spec: Specification) -> None:
    """Every entity can be told apart by something."""
    for entity in spec.entities.values():
        if not entity.fields:
            entity.add(Field("name", "text"))
            spec.assumptions.append(
                f"{_a(entity).capitalize()} has a name; the brief names no fields for it."
            )
        elif all(
            f.type in ("boolean", "decimal", "integer", "list") or f.type.startswith("choice")
            for f in entity.fields
        ):
            entity.fields.insert(0, Field("name", "text"))
            spec.assumptions.append(
                f"{_a(entity).capitalize()} also has a name, to tell one from another."
            )
        elif (
            all(
                f.type in ("date", "datetime", "boolean", "list")
                or f.type.startswith("choice")
                or f.optional
                for f in entity.fields
            )
            and not any(f.name in ("name", "title", "description") for f in entity.fields)
            and not any(f.type.startswith("ref") for f in entity.fields)
        ):
            entity.fields.insert(0, Field("title", "text"))
            spec.assumptions.append(
                f"{_a(entity).capitalize()} also has a title, to tell one from another."
            )
        for one in entity.fields:
            if (
                one.type in ("integer", "decimal")
                and one.name in ("quantity", "stock", "price")
                and one.minimum is None
            ):
                one.minimum = 0


def _imply(spec: Specification) -> None:
    """What must be there for the rest to be usable: whatever exists can be added and listed."""
    for entity in list(spec.entities.values()):
        has = {
            r.verb
            for r in spec.requirements
            if r.noun == entity.name and not (r.verb == "list" and r.details)
        }
        lent = entity.name == "loan" and any(r.verb == "lend" for r in spec.requirements)
        if "create" not in has and not lent:
            spec.requirements.append(
                Requirement(
                    f"Add {_a(entity)}",
                    "user",
                    "create",
                    entity.name,
                    priority="should",
                    word="add",
                )
            )
            spec.assumptions.append(
                f"{_a(entity).capitalize()} can be added, although the brief does not say so."
            )
        if "list" not in has:
            spec.requirements.append(
                Requirement(
                    f"List the {_say(entity.plural)}",
                    "user",
                    "list",
                    entity.name,
                    priority="should",
                    word="list",
                )
            )
            spec.assumptions.append(
                f"The {_say(entity.plural)} can be listed, although the brief does not say so."
            )


def _finish(spec: Specification) -> None:
    for made in spec.requirements:
        entity = spec.entities.get(made.noun)
        if made.verb == "create" and entity:
            made.details = [f.token() for f in entity.fields]
        elif made.verb == "lend":
            made.details += [f.token() for f in spec.entities["loan"].fields]
        elif made.verb in ("search",) and entity and not made.details:
            made.details = [f.name for f in entity.fields if f.type in ("text", "list")]
        made.acceptance = criteria(made, entity, spec) + made.stated
        if made.verb not in (*vocabulary.BUILDABLE, "rule", "quality") or (
            made.verb == "rule" and not made.details
        ):
            spec.questions.append(f"How exactly should this work: “{_short(made.text)}”?")
    for made in spec.requirements:
        if made.actor != "user" and _say(made.actor) not in spec.users:
            spec.users.append(_say(made.actor))
    spec.users = spec.users or ["user"]
    for entity in spec.entities.values():
        if not entity.stated:
            spec.questions.append(
                f"Which fields does {_a(entity)} have? Assumed: {', '.join(_say(f.name) for f in entity.fields)}."
            )
        spec.questions += [f"What are the possible values of the {_say(f.name)} of a {_say(entity.name)}? Any text is accepted for now."
                           for f in entity.fields if f.name in ("status", "priority", "type", "kind", "state") and f.type == "text"]  # fmt: skip
    if not spec.requirements:
        spec.questions.insert(
            0,
            "No requirement was recognised. What should a user be able to do, and with which things?",
        )


def _order(spec: Specification) -> None:
    """Whatever is made comes before what uses it; `depends_on` holds 1-based numbers."""
    spec.requirements.sort(key=lambda r: r.line if r.line is not None else 1 << 30)
    makers = {
        r.noun: n for n, r in reversed(list(enumerate(spec.requirements, 1))) if r.verb == "create"
    }
    makers |= {
        "loan": n for n, r in reversed(list(enumerate(spec.requirements, 1))) if r.verb == "lend"
    }
    for number, made in enumerate(spec.requirements, 1):
        needs = {makers[made.noun]} if made.noun in makers else set()
        entity: Entity | None = spec.entities.get(
            "loan" if made.verb in ("lend", "return") else made.noun
        )
        if made.verb == "return" and "loan" in makers:
            needs.add(makers["loan"])
        if made.verb in ("create", "lend") and entity:
            targets = [f.type[4:-1] for f in entity.fields if f.type.startswith("ref(")]
            needs |= {makers[t] for t in targets if t in makers}
        made.depends_on = sorted(needs - {number})


def _title(spec: Specification) -> str:
    """A brief without a heading is named for the things it is about."""
    names = [_say(e.plural) for e in spec.entities.values()][:3]
    return (
        (", ".join(names[:-1]) + " and " * (len(names) > 1) + names[-1]).capitalize()
        if names
        else "Untitled"
    )


def _goal(spec: Specification, title: str, found: list[Statement]) -> str:
    stated = [s.text for s in found if s.section == "goal" and not s.is_item][:3]
    if not stated:
        stated = [
            s.text
            for s in found
            if s.section == "prose" and not s.is_item and len(s.text.split()) > 4
        ][:2]
    text = " ".join(stated) or title
    return text if len(text) <= 600 else text[:597] + "…"


def _a(entity: Entity) -> str:
    return f"{'an' if entity.name[0] in 'aeiou' else 'a'} {_say(entity.name)}"


def _say(name: str) -> str:
    return name.replace("_", " ").strip()


def _short(text: str, limit: int = 160) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"
