"""Cuts 'add, edit and delete tasks' into clauses with one verb each."""

from __future__ import annotations

import brief_verbs as verbs
from brief_model import Clause

_LISTING = frozenset(["recording", "noting", "stating", "entering", "giving"])


_REPORTS = frozenset(["report", "summary", "overview"])


def gerunds(verb: str) -> tuple[str, ...]:
    return tuple(f for f in (verb + "ing", verb.rstrip("e") + "ing", verb + verb[-1] + "ing"))


def leading_verb(words: list[str]) -> tuple[str, int] | None:
    """The verb at the start and the words it takes; typing errors are forgiven."""
    phrase = verbs.take_phrase([w.lower() for w in words])
    if phrase:
        return phrase
    if not words:
        return None
    verb = verbs.lemma(words[0], fuzzy=True)
    if verb and words[0].lower().endswith("s") and verb != words[0].lower():
        return None  # a third person, or a plural noun: told apart elsewhere
    return (verb, 1) if verb else None


def cut(actor: str, words: list[str], asked: bool) -> list[Clause]:
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
        head = leading_verb(words[index:])
        exact = head and (
            index == 0 or head[1] > 1 or words[index].lower() in (head[0], *gerunds(head[0]))
        )
        listed = index and words[index].lower() in _LISTING
        if head and exact and not listed and not (index and _is_object(words, index)):
            starts.append((index, head[0], head[1]))
    if not starts or starts[0][0] > 0:
        first = words[0].lower() if words else ""
        starts.insert(0, (0, first, 1))
    out: list[Clause] = []
    ops = verbs.operations()
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
        told = bool(body) and verb == "report"
        made = told and (body[0].lower() in ("a", "an") or "with" in body or "(" in body)
        op = (
            "create"
            if made and not _REPORTS & {body[0].lower(), body[-1].lower()}
            else ops.get(verb, "")
        )
        out.append(Clause(actor, op, verb, tuple(body), asked))
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
    first = verbs.lemma(words[0]) if words else None
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
        "make",
        "store",
    )
    return both and (
        after_with
        or (as_list and first != words[index].lower() and following not in ("and", "or", ","))
    )
