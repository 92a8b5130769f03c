"""Small files of the home, read and written whole; only their owner can read what is written."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from .space import naming


def open_plain(path: Path) -> int:
    """A file to be read, which no link leads to and which nothing is waited for. Raises OSError."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    descriptor = os.open(path, flags)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "no plain file", str(path))
    return descriptor


def read_plain(path: Path, most: int) -> bytes:
    """The first `most` bytes of such a file. Raises OSError."""
    with os.fdopen(open_plain(path), "rb") as file:
        return file.read(most)


def create_private(path: Path, content: bytes) -> None:
    """Writes a new file durably; raises OSError, FileExistsError if there is one."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with naming(path), os.fdopen(os.open(path, flags, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def replace_private(path: Path, content: bytes) -> None:
    """The file is wholly this from now on, or as it was; one writer at a time. Raises OSError."""
    draft = path.with_name(f"{path.name}.new")
    draft.unlink(missing_ok=True)
    create_private(draft, content)
    draft.replace(path)
