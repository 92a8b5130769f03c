"""What the Artifact Store says that it staged is looked at before anybody reads it.

The store may be somebody else's: whoever opens a pipe waits for ever, and a link leads elsewhere.
Ours hashes whatever it hands out, so that what it staged for a player is not hashed once more here;
what a store of somebody else's staged, and what leaves for a place of the user's, is.
"""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Final

import msgspec
from blake3 import blake3

from .backupfiles import hash_file
from .errors import SymphonyError
from .members import ARTIFACT_STORE, MemberKind, unavailable

LISTING: Final = b"symphony-folder 1"  # what a folder's listing begins with
SPECIAL: Final = stat.S_ISUID | stat.S_ISGID | stat.S_ISVTX


def require_staged(folder: Path, paths: Iterable[str], kind: MemberKind = ARTIFACT_STORE) -> None:
    """Each of the paths below ``folder`` is a plain file, or a folder of nothing but such and
    folders. Raises `SymphonyError` as of a store that is not available; reads no content."""
    for path in paths:
        if (why := next(_faults(folder, PurePosixPath(path)), None)) is not None:
            raise _not_staged(kind, why)


def require_contents(
    folder: Path, items: Iterable[tuple[str, str]], kind: MemberKind = ARTIFACT_STORE
) -> None:
    """What stands at each path below ``folder`` has the reference that goes before it. Raises
    `SymphonyError` as `require_staged` does."""
    for ref, path in items:
        try:
            found = reference(folder / path, threading.Event())
        except (OSError, UnicodeError) as error:
            raise _not_staged(kind, f"{folder / path} cannot be read: {error}") from error
        if found != ref:
            raise _not_staged(kind, f"{folder / path} is {found}, not {ref}")


def reference(place: Path, stop: threading.Event) -> str:
    """The reference of a file or folder, as `pit.artifacts/1` defines it. Raises OSError, and
    UnicodeError for a name that is no text."""
    if not place.is_dir():
        return f"blake3:{hash_file(place, stop)[0]}"
    rows = []
    for path in sorted(_files(place), key=lambda path: os.fsencode(path.relative_to(place))):
        digest, size = hash_file(path, stop)
        mode = 0o755 if path.stat().st_mode & 0o100 else 0o644
        rows.append([path.relative_to(place).as_posix(), mode, f"blake3:{digest}", size])
    return f"blake3:{blake3(LISTING + msgspec.msgpack.encode(rows)).hexdigest()}"


def _files(folder: Path) -> Iterator[Path]:
    for parent, _, names in os.walk(folder):
        yield from (Path(parent) / name for name in names)


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
            elif inner and stat.S_ISREG(mode) and mode & SPECIAL:
                yield f"{place} has the mode {stat.S_IMODE(mode):o}"
        except FileNotFoundError:
            yield f"{place} is not there"
        except OSError as error:
            yield f"{place} cannot be read: {error.strerror}"
