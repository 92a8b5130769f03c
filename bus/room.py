"""Room for what waits: a bound in bytes that is shared fairly."""

from collections import Counter
from threading import Lock


class Room:
    """So many bytes for all lanes together; a lane may hold as much as all of them leave free.

    So one alone gets half, two get a third each, and whoever comes next finds as much as each of
    them has (dynamic thresholds: Choudhury and Hahne, IEEE/ACM Transactions on Networking 6, 1998).
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._held: Counter[int] = Counter()  # by lane
        self._total = 0
        self._lock = Lock()

    @property
    def total(self) -> int:
        """How many bytes are held."""
        return self._total

    def admit(self, lane: int, size: int) -> bool:
        """Takes room for a lane, if there is enough."""
        with self._lock:
            total, held = self._total + size, self._held[lane] + size
            if held > self._capacity - total:
                return False
            self._total, self._held[lane] = total, held
            return True

    def leave(self, lane: int, size: int) -> None:
        """Gives back what was taken."""
        with self._lock:
            self._total -= size
            self._held[lane] -= size
            if not self._held[lane]:
                del self._held[lane]
