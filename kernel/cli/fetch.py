"""`symphony-kernel artifacts get`: an artifact out of the store, whole or not at all."""

from __future__ import annotations

import contextlib
import shutil
import sys
import threading
from pathlib import Path

from symphony.bus.errors import BusError

from .. import queries
from ..answers import Artifact
from ..apart import require_not_within
from ..backup import in_thread
from ..errors import ExitCode, Problem, Problems, SymphonyError
from ..intake import require_text
from ..places import Places
from ..staged import reference, require_staged
from . import streams


async def fetch(
    ask: queries.Ask, places: Places, wanted: str, out: Path | None
) -> dict[str, object]:
    """Writes the artifact to ``out``, or a file to stdout; returns what was written where."""
    found = await queries.resolve(ask, wanted)
    if out is None:
        if found.kind == "folder":
            remedy = "add --out FOLDER"
            raise Problems([Problem("a folder cannot go to standard output", wanted, remedy)])
        streams.require_stdout()
        async for piece in queries.read(ask, found.ref, by=queries.asker()):
            sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()
        return _answer(found, "-")
    require_text(out, "--out")
    require_not_within(out, places)
    target = _target(out, found)
    args = {
        "folder": str(target.parent),
        "items": [{"ref": found.ref, "path": target.name}],
        "mode": "writable",
        "by": queries.asker(),
    }
    await ask(queries.STORE, "stage", args)
    try:
        require_staged(target.parent, [target.name])
        await in_thread(lambda stop: _require(found.ref, target, stop))
    except BaseException:
        _take_away(target)
        raise
    return _answer(found, str(target))


def _require(ref: str, target: Path, stop: threading.Event) -> None:
    """What was written must be what was put."""
    try:
        same = reference(target, stop) == ref
    except UnicodeError:
        same = False
    if not same:
        raise BusError("corrupt", "the store gave other bytes than were put", where=ref)


def _take_away(target: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        if target.is_dir() and not target.is_symlink():
            shutil.rmtree(target)
        else:
            target.unlink()


def _target(out: Path, found: Artifact) -> Path:
    """Where to write; a folder that exists takes a file by its own name."""
    target = out.absolute()
    if target.is_dir() and found.kind == "file":
        target /= found.name or found.ref.removeprefix("blake3:")
    if target.exists():
        raise SymphonyError(
            ExitCode.BAD_REQUEST,
            "there is something at this path already",
            where=str(target),
            help="choose another --out",
        )
    if not target.parent.is_dir():
        raise SymphonyError(
            ExitCode.IO, "there is no such folder", where=str(target.parent), help="create it"
        )
    return target


def _answer(found: Artifact, path: str) -> dict[str, object]:
    return {"ref": found.ref, "kind": found.kind, "bytes": found.bytes, "path": path}
