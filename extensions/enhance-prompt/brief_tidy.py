"""Rewrites a brief's lines so that one way of writing is left: no requirement ids, common
spellings, one fact
a sentence. Words only: what is asked for stays as it was."""

from __future__ import annotations

import re

from brief_verbs import lemma

_ID = re.compile(
    r"^\W{0,2}(?:(?:FR|NFR|REQ|RQ|US|UC|R|F|S|AC|BR|Story|Requirement|Feature|Use case)"
    r"[-_ #.]?\d+(?:[.-]\d+)*|\d+(?:\.\d+)+\.?)\W{0,2}\s*[:.)|\u2013\u2014-]?\s+(?=\S)",
    re.IGNORECASE,
)
_SPELLINGS = (
    (r"\b(?:shud|shoud|shuld|sould|shold)\b", "should"),
    (r"\b(?:cud|coud)\b", "could"),
    (r"\b(?:i|we) ?'?d (?:also )?(?:like|love)\b", "I would like"),
    (r"\b(?:wanna|wana)\b", "want to"),
    (r"\bneeda\b", "need to"),
    (r"\b(?:pls|plz)\b", "please"),
    (r"\b(?:evry|evrey)\b", "every"),
    (r"\b(?:don't|dont|do not) (?=(?:sell|allow|let|accept|book|lend|delete|add)\b)", "never "),
    (
        r"\b(?:show|tell|give|let) (?:me|us) (?=(?:an? |the |all |how |which |what |my |see))",
        "show ",
    ),
    (r"\bcan not\b", "cannot"),
    (r"\bw/ ?(?=\w)", "with "),
    (r"(?<=\w) \+ (?=[a-z])", " and "),
    (r"\bcrud (?:for|of|on)\b", "manage"),
    (r"\b(want|need) (?:to )?can (?=\w)", r"\1 to "),
    (
        r"\b(i|we) want (?=(?:see|add|enter|delete|change|edit|print|write|search|know)\b)",
        r"\1 want to ",
    ),
    (
        r"\b(today|tomorrow|yesterday|(?:this|next|last) (?:week|month))['\u2019]s ([\w-]+)",
        r"\2 of \1",
    ),
)
_SPELLING_RULES = tuple((re.compile(p, re.IGNORECASE), new) for p, new in _SPELLINGS)
_FACT = re.compile(
    r"(?:[,;:]\s+(?:and )?|\s+and\s+)(?=(?:an?|each|every|the) \w+(?:"
    r" (?!and\b)\w+)? (?:has|have|consists of) (?!to\b|been\b))",
    re.IGNORECASE,
)
_IT_HAS = re.compile(
    r"^(?P<who>(?:each|every|an?|the) (?P<noun>\w+))\b(?P<first>.+?)(?:;|,|,? and)\s+(?:it|they)\s+"
    r"(?P<verb>has|have|consists? of)\s+",
    re.IGNORECASE,
)
_LABEL_HAS = re.compile(r"^(?P<who>\w+(?: \w+)?): (?P<first>[^;]+);\s+(?=has\b)", re.IGNORECASE)
_ALSO_HAS = re.compile(
    r"^(?P<first>(?P<who>(?:each|every|an?|the) \w+)"
    r" (?:belongs to|stands (?:at|in|on)|is in|lives in) .+?)"
    r",?\s+and\s+(?=has\b)",
    re.IGNORECASE,
)
_BUT = re.compile(
    r"^(?P<who>(?:(?:an?|each|every|the) )?\w+) (?P<first>(?:can|may|must|should) (?!not\b)[^,]+?)"
    r",? but (?:(?:it|they) )?(?=(?:can|may|must|should|cannot|never)\b)",
    re.IGNORECASE,
)
_TOTAL = re.compile(
    r"^the (?:total|sum) of (?:an?|each|the) (?P<whole>[\w ]+?)"
    r" is the (?:sum|total) of (?:its|all|the) (?P<parts>[\w ]+)",
    re.IGNORECASE,
)
_EMOTICON_TEXT = (
    r"(?:(?:(?<=\s)|(?<=[.!?,)])|^)[:;=]['-]?[()\[\]DPp/\\|3*]+(?=\s|$)"
    r"|[\u2600-\u27bf\U0001f300-\U0001faff]+[\ufe0f\u200d]*)"
)
_EMOTICON_AT_END = re.compile(rf"(?<=[^\s.!?])\s*(?:{_EMOTICON_TEXT}\s*)+(?=\s[\"'(]?[A-Z]|\s*$)")
_DASH = re.compile(r" [-\u2013\u2014] (?P<word>\w+) ")
_HALVES = re.compile(r";\s+(?=\w+ \w+ \w+)")


def without_id(text: str) -> str:
    """'FR-3: The system must …' → 'The system must …'."""
    return _ID.sub("", text, count=1)


def spelling(text: str) -> str:
    """Informal and wrong spellings of the words that tell a wish."""
    for pattern, new in _SPELLING_RULES:
        text = pattern.sub(new, text)
    return text


def one_fact_each(sentence: str) -> str:
    """Makes 'Each hive stands at a place; it has a number' two sentences, with their subject."""
    sentence = _TOTAL.sub(r"total of \g<parts> per \g<whole>", sentence)
    sentence = _IT_HAS.sub(r"\g<who>\g<first>. \g<who> \g<verb> ", sentence)
    sentence = _LABEL_HAS.sub(r"\g<who>: \g<first>. A \g<who> ", sentence)
    sentence = _ALSO_HAS.sub(r"\g<first>. \g<who> ", sentence)
    sentence = _BUT.sub(r"\g<who> \g<first>. \g<who> ", sentence)
    sentence = _DASH.sub(_wish_apart, sentence)
    return _HALVES.sub(". ", _FACT.sub(". ", sentence))


def _wish_apart(dash: re.Match[str]) -> str:
    """'Categories like soup and cake - filter by it' says two things."""
    plain = lemma(dash["word"]) == dash["word"].lower()
    return (
        f". {dash['word']} " if plain and len(dash.string[: dash.start()].split()) > 2 else dash[0]
    )


def without_emoticons(text: str) -> str:
    """An emoticon before a capital ends the sentence, as a full stop does; others only go."""
    text = _EMOTICON_AT_END.sub(".", text)
    return re.sub(rf"\s*{_EMOTICON_TEXT}", "", text).strip()
