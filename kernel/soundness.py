"""Whether a home is sound: everything is read back, and what one part names is in another.

The journals of all members, every content of the Artifact Store and its audit trail, every artifact
that a run's journal names, and the built-in archive. What is archived elsewhere is not fetched.
"""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final

from msgspec import Meta, Struct

from symphony.bus.errors import BusError

from . import presence
from .archived import proofs
from .backup import in_thread, journal_lines, stores
from .backupfiles import Progress, hash_file
from .errors import ExitCode, Problem, SymphonyError, raise_damaged
from .journal import other_run
from .places import Places
from .queries import DAG, REFERENCE, STORE, Ask, journal, pages
from .storequeries import faults, require_read
from .verdicts import refusals

PAGE: Final = 1000
BATCH: Final = 500  # references asked for at once
PREFIX: Final = "blake3:"
WHOLE: Final = re.compile(r"blake3:[0-9a-f]{64}")
BUILT_IN: Final = "built-in"  # the place of a proof
BEGIN_ANEW: Final = (
    "put the file back from a backup and remove the .synced beside it; to begin anew without it,"
    " remove only both"
)
RESTORE: Final = "put the file back from a backup; what is not damaged can still be used"


class Sound(Struct, frozen=True, kw_only=True):
    """Answer of `verify --json` where nothing is damaged."""

    journals: Annotated[int, Meta(ge=0, description="files of journals that were read")]
    records: Annotated[int, Meta(ge=0, description="in them")]
    artifacts: Annotated[int, Meta(ge=0, description="contents that were read back")]
    bytes: Annotated[int, Meta(ge=0, description="of them")]
    locked: Annotated[int, Meta(ge=0, description="always 0: what cannot be read is an error")]
    runs: Annotated[int, Meta(ge=0, description="whose artifacts were looked for")]
    named: Annotated[int, Meta(ge=0, description="artifacts that they name")]
    gone: Annotated[int, Meta(ge=0, description="of these: freed or deleted, which is proven")]
    archived: Annotated[
        int, Meta(ge=0, description="artifacts in the home's own archive that were read back")
    ]


async def verify(ask: Ask, places: Places, progress: Progress) -> Sound:
    """Reads everything back. Raises `Problems` naming whatever is damaged or missing."""
    problems = presence.faults(places.home)
    journals, records = await _journals(places, progress, problems)
    problems += await _verdicts(ask, places, problems)
    verified, bad = await faults(ask, lambda n, size: progress("reading artifacts", n, size))
    problems += bad
    archived = await in_thread(lambda stop: list(_archive(places, stop, progress)))
    problems += [problem for problem in archived if problem is not None]
    references = References(ask, places)
    runs = 0
    async for run in _runs(ask):
        runs += 1
        if problem := await references.look(run):
            problems.append(problem)
        progress("looking for what runs name", runs, 0)
    problems += await references.missing()
    raise_damaged(_once(problems))
    require_read(verified.locked)
    return Sound(
        journals=journals,
        records=records,
        artifacts=verified.artifacts,
        bytes=verified.bytes,
        locked=verified.locked,
        runs=runs,
        named=len(references.seen),
        gone=references.gone,
        archived=len(archived),
    )


async def _journals(places: Places, progress: Progress, problems: list[Problem]) -> tuple[int, int]:
    """Reads every journal, whoever writes to it; how many files and records."""
    files = records = size = 0
    for store in stores(places):
        if store.journals is None:
            continue
        folder = places.home / store.info.folder
        try:
            async for line in journal_lines(store.journals, "--store", str(folder), "--check"):
                if why := line.get("damaged"):
                    remedy = line.get("help", BEGIN_ANEW)
                    problems.append(Problem(why, str(folder / line["path"]), remedy))
                files += "records" in line
                records += line.get("records", 0)
                size += line.get("bytes", 0)
                progress("reading journals", files, size)
        except SymphonyError as error:
            if error.code is not ExitCode.IO:
                raise
            problems.append(Problem(str(error), error.where, error.help))
    return files, records


async def _verdicts(ask: Ask, places: Places, known: Sequence[Problem]) -> list[Problem]:
    """What the members say of their stores: each has opened its own, or refused it. Raises with
    what is `known` where one refuses of whom more would have to be asked."""
    problems = []
    needed = True
    folders = {store.info.capability: places.home / store.info.folder for store in stores(places)}
    async for capability, why, remedy in refusals(ask, folders):
        problems.append(Problem(why, str(folders[capability]), remedy or BEGIN_ANEW))
        needed = needed and capability not in (DAG, STORE)
    if not needed:
        raise_damaged(_once([*known, *problems]))
    return problems


def built_in(places: Places) -> Path:
    """The Stale Manager's own archive."""
    return places.home / "stale" / "archive"


def _archive(places: Places, stop: threading.Event, progress: Progress) -> Iterator[Problem | None]:
    """Of each artifact in the built-in archive, what is wrong with it."""
    folder = built_in(places)
    count = size = 0
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if len(path.name) != REFERENCE - len(PREFIX):
            continue
        try:
            digest, length = hash_file(path, stop)
        except OSError as error:
            why = f"this archived artifact cannot be read: {error.strerror}"
            yield Problem(why, str(path), RESTORE)
            continue
        count, size = count + 1, size + length
        progress("reading the archive", count, size)
        if digest == path.name:
            yield None
        else:
            yield Problem("this archived artifact is damaged", str(path), RESTORE)


