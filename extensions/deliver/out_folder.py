"""Puts files and folders into a folder of the user's so that each is replaced whole, and can be
put back.

Everything is copied to `.symphony/incoming` and fsynced, then the intent is written: which
entries go where,
under which number. From then on the delivery can only be completed: each entry is swapped in by
one rename
(RENAME_EXCHANGE where something stands there already), and the former version moves to
`.symphony/previous/N`. A crash before the intent leaves the old versions, a crash after it leaves
each entry
old or new; whoever comes next (`recover`) completes it. Whether an entry was swapped shows on the
inode number
that the intent recorded, so completing twice does no harm.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import shutil
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2


class Refused(Exception):  # noqa: N818 - says what is wrong, as the reader meets it
    """The folder or an entry cannot be used; the text says why."""


class DamagedError(Exception):
    """What a former delivery recorded is not what a delivery records; `path` is that file."""

    def __init__(self, path: Path, what: str) -> None:
        super().__init__(f"{path.name} is damaged: {what}")
        self.path = path


class NothingToUndo(Exception):  # noqa: N818 - says what is wrong, as the reader meets it
    """No former version is kept."""


@dataclass(frozen=True)
class Layout:
    """Where things lie below the user's folder."""

    root: Path

    @property
    def state(self) -> Path:
        return self.root / ".symphony"

    @property
    def incoming(self) -> Path:
        return self.state / "incoming"

    @property
    def intent(self) -> Path:
        return self.state / "intent.json"

    @property
    def previous(self) -> Path:
        return self.state / "previous"

    def numbers(self) -> list[int]:
        found = self.previous.iterdir() if self.previous.is_dir() else iter(())
        return sorted(int(p.name) for p in found if p.name.isdigit())


Checkpoint = Callable[[str], None]


def _nothing(_: str) -> None:
    """The checkpoint of a normal run."""


def deliver(
    root: Path, entries: Mapping[str, Path], run: str = "", checkpoint: Checkpoint = _nothing
) -> dict[str, str]:
    """Writes each entry (name in the folder → source). Gives name → name, for what is now there.

    run: a delivery with the run of the last one and equal content changes nothing.
    checkpoint: called with a word at each point at which a crash must do no harm.
    Raises Refused, DamagedError, OSError.
    """
    at = Layout(root)
    _prepare(at)
    recover(root)
    for name, source in entries.items():
        if not _is_name(name):
            raise Refused(f"{name!r} is no name for a file in the folder")
        _refuse_links(source)
    wanted = {
        name: source for name, source in sorted(entries.items()) if not _same(source, root / name)
    }
    if wanted:
        shutil.rmtree(at.incoming, ignore_errors=True)
        at.incoming.mkdir()
        for name, source in wanted.items():
            _copy(source, at.incoming / name)
            checkpoint(f"copied {name}")
        _sync_tree(at.incoming)
        number = max(at.numbers(), default=0) + 1
        moves = {name: (at.incoming / name).lstat().st_ino for name in wanted}
        _write(at.intent, {"number": number, "run": run, "entries": moves})
        checkpoint("intent")
        _complete(at, checkpoint)
    return {name: name for name in sorted(entries)}


def recover(root: Path, checkpoint: Checkpoint = _nothing) -> bool:
    """Completes a delivery or undo that a crash interrupted. True if there was one."""
    at = Layout(root)
    if at.intent.exists():
        _complete(at, checkpoint)
        return True
    shutil.rmtree(at.incoming, ignore_errors=True)
    return False


def undo(root: Path, checkpoint: Checkpoint = _nothing) -> dict[str, str]:
    """Puts back what stood there before the last delivery. Gives name → 'restored' or 'removed'."""
    at = Layout(root)
    recover(root)
    numbers = at.numbers()
    if not numbers:
        raise NothingToUndo
    last = at.previous / str(numbers[-1])
    kept = last / "manifest.json"
    manifest = _recorded(kept, str)
    for name, kind in manifest["entries"].items():
        if kind == "replaced" and not os.path.lexists(last / name):
            raise DamagedError(kept, f"the former {name!r} is not there")
    shutil.rmtree(at.incoming, ignore_errors=True)
    at.incoming.mkdir()
    told: dict[str, str] = {}
    moves: dict[str, int] = {}
    for name, kind in sorted(manifest["entries"].items()):
        told[name] = "restored" if kind == "replaced" else "removed"
        if kind == "replaced":
            _copy(last / name, at.incoming / name)
            moves[name] = (at.incoming / name).lstat().st_ino
        else:
            moves[name] = 0
    _sync_tree(at.incoming)
    _write(at.intent, {"undo": numbers[-1], "entries": moves})
    checkpoint("intent")
    _complete(at, checkpoint)
    return told


