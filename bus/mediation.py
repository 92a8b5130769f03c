"""Calls with an idempotency key (`PROTOCOL.md` section 9): the hub makes them for their callers.

One call is made for a key, its result goes to all who wait for it. Nothing here sends by itself:
`Wires` does.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from . import wire
from .codec import decode, encode
from .errors import BusError, ProtocolError
from .idempotency import Idempotency, Scoped, fingerprint

MAX_REPEATS: Final = 3  # of a call whose provider crashed and whose contract allows it


@dataclass(frozen=True)
class Asker:
    """A peer's call that waits for the result of its key. `deadline` in seconds or None."""

    peer: str
    request: int
    deadline: float | None


class Wires(Protocol):
    """What the mediator needs of the control plane."""

    def mediate(self, call: "Mediated") -> None:
        """Makes the call; raises BusError if it cannot be made."""

    def withdraw(self, call: "Mediated") -> None:
        """Asks the provider to end the call, which is still to be answered."""

    def reply(self, call: "Mediated", asker: Asker, kind: int, body: bytes) -> None:
        """Sends result, error or progress to one who asked."""


@dataclass(eq=False)
class Mediated:
    """One call that is made for a key; a `kernelcalls.Waiter`."""

    mediator: "Mediator"
    key: Scoped
    caller: str
    capability: str
    method: str | None
    body: bytes
    deadline: float | None
    trace: str | None
    repeats: int = 0
    request: int = 0  # the kernel's, while it is open

    def answered(self, kind: int, body: bytes) -> None:
        """It ended."""
        self.mediator.answered(self, kind, body)

    def progressed(self, body: bytes) -> None:
        """Everybody who waits may know."""
        self.mediator.progressed(self, body)

    def chunk(self, body: bytes) -> None:
        """Never asked for: a call with a key does not stream."""


class Mediator:
    """Keys with their calls."""

    def __init__(self, wires: Wires, clock: Callable[[], float]) -> None:
        self._wires = wires
        self._clock = clock
        self.memory: Idempotency[Asker] = Idempotency(clock)
        self._calls: dict[Scoped, Mediated] = {}
        self._asked: dict[tuple[str, int], Mediated] = {}  # by peer and its request

    def begin(self, call: Mediated, asker: Asker) -> None:
        """Answers from memory, waits for the same call, or makes it. Raises BusError."""
        if (asker.peer, asker.request) in self._asked:
            return  # sent again: it waits already
        print_ = fingerprint(call.capability, call.method, call.body)
        result = self.memory.result(call.key, print_)
        if result is not None:
            self._wires.reply(call, asker, wire.RESULT, result)
            return
        if sum(peer == asker.peer for peer, _ in self._asked) >= wire.MAX_OPEN_CALLS:
            raise BusError(
                "overloaded",
                "too many open calls of this caller",
                where="open calls of this caller",
                retry_after_ms=wire.RETRY_MS,
                repeatable=True,
            )
        if not self.memory.wait(call.key, print_, asker):
            self._asked[asker.peer, asker.request] = self._calls[call.key]
            return
        try:
            self._wires.mediate(call)
        except BusError:
            self.memory.fail(call.key)
            raise
        self._calls[call.key] = self._asked[asker.peer, asker.request] = call

    def cancel(self, peer: str, request: int) -> bool:
        """The caller no longer waits; False if it did not. Without anybody else the call ends."""
        return self._leave(peer, request, BusError("cancelled", "the call was cancelled"))

    def forget(self, peer: str) -> None:
        """A caller is gone."""
        for who, request in [asked for asked in self._asked if asked[0] == peer]:
            self._leave(who, request, None)

    def next_deadline(self) -> float | None:
        """When somebody has waited long enough."""
        return min(
            (
                asker.deadline
                for key in self._calls
                for asker in self.memory.waiters(key)
                if asker.deadline is not None
            ),
            default=None,
        )

    def expire(self, now: float) -> None:
        """Ends the waiting of those whose time is over."""
        late = BusError("deadline", "the call was not answered in time")
        for key in list(self._calls):
            for asker in list(self.memory.waiters(key)):
                if asker.deadline is not None and asker.deadline <= now:
                    self._leave(asker.peer, asker.request, late)

    def answered(self, call: Mediated, kind: int, body: bytes) -> None:
        """The call that was made has ended."""
        if kind == wire.ERROR and self._repeat(call, body):
            return
        del self._calls[call.key]
        if kind == wire.RESULT:
            askers = self.memory.succeed(call.key, body)
        else:
            askers = self.memory.fail(call.key)
        for asker in askers:
            del self._asked[asker.peer, asker.request]
            self._wires.reply(call, asker, kind, body)

    def progressed(self, call: Mediated, body: bytes) -> None:
        """The call that was made goes on."""
        for asker in self.memory.waiters(call.key):
            self._wires.reply(call, asker, wire.PROGRESS, body)

    def _repeat(self, call: Mediated, body: bytes) -> bool:
        try:
            error = BusError.from_body(decode(body))
        except ProtocolError:
            return False
        wanted = bool(self.memory.waiters(call.key))
        again = error.code == "crashed" and error.repeatable and wanted
        if not again or call.repeats >= MAX_REPEATS:
            return False
        call.repeats += 1
        try:
            self._wires.mediate(call)
        except BusError:  # nobody else can do it, or no time is left
            return False
        return True

    def _leave(self, peer: str, request: int, error: BusError | None) -> bool:
        call = self._asked.pop((peer, request), None)
        if call is None:
            return False
        waiters = self.memory.waiters(call.key)
        asker = next(one for one in waiters if (one.peer, one.request) == (peer, request))
        waiters.remove(asker)
        if error is not None:
            self._wires.reply(call, asker, wire.ERROR, encode(error.to_body()))
        if not waiters:
            self._wires.withdraw(call)
        return True
