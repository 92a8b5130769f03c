"""The switch: every decision of the datapath, without a socket or a clock.

Bytes and the time go in; messages to send (`out`) and upcalls come out. A message of an installed
flow is forwarded as the very bytes that came; only what the switch says itself is encoded here.

Each row of PROTOCOL.md section 3 is handled in `_dispatch`. An open call is kept with its caller,
by request number: a flow number belongs to one caller for good, so (flow, request) finds it.
"""

from collections import Counter, deque
from heapq import heapify, heappop, heappush
from typing import Final

from . import wire
from .codec import Header, decode_header, encode, encode_header, is_foreign_hello
from .datapath import DELIVERY, KERNEL, MESSAGE, SILENT, VIOLATION, Flow, Upcall, UpcallQueue
from .errors import BusError, ProtocolError
from .liveness import Watch

HEARTBEAT_HEADER: Final = encode_header(wire.HEARTBEAT)
MAX_CONSOLES: Final = 256
RETRY_MS: Final = 50

_FROM_HUB_ONLY: Final = frozenset({wire.WELCOME, wire.ACTIVATE, wire.UNLOAD})


class Peer:
    """One admitted routing id."""

    __slots__ = (
        "heard",
        "identity",
        "name",
        "open_calls",
        "opened",
        "queue",
        "queued_bytes",
        "told",
    )

    def __init__(self, name: str, identity: bytes, now: float) -> None:
        self.name = name
        self.identity = identity
        self.heard = now
        self.opened = False
        self.told = False  # the control plane knows of its silence
        self.open_calls: dict[int, OpenCall] = {}
        self.queue: deque[tuple[bytes, bytes]] = deque()  # what the transport would not take yet
        self.queued_bytes = 0


Target = int | str | None
OpenCall = tuple[Target, Peer]  # flow number, provider
Deadline = tuple[float, int, Peer, int, OpenCall]  # when, order, caller, request, the call


class _Route:
    __slots__ = ("caller", "generation", "provider")

    def __init__(self, caller: Peer, provider: Peer | None, generation: int) -> None:
        self.caller = caller
        self.provider = provider
        self.generation = generation


