"""What a player left in its outbox and the kernel may not read.

The files are the kernel's user's own (or an account's that root can read): only the player's own
`chmod` can have closed them.
"""

from __future__ import annotations

import stat
from collections.abc import Iterable
from pathlib import Path


def first_closed(paths: Iterable[Path]) -> Path | None:
    """A file or folder among these, or below them, without the right to read; None if none is."""
    waiting = list(paths)
    while waiting:
        path = waiting.pop()
        try:
            kind = path.lstat().st_mode
            if stat.S_ISDIR(kind):
                waiting += path.iterdir()
            elif stat.S_ISREG(kind):
                path.open("rb").close()
        except PermissionError:
            return path
        except OSError:  # it is not there, or its path is too long to have a name
            continue
    return None
