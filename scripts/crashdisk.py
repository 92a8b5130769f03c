"""The disk under a member that is killed: what was not synced may be lost, torn or damaged.

`powercut.c`, preloaded into the member, writes down every change below its store and every sync.
Here that is read, and the store is made what it could be after the power went: all that was synced,
and of the rest what a `Harm` says.
"""

import os
import random
import shlex
import shutil
import struct
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from benchlib import PROJECT, BenchError

SOURCE = PROJECT / "scripts" / "crashprograms" / "powercut.c"
_RECORD = struct.Struct("=QQQQQII")
_SECTOR = 512
_HEADER = 8  # of a record in a journal; it begins with the record's length


class Harm(StrEnum):
    """What becomes of what was not synced."""

    KEPT = "kept"  # the process died alone: the system still has every byte
    LOST = "lost"  # all of it is gone, names too
    NAMES = "names"  # names are there, contents are not
    CUT = "cut"  # of each file a beginning, the last write of it cut anywhere
    ZEROED = "zeroed"  # so, and as long as it was, with zeros behind the cut
    FLIPPED = "flipped"  # so, and one bit of the last write is another
    DOUBLED = "doubled"  # so, and the last write stands there twice


@dataclass(frozen=True)
class Change:
    """One change or sync, as powercut.c tells it."""

    what: str
    inode: int
    folder: int
    offset: int
    length: int
    first: bytes
    second: bytes

    @property
    def of_contents(self) -> bool:
        return self.what in "WT"

    @property
    def of_names(self) -> bool:
        return self.what in "CDRULX"

    @property
    def appends(self) -> bool:
        return self.what == "W" and self.offset == self.length and len(self.second) > 0


def compiled(folder: Path) -> Path:
    """The library to be preloaded; raises BenchError where there is no C compiler."""
    library = folder / "powercut.so"
    compiler = shlex.split(os.environ.get("CC", "cc"))
    command = [*compiler, "-O2", "-shared", "-fPIC", "-o", str(library), str(SOURCE), "-ldl"]
    try:
        subprocess.run(command, capture_output=True, check=True)
    except OSError:
        raise BenchError(f"no C compiler: {compiler[0]}", "apt-get install gcc") from None
    except subprocess.CalledProcessError as error:
        raise BenchError(f"cannot build powercut.c: {error.stderr.decode()}") from None
    return library


class Disk:
    """The store of one member and what has been written down about it."""

    def __init__(self, folder: Path, library: Path, *, lies: bool) -> None:
        self.store = (folder / "store").resolve()
        self._log = folder / "changes"
        self._saved = folder / "saved"
        self._fails = folder / "fails"
        self._library = library
        self._lies = lies
        self.store.mkdir(mode=0o700, exist_ok=True)
        self._saved.mkdir()

    def environment(self, at: int | None) -> dict[str, str]:
        """Of a process that is to be watched, and to be killed at this change."""
        given = {
            "LD_PRELOAD": str(self._library),
            "POWERCUT_ROOT": str(self.store),
            "POWERCUT_LOG": str(self._log),
            "POWERCUT_SAVED": str(self._saved),
        }
        if at is not None:
            given["POWERCUT_AT"] = str(at)
        if self._lies:
            given["POWERCUT_LIES"] = "1"
        return given | {"POWERCUT_FAILS": str(self._fails)}

    def fail(self, error: int | None) -> None:
        """From now on every change fails with this error, or none does."""
        if error is None:
            self._fails.unlink()
        else:
            self._fails.write_text(str(error))

    def harm(self, harm: Harm, dice: random.Random) -> None:
        """Leaves the store as it may be after the process was killed. What is there then is what
        the disk holds."""
        if harm is Harm.KEPT:
            return  # nothing more is synced than before
        changes = list(_read(self._log))
        contents, names = _unsynced(changes)
        places = _inodes(self.store, self._saved)
        for change in reversed(contents):
            _undo_contents(places.get(change.inode), change)
        if harm not in (Harm.LOST, Harm.NAMES):
            redone = self._redo(harm, contents, places, dice)
            if not redone and harm is not Harm.CUT:
                self._plant(harm, changes, places, dice)
        if harm is not Harm.NAMES:
            keep = 0 if harm is Harm.LOST else dice.randint(0, len(names))
            for change in reversed(names[keep:]):
                self._undo_name(change)
        self._begin_anew()

    def _redo(
        self, harm: Harm, contents: list[Change], places: dict[int, Path], dice: random.Random
    ) -> bool:
        """Of each file a beginning of what was undone; whether one was harmed at its end."""
        harmed = False
        for inode in sorted({change.inode for change in contents}):
            own, path = [change for change in contents if change.inode == inode], places.get(inode)
            if path is None:
                continue
            if any(not change.appends for change in own):
                for change in own:  # pages of a file like these reach the disk in any order
                    if change.what == "T" or dice.random() < 0.5:
                        _redo_contents(path, change, _torn(change.second, dice))
                continue
            kept = own[: dice.randint(1, len(own))]
            for change in kept[:-1]:
                _redo_contents(path, change, change.second)
            last = kept[-1]
            _redo_contents(path, last, _harmed(harm, last.second, dice))
            harmed = True
        return harmed

    def _plant(
        self, harm: Harm, changes: list[Change], places: dict[int, Path], dice: random.Random
    ) -> None:
        """Where everything was synced: one more record on its way to the end of a journal that
        the process wrote to, and will again."""
        begun = max((at for at, one in enumerate(changes) if one.what == "P"), default=0)
        last = {change.inode: change for change in changes[begun:] if change.appends}
        ends = [(places[inode], change) for inode, change in last.items() if inode in places]
        written = set(self._written())
        ends = [(path, change) for path, change in ends if path in written]
        if ends:
            path, change = dice.choice(ends)
            doubled = harm is Harm.DOUBLED
            with path.open("ab") as file:
                once = change.second
                file.write(once if doubled else _harmed(harm, _frame(once), dice))

    def _undo_name(self, change: Change) -> None:
        path = Path(os.fsdecode(change.first))
        other = Path(os.fsdecode(change.second))
        saved = self._saved / str(change.length - 1)
        away = self._saved / f"away-{len(list(self._saved.iterdir()))}"
        if change.what in "CD" and os.path.lexists(path):
            path.rename(away)
        elif change.what == "L":
            other.unlink(missing_ok=True)
        elif change.what == "R" and os.path.lexists(other) and not os.path.lexists(path):
            if path.parent.is_dir():
                other.rename(path)
            else:
                other.rename(away)
            if change.length:
                os.link(saved, other)
        elif change.what == "U" and change.length and not os.path.lexists(path):
            if path.parent.is_dir():
                os.link(saved, path)
        elif change.what == "X" and path.parent.is_dir():
            path.mkdir(exist_ok=True)

    def rot(self, dice: random.Random) -> tuple[Path, bytes] | None:
        """Flips one bit of a journal, all of which was acknowledged; returns what it held. None
        where the store has no journal that is written to."""
        journals = self._written()
        if not journals:
            return None
        path = dice.choice(journals)
        whole = path.read_bytes()
        rotten = bytearray(whole)
        rotten[dice.randrange(len(whole))] ^= 1 << dice.randrange(8)
        path.write_bytes(rotten)
        return path, whole

    def _written(self) -> list[Path]:
        """Journals that more may be added to: a companion says how much was acknowledged."""
        found = sorted(self.store.rglob("*.journal"))
        return [path for path in found if path.with_name(path.name + ".synced").exists()]

    def _begin_anew(self) -> None:
        self._log.unlink(missing_ok=True)
        shutil.rmtree(self._saved)
        self._saved.mkdir()