def _complete(at: Layout, checkpoint: Checkpoint) -> None:
    """Carries out the intent from wherever it stopped."""
    intent = _recorded(at.intent, int)
    undoing = "undo" in intent
    if not isinstance(intent.get("undo" if undoing else "number"), int):
        raise DamagedError(at.intent, "it has no number")
    for name, inode in intent["entries"].items():
        target = at.root / name
        is_placed = os.path.lexists(target) and target.lstat().st_ino == inode
        if inode and not is_placed and not os.path.lexists(at.incoming / name):
            raise DamagedError(at.intent, f"the new {name!r} is not there")
    kept = at.state / "removed" if undoing else at.previous / str(intent["number"])
    if undoing:
        kept.mkdir(exist_ok=True)
    else:
        kept.mkdir(parents=True, exist_ok=True)
    kinds: dict[str, str] = {}
    for name, inode in sorted(intent["entries"].items()):
        target, staged, old = at.root / name, at.incoming / name, kept / name
        there = os.path.lexists(target) and (not inode or target.lstat().st_ino != inode)
        if there and inode and _exchange(staged, target):
            checkpoint(f"swapped {name}")
        elif there and inode:
            # A file system without exchange: the entry is missing for an instant, and for longer if
            # the process ends there; completing the intent puts the new version in its place.
            if os.path.lexists(old):
                _remove(old)
            target.rename(old)
            checkpoint(f"set aside {name}")
            staged.rename(target)
            checkpoint(f"placed {name}")
        elif there:
            target.rename(old)
        elif inode and not os.path.lexists(target):
            staged.rename(target)
            checkpoint(f"placed {name}")
        if os.path.lexists(staged):
            if os.path.lexists(old):
                _remove(old)
            staged.rename(old)
            checkpoint(f"kept {name}")
        kinds[name] = "replaced" if os.path.lexists(old) else "new"
    if undoing:
        shutil.rmtree(at.previous / str(intent["undo"]), ignore_errors=True)
        shutil.rmtree(kept, ignore_errors=True)
    else:
        _write(kept / "manifest.json", {"run": str(intent.get("run", "")), "entries": kinds})
        _sync(kept)
    for folder in (at.root, at.incoming, at.previous):
        if folder.is_dir():
            _sync(folder)
    checkpoint("swapped all")
    at.intent.unlink()
    _sync(at.state)
    shutil.rmtree(at.incoming, ignore_errors=True)


def _recorded(path: Path, kind: type) -> dict[str, Any]:
    """A record with `entries`, from names to `kind`. Raises DamagedError, OSError."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        raise DamagedError(path, "it is no JSON") from None
    entries = found.get("entries") if isinstance(found, dict) else None
    if not isinstance(entries, dict):
        raise DamagedError(path, "it has no entries")
    for name, value in entries.items():
        if not _is_name(name) or type(value) is not kind:
            raise DamagedError(path, f"{name!r} is no entry of a delivery")
    return dict(found)


def _is_name(name: str) -> bool:
    return name not in ("", ".", "..", ".symphony") and "/" not in name and "\0" not in name


def _prepare(at: Layout) -> None:
    if not at.root.is_dir():
        raise Refused(f"{at.root} is no folder")
    if at.state.is_symlink() or (at.state.exists() and not at.state.is_dir()):
        raise Refused(f"{at.state} is in the way")
    at.previous.mkdir(parents=True, exist_ok=True)


def _refuse_links(source: Path) -> None:
    found = (
        [source, *source.rglob("*")] if source.is_dir() and not source.is_symlink() else [source]
    )
    for path in found:
        mode = path.lstat().st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            raise Refused(f"{path.name} is neither a file nor a folder")


def _same(source: Path, target: Path) -> bool:
    """Equal content, names and kinds; timestamps do not count."""
    if target.is_symlink() or source.is_dir() != target.is_dir() or not target.exists():
        return False
    if source.is_dir():
        names = sorted(p.name for p in source.iterdir())
        return names == sorted(p.name for p in target.iterdir()) and all(
            _same(source / n, target / n) for n in names
        )
    return (
        source.stat().st_size == target.stat().st_size
        and source.read_bytes() == target.read_bytes()
    )


def _copy(source: Path, target: Path) -> None:
    """Copies content; the copy is the user's to change, whatever the source allows."""
    if source.is_dir():
        target.mkdir()
        for path in sorted(source.iterdir()):
            _copy(path, target / path.name)
        return
    shutil.copyfile(source, target)
    target.chmod(0o755 if source.stat().st_mode & 0o100 else 0o644)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def _write(path: Path, value: object) -> None:
    """Writes JSON so that the file is whole or not there."""
    draft = path.with_suffix(".new")
    with draft.open("w", encoding="utf-8") as file:
        json.dump(value, file, sort_keys=True)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    _sync(path.parent)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_tree(folder: Path) -> None:
    for path, _, names in os.walk(folder):
        for name in names:
            _sync(Path(path) / name)
        _sync(Path(path))


def _exchange(left: Path, right: Path) -> bool:
    """Swaps two paths in one step: renameat2(2) with RENAME_EXCHANGE.

    False: this file system or kernel cannot.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    done = libc.renameat2(
        _AT_FDCWD, os.fsencode(left), _AT_FDCWD, os.fsencode(right), _RENAME_EXCHANGE
    )
    code = ctypes.get_errno()
    if done != 0 and code not in (errno.EINVAL, errno.ENOSYS):
        raise OSError(code, os.strerror(code), str(right))
    return bool(done == 0)
