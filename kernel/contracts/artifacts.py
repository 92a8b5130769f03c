"""The suite of `pit.artifacts/1`."""

from __future__ import annotations

from . import (
    artifact_backup,
    artifact_contents,
    artifact_curation,
    artifact_folders,
    artifact_questions,
    artifact_uploads,
)
from .suite import Checks, Suite

SUITE = Suite(
    "pit.artifacts/1",
    "bus/contracts/pit.artifacts-1.md",
    Checks(
        [
            *artifact_contents.CHECKS,
            *artifact_folders.CHECKS,
            *artifact_uploads.CHECKS,
            *artifact_curation.CHECKS,
            *artifact_questions.CHECKS,
            *artifact_backup.CHECKS,
        ]
    ),
)
