"""Which requests use one warm model together: as many as its manifest says that it takes."""

from __future__ import annotations

import itertools
from collections import Counter


class Sharing:
    """Groups of requests, by tenant and kind of player; a group has a key that is never used
    again."""

    def __init__(self) -> None:
        self._groups: dict[tuple[str, str], Counter[str]] = {}
        self._numbers = itertools.count(1)

    def join(self, tenant: str, kind: str, most: int) -> str:
        """The key of a group that has room, or of a new one; it counts until `leave`."""
        groups = self._groups.setdefault((tenant, kind), Counter())
        key = next((key for key, members in groups.items() if members < most), None)
        if key is None:
            key = f"{kind[:96]}/{next(self._numbers)}"
        groups[key] += 1
        return key

    def leave(self, tenant: str, kind: str, key: str) -> None:
        """One less in that group."""
        groups = self._groups[tenant, kind]
        groups[key] -= 1
        groups += Counter()  # forgets those at zero
        if not groups:
            del self._groups[tenant, kind]
