"""Folders that players wrote, taken away: at once out of sight, then removed in the background.

What a player leaves may be deeper than any recursion, so the content is left to `rm -rf`, in one
process for all that has gathered; folders that a player closed are opened if they stop it. Nothing
here raises: what cannot be removed stays in the trash and is tried again at the next start.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import subprocess
from pathlib import Path


class Remover:
    """Removes folders of one file system by way of ``trash``, a folder beside them."""

    def __init__(self, trash: Path) -> None:
        self._trash = trash
        self._targets = f"{trash}/{os.getpid()}-"
        self._numbers = itertools.count(1)
        self._sweep: asyncio.Task[None] | None = None
        self._more = False

    def remove(self, folder: Path) -> None:
        """The folder is gone when this returns, if it was there."""
        with contextlib.suppress(OSError):
            folder.rename(f"{self._targets}{next(self._numbers)}")
            self.sweep()

    def sweep(self) -> None:
        """Begins to remove what lies in the trash."""
        self._more = True
        if self._sweep is None or self._sweep.done():
            self._sweep = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Waits until the trash has been emptied."""
        if self._sweep is not None:
            await self._sweep

    async def _run(self) -> None:
        while self._more:
            self._more = False
            with contextlib.suppress(OSError):
                waiting = [str(path) for path in self._trash.iterdir()]
                for at in range(0, len(waiting), 500):
                    await asyncio.to_thread(_remove, waiting[at : at + 500])


def _remove(paths: list[str]) -> None:
    if not _succeeds("/bin/rm", "-rf", "--", *paths):
        _succeeds("/bin/chmod", "-R", "u+rwX", "--", *paths)
        _succeeds("/bin/rm", "-rf", "--", *paths)


def _succeeds(*command: str) -> bool:
    done = subprocess.run(
        command, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    return done.returncode == 0
