"""A backup of a home, taken while its kernel works or not.

The order makes it consistent. What was spent and not yet told goes before the ledger. Journals of
runs go before the artifacts that they name: those were durable first. The Artifact Store goes
before the Stale Manager's archive: what is freed was archived first. So whatever a part of the
backup names is in a part that was copied later, or has its proof there.

It is built beside its place, under another name, and gets its own when it is whole.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import secrets as random
import shutil
import sqlite3
import stat
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from symphony.bus.errors import BusError

from . import VERSION, presence
from .apart import require_not_within
from .backupfiles import (
    TREE,
    CancelledWorkError,
    Manifest,
    Note,
    Progress,
    StoreInfo,
    copy_entry,
    listed,
    sync_folder,
    write_list,
    write_manifest,
)
from .clock import timestamp
from .errors import REMEDIES, ExitCode, Problem, Problems, SymphonyError, from_bus
from .intake import is_text, require_text
from .kit import Installed, load_kit
from .launchplan import program
from .members import (
    ARBITRATION,
    ARCHIVE,
    ARTIFACT_STORE,
    DAG_TRACKER,
    POOL_MANAGER,
    STALE_MANAGER,
)
from .pit.config import load_pit_config
from .places import SECRETS, SETTINGS, Places
from .queries import Ask
from .verdicts import refusals

T = TypeVar("T")
BEFORE: Final = ("charges.pending",)
ORDER: Final = (DAG_TRACKER, ARTIFACT_STORE, STALE_MANAGER, ARBITRATION, POOL_MANAGER)
USAGE: Final = 2  # exit code of a member's program that does not know what is asked of it
LETTERS: Final = "deadletters.db"
LEFT_OUT: Final = (
    Note("logs", "logs and reports are not kept"),
    Note("instances", "what is on its way is made anew"),
)


@dataclass(frozen=True)
class Store:
    """One member's store, and how it is copied."""

    info: StoreInfo
    installed: Installed | None

    @property
    def journals(self) -> Path | None:
        """The member's own program, where its store is made of journals that it reads and copies
        beside the running member."""
        if self.info.capability == ARTIFACT_STORE.capability or self.installed is None:
            return None
        entry = self.installed.manifest.extension.entry
        return program(entry.program) if self.installed.bundled and entry.program else None


def stores(places: Places) -> list[Store]:
    """The stores that the home has, in the order in which they must be copied."""
    config, kit = load_pit_config(places.home), load_kit(places.home)
    kinds = {kind.capability: kind for kind in config.kinds()}
    found: list[Store] = []
    for wanted in ORDER:
        kind = kinds[wanted.capability]
        folder = kind.extension.removeprefix("pit-")
        place = places.home / folder
        if place.is_dir() or place.is_symlink():  # which its member refuses
            installed = kit.get(kind.extension)
            version = installed.version if installed else ""
            info = StoreInfo(kind.capability, kind.extension, version, folder)
            found.append(Store(info, installed))
    return found


def kept(places: Places) -> tuple[list[str], list[str]]:
    """Names of the home's settings, and of its secrets; of members of one's own, those beside their
    stores."""
    own = [kind.extension for kind in load_pit_config(places.home).kinds()]
    own = [name for name in own if not name.startswith("pit-")]
    settings = SETTINGS | {f"{name}.toml" for name in own}
    return sorted(settings), sorted(SECRETS | {f"{name}.keys" for name in own})


