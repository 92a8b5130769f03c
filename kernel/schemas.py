"""JSON Schemas of what users write and programs read, made from the types themselves."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from . import answers, busreport, events
from .errors import ExitCode, SymphonyError
from .manifest import Manifest
from .melody import MelodyFile
from .syntax import hint

DRAFT: Final = "https://json-schema.org/draft/2020-12/schema"
_SCHEMAS: Final[dict[str, tuple[Any, str]]] = {
    "melody": (MelodyFile, "a Melody: *.melody.toml, or the same as JSON"),
    "manifest": (Manifest, "the manifest of an extension: extension.toml"),
    "events": (events.RunEvent, "one line of the events of a run: run --json FILE"),
    "status": (answers.Status, "answer of: symphony-kernel status --json"),
    "runs": (answers.Runs, "answer of: symphony-kernel runs list --json"),
    "run": (answers.Run, "answer of: symphony-kernel runs show RUN --json"),
    "artifacts": (answers.Artifacts, "answer of: symphony-kernel artifacts list --json"),
    "artifact": (answers.Artifact, "answer of: symphony-kernel artifacts show REF --json"),
    "extensions": (answers.Extensions, "answer of: symphony-ext list --json"),
    "deadletters": (
        answers.DeadLetters,
        "answer of: symphony-kernel deadletter list --json",
    ),
    "deadletter": (answers.DeadLetter, "answer of: symphony-kernel deadletter show ID --json"),
    "bus": (busreport.Bus, "answer of: symphony-kernel bus --json"),
    "keys": (answers.Keys, "answer of: symphony-kernel keys list --json"),
    "check": (answers.Check, "answer of: symphony-ext check FOLDER --json"),
}
NAMES: Final = tuple(_SCHEMAS)


def schema(name: str) -> dict[str, Any]:
    """The JSON Schema (Draft 2020-12) of that name. Raises `SymphonyError` for an unknown one."""
    if name not in _SCHEMAS:
        raise SymphonyError(
            ExitCode.BAD_REQUEST,
            f'there is no schema "{name}"',
            where="schema NAME",
            help=hint(name, NAMES, "schemas"),
        )
    shape, title = _SCHEMAS[name]
    return {"$schema": DRAFT, "title": title, **msgspec.json.schema(shape)}
