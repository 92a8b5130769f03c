"""Logs that grow too large lose their beginning: whoever floods its output fills no disk.

Programs write to their logs themselves, each line at the file's end, so that a log may be cut under
them.
"""

from __future__ import annotations

import asyncio
import logging
import os
import stat
from pathlib import Path
from typing import Final

log = logging.getLogger(__name__)

EVERY_S: Final = 5.0
LARGEST: Final = 64 << 20  # bytes of one log
KEPT: Final = 1 << 20  # bytes of its end


async def keep_small(folder: Path) -> None:
    """Cuts each log in the folder that has become too large; until it is cancelled."""
    while True:
        await asyncio.sleep(EVERY_S)
        await asyncio.to_thread(cut_all, folder)


def cut_all(folder: Path, largest: int = LARGEST, kept: int = KEPT) -> None:
    """Cuts what has more than ``largest`` bytes to the lines of its last ``kept``. Raises nothing:
    what cannot be cut is looked at again later."""
    try:
        for entry in os.scandir(folder):
            if entry.is_file(follow_symlinks=False) and entry.stat().st_size > largest:
                _cut(Path(entry.path), kept)
    except OSError as error:
        log.warning("log not cut", extra={"reason": str(error)})


def _cut(path: Path, kept: int) -> None:
    file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        found = os.fstat(file)
        if not stat.S_ISREG(found.st_mode):
            return
        left_out = found.st_size - kept
        _, _, end = os.pread(file, kept, left_out).partition(b"\n")
        os.ftruncate(file, 0)
        os.write(file, b"[the first %d bytes of this log were cut off]\n" % left_out + end)
    finally:
        os.close(file)
    log.warning("log cut", extra={"where": str(path), "bytes": left_out})
