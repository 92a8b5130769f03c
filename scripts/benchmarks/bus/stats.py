"""What a caller prints, as load.c does: RATE P50 P99 SHED TOTAL.

Round trips per second, microseconds, calls that the hub refused, calls in all. The clock starts
when `in_flight` calls have come back, and does not stop before as many again have.
"""

import time


class Stats:
    """Counts the calls that come back."""

    def __init__(self, in_flight: int, seconds: float) -> None:
        self._in_flight, self._seconds = in_flight, seconds
        self._taken: list[float] = []
        self._back = self._shed = 0
        self._begun = self._last = time.perf_counter()

    def goes_on(self) -> bool:
        """Whether another call is to be sent or waited for."""
        spent = time.perf_counter() - self._begun
        return self._back < 2 * self._in_flight or spent < self._seconds

    def answered(self, sent: float) -> None:
        """A call that was sent at `sent` (`time.perf_counter`)."""
        self._came_back()
        if self._back > self._in_flight:
            self._taken.append(self._last - sent)

    def refused(self) -> None:
        """The hub has too many calls: one fewer is in flight from now on."""
        self._came_back()
        self._shed += 1
        if self._shed == self._in_flight:
            raise SystemExit("every call was refused")

    def _came_back(self) -> None:
        self._back += 1
        self._last = time.perf_counter()
        if self._back == self._in_flight:
            self._begun = self._last

    def show(self) -> None:
        taken = sorted(self._taken)
        middle, tail = taken[len(taken) // 2], taken[len(taken) * 99 // 100]
        rate = len(taken) / (self._last - self._begun)
        print(rate, 1e6 * middle, 1e6 * tail, self._shed, self._back)
