"""How many events of each topic a peer has lost since it was last sent one."""

from typing import Final

MAX_GAPS: Final = 256  # topics, as many as a peer may subscribe to


class Gaps:
    """Losses by topic; of too many topics those that lost first are forgotten."""

    __slots__ = ("_lost",)

    def __init__(self) -> None:
        self._lost: dict[str, int] = {}

    def add(self, topic: str, count: int = 1) -> None:
        """So many more events were lost."""
        if topic not in self._lost and len(self._lost) >= MAX_GAPS:
            del self._lost[next(iter(self._lost))]
        self._lost[topic] = self._lost.get(topic, 0) + count

    def take(self, topic: str) -> int:
        """What was lost, to be told now."""
        return self._lost.pop(topic, 0) if self._lost else 0
