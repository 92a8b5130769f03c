"""What the Artifact Store says that it staged is looked at before anybody reads it.

The store may be somebody else's: whoever opens a pipe waits for ever, and a link leads elsewhere.
"""

from __future__ import annotations

import stat
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

from .errors import SymphonyError
from .members import ARTIFACT_STORE, MemberKind, unavailable


def require_staged(folder: Path, paths: Iterable[str], kind: MemberKind = ARTIFACT_STORE) -> None:
    """Each of the paths below ``folder`` is a plain file, or a folder of nothing but such and
    folders. Raises `SymphonyError` as of a store that is not available; reads no content."""
    for path in paths:
        if (why := next(_faults(folder, PurePosixPath(path)), None)) is not None:
            raise _not_staged(kind, why)


def _not_staged(kind: MemberKind, why: str) -> SymphonyError:
    return unavailable(kind, f"it says that it staged an artifact, but {why}")


def _faults(folder: Path, path: PurePosixPath) -> Iterator[str]:
    above = (folder / parent for parent in reversed(path.parents))
    waiting = [(place, False) for place in [*above][1:]]
    waiting.append((folder / path, True))
    for place, inner in waiting:
        try:
            mode = place.lstat().st_mode
            if inner and stat.S_ISDIR(mode):
                waiting += [(entry, True) for entry in place.iterdir()]
            elif not (stat.S_ISREG(mode) if inner else stat.S_ISDIR(mode)):
                yield f"{place} is no plain file or folder"
        except FileNotFoundError:
            yield f"{place} is not there"
        except OSError as error:
            yield f"{place} cannot be read: {error.strerror}"
