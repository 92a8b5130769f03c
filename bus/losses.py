"""What becomes of a message that the transport could not deliver: nothing is lost in silence."""

from collections import Counter

from . import refusals, wire
from .codec import Header, decode_header
from .datapath import UNDELIVERED, Upcall, UpcallQueue
from .errors import BusError
from .ledger import Ledger
from .table import Peer, Routes, Target, find_call


class Losses:
    """Ends the calls whose messages were given up, and reports lost calls and events."""

    def __init__(
        self, upcalls: UpcallQueue, counts: Counter[str], ledger: Ledger, routes: Routes
    ) -> None:
        self._upcalls = upcalls
        self._counts = counts
        self._ledger = ledger
        self._routes = routes

    def undeliverable(
        self, peer: Peer, header: bytes, body: bytes, now: float, *, gone: bool
    ) -> None:
        """A message to `peer` was given up: it is not connected, or its queue is full."""
        self._counts["unreachable" if gone else "queue-full"] += 1
        head = decode_header(header)
        if head.kind == wire.CALL:
            self._report(peer, header, body)
            self._lost_call(peer, head, gone=gone)
        elif head.kind == wire.EVENT:
            self._report(peer, header, body)
            lost = 1 + (head.options or {}).get(wire.GAP_OPTION, 0)
            peer.gaps.add(str(head.target), lost)
        elif gone:
            return
        elif head.kind == wire.CHUNK:
            call = peer.open_calls.get(head.request)
            if call is not None and call.route.number == head.target:
                self._ledger.end(head.request, call, self._unread(head))
                self._ledger.cancel(head.request, call, now)
        elif head.kind == wire.RESULT or (
            head.kind == wire.ERROR and len(body) > wire.MAX_SMALL_ERROR
        ):
            self._ledger.refuse(peer, head, self._unread(head))

    def give_up_queue(self, gone: Peer) -> set[tuple[Target, int]]:
        """Empties the queue of an expelled peer; returns flow and request of the calls in it that
        were never sent before."""
        unsent = set()
        for header, body in gone.queue:
            head = decode_header(header)
            if head.kind == wire.EVENT:
                self._report(gone, header, body)
            elif head.kind == wire.CALL:
                self._report(gone, header, body)
                if not head.again:
                    unsent.add((head.target, head.request))
        gone.queue.clear()
        gone.queued_bytes = 0
        return unsent

    def _lost_call(self, provider: Peer, head: Header, *, gone: bool) -> None:
        call = find_call(self._routes, provider, head)
        if call is None:
            return
        # The lost call may be the one that said what the flow's number stands for.
        call.route.provider = None
        safe = call.route.safe or not head.again
        error = (
            refusals.crashed(provider.name, repeatable=safe)
            if gone
            else refusals.overloaded("messages queued for the provider", repeatable=safe)
        )
        self._ledger.end(head.request, call, error)

    def _unread(self, head: Header) -> BusError:
        # The provider has done its work already, so the call is not simply made again.
        route = self._routes.get(head.target)
        safe = route is not None and route.safe
        return refusals.overloaded("messages queued for the caller", repeatable=safe)

    def _report(self, peer: Peer, header: bytes, body: bytes) -> None:
        if not self._upcalls.offer(Upcall(UNDELIVERED, peer.name, header, bytes(body))):
            self._counts["upcalls-full"] += 1