@dataclass
class Backup:
    """One backup in the making."""

    ask: Ask
    places: Places
    target: Path
    secrets: bool
    progress: Progress
    artifacts: int = 0
    left_out: list[Note] = field(default_factory=lambda: list(LEFT_OUT))
    damaged: list[Note] = field(default_factory=list)

    async def make(self) -> Manifest:
        """Raises :class:`SymphonyError`; then nothing is left at the place but what was there."""
        made = timestamp()
        require_place(self.target, self.places)
        found = stores(self.places)
        if load_pit_config(self.places.home).stale.archive:
            self.left_out.append(Note(ARCHIVE.extension, "what is archived elsewhere stays there"))
        with _unfinished(self.target) as draft:
            try:
                tree = draft / TREE
                tree.mkdir(mode=0o700)
                await self._copy(BEFORE, tree)
                for store in found:
                    self.progress(f"copying {store.info.folder}", 0, 0)
                    await self._copy_store(store, tree / store.info.folder)
                await self._look_for_more(found)
                settings, keys = kept(self.places)
                await self._copy(settings + keys if self.secrets else settings, tree)
                await in_thread(lambda _: _copy_letters(self.places.home / LETTERS, tree / LETTERS))
                if not self.secrets:
                    self.left_out += [
                        Note(name, "a secret")
                        for name in keys
                        if (self.places.home / name).exists()
                    ]
                digest, files, size = await in_thread(
                    lambda stop: write_list(draft, listed(tree, stop, self.progress))
                )
                manifest = Manifest(
                    made=made,
                    kernel=VERSION,
                    home=str(self.places.home),
                    path=str(self.target),
                    stores=[store.info for store in found],
                    secrets=self.secrets,
                    files=files,
                    bytes=size,
                    artifacts=self.artifacts,
                    list_blake3=digest,
                    left_out=self.left_out,
                    damaged=self.damaged,
                )
                await in_thread(lambda _: write_manifest(draft, manifest))
                draft.rename(self.target)
                sync_folder(self.target.parent)
            except OSError as error:
                raise _io(error, self.target) from error
        return manifest

    async def _copy(self, names: Sequence[str], tree: Path) -> None:
        def copy(stop: threading.Event) -> None:
            for name in names:
                with contextlib.suppress(FileNotFoundError):  # what is sent meanwhile is forgotten
                    copy_entry(self.places.home / name, tree / name, stop)

        await in_thread(copy)

    async def _copy_store(self, store: Store, to: Path) -> None:
        if store.journals is not None:
            arguments = ("--store", str(self.places.home / store.info.folder), "--copy-to", str(to))
            async for line in journal_lines(store.journals, *arguments):
                path = f"{store.info.folder}/{line['path']}"
                if why := line.get("left"):
                    self.left_out.append(Note(path, why))
                if why := line.get("damaged"):
                    self.damaged.append(Note(path, why))
            return
        args = {"id": f"backup-{random.token_hex(8)}", "to": str(to), "ts": timestamp()}
        try:
            reply = await self.ask(store.info.capability, "backup", args)
        except BusError as error:
            if error.code != "bad-request":
                raise from_bus(error, str(self.target)) from error
            raise SymphonyError(
                ExitCode.UNAVAILABLE,
                f"{store.info.extension} cannot be copied while it works: {error.message}",
                where=store.info.capability,
                help=f"stop the kernel and copy {self.places.home} as it is",
            ) from error
        await in_thread(lambda _: _require_copied(store.info, to))
        self.artifacts += int(reply.get("artifacts", 0))
        named = reply.get("named", [])
        for row in named:
            self.damaged.append(Note(f"{store.info.folder}/{row['path']}", row["why"]))
        if (more := reply.get("damaged", 0) - len(named)) > 0:
            self.damaged.append(Note(store.info.folder, f"{more} more of its files are damaged"))

    async def _look_for_more(self, found: Sequence[Store]) -> None:
        """Names the stores whose files are whole and which are damaged all the same: their members
        refuse them, or they were begun anew."""
        for problem in presence.faults(self.places.home):
            path = str(Path(str(problem.where)).relative_to(self.places.home))
            self.damaged.append(Note(path, problem.message))
        named = {Path(note.path).parts[0] for note in self.damaged}
        quiet = {
            store.info.capability: store.info.folder
            for store in found
            if store.installed is not None and store.info.folder not in named
        }
        async for capability, why, _ in refusals(self.ask, quiet):
            self.damaged.append(Note(quiet[capability], why))


def _require_copied(info: StoreInfo, to: Path) -> None:
    """The member says that it copied its store: there must be files, and nothing that `restore`
    would not put back. Raises `SymphonyError`, OSError."""
    if (why := next(_faults_of_copy(to), None)) is not None:
        raise SymphonyError(
            ExitCode.UNAVAILABLE,
            f"{info.extension} says that it copied its store, but {why}",
            where=info.capability,
            help="what is in the home is as it was; whoever wrote the extension has to correct it",
            fault="environment",
        )


def _faults_of_copy(to: Path) -> Iterator[str]:
    if to.is_symlink() or not to.is_dir() or not any(to.iterdir()):
        yield f"there is nothing in {to.name}"
        return
    waiting = [to]
    while waiting:
        for place in waiting.pop().iterdir():
            mode = place.lstat().st_mode
            if not is_text(place.name):
                yield f"{place.name!r} in it is no text"
            elif stat.S_ISDIR(mode):
                waiting.append(place)
            elif not stat.S_ISREG(mode):
                yield f"{place.relative_to(to)} in it is no plain file"


