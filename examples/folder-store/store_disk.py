"""The folders of the store: objects by key, documents by number. Whatever is in place is on disk.

STORE/objects/AB/CDEF…   the bytes of a content, named by its hash
STORE/documents/N.json   what one call changed; the store is what all of them say, in their order
STORE/tmp/N              what is being written; emptied at start

A file is written below tmp, synced, renamed to its place, and the folder of its place synced. The
document comes last: until it is there, nothing of the call is. An object that no document names is
left by a call that did not end; it is removed at start.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Self

from blake3 import blake3
from store_names import name_of

from symphony.bus.errors import BusError

FORMAT: Final = "folder-store 1"
PIECE: Final = 1 << 20  # bytes that are read and hashed at once


class UnusableError(Exception):
    """The store cannot be opened; `remedy` says what helps."""

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(message)
        self.remedy = remedy


class Disk:
    """One store's folders, opened by this process alone."""

    def __init__(self, root: Path) -> None:
        """Makes the store if there is none. Raises UnusableError, OSError."""
        self.root = root
        self._numbers = itertools.count(1)
        self._sound: dict[str, tuple[int, ...]] = {}  # objects whose hash was found right
        self._damaged: set[str] = set()
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = self._take_lock()
        try:
            self._check_format()
            for folder in (self._tmp, self._documents, root / "objects"):
                folder.mkdir(mode=0o700, exist_ok=True)
            for number in range(256):
                (root / "objects" / f"{number:02x}").mkdir(mode=0o700, exist_ok=True)
            for path in self._tmp.iterdir():
                path.unlink()
            for folder in (root / "objects", root, root.parent):
                sync(folder)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Lets another process open the store."""
        os.close(self._lock)

    # Documents.

    def documents(self) -> Iterator[bytes]:
        """All of them in their order; the next one is written behind them."""
        found = sorted(self._documents.iterdir(), key=lambda path: int(path.stem))
        for path in found:
            yield path.read_bytes()
        last = int(found[-1].stem) if found else 0
        self._next = itertools.count(last + 1)

    def document_places(self) -> list[Path]:
        """Where they all lie."""
        return sorted(self._documents.iterdir())

    def write_document(self, content: bytes) -> None:
        """It is on disk when this returns. Raises OSError; then it is not there."""
        place = self._documents / f"{next(self._next):012}.json"
        draft = self.draft()
        try:
            with draft.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            draft.rename(place)
            sync(self._documents)
        except OSError:
            for path in (draft, place):
                with contextlib.suppress(OSError):
                    path.unlink(missing_ok=True)
            raise

    # Objects.

    def has(self, ref: str, length: int) -> bool:
        """Whether an object of that length is in its place, and not known to be damaged."""
        if ref in self._damaged:
            return False
        try:
            return self.place_of(ref).stat().st_size == length
        except FileNotFoundError:
            return False

    def remove(self, refs: Iterable[str]) -> None:
        """Removes objects that no document names any more."""
        for ref in refs:
            self.place_of(ref).unlink(missing_ok=True)
            self._sound.pop(ref, None)

    def objects(self) -> Iterator[str]:
        """The reference of every object that is there."""
        for folder in (self.root / "objects").iterdir():
            for path in folder.iterdir():
                yield name_of(folder.name + path.name)

    def open(self, ref: str, length: int) -> BinaryIO:
        """The object, once its hash is known to be right. Raises BusError `corrupt`."""
        try:
            file = self.place_of(ref).open("rb")
        except FileNotFoundError:
            raise corrupt(ref, "its object is missing") from None
        try:
            self._require_sound(ref, length, file)
            file.seek(0)
        except BaseException:
            file.close()
            raise
        return file

    def _require_sound(self, ref: str, length: int, file: BinaryIO) -> None:
        found = os.fstat(file.fileno())
        state = (found.st_ino, found.st_size, found.st_mtime_ns)
        if self._sound.get(ref) == state:
            return
        if found.st_size != length or self._hash(file) != ref:
            self._sound.pop(ref, None)
            self._damaged.add(ref)
            raise corrupt(ref, "its object has other bytes")
        self._sound[ref] = state

    def placed(self, ref: str) -> None:
        """Its object was written anew."""
        self._damaged.discard(ref)

    def forget(self) -> None:
        """Every object is read whole again before it is given out."""
        self._sound.clear()

    def pending(self) -> Pending:
        """Objects of one call."""
        return Pending(self)

    @staticmethod
    def _hash(file: BinaryIO) -> str:
        hasher = blake3()
        while piece := file.read(PIECE):
            hasher.update(piece)
        return name_of(hasher.hexdigest())

    def place_of(self, ref: str) -> Path:
        """Where an object lies."""
        digits = ref.removeprefix("blake3:")
        return self.root / "objects" / digits[:2] / digits[2:]

    def draft(self) -> Path:
        """A new place below tmp."""
        return self._tmp / str(next(self._numbers))

    @property
    def _tmp(self) -> Path:
        return self.root / "tmp"

    @property
    def _documents(self) -> Path:
        return self.root / "documents"

    def _take_lock(self) -> int:
        lock = os.open(self.root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            raise UnusableError(
                f"{self.root} is open in another process", "stop that one, or use another home"
            ) from None
        return lock

    def _check_format(self) -> None:
        path = self.root / "format"
        try:
            found = path.read_text(encoding="utf-8").strip()
        except FileNotFoundError:
            if (self.root / "documents").exists():
                raise UnusableError(
                    f"{self.root} has documents and no format", "restore it from a copy"
                ) from None
            path.write_text(FORMAT + "\n", encoding="utf-8")
            with path.open("rb") as file:
                os.fsync(file.fileno())
            return
        if found != FORMAT:
            raise UnusableError(
                f"{self.root} has the format {found[:40]!r}, this program knows {FORMAT!r}",
                "use the version that wrote it",
            )


class Pending:
    """Objects that are written but not in their places; what is not placed is dropped."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self._drafts: dict[str, Path] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for draft in self._drafts.values():
            with contextlib.suppress(OSError):
                draft.unlink(missing_ok=True)

    def add(self, pieces: Iterable[bytes]) -> tuple[str, int]:
        """Writes a content; its reference and length."""
        draft = self._disk.draft()
        hasher, length = blake3(), 0
        try:
            with draft.open("xb") as file:
                for piece in pieces:
                    file.write(piece)
                    hasher.update(piece)
                    length += len(piece)
            ref = name_of(hasher.hexdigest())
            if ref in self._drafts or self._disk.has(ref, length):
                draft.unlink()
            else:
                self._drafts[ref] = draft
        except BaseException:
            draft.unlink(missing_ok=True)
            raise
        return ref, length

    def place(self) -> None:
        """All objects are in their places and on disk when this returns. Raises OSError."""
        folders = set()
        for ref, draft in self._drafts.items():
            with draft.open("rb") as file:
                os.fsync(file.fileno())
            draft.chmod(0o400)
            place = self._disk.place_of(ref)
            draft.rename(place)
            self._disk.placed(ref)
            folders.add(place.parent)
        self._drafts.clear()
        for folder in folders:
            sync(folder)


def corrupt(ref: str, what: str) -> BusError:
    """Bytes that are not what their name says."""
    help_ = "put the same bytes again, or restore the store from a copy"
    return BusError("corrupt", f"{ref} is damaged: {what}", where=ref, help=help_)


def sync(folder: Path) -> None:
    """What was renamed into the folder is on disk when this returns."""
    way = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(way)
    finally:
        os.close(way)