def _read(log: Path) -> Iterator[Change]:
    data = log.read_bytes() if log.exists() else b""
    at = 0
    while at + _RECORD.size <= len(data):
        what, inode, folder, offset, length, first, second = _RECORD.unpack_from(data, at)
        at += _RECORD.size
        if at + first + second > len(data):
            return  # cut short by the kill: it was told and not done
        parts = data[at : at + first], data[at + first : at + first + second]
        yield Change(chr(what), inode, folder, offset, length, *parts)
        at += first + second


def _unsynced(changes: list[Change]) -> tuple[list[Change], list[Change]]:
    """Changes of contents and of names that no sync came after."""
    ended = {(change.inode, change.offset) for change in changes if change.what == "S"}
    synced: dict[int, int] = {}  # by inode: where its last good sync began
    for place, change in enumerate(changes):
        if change.what == "B" and (change.inode, change.offset) in ended:
            synced[change.inode] = place
    left = [
        change
        for place, change in enumerate(changes)
        if place > synced.get(change.inode if change.of_contents else change.folder, -1)
    ]
    contents = [change for change in left if change.of_contents]
    return contents, [change for change in left if change.of_names]


def _inodes(*roots: Path) -> dict[int, Path]:
    found: dict[int, Path] = {}
    for root in roots:
        for folder, _, files in os.walk(root):
            for name in files:
                path = Path(folder, name)
                found.setdefault(path.lstat().st_ino, path)
    return found


def _undo_contents(path: Path | None, change: Change) -> None:
    if path is None:
        return
    with path.open("r+b") as file:
        if change.what == "W":
            file.seek(change.offset)
            file.write(change.first)
            file.truncate(change.length)
        else:
            file.truncate(min(change.offset, change.length))
            file.seek(change.offset)
            file.write(change.first)
            file.truncate(change.length)


def _redo_contents(path: Path, change: Change, bytes_: bytes) -> None:
    with path.open("r+b") as file:
        if change.what == "T":
            file.truncate(change.offset)
            return
        file.seek(change.offset)
        file.write(bytes_)


def _torn(bytes_: bytes, dice: random.Random) -> bytes:
    """All of it, or a beginning that ends with a sector."""
    if dice.random() < 0.7:
        return bytes_
    return bytes_[: dice.randint(0, len(bytes_) // _SECTOR) * _SECTOR]


def _frame(bytes_: bytes) -> bytes:
    """The first record of what was appended to a journal."""
    return bytes_[: _HEADER + int.from_bytes(bytes_[:4], "little")]


def _harmed(harm: Harm, bytes_: bytes, dice: random.Random) -> bytes:
    cut = dice.randrange(len(bytes_))
    if harm is Harm.CUT:
        return bytes_[:cut]
    if harm is Harm.ZEROED:
        return bytes_[:cut] + bytes(len(bytes_) - cut)
    if harm is Harm.FLIPPED:
        flipped = bytearray(bytes_)
        flipped[cut] ^= 1 << dice.randrange(8)
        return bytes(flipped)
    return bytes_ + bytes_
