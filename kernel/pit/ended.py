"""Kernels that ended in peace before Arbitration had heard of all that they gave back.

Arbitration takes for spent what a kernel that was killed may have spent. One that ended in peace
has told or kept every charge, so nothing is to be assumed of its grants: the next kernel says so.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec

from ..wholefiles import read_plain, replace_private

MOST: Final = 63  # that are remembered, the newest
LARGEST: Final = 1 << 16  # bytes of the file


class Ended:
    """Their epochs, in a file of the home. Losing it errs on the safe side."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def all(self) -> list[str]:
        """Those of which Arbitration has not heard."""
        try:
            return msgspec.json.decode(read_plain(self._path, LARGEST), type=list[str])[-MOST:]
        except (OSError, msgspec.DecodeError):
            return []

    def keep(self, epoch: str) -> None:
        """One more. Raises OSError."""
        replace_private(self._path, msgspec.json.encode([*self.all(), epoch]))

    def forget(self) -> None:
        """Arbitration has heard of all. Raises OSError."""
        self._path.unlink(missing_ok=True)
