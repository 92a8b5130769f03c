"""JSON Schemas of what users write and programs read, made from the types themselves."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from . import (
    answers,
    backupfiles,
    busreport,
    events,
    importing,
    restore,
    soundness,
    storeanswers,
)
from .errors import ExitCode, SymphonyError
from .manifest import Manifest
from .melody import MelodyFile
from .pit import answers as pit
from .pit import staleanswers as stale
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
    "archived": (
        answers.ArchivedArtifacts,
        "answer of: symphony-kernel artifacts list --archived --json",
    ),
    "artifact": (answers.Artifact, "answer of: symphony-kernel artifacts show REF --json"),
    "diff": (storeanswers.Diff, "answer of: symphony-kernel artifacts diff A B --json"),
    "lineage": (
        storeanswers.LineageGraph,
        "answer of: symphony-kernel artifacts lineage REF --json",
    ),
    "search": (
        storeanswers.FoundArtifacts,
        "answer of: symphony-kernel artifacts search --json",
    ),
    "verified": (
        storeanswers.Verified,
        "answer of: symphony-kernel artifacts verify --json, if nothing is damaged",
    ),
    "audit": (storeanswers.AuditTrail, "answer of: symphony-kernel artifacts audit --json"),
    "backup": (backupfiles.Manifest, "answer of: symphony-kernel backup DEST --json"),
    "restored": (restore.Restored, "answer of: symphony-kernel restore BACKUP --json"),
    "sound": (soundness.Sound, "answer of: symphony-kernel verify --json, if nothing is damaged"),
    "checked-backup": (
        restore.CheckedBackup,
        "answer of: symphony-kernel verify BACKUP --json, if nothing is damaged",
    ),
    "pool": (pit.Pool, "answer of: symphony-kernel pool --json"),
    "drained": (pit.Drained, "answer of: symphony-kernel pool drain NAME --json"),
    "budget": (pit.Budget, "answer of: symphony-kernel budget --json"),
    "why": (pit.Why, "answer of: symphony-kernel why GRANT --json"),
    "stale-plan": (stale.StalePlan, "answer of: symphony-kernel stale plan --json"),
    "stale-run": (stale.StaleRun, "answer of: symphony-kernel stale run --json"),
    "stale-restored": (stale.StaleRestored, "answer of: symphony-kernel stale restore --json"),
    "stale-pinned": (stale.StalePinned, "answer of: symphony-kernel stale pin --json"),
    "stale-held": (
        stale.StaleHeld,
        "answer of: symphony-kernel stale hold --json, and of release",
    ),
    "stale-report": (stale.StaleReport, "answer of: symphony-kernel stale report --json"),
    "extensions": (answers.Extensions, "answer of: symphony-ext list --json"),
    "deadletters": (
        answers.DeadLetters,
        "answer of: symphony-kernel deadletter list --json",
    ),
    "deadletter": (answers.DeadLetter, "answer of: symphony-kernel deadletter show ID --json"),
    "bus": (busreport.Bus, "answer of: symphony-kernel bus --json"),
    "keys": (answers.Keys, "answer of: symphony-kernel keys list --json"),
    "imports": (importing.Imports, "answer of: symphony-kernel import FILE --json"),
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
