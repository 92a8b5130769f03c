"""Results into the user's folder when no player delivered them: each entry replaced as a whole."""

from __future__ import annotations

import itertools
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from .artifacts import Artifacts
from .errors import ExitCode, SymphonyError
from .events import Delivered
from .values import TEXT, Value


@dataclass(frozen=True)
class Result:
    """One result of a run and where it was put."""

    value: Value
    path: Path | None = None

    def delivered(self) -> Delivered:
        """As the machine interface shows it."""
        return Delivered(reference=self.value.ref, path=str(self.path) if self.path else None)


async def export(
    artifacts: Artifacts, results: Mapping[str, Result], out: Path
) -> dict[str, Result]:
    """Puts every result that has no path yet into ``out``: files under their own names, values
    under the name of the Melody's output.

    A former entry of the same name is kept as ``NAME~``, ``NAME~2``, …; nothing is deleted.
    """
    waiting = {name: result for name, result in results.items() if result.path is None}
    if not waiting:
        return dict(results)
    staging = out / f".symphony-{secrets.token_hex(4)}"
    try:
        staging.mkdir(mode=0o755)
        names = _file_names(waiting)
        items = [(waiting[name].value.ref, file_name) for name, file_name in names.items()]
        await artifacts.stage(staging, items, writable=True)
        for file_name in names.values():
            _replace(staging / file_name, out / file_name)
    except OSError as error:
        raise SymphonyError(
            ExitCode.IO,
            f"a result cannot be written: {error.strerror}",
            where=str(out),
            help="the results are kept: get them with `symphony-kernel artifacts get`",
            fault="environment",
        ) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    placed = {name: replace(waiting[name], path=out / names[name]) for name in waiting}
    return {**results, **placed}


def _file_names(results: Mapping[str, Result]) -> dict[str, str]:
    """A file name for each result; two of the same name are told apart by the result's name."""
    chosen: dict[str, str] = {}
    for name, result in results.items():
        own = _own_name(name, result.value)
        chosen[name] = own if own not in chosen.values() else f"{name}-{own}"
    return chosen


def _own_name(name: str, value: Value) -> str:
    """A file's own name; a value that travelled inline is called as the Melody calls it."""
    made = PurePosixPath(value.name)
    if value.kind != "inline":
        return made.name or name
    return name + (made.suffix or (".txt" if value.media == TEXT else ".json"))


def _replace(new: Path, target: Path) -> None:
    """Puts ``new`` in the place of ``target``, which is kept under a name that was free."""
    if target.is_symlink() or target.exists():
        target.rename(_free(target))
    new.rename(target)


def _free(target: Path) -> Path:
    numbers = itertools.count(2)
    former = target.with_name(f"{target.name}~")
    while former.is_symlink() or former.exists():
        former = target.with_name(f"{target.name}~{next(numbers)}")
    return former
