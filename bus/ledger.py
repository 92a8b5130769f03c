"""Open calls from their first byte to their end: deadlines, cancels, and answers still owed.

A call ends for its caller by an answer or by an error of the switch. A provider that was told to
end a call owes an answer to it for the grace that it has, whether or not anybody still waits.
"""

from collections.abc import Callable, Iterable
from heapq import heapify, heappop, heappush

from . import refusals, wire
from .codec import Header, encode, encode_header
from .errors import BusError
from .table import OpenCall, Peer, Target

Emit = Callable[[Peer, bytes, bytes], None]
Deadline = tuple[float, int, int, OpenCall]  # when, order, request, the call


class Ledger:
    """Ends calls. `emit` sends a message, `grace_s` is the time from a cancel to its answer."""

    def __init__(self, emit: Emit, kernel: Peer, grace_s: float, now: float) -> None:
        self._emit = emit
        self._kernel = kernel
        self._grace_s = grace_s
        self._looked = now
        self._deadlines: list[Deadline] = []
        self._order = 0

    def limit(self, request: int, call: OpenCall, due: float) -> None:
        """Gives an open call a deadline."""
        self._order += 1
        heappush(self._deadlines, (due, self._order, request, call))

    def next_deadline(self) -> float | None:
        """When the next deadline passes, unless its call is answered before."""
        return self._deadlines[0][0] if self._deadlines else None

    def end(self, request: int, call: OpenCall, error: BusError) -> None:
        """Ends an open call with an error."""
        route = call.route
        del route.caller.open_calls[request]
        route.open -= 1
        route.errors += 1
        header = encode_header(wire.ERROR, route.number, request)
        self._emit(route.caller, header, encode(error.to_body()))

    def refuse(self, caller: Peer, head: Header, error: BusError) -> None:
        """Answers a message that is about no open call with an error.

        What is repeated after the hub started anew may have reached its provider before that.
        """
        if head.again:
            error.repeatable = False
        number = head.target if isinstance(head.target, int) else None
        header = encode_header(wire.ERROR, number, head.request)
        self._emit(caller, header, encode(error.to_body()))

    def cancel(self, request: int, call: OpenCall, now: float) -> None:
        """Tells the provider to end a call, once; it owes the answer from then on."""
        if call.owed_until:
            return
        call.owed_until = now + self._grace_s
        number = call.route.number
        self._emit(call.provider, encode_header(wire.CANCEL, number, request), b"")
        if call.provider is not self._kernel:
            call.provider.owed[number, request] = call

    def abandon(self, caller: Peer, now: float) -> None:
        """The caller is gone: its calls are cancelled, and nobody waits for them."""
        for request, call in caller.open_calls.items():
            call.route.open -= 1
            self.cancel(request, call, now)
        caller.open_calls.clear()

    def provider_gone(
        self, gone: Peer, callers: Iterable[Peer], unsent: set[tuple[Target, int]]
    ) -> None:
        """The provider is gone: calls to it end as crashed. `unsent` never reached it."""
        gone.owed.clear()
        for caller in callers:
            for request, call in list(caller.open_calls.items()):
                if call.provider is gone:
                    repeatable = call.route.safe or (call.route.number, request) in unsent
                    self.end(request, call, refusals.crashed(gone.name, repeatable=repeatable))

    def expire(self, now: float) -> None:
        """Ends the calls whose deadline has passed."""
        due = self._deadlines
        while due and due[0][0] <= now:
            _, _, request, call = heappop(due)
            if _is_open(request, call):
                self.end(request, call, refusals.late(repeatable=call.route.safe))
                self.cancel(request, call, now)

    def overdue(self, providers: Iterable[Peer], beat_s: float, now: float) -> list[Peer]:
        """Forgives answers that were owed too long; returns who owed them.

        Looked for every `beat_s`; if much more time passed, it was this process that stood still,
        and nobody is blamed for that time.
        """
        paused = now - self._looked
        self._looked = now
        forgiven = paused if paused > 2 * beat_s else 0.0
        found = []
        for peer in providers:
            if not peer.owed:
                continue
            blamed = False
            for (number, request), call in list(peer.owed.items()):
                call.owed_until += forgiven
                if call.owed_until > now:
                    continue
                blamed = True
                del peer.owed[number, request]
                if _is_open(request, call):
                    self.end(request, call, refusals.unanswered(peer.name))
            if blamed:
                found.append(peer)
        return found

    def forget_answered(self, open_calls: int) -> None:
        """Drops deadlines of answered calls once they outnumber the open ones."""
        if len(self._deadlines) > 2 * open_calls + 1024:
            self._deadlines = [entry for entry in self._deadlines if _is_open(entry[2], entry[3])]
            heapify(self._deadlines)


def _is_open(request: int, call: OpenCall) -> bool:
    return call.route.caller.open_calls.get(request) is call
