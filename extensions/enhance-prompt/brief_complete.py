"""Completes a specification: what is implied, criteria, assumptions, open questions and the
order."""

from __future__ import annotations

from brief_acceptance import criteria
from brief_fate import is_gap
from brief_fields import hinted_type
from brief_model import Entity, Field, Requirement, Specification


def borrow_fields(spec: Specification) -> None:
    """Every entity can be told apart by something."""
    for entity in spec.entities.values():
        measured = hinted_type(entity.name)
        if measured in ("decimal", "integer") and entity.first("decimal", "integer") is None:
            entity.add(Field(entity.name.split("_")[-1], measured))
            spec.assumptions.append(
                f"{_a(entity).capitalize()} is a number; each one that is recorded is kept."
            )
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


def imply(spec: Specification) -> None:
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
                    f"List the {say(entity.plural)}",
                    "user",
                    "list",
                    entity.name,
                    priority="should",
                    word="list",
                )
            )
            spec.assumptions.append(
                f"The {say(entity.plural)} can be listed, although the brief does not say so."
            )


def finish(spec: Specification) -> None:
    for made in spec.requirements:
        entity = spec.entities.get(made.noun)
        if made.verb == "create" and entity:
            made.details = [f.token() for f in entity.fields]
        elif made.verb == "lend":
            made.details += [f.token() for f in spec.entities["loan"].fields]
        elif made.verb in ("search",) and entity and not made.details:
            made.details = [f.name for f in entity.fields if f.type in ("text", "list")]
        made.acceptance = criteria(made, entity) + made.stated
        question = f"How exactly should this work: “{_short(made.text)}”?"
        if is_gap(made) and not {made.text, question} & set(spec.questions):
            spec.questions.append(question)
    for made in spec.requirements:
        if made.actor != "user" and say(made.actor) not in spec.users:
            spec.users.append(say(made.actor))
    spec.users = spec.users or ["user"]
    for entity in spec.entities.values():
        if not entity.stated:
            spec.questions.append(
                f"Which fields does {_a(entity)} have? Assumed:"
                f" {', '.join(say(f.name) for f in entity.fields)}."
            )
        spec.questions += [
            f"What exactly is “{f.guessed_from}” of {_a(entity)}? It is kept as"
            f" {say(f.name)} ({f.type}) for now."
            for f in entity.fields
            if f.guessed_from
        ]
        spec.questions += [
            f"What does “{part}” mean where {_a(entity)} is described? It names no field."
            for part in entity.unread
        ]
        spec.questions += [
            f"What are the possible values of the {say(f.name)} of"
            f" a {say(entity.name)}? Any text is accepted for now."
            for f in entity.fields
            if f.name in ("status", "priority", "type", "kind", "state") and f.type == "text"
        ]
    if not spec.requirements:
        spec.questions.insert(
            0,
            "No requirement was recognised. What should a"
            " user be able to do, and with which things?",
        )


def order(spec: Specification) -> None:
    """Whatever is made comes before what uses it; `depends_on` holds 1-based numbers."""
    spec.requirements.sort(key=lambda r: r.line if r.line is not None else 1 << 30)
    makers = {
        r.noun: n for n, r in reversed(list(enumerate(spec.requirements, 1))) if r.verb == "create"
    }
    lending = [n for n, r in enumerate(spec.requirements, 1) if r.verb == "lend"]
    if lending:
        makers["loan"] = lending[0]
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


def _a(entity: Entity) -> str:
    return f"{'an' if entity.name[0] in 'aeiou' else 'a'} {say(entity.name)}"


def say(name: str) -> str:
    return name.replace("_", " ").strip()


def _short(text: str, limit: int = 160) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"
