"""Who waits for the results of keys: by peer, and by the time that each has; without any I/O."""

from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from typing import Final, Generic, TypeVar

C = TypeVar("C")
SLACK: Final = (
    1_024  # deadlines of those who wait no more that are kept before they are cleared out
)


@dataclass(frozen=True)
class Asker:
    """A peer's call that waits for the result of its key. `deadline` in seconds or None; `again`:
    the call was sent before, by the same number."""

    peer: str
    request: int
    deadline: float | None
    trace: str | None = None
    again: bool = False


class Askers(Generic[C]):
    """Those who wait, each with the call that it waits for."""

    def __init__(self) -> None:
        self._of: dict[str, dict[int, tuple[Asker, C]]] = {}
        self._due: list[tuple[float, str, int]] = []  # a heap; some wait no more
        self._count = 0

    def add(self, asker: Asker, call: C) -> None:
        """One more; it must not wait already."""
        self._of.setdefault(asker.peer, {})[asker.request] = (asker, call)
        self._count += 1
        if asker.deadline is not None:
            heappush(self._due, (asker.deadline, asker.peer, asker.request))
            if len(self._due) > 2 * self._count + SLACK:
                self._due = [due for due in self._due if self._waits(due)]
                heapify(self._due)

    def pop(self, peer: str, request: int) -> tuple[Asker, C] | None:
        """Takes one out, if it waits."""
        mine = self._of.get(peer)
        found = mine.pop(request, None) if mine else None
        if mine is None or found is None:
            return None
        if not mine:
            del self._of[peer]
        self._count -= 1
        return found

    def of(self, peer: str) -> list[int]:
        """The requests of a peer that wait."""
        return list(self._of.get(peer, ()))

    def count(self, peer: str) -> int:
        """How many of them there are."""
        return len(self._of.get(peer, ()))

    def waits(self, peer: str, request: int) -> bool:
        """Whether this one does."""
        return request in self._of.get(peer, ())

    def next_deadline(self) -> float | None:
        """When the first of those who wait has waited long enough."""
        due = self._due
        while due and not self._waits(due[0]):
            heappop(due)
        return due[0][0] if due else None

    def late(self, now: float) -> list[tuple[str, int]]:
        """Whose time is over by now, as (peer, request); each is told once."""
        late = []
        while self._due and self._due[0][0] <= now:
            due = heappop(self._due)
            if self._waits(due):
                late.append((due[1], due[2]))
        return late

    def _waits(self, due: tuple[float, str, int]) -> bool:
        deadline, peer, request = due
        found = self._of.get(peer, {}).get(request)
        return found is not None and found[0].deadline == deadline
