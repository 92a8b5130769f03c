"""Files that a user names for our output, opened without waiting for ever.

Opening a named pipe waits until somebody reads it. That is what `run --json PIPE & reader < PIPE`
needs, but a pipe that nobody reads would hang a CI job, and in silence.
"""

from __future__ import annotations

import asyncio
import errno
import io
import os
import stat
import sys
from pathlib import Path

READER_S = 10.0  # how long a pipe's reader may take to come
_LOOK_S = 0.02


async def open_for_output(path: Path, mode: str, wait_s: float = READER_S) -> io.FileIO:
    """Opens ``path`` unbuffered; a named pipe waits for its reader, visibly and not for ever.

    Raises OSError, ENXIO where no reader came.
    """
    if not _is_pipe(path):
        return io.FileIO(path, mode)
    loop = asyncio.get_running_loop()
    until = loop.time() + wait_s
    told = False
    while (descriptor := _try_open(path)) is None:
        if not told:
            print(f"waiting for a reader of the pipe {path}", file=sys.stderr, flush=True)
            told = True
        if loop.time() >= until:
            raise OSError(errno.ENXIO, f"nobody has read the pipe within {wait_s:g} s", str(path))
        await asyncio.sleep(_LOOK_S)  # the system tells nobody when a reader comes
    os.set_blocking(descriptor, True)
    return io.FileIO(descriptor, "w")


def write_all(file: io.FileIO, content: bytes) -> None:
    """Writes all of it, whatever one call of the system takes. Raises OSError."""
    rest = memoryview(content)
    while rest:
        rest = rest[file.write(rest) or 0 :]


def _is_pipe(path: Path) -> bool:
    try:
        return stat.S_ISFIFO(path.stat().st_mode)
    except FileNotFoundError:
        return False


def _try_open(path: Path) -> int | None:
    try:
        return os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno == errno.ENXIO:
            return None
        raise
