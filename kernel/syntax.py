"""The written forms of names and sizes in manifests and Melodies: one pattern each.

Patterns must hold for Python's `re` and for JSON Schema, so the end is `$(?!\\n)`: Python's `$`
alone also matches before a final newline.
"""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Iterable
from typing import Annotated, Final

from msgspec import Meta


def whole(pattern: str) -> str:
    """`pattern`, made to match the whole of a text."""
    return f"^(?:{pattern})$(?!\\n)"


_LABEL = "[a-z][a-z0-9-]*"
_NUMBER = "(?:0|[1-9][0-9]*)"
_PRERELEASE = "(?:0|[1-9][0-9]*|[0-9]*[a-zA-Z-][0-9a-zA-Z-]*)"
SEMVER: Final = (
    rf"{_NUMBER}\.{_NUMBER}\.{_NUMBER}(?:-{_PRERELEASE}(?:\.{_PRERELEASE})*)?"
    r"(?:\+[0-9a-zA-Z-]+(?:\.[0-9a-zA-Z-]+)*)?"
)

# The forms in words; a type's description, and the end of a more telling one.
EXTENSION_NAME: Final = "lower-case letters, digits and hyphens, begins with a letter, at most 48"
MELODY_NAME: Final = "lower-case letters, digits and hyphens, begins with a letter, at most 64"
STEP_ID: Final = "lower-case letters, digits, - and _, begins with a letter, at most 64"
CAPABILITY: Final = "a capability such as prompt.enhance/1: words joined by dots, /, major version"

ExtensionName = Annotated[
    str,
    Meta(
        pattern=whole("[a-z][a-z0-9-]{0,47}"),
        description=EXTENSION_NAME,
    ),
]
MelodyName = Annotated[
    str,
    Meta(
        pattern=whole("[a-z][a-z0-9-]{0,63}"),
        description=MELODY_NAME,
    ),
]
StepId = Annotated[
    str,
    Meta(
        pattern=whole("[a-z][a-z0-9_-]{0,63}"),
        description=STEP_ID,
    ),
]
FieldName = Annotated[
    str,
    Meta(
        pattern=whole("[a-z][a-z0-9_]{0,63}"),
        description="lower-case letters, digits and _, begins with a letter, at most 64",
    ),
]
Version = Annotated[
    str,
    Meta(pattern=whole(SEMVER), description="a semantic version such as 1.0.0 or 2.1.0-beta.1"),
]
Capability = Annotated[
    str,
    Meta(
        pattern=whole(rf"{_LABEL}(?:\.{_LABEL})*/[1-9][0-9]*"),
        max_length=128,
        description=CAPABILITY,
    ),
]
Topic = Annotated[
    str,
    Meta(
        pattern=whole(rf"{_LABEL}(?:\.{_LABEL})*"),
        max_length=128,
        description="a topic such as quality.scores: words joined by dots",
    ),
]
EnvironmentName = Annotated[
    str,
    Meta(
        pattern=whole("[A-Za-z_][A-Za-z0-9_]*"), description="the name of an environment variable"
    ),
]
MediaType = Annotated[
    str,
    Meta(
        pattern=whole(r"[a-z0-9*][a-z0-9!#$&^_.+*-]*/[a-z0-9*][a-z0-9!#$&^_.+*-]*(?:;.*)?"),
        description="a media type such as text/markdown or text/*",
    ),
]

_UNITS: Final = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}
WrittenSize = Annotated[
    str,
    Meta(
        pattern=whole("[1-9][0-9]{0,5}(?:B|KiB|MiB|GiB|TiB)"),
        description='a size such as "256MiB" (B, KiB, MiB, GiB, TiB), or a number of bytes',
    ),
]
Size = WrittenSize | Annotated[int, Meta(ge=1, le=1 << 60)]


def size_bytes(size: str | int) -> int:
    """Bytes of a valid `Size`, e.g. 268435456 for "256MiB"."""
    if isinstance(size, int):
        return size
    digits = size.rstrip("BKMGTi")
    return int(digits) * _UNITS[size[len(digits) :]]


def version_key(version: str) -> tuple[object, ...]:
    """A sort key in semver precedence (semver.org, section 11); build metadata has no weight."""
    core, _, pre = version.partition("+")[0].partition("-")
    numbers = tuple(int(part) for part in core.split("."))
    identifiers = tuple(
        (0, int(part), "") if part.isdigit() else (1, 0, part) for part in pre.split(".") if part
    )
    return (numbers, not pre, identifiers)


MOST_COMPARED: Final = 500  # names, and letters of one: a comparison takes microseconds


def did_you_mean(name: str, known: Iterable[str]) -> str | None:
    """`did you mean "x"?` for the nearest of `known`, or None when none is near."""
    near = difflib.get_close_matches(
        name[:MOST_COMPARED], list(itertools.islice(known, MOST_COMPARED)), n=1, cutoff=0.6
    )
    return f'did you mean "{near[0]}"?' if near else None


def hint(name: str, known: Iterable[str], noun: str) -> str:
    """The nearest known name, else the list of all (cut at 20)."""
    names = list(known)
    near = did_you_mean(name, names)
    if near:
        return near
    if not names:
        return f"there are no {noun}"
    rest = ", …" if len(names) > 20 else ""
    return f"known {noun}: {', '.join(names[:20])}{rest}"
