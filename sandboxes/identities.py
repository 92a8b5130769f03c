"""User ids that belong to nobody: one for each running instance, when the launcher is root."""

from __future__ import annotations

import secrets
from pathlib import Path

from .policy import SandboxRefused

# 1879048192 to 2147483647 is kept free by distributions (systemd's table of user ids).
FIRST, COUNT = 1_879_048_192, 1 << 20


class Identities:
    """Hands out ids in turn from a random start, so that two kernels rarely meet."""

    def __init__(self) -> None:
        self._next = secrets.randbelow(COUNT)
        self._taken: set[int] = set()

    def take(self) -> int:
        if len(self._taken) >= COUNT:
            raise RuntimeError("more instances than user ids")
        while (uid := FIRST + self._next % COUNT) in self._taken:
            self._next += 1
        self._next += 1
        self._taken.add(uid)
        return uid

    def give_back(self, uid: int) -> None:
        self._taken.discard(uid)


def check_range(uid_map: Path = Path("/proc/self/uid_map")) -> None:
    """Raises SandboxRefused where this (container's) root may not use the range."""
    for line in uid_map.read_text().splitlines():
        first, _, count = map(int, line.split())
        if first <= FIRST and first + count >= FIRST + COUNT:
            return
    raise SandboxRefused(
        f"user ids {FIRST} to {FIRST + COUNT - 1}",
        "this root is mapped to a smaller range: start Symphony as an ordinary user instead",
    )
