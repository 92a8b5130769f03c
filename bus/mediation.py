"""Calls with an idempotency key (`PROTOCOL.md` section 9): the hub makes them for their callers.

One call is made for a key, its result goes to all who wait for it. Who leaves or has no time any
more takes nothing from the others: a call that ended for that reason is made again for them, unless
it may have been done. Whoever sends a call again, because its answer may have gone with a hub that
ended, gets what it was answered: the call made anew would have another number, by which its
provider could not know it. Nothing here sends by itself: `Wires` does.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from . import refusals, wire
from .answers import FORGOTTEN, Answers
from .askers import Asker, Askers
from .codec import decode, encode
from .errors import BusError, ProtocolError
from .idempotency import Idempotency, Scoped, fingerprint

MAX_REPEATS: Final = 3  # of a call whose provider crashed and whose contract allows it


class Wires(Protocol):
    """What the mediator needs of the control plane."""

    def mediate(self, call: "Mediated") -> None:
        """Makes the call; raises BusError if it cannot be made."""

    def prolong(self, call: "Mediated", deadline: float | None) -> None:
        """The open call has time until then, whatever its provider was told."""

    def withdraw(self, call: "Mediated") -> None:
        """Asks the provider to end the call, which is still to be answered."""

    def reply(self, call: "Mediated", asker: Asker, kind: int, body: bytes) -> None:
        """Sends result, error or progress to one who asked."""


@dataclass(eq=False)
class Mediated:
    """One call that is made for a key; a `kernelcalls.Waiter`.

    The rest changes each time that it is made: `caller` is one who waits, on whose terms and in
    whose `trace` it is made, `deadline` the latest of all who wait, `safe` whether the provider's
    contract lets it be repeated.
    """

    mediator: "Mediator"
    key: Scoped
    capability: str
    method: str | None
    body: bytes
    caller: str = ""
    trace: str | None = None
    deadline: float | None = None
    provider: str = ""
    safe: bool = False
    request: int = 0  # the kernel's, while it is open
    repeats: int = 0  # after crashes
    withdrawn: bool = False  # its provider was asked to end it

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
        self._askers: Askers[Mediated] = Askers()
        self._answers: dict[str, Answers] = {}  # what each peer was answered, by its requests

    def begin(self, call: Mediated, asker: Asker) -> None:
        """Answers from memory, waits for the same call, or makes it. Raises BusError."""
        if self._askers.waits(asker.peer, asker.request):
            return  # sent again: it waits already
        past = self._past(asker)
        if past is not None and past is not FORGOTTEN:
            self._wires.reply(call, asker, *past)
            return
        print_ = fingerprint(call.capability, call.method, call.body)
        result = self.memory.result(call.key, print_)
        if result is not None:
            self._answer(call, asker, wire.RESULT, result)
            return
        if past is not None:
            self._wires.reply(call, asker, *past)
            return
        if self._askers.count(asker.peer) >= wire.MAX_OPEN_CALLS:
            raise BusError(
                "overloaded",
                "too many open calls of this caller",
                where="open calls of this caller",
                retry_after_ms=wire.RETRY_MS,
                repeatable=True,
            )
        if not self.memory.wait(call.key, print_, asker, len(call.body)):
            open_call = self._calls[call.key]
            self._askers.add(asker, open_call)
            self._wires.prolong(open_call, _latest(self.memory.waiters(call.key)))
            return
        try:
            self._make(call)
        except BusError:
            self.memory.fail(call.key)
            raise
        self._calls[call.key] = call
        self._askers.add(asker, call)

    def cancel(self, peer: str, request: int) -> bool:
        """The caller no longer waits; False if it did not. Without anybody else the call ends."""
        return self._leave(peer, request, BusError("cancelled", "the call was cancelled"))

    def forget(self, peer: str) -> None:
        """A caller is gone."""
        for request in self._askers.of(peer):
            self._leave(peer, request, None)
        self._answers.pop(peer, None)

    def next_deadline(self) -> float | None:
        """When somebody has waited long enough."""
        return self._askers.next_deadline()

    def expire(self, now: float) -> None:
        """Ends the waiting of those whose time is over."""
        for peer, request in self._askers.late(now):
            late = BusError("deadline", "the call was not answered in time")
            self._leave(peer, request, late)

    def answered(self, call: Mediated, kind: int, body: bytes) -> None:
        """The call that was made has ended."""
        if kind == wire.ERROR and self.memory.waiters(call.key):
            failed = self._failed(call, body)
            if failed is None:
                return
            body = failed
        del self._calls[call.key]
        if kind == wire.RESULT:
            askers = self.memory.succeed(call.key, body)
        else:
            askers = self.memory.fail(call.key)
        for asker in askers:
            self._askers.pop(asker.peer, asker.request)
            self._answer(call, asker, kind, body)

    def progressed(self, call: Mediated, body: bytes) -> None:
        """The call that was made goes on."""
        for asker in self.memory.waiters(call.key):
            self._wires.reply(call, asker, wire.PROGRESS, body)

    def _make(self, call: Mediated) -> None:
        """Makes it for those who wait now; raises BusError if it cannot be made."""
        askers = self.memory.waiters(call.key)
        call.caller, call.trace = askers[0].peer, askers[0].trace
        call.deadline, call.withdrawn = _latest(askers), False
        self._wires.mediate(call)

    def _failed(self, call: Mediated, body: bytes) -> bytes | None:
        """The error for those who wait, by the one that ended the call; None if it is made again
        for them."""
        try:
            error = BusError.from_body(decode(body))
        except ProtocolError:
            return body
        if call.withdrawn and error.to_body() == refusals.unanswered(call.provider).to_body():
            # Nobody knows how far it came, and the provider is ended for it.
            error = refusals.crashed(call.provider, repeatable=call.safe)
        if error.code == "crashed":
            if not (error.repeatable and call.safe) or call.repeats >= MAX_REPEATS:
                return encode(error.to_body())
            call.repeats += 1
        elif not call.withdrawn and not self._is_early(call, error):
            return body
        try:
            self._make(call)
        except BusError as refused:  # nobody can do it, or no time is left
            return encode((error if error.code == "crashed" else refused).to_body())
        return None

    def _is_early(self, call: Mediated, error: BusError) -> bool:
        """Whether the provider's time is over, and that of one who came later is not."""
        if error.code != "deadline" or call.deadline is None:
            return False
        latest = _latest(self.memory.waiters(call.key))
        return latest is None or latest > call.deadline

    def _leave(self, peer: str, request: int, error: BusError | None) -> bool:
        found = self._askers.pop(peer, request)
        if found is None:
            return False
        asker, call = found
        waiters = self.memory.waiters(call.key)
        waiters.remove(asker)
        if error is not None:
            self._answer(call, asker, wire.ERROR, encode(error.to_body()))
        if not waiters and not call.withdrawn:
            call.withdrawn = True
            self._wires.withdraw(call)
        return True

    def _past(self, asker: Asker) -> tuple[int, bytes] | None:
        """What this very call was answered, if it is sent again."""
        answers = self._answers.get(asker.peer) if asker.again else None
        return answers.recall((None, asker.request)) if answers is not None else None

    def _answer(self, call: Mediated, asker: Asker, kind: int, body: bytes) -> None:
        """Ends the waiting of one, for good: the answer is remembered."""
        answers = self._answers.setdefault(asker.peer, Answers())
        answers.remember((None, asker.request), kind, body)
        self._wires.reply(call, asker, kind, body)


def _latest(askers: Sequence[Asker]) -> float | None:
    """The deadline of the one who waits longest, None if one waits for ever."""
    deadlines = [asker.deadline for asker in askers if asker.deadline is not None]
    return max(deadlines) if len(deadlines) == len(askers) else None
