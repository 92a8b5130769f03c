"""Nouns: singular and plural, identifiers, and where a noun phrase ends."""

from __future__ import annotations

import keyword
import re
from functools import cache
from typing import Any

from brief_words import words

_DETERMINERS = words(
    "a an the new all any their his her its my our your each every some multiple several"
    " many more another one existing given this that these those single whole full own other"
    " specific particular certain list details detail of information info basic simple"
    " complete entire both two only just different such same various current individual"
)
STOP = words(
    "with by for to from in on at when that which who whose where if and or so because per"
    " as into out via using through until before after between within without is are was"
    " were has have can must should will be not than below above under over about including"
    " like e.g i.e etc then while against during due except older newer according recording"
    " entering giving stating noting up he she they we i it them us back again also easily"
    " quickly whenever since based ordered sorted grouped what how whatever"
)
_FILLER = words("easily quickly simply also just then again back directly manually quickly please")


@cache
def _engine() -> Any:
    # inflect decorates every method with run-time type checks, which costs 1.2 s at import; the
    # arguments here are plain words, so the checks are left out.
    import typeguard

    checked = typeguard.typechecked
    typeguard.typechecked = lambda target: target  # type: ignore[assignment]
    try:
        import inflect
    finally:
        typeguard.typechecked = checked
    return inflect.engine()


@cache
def singular(word: str) -> str:
    word = word.lower()
    if (
        len(word) < 4
        or word.endswith(("ss", "us", "is", "news"))
        or word in ("series", "species", "data", "always")
    ):
        return word
    if not word.isascii() or not word.isalpha():
        return word
    return str(_engine().singular_noun(word) or word)


@cache
def plural(name: str) -> str:
    """The plural of an identifier: gym_member → gym_members."""
    head, _, last = name.rstrip("_").rpartition("_")
    if last in ("data", "series", "species", "news"):
        return name + "_entries"
    many = str(_engine().plural_noun(last) or last + "s").lower() if last.isalpha() else last + "s"
    many = many if many.isidentifier() and many != last else last + "s"
    return f"{head}_{many}" if head else many


def is_plural(word: str) -> bool:
    return singular(word) != word.lower()


def identifier(text: str, limit: int = 3) -> str:
    """A snake_case Python name: 'Date of birth' → date_of_birth. Empty if nothing usable is
    left."""
    words = re.findall(
        r"[a-z0-9]+", text.lower().replace("'s", "").replace("\u2019s", "").replace("'", "")
    )
    name = "_".join(words[:limit]).strip("_")
    if not name or not name[0].isalpha():
        return ""
    return name + "_" if keyword.iskeyword(name) else name


def words_of(text: str) -> list[str]:
    return re.findall(r"[^\W_]+(?:[-'\u2019/][^\W_]+)*|[,;:()]", re.sub(r"\s/\s", ", ", text))


def noun_phrase(words: list[str]) -> tuple[list[str], list[str]]:
    """Splits words into the noun phrase at the start, without determiners, and the rest."""
    phrase: list[str] = []
    index = 0
    while index < len(words):
        word = words[index].lower()
        if word in _DETERMINERS or (not phrase and word in _FILLER):
            if phrase and word not in ("list", "details", "detail", "information", "info"):
                break
        elif word == "of" and not phrase and index:
            pass
        elif word in STOP or not word[0].isalnum():
            break
        else:
            phrase.append(word.removesuffix("'s").removesuffix("\u2019s"))
            if word.endswith(("'s", "\u2019s")):
                index += 1
                break
        index += 1
    return phrase, words[index:]
