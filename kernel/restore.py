"""A backup back into a new home, and a backup checked against what was written.

Everything is checked before anything is written, and each file once more while it is copied. The
home is locked meanwhile, so no kernel starts on it. It is written into a folder of the home and
then moved up, name by name; a home in which that folder is still there was not restored to the end:
no kernel takes it, and the same command begins again.
"""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Final

from msgspec import Meta, Struct

from .backupfiles import (
    FILES,
    LOCK,
    MANIFEST,
    TREE,
    CancelledWorkError,
    Entry,
    Manifest,
    Progress,
    damaged,
    hash_file,
    read_list,
    read_manifest,
    sync_all,
    sync_folder,
)
from .errors import REMEDIES, ExitCode, Problem, Problems, SymphonyError, raise_damaged
from .places import HomeLock, Places

FRESH: Final = frozenset(
    {"dead", "instances", "logs", "reports", "spool", "trash"}
)  # folders without worth


class Restored(Struct, frozen=True, kw_only=True):
    """Answer of `restore BACKUP --json`."""

    home: Annotated[str, Meta(description="where it is now")]
    made: Annotated[str, Meta(description="when the backup was made")]
    files: Annotated[int, Meta(ge=0, description="how many")]
    bytes: Annotated[int, Meta(ge=0, description="of all files")]
    secrets: Annotated[bool, Meta(description="whether keys came with it")]


class CheckedBackup(Struct, frozen=True, kw_only=True):
    """Answer of `verify BACKUP --json` where nothing is damaged."""

    made: Annotated[str, Meta(description="when the backup was made")]
    home: Annotated[str, Meta(description="of which home")]
    files: Annotated[int, Meta(ge=0, description="how many")]
    bytes: Annotated[int, Meta(ge=0, description="of all files")]


def check(backup: Path, stop: threading.Event, progress: Progress) -> tuple[Manifest, list[Entry]]:
    """Reads all of a backup back. Raises `Problems` naming every file that is not as written."""
    manifest = read_manifest(backup)
    entries = read_list(backup, manifest)
    problems: list[Problem] = []
    count = size = 0
    for entry in entries:
        path = backup / TREE / entry.path
        if fault := _fault(path, entry, stop):
            problems.append(Problem(fault, str(path), "use another backup"))
        if entry.kind == "file":
            count, size = count + 1, size + entry.bytes
            progress("checking", count, size)
    raise_damaged(problems)
    return manifest, entries


def verify(backup: Path, stop: threading.Event, progress: Progress) -> tuple[Manifest, list[Entry]]:
    """As `check`, and nothing else may lie there: who wrote into a backup may have changed more.
    A restore takes only what the list names."""
    manifest = read_manifest(backup)
    entries = read_list(backup, manifest)
    own = {MANIFEST, FILES, TREE, *(f"{TREE}/{entry.path}" for entry in entries)}
    remedy = "see who put it there; if nobody knows, use another backup"
    added = [
        Problem("this is not of the backup: it was added", str(backup / name), remedy)
        for name in _names(backup, stop)
        if name not in own
    ]
    try:
        found = check(backup, stop, progress)
    except Problems as damage:
        raise_damaged([*damage.problems, *added])
        raise
    raise_damaged(added)
    return found


def _names(backup: Path, stop: threading.Event) -> Iterator[str]:
    """Whatever lies in it, through no link."""
    folders = [""]
    while folders:
        inside = folders.pop()
        with os.scandir(backup / inside) as found:
            for entry in sorted(found, key=lambda entry: entry.name):
                if stop.is_set():
                    raise CancelledWorkError
                name = f"{inside}{entry.name}"
                yield name
                if entry.is_dir(follow_symlinks=False):
                    folders.append(f"{name}/")


def _fault(path: Path, entry: Entry, stop: threading.Event) -> str | None:
    try:
        if entry.kind == "folder":
            good = path.is_dir() and not path.is_symlink()
            return None if good else "this folder is missing"
        if entry.kind == "link":
            good = path.is_symlink() and str(path.readlink()) == entry.target
            return None if good else "this link is not as it was written"
        digest, size = hash_file(path, stop)
    except FileNotFoundError:
        return "this file is missing"
    except OSError as error:
        return f"this cannot be read: {error.strerror}"
    if (digest, size) != (entry.blake3, entry.bytes):
        return "this file is not as it was written"
    return None


def restore(backup: Path, places: Places, stop: threading.Event, progress: Progress) -> Restored:
    """Makes a new home of a backup. Raises :class:`SymphonyError`; then the home is new as before,
    or, if this process is killed, the same command begins again."""
    require_new(places)
    manifest, entries = check(backup, stop, progress)
    lock = HomeLock(places.lock)
    made = not places.home.exists()
    try:
        places.home.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock.acquire()
        require_new(places)
        draft = places.restoring
        try:
            _clear(places)
            _write(backup / TREE, draft, entries, stop, progress)
            sync_all(draft)
            for entry in sorted(draft.iterdir()):
                entry.rename(places.home / entry.name)
            sync_folder(places.home)
            draft.rmdir()
            sync_folder(places.home)
        except BaseException:
            _clear(places)
            shutil.rmtree(draft, ignore_errors=True)
            raise
    except OSError as error:
        raise SymphonyError(
            ExitCode.IO,
            f"the backup cannot be restored: {error.strerror or error}",
            where=str(error.filename or places.home),
            help=REMEDIES["io"],
            fault="environment",
        ) from error
    finally:
        lock.release()
        if made and places.home.is_dir() and not _things(places):
            shutil.rmtree(places.home, ignore_errors=True)
    return Restored(
        home=str(places.home),
        made=manifest.made,
        files=manifest.files,
        bytes=manifest.bytes,
        secrets=manifest.secrets,
    )


def require_new(places: Places) -> None:
    """Raises unless the home is new: not there, empty, only begun, or begun to be restored."""
    home = places.home
    if not home.exists() or (things := _things(places)) == [] or places.restoring.is_dir():
        return
    raise SymphonyError(
        ExitCode.REFUSED,
        f"the home is in use: it holds {', '.join(things[:5])}",
        where=str(home),
        help="name a new folder with --home, and move it into place afterwards",
    )


def _things(places: Places) -> list[str]:
    """What a home holds beyond what every kernel makes at its start."""
    if not places.home.is_dir():
        return [places.home.name]
    return sorted(
        entry.name
        for entry in places.home.iterdir()
        if not (entry.name == LOCK or (entry.name in FRESH and entry.is_dir()))
    )


def _clear(places: Places) -> None:
    """What an earlier attempt had put there: the home was new before it."""
    for name in _things(places):
        path = places.home / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _write(
    tree: Path, draft: Path, entries: Sequence[Entry], stop: threading.Event, progress: Progress
) -> None:
    draft.mkdir(mode=0o700)
    sync_folder(draft.parent)
    count = size = 0
    for entry in entries:
        target = draft / entry.path
        if entry.kind == "folder":
            target.mkdir(mode=0o700)
        elif entry.kind == "file":
            found = hash_file(tree / entry.path, stop, target)
            if found != (entry.blake3, entry.bytes):
                raise damaged(tree / entry.path, "this file has changed while it was copied")
            target.chmod(entry.mode)
            count, size = count + 1, size + entry.bytes
            progress("restoring", count, size)
    for entry in entries:  # last: nothing is written through them
        if entry.kind == "link":
            (draft / entry.path).symlink_to(entry.target)
