"""Which stores the home has had: a member begins one anew where nothing is, so that what was there
would be missed by nobody.

`stores.seen` in the home names what each store keeps its knowledge in, once that was there. What is
missing when a kernel starts stands in it too, also once it was begun anew. Without the file nothing
is expected: so it is for homes of former versions, restored ones and new ones.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from .clock import timestamp
from .errors import Problem
from .members import ARCHIVE, MemberKind
from .plaintext import short
from .wholefiles import read_plain, replace_private

log = logging.getLogger(__name__)

FILE: Final = "stores.seen"
LARGEST: Final = 1 << 20  # bytes of it
KNOWLEDGE: Final = {  # of our members' stores, what holds it; of others the folder
    "dag": "dag/runs",
    "artifacts": "artifacts/index.redb",
    "arbitration": "arbitration/ledger.journal",
    "pool": "pool/leases.journal",
    "stale": "stale/curator.journal",
}


class Seen(Struct, omit_defaults=True):
    """The file."""

    seen: list[str] = []
    missing: dict[str, str] = {}  # since when: as of the last start
    anew: dict[str, str] = {}  # begun anew, and since when it had been missing

    def __post_init__(self) -> None:
        for path in (*self.seen, *self.missing, *self.anew):
            if not path.isprintable() or not {"", ".", ".."}.isdisjoint(path.split("/")):
                raise ValueError(f"{short(path)!r} is no path below the home")


class Presence:
    """That of one home's stores; only for who holds its lock."""

    def __init__(self, home: Path, kinds: Iterable[MemberKind]) -> None:
        self._home = home
        self._paths = list(_paths(kinds))
        self._known = read(home)

    def began(self) -> None:
        """The kernel starts, and no member has yet."""
        known = self._known
        gone = [path for path in known.seen if not _is_there(self._home / path)]
        missing = {path: known.missing.get(path) or timestamp() for path in gone}
        for path in missing:
            log.error("store gone", extra={"where": str(self._home / path)})
        self._keep(Seen(known.seen, missing, known.anew))
        self.look()

    def look(self) -> None:
        """Takes down what is there now."""
        known = self._known
        there = [path for path in self._paths if _is_there(self._home / path)]
        seen = sorted({*known.seen, *there})
        anew = {path: since for path, since in known.missing.items() if path in there}
        missing = {path: since for path, since in known.missing.items() if path not in there}
        self._keep(Seen(seen, missing, known.anew | anew))

    def _keep(self, known: Seen) -> None:
        if known == self._known:
            return
        self._known = known
        try:
            replace_private(self._home / FILE, msgspec.json.encode(known))
        except OSError as error:  # nothing rests on it but this check
            log.warning("presence of stores not kept", extra={"reason": str(error)})


def read(home: Path) -> Seen:
    """What the file says; nothing if it is not there or damaged."""
    try:
        return msgspec.json.decode(read_plain(home / FILE, LARGEST), type=Seen)
    except FileNotFoundError:
        return Seen()
    except (OSError, msgspec.DecodeError) as error:
        reason = {"where": str(home / FILE), "reason": str(error)}
        log.warning("presence of stores not read", extra=reason)
        return Seen()


def faults(home: Path) -> list[Problem]:
    """Stores that were there and are gone or empty, or were begun anew since."""
    known = read(home)
    remedy = f"put its folder back from a backup; then, or to go on without, remove {home / FILE}"
    gone = "what this held is gone"
    anew = {
        path: f"{gone}: it was missing at {since} and is begun anew"
        for path, since in known.anew.items()
    }
    missing = {
        path: gone
        for path in known.seen
        if path not in anew and (path in known.missing or not _is_there(home / path))
    }
    return [Problem(why, str(home / path), remedy) for path, why in (anew | missing).items()]


def _paths(kinds: Iterable[MemberKind]) -> Iterator[str]:
    for kind in kinds:
        if kind.capability != ARCHIVE.capability:
            folder = kind.extension.removeprefix("pit-")
            yield KNOWLEDGE.get(folder, folder) if kind.extension != folder else folder


def _is_there(path: Path) -> bool:
    """Whether anything is in it. Raises nothing."""
    try:
        if path.is_dir():
            return any(path.iterdir())
        return path.stat().st_size > 0
    except OSError:
        return False
