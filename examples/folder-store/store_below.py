"""Folders that untrusted programs write to, seen so that nothing planted there leads elsewhere.

Every step opens one name below an open folder with O_NOFOLLOW. What a name is gets looked at before
it is opened (a FIFO would block) and again on the open file.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from store_names import bad, relative

from symphony.bus.errors import BusError

FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
DEEPEST: Final = 100
PIECE: Final = 1 << 20
_IS_NO_WAY: Final = (errno.ELOOP, errno.ENOTDIR)


@dataclass
class Limits:
    """What a call may still take."""

    bytes: int = 1 << 30
    files: int = 10_000
    folders: int = 10_000


@dataclass(frozen=True)
class Found:
    """A regular file below the folder, by its path from there, with its pieces."""

    path: str
    executable: bool
    pieces: Iterator[bytes]


@contextmanager
def opened(folder: Path) -> Iterator[int]:
    """The folder that a caller named, open; its last part must not be a symlink."""
    try:
        way = os.open(folder, FOLDER)
    except FileNotFoundError:
        raise _missing(str(folder)) from None
    except OSError as error:
        if error.errno in _IS_NO_WAY:
            raise bad("folder", f"{folder} is not a folder") from None
        raise
    try:
        yield way
    finally:
        os.close(way)


def walk(root: int, path: str, limits: Limits) -> Iterator[Found]:
    """Every file at and below the path, which is a file or a folder."""
    with _parent(root, path) as (parent, name):
        yield from _node(parent, name, path, limits, 0)


def is_folder(root: int, path: str) -> bool:
    """Whether the path is a folder, and not a symlink to one."""
    with _parent(root, path) as (parent, name), _named(path):
        return stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode)


def _node(parent: int, name: str, path: str, limits: Limits, depth: int) -> Iterator[Found]:
    with _named(path):
        mode = _plain(os.stat(name, dir_fd=parent, follow_symlinks=False), path).st_mode
        is_dir = stat.S_ISDIR(mode)
        node = os.open(name, FOLDER if is_dir else FILE, dir_fd=parent)
    try:
        if is_dir:
            yield from _inside(node, path, limits, depth + 1)
            return
        found = _plain(os.fstat(node), path)
        if not stat.S_ISREG(found.st_mode):
            raise bad(path, f"{path} changed while it was collected")
        limits.files -= 1
        if limits.files < 0:
            raise _over(path, "files")
        executable = bool(found.st_mode & stat.S_IXUSR)
        yield Found(path, executable, _pieces(node, path, limits))
    finally:
        os.close(node)


def _inside(folder: int, path: str, limits: Limits, depth: int) -> Iterator[Found]:
    if depth > DEEPEST:
        raise _over(path, "folders within folders")
    with os.scandir(folder) as entries:
        names = []
        for entry in entries:
            names.append(entry.name)
            if len(names) > limits.files + limits.folders:
                raise _over(path, "names")
    for name in sorted(names):
        inner = relative(f"{path}/{name}", path)
        try:
            inner.encode()
        except UnicodeEncodeError:
            raise bad(path, f"a name in {path} is not UTF-8") from None
        if stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
            limits.folders -= 1
            if limits.folders < 0:
                raise _over(inner, "folders")
        yield from _node(folder, name, inner, limits, depth)


def _pieces(file: int, path: str, limits: Limits) -> Iterator[bytes]:
    while piece := os.read(file, PIECE):
        limits.bytes -= len(piece)
        if limits.bytes < 0:
            raise _over(path, "bytes")
        yield piece


class Target:
    """A folder that artifacts are staged into; what was made is removed unless it is kept."""

    def __init__(self, root: int, *, writable: bool) -> None:
        self._root = root
        self._writable = writable
        self._made: list[tuple[str, Callable[..., None]]] = []
        owner = os.fstat(root)
        foreign = writable and os.geteuid() == 0 and owner.st_uid != 0
        self._owner = (owner.st_uid, owner.st_gid) if foreign else None

    def file(self, path: str, pieces: Iterator[bytes], *, executable: bool) -> None:
        """Writes a new file."""
        with self._new_parent(path) as (parent, name):
            file = os.open(name, NEW, 0o600, dir_fd=parent)
            self._made.append((path, os.unlink))
            try:
                for piece in pieces:
                    _write(file, piece)
                mode = 0o755 if executable else 0o644
                self._finish(file, mode if self._writable else mode & 0o555)
            finally:
                os.close(file)

    def folder(self, path: str) -> None:
        """Makes a folder that is not there yet."""
        with self._new_parent(path) as (parent, name):
            self._make(parent, name, path)

    def undo(self) -> None:
        """Removes what was made, the last first, as far as it is still there."""
        for path, remove in reversed(self._made):
            with contextlib.suppress(OSError, BusError), _parent(self._root, path) as at:
                remove(at[1], dir_fd=at[0])

    @contextmanager
    def _new_parent(self, path: str) -> Iterator[tuple[int, str]]:
        """The parent, with the folders made that are missing; what stands in the way: conflict."""
        parts = path.split("/")
        try:
            for end in range(1, len(parts)):
                ancestor = "/".join(parts[:end])
                with _parent(self._root, ancestor) as (parent, name):
                    try:
                        os.stat(name, dir_fd=parent, follow_symlinks=False)
                    except FileNotFoundError:
                        self._make(parent, name, ancestor)
            with _parent(self._root, path) as found:
                yield found
        except FileExistsError:
            raise _exists(path) from None
        except BusError as error:
            if error.code == "bad-request":
                raise _exists(path) from None
            raise

    def _make(self, parent: int, name: str, path: str) -> None:
        os.mkdir(name, 0o700, dir_fd=parent)
        self._made.append((path, os.rmdir))
        folder = os.open(name, FOLDER, dir_fd=parent)
        try:
            self._finish(folder, 0o755)
        finally:
            os.close(folder)

    def _finish(self, file: int, mode: int) -> None:
        if self._owner is not None:
            os.fchown(file, *self._owner)
        os.fchmod(file, mode)


@contextmanager
def _parent(root: int, path: str) -> Iterator[tuple[int, str]]:
    """The open folder in which the last part of the path lies, and that part."""
    *ways, name = path.split("/")
    at = os.dup(root)
    try:
        with _named(path):
            for part in ways:
                below = os.open(part, FOLDER, dir_fd=at)
                os.close(at)
                at = below
        yield at, name
    finally:
        os.close(at)


@contextmanager
def _named(path: str) -> Iterator[None]:
    """Errors of the system as those of a caller who named the path."""
    try:
        yield
    except FileNotFoundError:
        raise _missing(path) from None
    except OSError as error:
        if error.errno in _IS_NO_WAY:
            raise bad(path, f"a part of {path} is a symlink or no folder") from None
        if error.errno == errno.ENXIO:
            raise bad(path, f"{path} changed while it was collected") from None
        raise


def _plain(found: os.stat_result, path: str) -> os.stat_result:
    if stat.S_ISDIR(found.st_mode):
        return found
    if not stat.S_ISREG(found.st_mode):
        raise bad(path, f"{path} is neither a file nor a folder")
    if found.st_nlink > 1:
        raise bad(path, f"{path} is a file with several hard links")
    return found


def _write(file: int, piece: bytes) -> None:
    rest = memoryview(piece)
    while rest:
        rest = rest[os.write(file, rest) :]


def _missing(path: str) -> BusError:
    return BusError("not-found", f"there is no {path}", where=path)


def _exists(path: str) -> BusError:
    help_ = "stage into a fresh folder or at another path"
    return BusError("conflict", f"{path} is there already", where=path, help=help_)


def _over(path: str, what: str) -> BusError:
    message = f"there are more {what} than the limit allows, at {path}"
    return BusError("overloaded", message, where=path, help="collect less, or raise the limits")