class Switch:
    """Keeps peers, flows, open calls and their deadlines.

    Times are seconds of one monotonic clock. Whoever drives it sends what is in `out` and clears
    it, and calls `tick` when `next_tick` has come.
    """

    def __init__(
        self, upcalls: UpcallQueue, *, heartbeat_ms: int, liveness: int, now: float
    ) -> None:
        self.out: list[tuple[Peer, bytes, bytes]] = []
        self.counts: Counter[str] = Counter()
        self._upcalls = upcalls
        self._watch = Watch(heartbeat_ms / 1000, liveness, now)
        self._kernel = Peer(KERNEL, b"", now)
        self._kernel.opened = True
        self._peers: dict[str, Peer] = {KERNEL: self._kernel}
        self._by_identity: dict[bytes, Peer] = {}
        self._consoles: dict[bytes, str] = {}
        self._consoles_seen = 0
        self._routes: dict[Target, _Route] = {}
        self._deadlines: list[Deadline] = []
        self._deadline_order = 0
        self._look_at = now

    # -- commands ---------------------------------------------------------------------------

    def admit(self, name: str, identity: bytes, now: float, *, console: bool = False) -> None:
        if console:
            self._consoles[identity] = name
            return
        self.expel(name)
        self._peers[name] = self._by_identity[identity] = Peer(name, identity, now)

    def open(self, name: str, now: float) -> None:
        peer = self._peers.get(name)
        if peer is not None:
            peer.opened = True
            peer.heard = now

    def expel(self, name: str) -> None:
        for secret in [key for key, console in self._consoles.items() if console == name]:
            del self._consoles[secret]
            for member in [known for known in self._peers if known.startswith(name + "/")]:
                self.expel(member)
        gone = self._peers.pop(name, None)
        if gone is None:
            return
        self._by_identity.pop(gone.identity, None)  # a violator has lost it before
        for request, (number, provider) in gone.open_calls.items():
            self._emit(provider, encode_header(wire.CANCEL, number, request), b"")
        gone.open_calls.clear()
        gone.queue.clear()
        for caller in self._peers.values():
            for request, call in list(caller.open_calls.items()):
                if call[1] is gone:
                    self._end(caller, request, _crashed(name))
        self._routes = {
            number: route
            for number, route in self._routes.items()
            if route.caller is not gone and route.provider is not gone
        }

    def install(self, flow: Flow) -> None:
        caller = self._peers.get(flow.caller)
        provider = self._peers.get(flow.provider)
        if caller is not None and provider is not None:
            self._routes[flow.number] = _Route(caller, provider, flow.generation)

    def revoke(self, generation: int) -> None:
        for route in self._routes.values():
            if route.generation < generation:
                route.provider = None

    def send(self, name: str, header: bytes, body: bytes) -> None:
        peer = self._peers.get(name)
        if peer is None:
            self.counts["to-unknown-peer"] += 1
        else:
            self._emit(peer, header, body)

    def inject(self, name: str, header: bytes, body: bytes, now: float) -> None:
        peer = self._peers.get(name)
        if peer is None:
            self.counts["from-unknown-peer"] += 1
            return
        self._dispatch(peer, decode_header(header), header, body, now, injected=True)

    # -- messages ---------------------------------------------------------------------------

    def knows(self, identity: bytes) -> bool:
        """Whether these bytes are a routing id that is let in."""
        return identity in self._by_identity or identity[: wire.IDENTITY_BYTES] in self._consoles

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
        self._dispatch(peer, head, header, body, now)
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
            request = head.request
            route = self._routes.get(head.target)
            if not request or request in peer.open_calls:
                self.counts["bad-request-number"] += 1
            elif len(peer.open_calls) >= wire.MAX_OPEN_CALLS:
                self._answer(peer, head, _overloaded("open calls of this caller"))
            elif (
                route is None
                or route.caller is not peer
                or route.provider is None
                # Providers trust this option, so it must come from the control plane.
                or (head.options and wire.CAPABILITY_OPTION in head.options and not injected)
            ):
                self._upcall(peer, head, header, body)
            else:
                provider = route.provider
                peer.open_calls[request] = call = (head.target, provider)
                if head.ttl:
                    self._deadline_order += 1
                    due = now + head.ttl / 1000
                    heappush(self._deadlines, (due, self._deadline_order, peer, request, call))
                if provider is self._kernel:
                    self._emit(provider, header, body)
                else:
                    self.out.append((provider, header, body))
        elif kind == wire.RESULT or kind == wire.ERROR:
            route = self._routes.get(head.target)
            if head.target is None and not injected:
                self._upcall(peer, head, header, body)
            elif route is None or self._call_of(route, head, peer) is None:
                self.counts["stray-answer"] += 1
            else:
                caller = route.caller
                del caller.open_calls[head.request]
                if caller is self._kernel:
                    self._emit(caller, header, body)
                else:
                    self.out.append((caller, header, body))
        elif kind == wire.HEARTBEAT:
            self._emit(peer, HEARTBEAT_HEADER, b"")
        elif kind == wire.PROGRESS:
            route = self._routes.get(head.target)
            if route is None or self._call_of(route, head, peer) is None:
                self.counts["stray-answer"] += 1
            else:
                self._emit(route.caller, header, body)
        elif kind == wire.CANCEL:
            call_to_end = peer.open_calls.get(head.request)
            if call_to_end is not None:
                number, provider = call_to_end
                self._emit(provider, encode_header(wire.CANCEL, number, head.request), b"")
            elif not injected:  # its call may still be with the control plane
                self._upcall(peer, head, header, body)
        elif kind in _FROM_HUB_ONLY:
            self.counts["wrong-side"] += 1
        elif kind == wire.HELLO:
            self.counts["repeated-hello"] += 1
        else:  # event, bye
            self._upcall(peer, head, header, body)

    # -- time -------------------------------------------------------------------------------

    def next_tick(self) -> float:
        """When `tick` has something to do: a deadline, or the next look at who is alive."""
        return min(self._deadlines[0][0], self._look_at) if self._deadlines else self._look_at

    def tick(self, now: float) -> None:
        """Ends calls whose time has run out and reports peers that fell silent."""
        due = self._deadlines
        while due and due[0][0] <= now:
            _, _, caller, request, call = heappop(due)
            if caller.open_calls.get(request) is call:
                number, provider = call
                self._end(caller, request, _late())
                self._emit(provider, encode_header(wire.CANCEL, number, request), b"")
        if now >= self._look_at:
            self._look_at = now + self._watch.heartbeat_s / 2
            self._forget_answered()
            self._report_silent(now)

    def _report_silent(self, now: float) -> None:
        horizon = self._watch.horizon(now)
        for peer in self._by_identity.values():
            if peer.heard >= horizon:
                peer.told = False
            elif peer.opened and not peer.told:
                peer.told = True
                self._upcalls.offer(Upcall(SILENT, peer.name, b"", b""), bounded=False)

    def _forget_answered(self) -> None:
        # Deadlines of answered calls stay in the heap until they outnumber the open ones.
        open_calls = sum(len(peer.open_calls) for peer in self._peers.values())
        if len(self._deadlines) > 2 * open_calls + 1024:
            self._deadlines = [
                entry for entry in self._deadlines if entry[2].open_calls.get(entry[3]) is entry[4]
            ]
            heapify(self._deadlines)

    # -- what the transport could not do ----------------------------------------------------

    def undeliverable(self, peer: Peer, header: bytes, *, gone: bool) -> None:
        """A message to `peer` was given up: it is not connected, or its queue is full."""
        self.counts["unreachable" if gone else "queue-full"] += 1
        head = decode_header(header)
        if head.kind != wire.CALL:
            return
        route = self._routes.get(head.target)
        if route is not None and self._call_of(route, head, peer) is not None:
            # The lost call may be the one that said what the flow's number stands for.
            route.provider = None
            error = _crashed(peer.name) if gone else _overloaded("messages queued for the provider")
            self._end(route.caller, head.request, error)

    # -- helpers ----------------------------------------------------------------------------

    def _admit_console(self, identity: bytes, now: float) -> Peer | None:
        if len(identity) != wire.CONSOLE_IDENTITY_BYTES:
            return None
        name = self._consoles.get(identity[: wire.IDENTITY_BYTES])
        if name is None:
            return None
        if sum(known.startswith(name + "/") for known in self._peers) >= MAX_CONSOLES:
            self.counts["too-many-consoles"] += 1
            return None
        self._consoles_seen += 1
        peer = Peer(f"{name}/{self._consoles_seen}", identity, now)
        self._peers[peer.name] = self._by_identity[identity] = peer
        return peer

    def _call_of(self, route: _Route, head: Header, provider: Peer) -> OpenCall | None:
        call = route.caller.open_calls.get(head.request)
        if call is not None and call[1] is provider and call[0] == head.target:
            return call
        return None

    def _emit(self, peer: Peer, header: bytes, body: bytes) -> None:
        if peer is not self._kernel:
            self.out.append((peer, header, body))
            return
        upcall = Upcall(DELIVERY, peer.name, header, bytes(body))
        # Calls and answers are bounded by the open calls they belong to; progress is not.
        progress = decode_header(header).kind == wire.PROGRESS
        if not self._upcalls.offer(upcall, bounded=progress):
            self.counts["upcalls-full"] += 1

    def _upcall(self, peer: Peer, head: Header, header: bytes, body: bytes) -> None:
        if not self._report(peer, header, body) and head.kind == wire.CALL:
            self._answer(peer, head, _overloaded("messages waiting for the kernel"))

    def _report(self, peer: Peer, header: bytes, body: bytes) -> bool:
        taken = self._upcalls.offer(Upcall(MESSAGE, peer.name, header, bytes(body)))
        if not taken:
            self.counts["upcalls-full"] += 1
        return taken

    def _answer(self, peer: Peer, head: Header, error: BusError) -> None:
        number = head.target if isinstance(head.target, int) else None
        header = encode_header(wire.ERROR, number, head.request)
        self._emit(peer, header, encode(error.to_body()))

    def _end(self, caller: Peer, request: int, error: BusError) -> None:
        number, _ = caller.open_calls.pop(request)
        self._emit(caller, encode_header(wire.ERROR, number, request), encode(error.to_body()))


def _crashed(name: str) -> BusError:
    return BusError("crashed", "the provider ended before it answered", where=name)


def _late() -> BusError:
    return BusError("deadline", "the call was not answered in time")


def _overloaded(what: str) -> BusError:
    return BusError(
        "overloaded",
        f"too many {what}",
        where=what,
        help="wait for answers before calling again",
        retry_after_ms=RETRY_MS,
    )
