"""What a user gives as input is looked at before it is read: only plain files and folders of them.

A device or a pipe, also one deep in a folder, would be read without end or wait for ever.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

from .errors import Problem, Problems

_REMEDY = "give a plain file, or a folder of plain files"


def require_text(path: Path, where: str) -> None:
    """Raises `Problems` for a path that is no text: it could not be written down anywhere."""
    if not is_text(str(path)):
        message = f"the path {str(path)!r} is not valid UTF-8"
        raise Problems([Problem(message, where, "rename it, or give another one")])


def is_text(name: str) -> bool:
    """Whether it can be written down: a file's name may have bytes that are not UTF-8."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def require_plain(inputs: Mapping[str, object]) -> None:
    """Raises `Problems` for every input that is a path to something else; reads no content."""
    for name, path in inputs.items():
        if isinstance(path, Path):
            require_text(path, f"--input {name}")
    problems = [
        Problem(fault, f"--input {name}", _REMEDY)
        for name, path in inputs.items()
        if isinstance(path, Path)
        for fault in _faults(path, frozenset())
    ]
    if problems:
        raise Problems(problems)


def copy(source: Path, target: Path) -> None:
    """Copies a file, or a folder whole, following links."""
    if source.is_dir():
        shutil.copytree(source, target)
    else:
        shutil.copyfile(source, target)


def _faults(path: Path, above: frozenset[tuple[int, int]]) -> Iterator[str]:
    try:
        found = path.stat()
        if stat.S_ISREG(found.st_mode):
            if _is_made_up(path, found):
                yield f"{path} has no content of its own: the system makes it up when it is read"
        elif not stat.S_ISDIR(found.st_mode):
            yield f"{path} is {_kind(found.st_mode)}, not a file or folder"
        elif (found.st_dev, found.st_ino) in above:
            yield f"{path} leads back to a folder that it lies in"
        else:
            inner = above | {(found.st_dev, found.st_ino)}
            for entry in sorted(path.iterdir()):
                yield from _faults(entry, inner)
    except OSError as error:
        yield f"{path} cannot be read: {error.strerror}"


def _is_made_up(path: Path, found: os.stat_result) -> bool:
    """Files of /proc look empty and lie on a file system without a single block."""
    return found.st_size == 0 and os.statvfs(path).f_blocks == 0


def _kind(mode: int) -> str:
    if stat.S_ISFIFO(mode):
        return "a pipe"
    if stat.S_ISSOCK(mode):
        return "a socket"
    return "a device"
