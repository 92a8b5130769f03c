"""Folders that players are shown must not hold what the kernel keeps: its home and its sockets.

Whoever reads the console's ticket there has all rights of the kernel's user, sandbox or not.
Folders are compared as they are on disk, so that links and second mounts of one do not hide it.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from .errors import Problem, Problems
from .places import Places


def require_outside(out: Path | None, places: Places) -> None:
    """Raises unless the user's folder and the kernel's own have nothing in common."""
    if out is not None:
        require_not_within(out, places)
        remedy = "choose a folder for the results alone with --out"
        _require_not_around(out, places, "--out", remedy)


def require_showable(extension: Path, places: Places) -> None:
    """Raises if a player of that folder would see what only the kernel may."""
    remedy = "give the extension a folder of its own"
    _require_not_around(extension, places, "the extension's folder", remedy)


def require_not_within(
    out: Path,
    places: Places,
    option: str = "--out",
    remedy: str = "choose another folder with --out",
) -> None:
    """Raises if something would be written among what the kernel keeps."""
    for kept, what in _kept(places):
        if _lies_in(out, kept):
            message = f"{out} lies in {what} {kept}, which only the kernel writes"
            raise Problems([Problem(message, option, remedy)])


def _require_not_around(folder: Path, places: Places, where: str, remedy: str) -> None:
    for kept, what in _kept(places):
        if _lies_in(kept, folder):
            message = f"{folder} would show players {what} {kept}"
            raise Problems([Problem(message, where, remedy)])


def _kept(places: Places) -> tuple[tuple[Path, str], ...]:
    return (places.home, "the home"), (places.runtime, "the folder of the kernel's sockets")


def _lies_in(inner: Path, outer: Path) -> bool:
    """Whether `inner` is `outer` or below it; neither needs to be there yet."""
    target = Path(os.path.realpath(outer))
    here = Path(os.path.realpath(inner))
    if here.is_relative_to(target):
        return True
    return bool(
        set(_identity(target)) & {i for path in (here, *here.parents) for i in _identity(path)}
    )


def _identity(path: Path) -> Iterator[tuple[int, int]]:
    with contextlib.suppress(OSError):
        found = path.stat()
        yield found.st_dev, found.st_ino
