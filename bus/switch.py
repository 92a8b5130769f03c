"""The switch: every decision of the datapath, without a socket or a clock.

Bytes and the time go in; messages to send (`out`) and upcalls come out. A message of an installed
flow is forwarded as the very bytes that came; only what the switch says itself is encoded here.

Each row of PROTOCOL.md section 3 is handled in `_dispatch`. An open call is kept with its caller,
by request number: a flow number belongs to one caller for good, so (flow, request) finds it.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Final

from . import refusals, wire
from .codec import Header, decode_header, encode_header, is_foreign_hello
from .datapath import (
    CONSOLE,
    DELIVERY,
    MESSAGE,
    OVERDUE,
    SILENT,
    VIOLATION,
    Flow,
    FlowStats,
    PeerStats,
    Upcall,
    UpcallQueue,
)
from .errors import BusError, ProtocolError
from .ledger import Ledger
from .liveness import Watch
from .losses import Losses
from .members import Members, TooManyConsolesError
from .streams import initial_credit, more_credit
from .table import OpenCall, Peer, Route, Routes, find_call

HEARTBEAT_HEADER: Final = encode_header(wire.HEARTBEAT)

# Providers trust the first, so it must come from the control plane, which also keeps the keys.
_KERNEL_DECIDES: Final = frozenset({wire.CAPABILITY_OPTION, wire.IDEM_OPTION})
_FROM_HUB_ONLY: Final = frozenset({wire.WELCOME, wire.ACTIVATE, wire.UNLOAD})
# What else goes to the kernel is bounded by the open calls and the credit that it belongs to.
_DROPPED_BY_A_BUSY_KERNEL: Final = frozenset({wire.PROGRESS, wire.EVENT})
_ANSWERED_BY_THE_KERNEL: Final = frozenset({wire.CALL, wire.SUBSCRIBE})


class Switch:
    """Matches messages to flows and open calls.

    Times are seconds of one monotonic clock. Whoever drives it sends what is in `out` and clears
    it, tells `losses` what it had to give up, and calls `tick` when `next_tick` has come.
    """

    def __init__(
        self, upcalls: UpcallQueue, *, heartbeat_ms: int, liveness: int, grace_ms: int, now: float
    ) -> None:
        self.out: list[tuple[Peer, bytes, bytes]] = []
        self.counts: Counter[str] = Counter()
        self._upcalls = upcalls
        self._watch = Watch(heartbeat_ms / 1000, liveness, now)
        self._members = Members(now)
        self._kernel = self._members.kernel
        self._by_identity = self._members.by_identity
        self._by_name = self._members.by_name
        self._routes: Routes = {}
        self._ledger = Ledger(self._emit, self._kernel, grace_ms / 1000, now)
        self._look_at = now
        self._speaker = self._kernel  # whose message is being handled, if it is one
        self.losses = Losses(upcalls, self.counts, self._ledger, self._routes)

    # -- commands ---------------------------------------------------------------------------

    def admit(self, name: str, identity: bytes, now: float, *, console: bool = False) -> None:
        if console:
            self._members.add_consoles(name, identity)
            return
        self.expel(name, now)
        self._members.add(name, identity, now)

    def open(self, name: str, now: float) -> None:
        peer = self._by_name.get(name)
        if peer is not None:
            peer.opened = True
            peer.heard = now

    def expel(self, name: str, now: float) -> None:
        for gone in self._members.remove(name):
            gone.opened = False  # what still lies in `out` for it is not kept
            unsent = self.losses.give_up_queue(gone)
            self._ledger.abandon(gone, now)
            self._ledger.provider_gone(gone, self._members, unsent)
            for route in list(self._routes.values()):
                if route.provider is gone:
                    route.provider = None
                # The kernel has a flow of its own for each provider; an answer may still come.
                idle = route.provider is None and not route.open
                if route.caller is gone or (idle and route.caller is self._kernel):
                    del self._routes[route.number]

    def install(self, flow: Flow) -> None:
        caller = self._by_name.get(flow.caller)
        provider = self._by_name.get(flow.provider)
        if caller is None or provider is None:
            return
        route = self._routes.get(flow.number)
        if route is None or route.caller is not caller:
            route = self._routes[flow.number] = Route(flow.number, caller)
        route.install(flow, provider)

    def revoke(self, generation: int) -> None:
        for route in self._routes.values():
            # The kernel's own flows name their provider, so nothing can change for them.
            if route.generation < generation and route.caller is not self._kernel:
                route.provider = None

    def send(self, name: str, header: bytes, body: bytes) -> None:
        peer = self._by_name.get(name)
        if peer is None:
            self.counts["to-unknown-peer"] += 1
        else:
            self._emit(peer, header, body)

    def event(self, names: Sequence[str], header: bytes, body: bytes) -> None:
        head = decode_header(header)
        topic = str(head.target)
        for name in names:
            peer = self._by_name.get(name)
            if peer is None or not peer.opened:
                continue
            if len(peer.queue) >= wire.MAX_QUEUED_EVENTS:
                self.counts["events-dropped"] += 1
                peer.gaps.add(topic)
                continue
            gap = peer.gaps.take(topic)
            self._emit(peer, _with_gap(head, gap) if gap else header, body)

    def inject(self, name: str, header: bytes, body: bytes, now: float) -> None:
        peer = self._by_name.get(name)
        if peer is None:
            self.counts["from-unknown-peer"] += 1
            return
        self._speaker = peer
        self._dispatch(peer, decode_header(header), header, body, now, injected=True)
        self._speaker = self._kernel

    # -- messages ---------------------------------------------------------------------------

    def knows(self, identity: bytes) -> bool:
        """Whether these bytes are a routing id that is let in."""
        return self._members.knows(identity)

    def receive(self, identity: bytes, header: bytes, body: bytes, now: float) -> bool:
        """Handles one message of two frames; never raises, whatever the frames hold.

        False if the routing id is nobody's: the message was ignored.
        """
        peer = self._by_identity.get(identity) or self._admit_console(identity, now)
        if peer is None:
            return False
        peer.heard = now
        if len(header) > wire.MAX_HEADER or len(body) > wire.MAX_BODY:
            self.counts["oversize"] += 1
            return True
        try:
            head = decode_header(header)
        except ProtocolError:
            if peer.opened or not is_foreign_hello(header):
                self.counts["undecodable"] += 1
            else:
                self._report(peer, header, body)
            return True
        self._speaker = peer
        self._dispatch(peer, head, header, body, now)
        self._speaker = self._kernel
        return True

    def violated(self, identity: bytes, now: float) -> None:
        """A message of more than MAX_FRAMES frames came: its sender is heard no more."""
        peer = self._by_identity.get(identity) or self._admit_console(identity, now)
        if peer is None:
            self.counts["unknown-identity"] += 1
            return
        del self._by_identity[identity]
        self._upcalls.offer(Upcall(VIOLATION, peer.name, b"", b""), bounded=False)

    def _dispatch(
        self,
        peer: Peer,
        head: Header,
        header: bytes,
        body: bytes,
        now: float,
        *,
        injected: bool = False,
    ) -> None:
        kind = head.kind
        if not peer.opened:
            if kind == wire.HELLO or kind == wire.BYE:  # it may leave before its welcome arrives
                self._upcall(peer, head, header, body)
            else:
                self.counts["before-welcome"] += 1
        elif kind == wire.CALL:
            self._call(peer, head, header, body, now, injected)
        elif kind == wire.RESULT or kind == wire.ERROR:
            if head.target is None and not injected:
                self._upcall(peer, head, header, body)
            else:
                self._answered(peer, head, header, body, now)
        elif kind == wire.HEARTBEAT:
            self._emit(peer, HEARTBEAT_HEADER, b"")
        elif kind == wire.PROGRESS or kind == wire.CHUNK:
            call = find_call(self._routes, peer, head)
            if call is None:
                self.counts["stray-answer"] += 1
            elif kind == wire.PROGRESS:
                if len(call.route.caller.queue) < wire.MAX_QUEUED_EVENTS:
                    self._emit(call.route.caller, header, body)
                else:
                    self.counts["progress-dropped"] += 1
            elif call.credit:
                call.credit -= 1
                self._emit(call.route.caller, header, body)
            else:
                self._ledger.end(head.request, call, refusals.without_credit())
                self._ledger.cancel(head.request, call, now)
        elif kind == wire.CREDIT:
            if injected or head.request in peer.open_calls:
                self._credit(peer, head.request, body)
            else:  # its call may still be with the control plane
                self._upcall(peer, head, header, body)
        elif kind == wire.CANCEL:
            call = peer.open_calls.get(head.request)
            if call is None:
                if not injected:  # its call may still be with the control plane
                    self._upcall(peer, head, header, body)
            elif call.owed_until:
                self.counts["repeated-cancel"] += 1
            else:
                self._ledger.cancel(head.request, call, now)
        elif kind in _FROM_HUB_ONLY:
            self.counts["wrong-side"] += 1
        elif kind == wire.HELLO:
            self.counts["repeated-hello"] += 1
        else:  # event, subscribe, bye
            self._upcall(peer, head, header, body)

    def _call(
        self, peer: Peer, head: Header, header: bytes, body: bytes, now: float, injected: bool
    ) -> None:
        request, options, open_calls = head.request, head.options, peer.open_calls
        route = self._routes.get(head.target)
        decided = injected or options is None or _KERNEL_DECIDES.isdisjoint(options)
        if request in open_calls:
            call = open_calls[request]
            if decided and head.again and _leads_as_before(route, call):
                self.counts["repeated"] += 1
                self._emit(call.provider, header, body)
            else:
                self.counts["bad-request-number"] += 1
        elif not request:
            self.counts["bad-request-number"] += 1
        elif len(open_calls) >= wire.MAX_OPEN_CALLS and peer is not self._kernel:
            self._ledger.refuse(peer, head, refusals.overloaded("open calls of this caller"))
        elif (
            route is None
            or route.caller is not peer
            or route.provider is None
            or not decided
            or (head.again and not injected)
        ):
            self._upcall(peer, head, header, body)
        elif route.limited and (refused := _over_limit(route, now)) is not None:
            route.shed += 1
            self._ledger.refuse(peer, head, refused)
        else:
            provider = route.provider
            credit = initial_credit(options) if options else None
            open_calls[request] = call = OpenCall(route, provider, now, credit)
            route.calls += 1
            route.open += 1
            # Who waits for a key may change, so the control plane ends such a call.
            if head.ttl and not (options and wire.IDEM_OPTION in options):
                self._ledger.limit(request, call, now + head.ttl / 1000)
            if provider is self._kernel:
                self._emit(provider, header, body)
            else:
                self.out.append((provider, header, body))

    def _answered(self, peer: Peer, head: Header, header: bytes, body: bytes, now: float) -> None:
        request = head.request
        owed = peer.owed.pop((head.target, request), None) if peer.owed else None
        route = self._routes.get(head.target)
        call = route.caller.open_calls.get(request) if route is not None else None
        if route is None or call is None or call.provider is not peer or call.route is not route:
            self.counts["late-answer" if owed else "stray-answer"] += 1
            return
        caller = route.caller
        del caller.open_calls[request]
        route.open -= 1
        if head.kind == wire.RESULT:
            route.results += 1
        else:
            route.errors += 1
        route.latency[int((now - call.sent) * 1e6).bit_length()] += 1
        if caller is self._kernel:
            self._emit(caller, header, body)
        else:
            self.out.append((caller, header, body))

    def _credit(self, peer: Peer, request: int, body: bytes) -> None:
        call = peer.open_calls.get(request)
        if call is None or call.credit is None:
            self.counts["stray-credit"] += 1
            return
        credit = more_credit(body, call.credit)
        if credit is None:
            self.counts["bad-credit"] += 1
            return
        call.credit = credit
        self._emit(call.provider, encode_header(wire.CREDIT, call.route.number, request), body)

    # -- time -------------------------------------------------------------------------------

    def next_tick(self) -> float:
        """When `tick` has something to do: a deadline, or the next look at who is alive."""
        due = self._ledger.next_deadline()
        return self._look_at if due is None or due > self._look_at else due

    def tick(self, now: float) -> None:
        """Ends calls whose time has run out and reports peers that fell silent or owe answers."""
        self._ledger.expire(now)
        if now >= self._look_at:
            beat_s = self._watch.heartbeat_s / 2
            self._look_at = now + beat_s
            self._ledger.forget_answered(sum(len(peer.open_calls) for peer in self._members))
            for peer in self._ledger.overdue(self._members, beat_s, now):
                self._upcalls.offer(Upcall(OVERDUE, peer.name, b"", b""), bounded=False)
            self._report_silent(now)

    def _report_silent(self, now: float) -> None:
        horizon = self._watch.horizon(now)
        for peer in self._by_identity.values():
            if peer.heard >= horizon:
                peer.told = False
            elif (peer.opened or peer.is_console) and not peer.told:
                peer.told = True
                self._upcalls.offer(Upcall(SILENT, peer.name, b"", b""), bounded=False)

    # -- figures, for any thread ------------------------------------------------------------

    def flows(self) -> list[FlowStats]:
        """The installed flows' figures, by number."""
        return sorted(route.stats() for route in list(self._routes.values()))

    def peers(self) -> list[PeerStats]:
        """The admitted peers' figures, by name."""
        admitted = list(self._by_name.values())
        return sorted(peer.stats() for peer in admitted if peer is not self._kernel)

    # -- helpers ----------------------------------------------------------------------------

    def _admit_console(self, identity: bytes, now: float) -> Peer | None:
        try:
            peer = self._members.find_console(identity, now)
        except TooManyConsolesError:
            self.counts["too-many-consoles"] += 1
            return None
        if peer is not None:
            self._upcalls.offer(Upcall(CONSOLE, peer.name, b"", identity), bounded=False)
        return peer

    def _emit(self, peer: Peer, header: bytes, body: bytes) -> None:
        if peer is not self._kernel:
            self.out.append((peer, header, body))
            return
        # In the line of whoever leads to it: its answer comes before its farewell.
        upcall = Upcall(DELIVERY, self._speaker.name, header, bytes(body))
        bounded = decode_header(header).kind in _DROPPED_BY_A_BUSY_KERNEL
        if not self._upcalls.offer(upcall, bounded=bounded):
            self.counts["upcalls-full"] += 1

    def _upcall(self, peer: Peer, head: Header, header: bytes, body: bytes) -> None:
        if not self._report(peer, header, body) and head.kind in _ANSWERED_BY_THE_KERNEL:
            self._ledger.refuse(peer, head, refusals.overloaded("messages waiting for the kernel"))

    def _report(self, peer: Peer, header: bytes, body: bytes) -> bool:
        taken = self._upcalls.offer(Upcall(MESSAGE, peer.name, header, bytes(body)))
        if not taken:
            self.counts["upcalls-full"] += 1
        return taken


def _leads_as_before(route: Route | None, call: OpenCall) -> bool:
    return route is call.route and (route.provider is None or route.provider is call.provider)


def _over_limit(route: Route, now: float) -> BusError | None:
    if route.credit and route.open >= route.credit:
        return refusals.overloaded("open calls of this flow")
    retry_ms = route.take_token(now) if route.rate else 0
    return refusals.too_often(route.rate, retry_ms) if retry_ms else None


def _with_gap(head: Header, gap: int) -> bytes:
    options = {**(head.options or {}), wire.GAP_OPTION: gap}
    return encode_header(head.kind, head.target, head.request, head.ttl, head.method, options)
