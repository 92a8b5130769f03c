"""A copy of the whole store as it is at one moment: a store like any other.

Objects and documents never change once they have their names, so on one file system the copy's are
the same files under second names; elsewhere they are copied and synced.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
from pathlib import Path
from typing import Any, Final

from store import Store
from store_disk import FORMAT, sync
from store_names import bad

from symphony.bus.errors import BusError

LONGEST_ID: Final = 128
WHOLE: Final = "backup.json"  # written last
BEGUN: Final = "backup.begun"  # holds the id of a copy that is not whole yet


def backup(store: Store, id_: str, to: Path, at: str) -> dict[str, Any]:
    """Copies the store into a folder that is empty, or not there. Raises BusError, OSError; then
    the folder is empty again."""
    if not 1 <= len(id_.encode()) <= LONGEST_ID:
        raise bad("id", f"the id has not 1 to {LONGEST_ID} bytes")
    if (told := _told(to, id_)) is not None:
        return told
    to.mkdir(mode=0o700, exist_ok=True)
    try:
        return _copy(store, id_, to, at)
    except BaseException:
        with contextlib.suppress(OSError):
            _empty(to)
        raise


def _told(to: Path, id_: str) -> dict[str, Any] | None:
    """What was answered to the same request, if its copy is whole. Raises BusError if something
    else is there."""
    try:
        entries = {entry.name for entry in to.iterdir()}
    except FileNotFoundError:
        return None
    except NotADirectoryError:
        raise _taken(to) from None
    if WHOLE in entries:
        made = json.loads((to / WHOLE).read_bytes())
        if made["id"] == id_:
            return {"artifacts": made["artifacts"], "bytes": made["bytes"]}
        raise _taken(to)
    if BEGUN in entries and (to / BEGUN).read_text() == id_:
        _empty(to)
    elif entries:
        raise _taken(to)
    return None


def _copy(store: Store, id_: str, to: Path, at: str) -> dict[str, Any]:
    _write(to / BEGUN, id_)
    if store.trail.waiting:
        store.change([])  # what was read is written down, too
    there = {ref: blob.length for ref, blob in store.index.blobs.items() if blob.there}
    sources = [*store.disk.document_places(), *map(store.disk.place_of, there)]
    folders = {to}
    for source in sources:
        target = to / source.relative_to(store.disk.root)
        for folder in (target.parent.parent, target.parent):
            if folder not in folders:
                folder.mkdir(mode=0o700, exist_ok=True)
                folders.add(folder)
        _place(source, target)
    told = {"artifacts": len(there), "bytes": sum(there.values())}
    _write(to / "format", FORMAT + "\n")
    for folder in folders:
        sync(folder)
    _write(to / WHOLE, json.dumps({"format": f"{FORMAT} backup", "id": id_, "at": at, **told}))
    (to / BEGUN).unlink()
    sync(to)
    sync(to.parent)
    return told


def _place(source: Path, target: Path) -> None:
    """A second name for the file, or a copy. What is lost is not there in the copy either."""
    try:
        os.link(source, target)
    except FileNotFoundError:
        return
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP):
            raise
        shutil.copyfile(source, target)
        with target.open("rb") as file:
            os.fsync(file.fileno())


def _write(place: Path, text: str) -> None:
    with place.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _empty(folder: Path) -> None:
    for entry in folder.iterdir():
        shutil.rmtree(entry) if entry.is_dir() else entry.unlink()


def _taken(to: Path) -> BusError:
    return BusError("conflict", "the folder is not empty", where=str(to), help="name a new one")