async def _runs(ask: Ask) -> AsyncIterator[str]:
    """The names of all runs whose journal can be read."""
    before: dict[str, object] = {}
    while True:
        page = (await ask(DAG, "runs", {"limit": PAGE, **before}))["runs"]
        for row in page:
            if row["state"] != "corrupt":  # told with its journal
                yield row["run"]
        if len(page) < PAGE:
            return
        before = {"before": page[-1]["run"]}


class References:
    """Artifacts that runs name, each looked for once."""

    def __init__(self, ask: Ask, places: Places) -> None:
        self._ask = ask
        self._archive = built_in(places)
        self._lost: dict[str, str] = {}  # reference → the first run that names it
        self.seen: set[bytes] = set()
        self.gone = 0

    async def look(self, run: str) -> Problem | None:
        """Looks for all that the run's journal names; what keeps it from being read."""
        try:
            async for record in journal(self._ask, run):
                if whose := _other(record, run):
                    why = f"this journal is that of the run {whose}"
                    return Problem(why, f"run {run}", f"give it back its name, or {RESTORE}")
                new = [ref for ref in _named(record.get("data")) if self._is_new(ref)]
                for at in range(0, len(new), BATCH):
                    for ref in await self._absent(new[at : at + BATCH]):
                        self._lost[ref] = run
        except BusError as error:
            if error.code not in ("corrupt", "not-found"):
                raise
            return Problem(error.message, f"run {run}", RESTORE)
        return None

    async def missing(self) -> list[Problem]:
        """What was not found and was not let go either. Asked last: a sweep may be under way."""
        let_go = await _let_go(self._ask) if self._lost else {}
        problems = []
        for ref, run in self._lost.items():
            place = let_go.get(ref)
            archived = self._archive / ref.removeprefix(PREFIX)
            if place is None:
                message = f"an artifact that run {run} names is not there"
                problems.append(Problem(message, ref, "put it back from a backup"))
            elif place == BUILT_IN and not archived.is_file():
                message = f"the archive has lost {ref}, which run {run} names"
                problems.append(Problem(message, str(archived), RESTORE))
            else:
                self.gone += 1
        return problems

    def _is_new(self, ref: str) -> bool:
        digest = bytes.fromhex(ref.removeprefix(PREFIX))
        if digest in self.seen:
            return False
        self.seen.add(digest)
        return True

    async def _absent(self, refs: Sequence[str]) -> list[str]:
        """Those of them that the store has not; of folders that it has, their files."""
        infos = await self._infos(refs)
        there = {info["ref"] for info in infos}
        lost = [ref for ref in refs if ref not in there]
        for info in infos:
            if info["kind"] == "folder":
                inner = await self._files(info["ref"])
                files = [ref for ref in inner if self._is_new(ref)]
                for at in range(0, len(files), BATCH):
                    some = files[at : at + BATCH]
                    there = {info["ref"] for info in await self._infos(some)}
                    lost += [ref for ref in some if ref not in there]
        return lost

    async def _infos(self, refs: Sequence[str]) -> list[dict[str, Any]]:
        """INFO of those that are there."""
        if not refs:
            return []
        try:
            found: list[dict[str, Any]] = (await self._ask(STORE, "stat", {"refs": refs}))[
                "artifacts"
            ]
        except BusError as error:
            if error.code != "not-found":
                raise
            if len(refs) == 1:
                return []
            middle = len(refs) // 2
            return [*await self._infos(refs[:middle]), *await self._infos(refs[middle:])]
        return found

    async def _files(self, folder: str) -> list[str]:
        try:
            listing = await self._ask(STORE, "listing", {"ref": folder})
        except BusError as error:
            if error.code not in ("overloaded", "corrupt"):
                raise  # of these: verified by its hash, or told as damaged
            return []
        return [file["ref"] for file in listing["files"]]


def _other(record: Mapping[str, Any], run: str) -> str | None:
    """Whose a run's journal says it is, if that is another."""
    match record:
        case {"kind": "opened", "data": {"document": document}}:
            return other_run(document, run)
    return None


def _named(data: object) -> Iterator[str]:
    """The artifacts that a record's inputs and outputs are; what stands in their data is the
    user's own, whatever it looks like."""
    if isinstance(data, dict):
        for values in (data.get("inputs"), data.get("outputs")):
            for value in values.values() if isinstance(values, dict) else ():
                ref = value.get("ref") if isinstance(value, dict) else None
                if isinstance(ref, str) and WHOLE.fullmatch(ref):
                    yield ref


async def _let_go(ask: Ask) -> dict[str, str]:
    """Where that is which was freed: by the curator's proofs. "", nowhere: what was deleted, by the
    audit trail, for the store sweeps nothing without a citation."""
    found: dict[str, str] = {}
    with contextlib.suppress(BusError, SymphonyError):  # it is away: then the trail alone tells
        async for proof in proofs(ask):
            if proof.get("freed"):
                found[proof["ref"]] = proof["place"]
    async for page, _ in pages(ask, "audit", {}, PAGE):
        for record in page["records"]:
            if record["method"] == "sweep":
                for ref in record["refs"]:
                    found.setdefault(ref, "")
    return found


def _once(problems: Iterable[Problem]) -> list[Problem]:
    return list(dict.fromkeys(problems))