def require_place(target: Path, places: Places) -> None:
    """Raises unless a backup can be made there: somewhere else, and nothing is there yet."""
    require_text(target, "DEST")
    require_not_within(target, places, "DEST", "choose a place outside of it")
    if target.is_symlink() or (target.exists() and not target.is_dir()):
        raise Problems([Problem("there is something at this place", str(target), "choose another")])
    if target.is_dir():
        if any(target.iterdir()):
            remedy = "name a new folder in it"
            raise Problems([Problem("this folder is not empty", str(target), remedy)])
        if target.is_mount():
            remedy = "name a new folder in it"
            raise Problems([Problem("a file system is mounted here", str(target), remedy)])
    if not target.parent.is_dir():
        raise SymphonyError(
            ExitCode.IO, "there is no such folder", where=str(target.parent), help="create it"
        )


@contextlib.contextmanager
def _unfinished(target: Path) -> Iterator[Path]:
    """A new folder beside the place, which is gone afterwards unless it got its name. What a killed
    backup left there is removed."""
    draft = target.parent / f".{target.name}.unfinished"
    try:
        lock = _locked(draft)
    except OSError as error:
        raise _io(error, target) from error
    try:
        yield draft
    finally:
        with contextlib.suppress(OSError):
            if os.path.samestat(draft.lstat(), os.fstat(lock)):
                # Out of the way of a store that may still be writing, and then finds no folder.
                gone = draft.with_name(f"{draft.name}-{random.token_hex(4)}")
                shutil.rmtree(draft.rename(gone))
        os.close(lock)


def _locked(draft: Path) -> int:
    draft.mkdir(mode=0o700, exist_ok=True)
    lock = os.open(draft, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise SymphonyError(
            ExitCode.REFUSED,
            "another backup to this place is being made",
            where=str(draft),
            help="wait for it, or choose another place",
        ) from None
    for entry in draft.iterdir():
        shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
    return lock


def _copy_letters(source: Path, target: Path) -> None:
    """Dead letters by their database's own means: another process may be writing to it."""
    if not source.is_file():
        return
    with (
        contextlib.closing(sqlite3.connect(f"file:{source}?mode=ro", uri=True)) as from_,
        contextlib.closing(sqlite3.connect(target)) as to,
    ):
        from_.backup(to)
    target.chmod(0o600)


async def in_thread(work: Callable[[threading.Event], T]) -> T:
    """Work that reads and writes files: the kernel goes on meanwhile. It ends early, and is waited
    for, if nobody wants it any more."""
    stop = threading.Event()
    task = asyncio.ensure_future(asyncio.to_thread(work, stop))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        stop.set()
        with contextlib.suppress(CancelledWorkError, OSError):
            await task
        raise


async def journal_lines(journals: Path, *arguments: str) -> AsyncIterator[dict[str, Any]]:
    """What a member's program says of each file of its store."""
    process = await asyncio.create_subprocess_exec(
        str(journals),
        *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None  # noqa: S101 - asked for
    assert process.stderr is not None  # noqa: S101 - asked for
    try:
        async for line in process.stdout:
            yield msgspec.json.decode(line)
        said = (await process.stderr.read()).decode(errors="replace")
        code = await process.wait()
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
    if code == USAGE:
        raise SymphonyError(
            ExitCode.UNAVAILABLE,
            "this program is of another version than the kernel",
            where=str(journals),
            help="install the symphony-pit that belongs to this kernel (scripts/setup does)",
            fault="environment",
        )
    if code != 0:
        lines = dict(line.split(": ", 1) for line in said.splitlines() if ": " in line)
        raise SymphonyError(
            ExitCode.IO,
            lines.get("error", f"{journals.name} ended with exit code {code}"),
            where=journals.name,
            help=lines.get("help", REMEDIES["io"]),
            fault="environment",
        )


def _io(error: OSError, target: Path) -> SymphonyError:
    return SymphonyError(
        ExitCode.IO,
        f"the backup cannot be made: {error.strerror or error}",
        where=str(error.filename or target),
        help=REMEDIES["io"],
        fault="environment",
    )


def back_up(
    ask: Ask, places: Places, target: Path, progress: Progress, *, secrets: bool
) -> Awaitable[Manifest]:
    """Makes a backup at `target`."""
    return Backup(ask, places, target.absolute(), secrets, progress).make()
