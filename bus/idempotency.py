"""The hub's memory of calls that take effect once (`PROTOCOL.md` section 9), without any I/O."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Generic, NamedTuple, TypeVar

from . import wire
from .errors import BusError

W = TypeVar("W")


class Scoped(NamedTuple):
    """A key of one owner."""

    owner: str
    key: str


@dataclass
class _Running(Generic[W]):
    fingerprint: bytes
    waiters: list[W] = field(default_factory=list)


@dataclass(frozen=True)
class _Done:
    fingerprint: bytes
    result: bytes
    at: float  # seconds


class Idempotency(Generic[W]):
    """Keys whose call runs, with who waits for it, and keys with their results."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._running: dict[Scoped, _Running[W]] = {}
        self._done: OrderedDict[Scoped, _Done] = OrderedDict()  # in the order of their answers
        self.result_bytes = 0

    def __len__(self) -> int:
        return len(self._running) + len(self._done)

    def result(self, key: Scoped, fingerprint: bytes) -> bytes | None:
        """The result that this key's call had; raises BusError `conflict` if it was another call,
        running or done."""
        self._forget_old()
        done = self._done.get(key)
        running = self._running.get(key)
        known = done or running
        if known is not None and known.fingerprint != fingerprint:
            raise BusError(
                "conflict",
                "this idempotency key stands for another call",
                where=wire.IDEM_OPTION,
                help="use a new key for a call that differs in capability, method or arguments",
            )
        return done.result if done else None

    def wait(self, key: Scoped, fingerprint: bytes, waiter: W) -> bool:
        """Adds one who waits for the key's result; True if the call has to be made for it.

        Raises BusError `overloaded` if there are too many calls that are not answered.
        """
        running = self._running.get(key)
        if running is not None:
            running.waiters.append(waiter)
            return False
        if len(self._running) >= wire.MAX_IDEM_KEYS:
            raise BusError(
                "overloaded",
                "too many open calls with an idempotency key",
                where=wire.IDEM_OPTION,
                retry_after_ms=wire.RETRY_MS,
                repeatable=True,
            )
        while len(self) >= wire.MAX_IDEM_KEYS:
            self._forget_oldest()
        self._running[key] = _Running(fingerprint, [waiter])
        return True

    def waiters(self, key: Scoped) -> list[W]:
        """Who waits for this key; changing the list changes that."""
        running = self._running.get(key)
        return running.waiters if running is not None else []

    def succeed(self, key: Scoped, result: bytes) -> list[W]:
        """The call has its result, which is remembered; returns who waits for it."""
        running = self._running.pop(key)
        self._done[key] = _Done(running.fingerprint, result, self._clock())
        self.result_bytes += len(result)
        while self.result_bytes > wire.MAX_IDEM_BYTES:
            self._forget_oldest()
        return running.waiters

    def fail(self, key: Scoped) -> list[W]:
        """The call ended with an error, which is not remembered; returns who waits for it."""
        return self._running.pop(key).waiters

    def _forget_old(self) -> None:
        horizon = self._clock() - wire.IDEM_S
        while self._done and next(iter(self._done.values())).at <= horizon:
            self._forget_oldest()

    def _forget_oldest(self) -> None:
        _, done = self._done.popitem(last=False)
        self.result_bytes -= len(done.result)


def fingerprint(capability: str, method: str | None, body: bytes) -> bytes:
    """What makes two calls the same."""
    name = f"{capability}\0{method or wire.DEFAULT_METHOD}\0".encode()
    return blake2b(name + body, digest_size=16).digest()
