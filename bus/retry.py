"""When a call that failed is made again: only where the hub says that it has no second effect."""

import time

from msgspec import Struct

from .errors import BusError


class Retry(Struct, frozen=True):
    """At most so many `attempts`, the first one counted; `backoff_ms` doubles after each."""

    attempts: int = 3
    backoff_ms: int = 50

    def delay_s(self, error: BusError, made: int, left_s: float | None) -> float | None:
        """How long to wait before the next attempt after `made` of them, in seconds.

        None if there is none: the error must reach the caller. `left_s` is what is left of the
        call's time, None without a deadline.
        """
        if not error.repeatable or made >= self.attempts:
            return None
        pause_s = max(error.retry_after_ms or 0, self.backoff_ms * 2 ** (made - 1)) / 1000
        return pause_s if left_s is None or pause_s < left_s else None


class Attempts:
    """The attempts of one call that may take `ttl_ms`, 0 for ever."""

    def __init__(self, retry: Retry, ttl_ms: int) -> None:
        self._retry = retry
        self._made = 0
        self._end = time.monotonic() + ttl_ms / 1000 if ttl_ms else None

    @property
    def ttl_ms(self) -> int:
        """What is left for the next attempt."""
        left_s = self._left_s()
        return 0 if left_s is None else max(1, round(left_s * 1000))

    def pause_s(self, error: BusError) -> float:
        """How long to wait after this error; raises it if there is no other attempt."""
        self._made += 1
        pause_s = self._retry.delay_s(error, self._made, self._left_s())
        if pause_s is None:
            raise error
        return pause_s

    def _left_s(self) -> float | None:
        return None if self._end is None else self._end - time.monotonic()
