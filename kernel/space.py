"""Whether a disk is full: what a player or a Pit member dies of then is not its own fault."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from .errors import ExitCode, SymphonyError

LEAST_BYTES: Final = 1024 * 1024
LEAST_FILES: Final = 16


def is_full(folder: Path) -> bool:
    """Whether the folder's file system has no room for what any instance writes."""
    try:
        found = os.statvfs(folder)
    except OSError:
        return False
    few_files = found.f_files > 0 and found.f_favail < LEAST_FILES  # 0: it does not count them
    return few_files or found.f_bavail * found.f_frsize < LEAST_BYTES


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """What fails meanwhile says at which file: a write to an open one does not by itself."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = str(path)
        raise


def full_disk(folder: Path, what: str) -> SymphonyError:
    """The error of whatever ended for it; `what` says how that looked."""
    return SymphonyError(
        ExitCode.IO,
        f"the home's disk is full: {what}",
        where=str(folder),
        help="free space there",
        fault="environment",
    )
