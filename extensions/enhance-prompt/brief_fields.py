"""Lists of fields in plain language: 'a title, an optional due date and a priority (low or
high)'."""

from __future__ import annotations

import re

from brief_model import Field
from brief_nouns import STOP, identifier, is_plural, singular, words_of
from brief_verbs import lemma
from brief_words import TYPE_HINTS, TYPE_WORDS, words

_RESERVED = frozenset(("id", "db", "self", "today", "help"))
_LEAD = re.compile(
    r"^(?:(?:a|an|the|one|recording|noting|stating|entering|given|certain|specific|"
    r"particular|by|of|for|on|at|to|in|list of|set of|its|their|his|her|my|our|"
    r"your|also|and|or|plus|maybe|perhaps|some|any|one or more|zero or more|"
    r"at least|of course|sometimes|usually|always|current|"
    r"own|full|unique|required|mandatory|optional|optionally|belongs? to|"
    r"possibly|(?:it|they|we) (?:has|have)|has|have|with|is|are|each|every|which|that)\s+)+",
    re.IGNORECASE,
)
_HOW_MANY = re.compile(
    r"\bhow (?:many|much)\b(?! (?:it|they|does|do) costs?)|\bnumber of copies\b", re.IGNORECASE
)
_HOW_MANY_OF = re.compile(
    r"^how many (?P<what>(?!we\b|i\b|you\b|they\b|of\b|are\b|there\b)[\w-]+)\b", re.IGNORECASE
)
_YES_NO = re.compile(r"\s+\(?(?:yes ?/ ?no|y/n|true/false)\)?$", re.IGNORECASE)
_COSTS = re.compile(
    r"\bhow much (?:it|they|does it|do they) costs?\b|\bwhat it costs\b", re.IGNORECASE
)
_WHEN = re.compile(
    r"^when (?:it|they|he|she|we|you|to)?\s*(?:is|are|was|were|has|have)?\s*"
    r"(.*?)(?: (?:it|them|this))?$",
    re.IGNORECASE,
)
_CUT = re.compile(
    r"\s+(?:so that|because|which|that (?:is|are|was)|when|if|in"
    r" order|to be|for (?:each|every|the|a)|per|of (?:the|a|each)|"
    r"who|where|at|until|unless|while|if|should|must|"
    r"can|is|are|may|in (?:the|our)|on (?:the|a))\b.*$",
    re.IGNORECASE,
)
SPAN = re.compile(
    r"\s*\b(?:from |between |of )?(?P<low>\d{1,4}) ?(?:to|and|-|\u2013|\.\.) ?(?P<high>\d{1,5})\b",
    re.IGNORECASE,
)


_UNIT = re.compile(
    r"\s+in (minutes|hours|days|weeks|seconds|grams|pages|euros?|dollars|kg|km|cm)$",
    re.IGNORECASE,
)
_HOW_OFTEN = re.compile(
    r"^how often (?:(?:it|they|he|she|we|i|to) )?(?:(?:needs?|has|have|must|should|is|are|gets?)"
    r" )?(?:(?:to be|to|be) )?(?P<what>[\w-]+)$",
    re.IGNORECASE,
)
_NO_NAME = re.compile(
    r"\b(?:that'?s|enough|etc|stuff|things|such|so"
    r" on|more|itself|themselves|himself|herself)\b",
    re.IGNORECASE,
)
_BETWEEN = re.compile(
    r"([(),;]|\s+(?:and|plus|as well as|&|\+)\s+|\s+with(?= (?:an?|the|its|his|her|their) ))"
)


def split_list(text: str) -> list[str]:
    """Cuts at commas, semicolons, 'and', 'plus', outside brackets."""
    parts, depth, current = [], 0, ""
    for piece in re.split(_BETWEEN, text):
        depth += piece.count("(") - piece.count(")")
        if depth <= 0 and (
            piece in (",", ";") or piece.strip() in ("and", "plus", "as well as", "&", "+", "with")
        ):
            parts.append(current)
            current = ""
        else:
            current += piece
    return [p.strip(" .:") for p in (*parts, current) if p.strip(" .:")]


