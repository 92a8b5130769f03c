"""The vocabulary of nouns: which words of a brief mean which section, person or field type. What
verbs mean stands in brief_verbs, what states in brief_states.
"""

from __future__ import annotations


def words(text: str) -> frozenset[str]:
    """The words of a list, written as one text."""
    return frozenset(text.split())


SECTIONS: dict[str, str] = {
    "features": "features feature requirements functional"
    " functions stories anforderungen funktionen"
    " fonctions exigences requisitos",
    "goal": "goal purpose overview introduction about summary background vision context why problem"
    " ziel ziele zweck überblick hintergrund but objectif contexte objetivo",
    "users": "users user actors roles role people personas who audience benutzer nutzer rollen"
    " utilisateurs usuarios",
    "data": "data entities model fields entity information glossary terms"
    " records domain daten datenmodell données datos",
    "questions": "questions unknown unclear fragen",
    "out": "out-of-scope non-goals excluded later not nicht-ziele",
    "quality": "non-functional constraints technical quality technology platform nichtfunktional",
    "acceptance": "acceptance scenarios akzeptanzkriterien",
}

ACTORS = words(
    "user users staff admin administrator manager owner clerk member members customer"
    " customers librarian receptionist doctor nurse teacher student students coach trainer"
    " cook chef patient patients guest guests employee employees operator volunteer"
    " volunteers assistant team everyone anyone people person reader readers visitor"
    " visitors client clients parent parents agent seller buyer"
)

TYPE_HINTS: tuple[tuple[str, str], ...] = (
    ("datetime", "datetime timestamp"),
    (
        "date",
        (
            "date deadline birthday birth due expiry expires expiration when until joined born"
            " since started"
        ),
    ),
    (
        "decimal",
        (
            "price prices cost costs amount fee rate weight salary"
            " balance distance budget revenue payment total discount"
            " height length width km kg tax temperature"
            " litres liters litre kilo kilos kilograms"
        ),
    ),
    (
        "integer",
        (
            "quantity stock count year age minutes vintage bottles seats pieces units participants"
            " persons kilometers hours days duration servings rating pages capacity points"
            " strength portions mileage level calories score copies attendance size floor reps sets"
        ),
    ),
    (
        "boolean",
        (
            "done paid active available completed finished"
            " vegetarian vegan read favourite favorite urgent public"
        ),
    ),
    ("list", "tags labels ingredients keywords steps"),
)
TYPE_WORDS = {
    "text": "text",
    "string": "text",
    "str": "text",
    "number": "integer",
    "integer": "integer",
    "int": "integer",
    "whole number": "integer",
    "decimal": "decimal",
    "float": "decimal",
    "money": "decimal",
    "euro": "decimal",
    "euros": "decimal",
    "currency": "decimal",
    "date": "date",
    "datetime": "datetime",
    "boolean": "boolean",
    "bool": "boolean",
    "yes/no": "boolean",
    "yes or no": "boolean",
    "true/false": "boolean",
    "list": "list",
    "a date": "date",
    "a number": "integer",
    "date and time": "datetime",
    "free text": "text",
    "timestamp": "datetime",
    "email": "text",
}
