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
    size: int  # of the call's arguments
    waiters: list[W]


@dataclass(frozen=True)
class _Done:
    fingerprint: bytes
    result: bytes
    at: float  # seconds


@dataclass
class _Owned(Generic[W]):
    """What one owner has: nobody else's keys change it."""

    running: dict[str, _Running[W]] = field(default_factory=dict)
    done: OrderedDict[str, _Done] = field(default_factory=OrderedDict)  # as they were answered
    running_bytes: int = 0
    done_bytes: int = 0

    def forget_oldest(self) -> None:
        _, done = self.done.popitem(last=False)
        self.done_bytes -= len(done.result)

    def forget_until(self, horizon: float) -> None:
        while self.done and next(iter(self.done.values())).at <= horizon:
            self.forget_oldest()

    def finish(self, key: str) -> _Running[W]:
        running = self.running.pop(key)
        self.running_bytes -= running.size
        return running


class Idempotency(Generic[W]):
    """Keys whose call runs, with who waits for it, and keys with their results.

    Each owner has bounds of its own, so that none can push out or refuse the keys of another; the
    number of owners, whom the kernel lets in, bounds the whole.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._owners: dict[str, _Owned[W]] = {}

    def size(self, owner: str) -> tuple[int, int]:
        """How many keys of an owner are remembered or run, and the bytes that they hold."""
        owned = self._owners.get(owner, _Owned())
        keys = len(owned.running) + len(owned.done)
        return keys, owned.running_bytes + owned.done_bytes

    def result(self, key: Scoped, fingerprint: bytes) -> bytes | None:
        """The result that this key's call had; raises BusError `conflict` if it was another call,
        running or done."""
        owned = self._owners.get(key.owner)
        if owned is None:
            return None
        owned.forget_until(self._clock() - wire.IDEM_S)
        done = owned.done.get(key.key)
        known = done or owned.running.get(key.key)
        if known is not None and known.fingerprint != fingerprint:
            raise BusError(
                "conflict",
                "this idempotency key stands for another call",
                where=wire.IDEM_OPTION,
                help="use a new key for a call that differs in capability, method or arguments",
            )
        return done.result if done else None

    def wait(self, key: Scoped, fingerprint: bytes, waiter: W, size: int = 0) -> bool:
        """Adds one who waits for the key's result; True if the call, with arguments of `size`
        bytes, has to be made for it.

        Raises BusError `overloaded` if the owner has too many calls that are not answered, or if
        there are too many owners.
        """
        owned = self._owned(key.owner)
        running = owned.running.get(key.key)
        if running is not None:
            running.waiters.append(waiter)
            return False
        too_many = len(owned.running) >= wire.MAX_IDEM_OPEN
        if too_many or owned.running_bytes + size > wire.MAX_IDEM_BYTES:
            raise _overloaded("too many open calls with an idempotency key")
        owned.running[key.key] = _Running(fingerprint, size, [waiter])
        owned.running_bytes += size
        return True

    def waiters(self, key: Scoped) -> list[W]:
        """Who waits for this key; changing the list changes that."""
        owned = self._owners.get(key.owner)
        running = owned.running.get(key.key) if owned is not None else None
        return running.waiters if running is not None else []

    def succeed(self, key: Scoped, result: bytes) -> list[W]:
        """The call has its result, which is remembered; returns who waits for it."""
        owned = self._owners[key.owner]
        running = owned.finish(key.key)
        owned.done[key.key] = _Done(running.fingerprint, result, self._clock())
        owned.done_bytes += len(result)
        while len(owned.done) > wire.MAX_IDEM_KEYS or owned.done_bytes > wire.MAX_IDEM_BYTES:
            owned.forget_oldest()
        return running.waiters

    def fail(self, key: Scoped) -> list[W]:
        """The call ended with an error, which is not remembered; returns who waits for it."""
        return self._owners[key.owner].finish(key.key).waiters

    def _owned(self, owner: str) -> _Owned[W]:
        if owner not in self._owners and len(self._owners) >= wire.MAX_IDEM_OWNERS:
            self._forget_owners()
            if len(self._owners) >= wire.MAX_IDEM_OWNERS:
                raise _overloaded("too many extensions have idempotency keys")
        return self._owners.setdefault(owner, _Owned())

    def _forget_owners(self) -> None:
        horizon = self._clock() - wire.IDEM_S
        for name, owned in list(self._owners.items()):
            owned.forget_until(horizon)
            if not owned.running and not owned.done:
                del self._owners[name]


def _overloaded(message: str) -> BusError:
    return BusError(
        "overloaded",
        message,
        where=wire.IDEM_OPTION,
        retry_after_ms=wire.RETRY_MS,
        repeatable=True,
    )


def fingerprint(capability: str, method: str | None, body: bytes) -> bytes:
    """What makes two calls the same."""
    hashed = blake2b(digest_size=16)
    for name in (capability.encode(), (method or wire.DEFAULT_METHOD).encode()):
        hashed.update(len(name).to_bytes(4, "big"))
        hashed.update(name)
    hashed.update(body)
    return hashed.digest()