def parse(text: str, entities: frozenset[str] = frozenset()) -> list[Field]:
    """Every field named in `text`. `entities`: names that make a field a reference."""
    found: list[Field] = []
    for part in split_list(text):
        one = parse_one(part, entities)
        if one and all(one.name != f.name for f in found):
            found.append(one)
    return found


def not_understood(text: str) -> tuple[list[Field], list[str]]:
    """Fields for the phrases of a list that are surely one but not understood, and the phrases
    that are more likely sentences of their own."""
    guessed: list[Field] = []
    unread: list[str] = []
    for part in split_list(text):
        own = [w for w in words_of(re.sub(r"\([^)]*\)?", " ", part)) if w[0].isalpha()]
        plain = [w.lower() for w in own]
        if len(own) < 4 or parse_one(part):
            continue
        if (
            _NO_NAME.search(part)
            or plain[0] in _SUBJECTS
            or set(plain) & _MODALS
            or lemma(plain[0])
        ):
            unread.append(part)
            continue
        telling = [w for w in plain if w not in _EMPTY and w not in STOP]
        name = identifier(" ".join(telling[-3:]))
        if name:
            unit = _UNIT.search(part)
            type_ = _type(name, f"in {unit[1].lower()}" if unit else "")
            guessed.append(Field(name, type_, True, guessed_from=part))
    return guessed, unread


_SUBJECTS = words("i we you they he she it there this that nobody someone")
_MODALS = words("can could must should shall may might will would cannot")
_EMPTY = words(
    "a an the of its their his her my our your it they i we you he she do does need needs often"
    " long far many much is are has have all any each every some own days hours minutes weeks"
)


def parse_one(text: str, entities: frozenset[str] = frozenset()) -> Field | None:
    """One field, or None if the words do not look like one."""
    bracket = re.search(r"\(([^)]*)\)?", text)
    note = bracket[1].strip().lower() if bracket else ""
    plain = re.sub(r"\([^)]*\)?", " ", text).strip()
    name_part, _, after = plain.partition(":")
    if after.strip():
        note = f"{note}, {after.strip().lower()}".strip(", ")
    elif re.search(r"\s[-\u2013\u2014=]\s", name_part):
        name_part, after = re.split(r"\s[-\u2013\u2014=]\s", name_part, maxsplit=1)
        note = f"{note}, {after.strip().lower()}".strip(", ")
    lowered = f"{name_part} {note}".lower()
    optional = bool(
        re.search(
            r"\b(?:optional(?:ly)?|maybe|perhaps|possibly|"
            r"sometimes|may be (?:empty|blank)|if (?:any|known))\b",
            lowered,
        )
    )
    unique = bool(re.search(r"\bunique\b", lowered))
    if _YES_NO.search(name_part):
        name_part, note = _YES_NO.sub("", name_part), "boolean"
    unit = _UNIT.search(name_part.strip())
    if unit:
        name_part = name_part.strip()[: unit.start()]
        note = f"{note}, in {unit[1].lower()}".strip(", ")
    low, high = None, None
    span = SPAN.search(f"{name_part} {note}")
    if span and int(span["low"]) < int(span["high"]):
        low, high = int(span["low"]), int(span["high"])
        name_part = SPAN.sub("", name_part).strip()
        note = f"{note}, number".strip(", ")
    alternatives = re.match(
        r"^(?:a |an |the )?((?:[\w-]+, ?)*[\w-]+ or [\w-]+) ([\w-]+)$", name_part, re.IGNORECASE
    )
    if alternatives:
        name_part, note = alternatives[2], f"{note}, {alternatives[1]}"
    if often := _HOW_OFTEN.match(name_part.strip()):
        name_part = f"{often['what']} interval"
    elif _COSTS.search(name_part):
        name_part = "price"
    elif counted := _HOW_MANY_OF.match(name_part.strip()):
        name_part, note = counted["what"], "integer"
    elif _HOW_MANY.search(name_part):
        name_part = "quantity"
    elif named := re.match(
        r"how long (?:it|they) (?:takes?|lasts?)", name_part.strip(), re.IGNORECASE
    ):
        name_part = name_part.replace(named[0], "duration")
    elif seen := re.match(
        r"(?:whether|if) (?:the |it |they |i |we |you |he |she |someone )*(.*)$",
        name_part.strip(),
        re.IGNORECASE,
    ):
        name_part, note = re.sub(r"\b(?:was|is|were|are|has|have|been)\b", "", seen[1]), "boolean"
    when = _WHEN.match(name_part.strip())
    if when:
        name_part = f"{when[1]} date" if when[1] else "date"
    name_part = _CUT.sub("", _LEAD.sub("", name_part.strip()))
    name_part = re.sub(r"\b(?:optional|unique|required)\b", "", name_part, flags=re.IGNORECASE)
    if _NO_NAME.search(name_part):
        return None
    if len(name_part.split()) > 4 or not name_part.strip():
        return None
    name = identifier(name_part, 4)
    if not name:
        return None
    reference = next(
        (e for e in (singular(name), singular(name.split("_")[-1])) if e in entities), None
    )
    if name in _RESERVED:
        if name == "id":
            return None
        name += "_"
    type_ = _type(name, note)
    if reference and type_ == "text" and not is_plural(name.split("_")[-1]):
        type_ = f"ref({reference})"
    bounds = (low, high) if type_ in ("integer", "decimal") else (None, None)
    return Field(name, type_, optional or type_ == "list", unique, *bounds)


def _type(name: str, note: str) -> str:
    stated = _stated_type(note)
    if stated:
        return stated
    if note and (choices := _choices(note)):
        return f"choice({'|'.join(choices)})"
    return hinted_type(name)


def _stated_type(note: str) -> str | None:
    for part in re.split(r"[,;]", note):
        words = re.sub(r"^(?:a|an|the|as|type|is)\s+", "", part.strip())
        if words in TYPE_WORDS:
            return TYPE_WORDS[words]
        last = words.split()[-1:] or [""]
        if words.startswith(("in ", "yyyy", "iso")):
            if "yyyy" in words or "iso" in words:
                return "date"
            if last[0] in ("euro", "euros", "dollars", "kg", "km", "cm", "pounds"):
                return "decimal"
            if last[0] in ("minutes", "hours", "days", "weeks", "seconds", "pages", "grams"):
                return "integer"
    if re.search(r"\b(?:\d+ ?(?:to|-|\u2013) ?\d+)\b", note):
        return "integer"
    return None


def _choices(note: str) -> list[str]:
    note = re.sub(
        r"\b(?:e\.?g\.?|for example|like|either|one of|such as|"
        r"optional|unique|required|default[^,]*|can be|is)\b[: ]*",
        "",
        note,
    )
    parts = [p.strip(" .\"'") for p in re.split(r",|/|\||\bor\b|\band\b", note)]
    parts = [p for p in parts if p and p != "etc"]
    fits = 2 <= len(parts) <= 8 and all(
        re.fullmatch(r"[a-z][a-z0-9 -]{0,18}", p) and len(p.split()) <= 2 for p in parts
    )
    return list(dict.fromkeys("-".join(p.split()) for p in parts)) if fits else []


def hinted_type(name: str) -> str:
    """The type that a field's name suggests; text if it suggests none."""
    words = name.split("_")
    if words[-1] in ("time", "datetime", "at") and (
        len(words) == 1 or words[0] in ("date", "start", "end", "created")
    ):
        return "datetime" if "date" in words or words[-1] == "datetime" else "text"
    if words[0] in ("who", "whom", "what"):
        return "text"
    if words[0] in ("is", "has"):
        return "boolean"
    if (words[0] in ("number", "no") and words[1:2] == ["of"]) or words[0] == "year":
        return "integer"
    for type_, hints in TYPE_HINTS:
        marks = hints.split()
        if words[-1] in marks or (type_ == "date" and words[0] in marks):
            return type_
    return "text"
