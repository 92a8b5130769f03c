"""The control plane of the hub: who may join, call, publish; which provider serves a flow.

Upcalls of a datapath go in, commands to the datapath and notices to the kernel come out. There is
no socket, thread or clock here; see `hub.py` for the asyncio side. Each reason to decide has a
module of its own: `roster`, `admission`, `topics`, `mediation`, `kernelcalls`; this one joins them.
"""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from . import wire
from .admission import Admission, IsBelow, Rule
from .codec import Header, decode_as, decode_header, encode, encode_header
from .datapath import (
    CONNECTING,
    CONSOLE,
    DELIVERY,
    HANDSHAKE,
    KERNEL,
    MESSAGE,
    OVERDUE,
    SILENT,
    UNDELIVERED,
    VIOLATION,
    Datapath,
    FlowStats,
    Upcall,
)
from .errors import BusError, ProtocolError
from .events import Events, Hearer
from .grants import Grants
from .kernelcalls import KernelCall, KernelCalls
from .keyed import KeyedCalls
from .leading import Leading
from .listener import DeadLetter, HubListener
from .membership import Membership
from .messages import Activate, Unload
from .processes import is_below
from .readable import require_short
from .state import State


class LocalProvider(Protocol):
    """The kernel as a provider."""

    def begin(self, call: "LocalCall") -> None:
        """Starts to answer a call; `Control.answer` ends it."""

    def cancel(self, number: int, request: int) -> None:
        """The caller no longer wants the answer, or its time is over."""

    def credit(self, number: int, request: int, chunks: int) -> None:
        """The caller takes so many chunks more."""


@dataclass(frozen=True)
class LocalCall:
    """A call to a capability that the kernel serves itself.

    `credit`: so many chunks the caller takes for now, None if it takes none. `again`: it was sent
    before, by the same number.
    """

    caller: str
    capability: str
    method: str
    body: bytes
    number: int
    request: int
    trace: str | None = None
    credit: int | None = None
    again: bool = False


class FlowRow(NamedTuple):
    """One flow and what it has carried; the kernel's name is empty."""

    caller: str
    capability: str
    provider: str
    stats: FlowStats


class Control:
    """All decisions of the hub that are not plain forwarding. `clock` gives seconds."""

    def __init__(
        self,
        datapath: Datapath,
        listener: HubListener,
        local: LocalProvider,
        heartbeat_ms: int,
        liveness: int,
        *,
        clock: Callable[[], float] = time.monotonic,
        below: IsBelow = is_below,
    ) -> None:
        self._listener = listener
        self._local = local
        self._state = State(datapath, clock)
        self._roster = self._state.roster
        self._flows = self._state.flows
        self._leading = Leading(self._state)
        self._calls = KernelCalls(self._state, self._leading)
        self._keyed = KeyedCalls(self._state, self._calls, self._leading)
        self._events = Events(self._state)
        self._membership = Membership(
            self._state,
            listener,
            Admission(self._state.denials, below),
            heartbeat_ms,
            liveness,
            leaving=self._leaving,
            gone=self._calls.gone,
        )

    @property
    def epoch(self) -> int:
        """How often the hub has started, this time included."""
        return self._membership.epoch

    @property
    def datapath(self) -> Datapath:
        """The one that serves now."""
        return self._state.datapath

    @property
    def refusals(self) -> Counter[tuple[str, str, str]]:
        """How often who was refused what by which rule."""
        return self._state.denials.rows

    def crowded(self, name: str, connections: int) -> None:
        """So many connections for `name` were cut off because they were too many."""
        self._state.denials.count(name, "connect", "crowd", connections)

    # -- who is on the bus ------------------------------------------------------------------

    def add(self, instance: str, identity: bytes, grants: Grants, rule: Rule | None = None) -> None:
        """Lets the holder of the routing id join as `instance`, if it may connect at all."""
        self._membership.add(instance, identity, grants, rule)

    def add_consoles(
        self, name: str, secret: bytes, grants: Grants, rule: Rule | None = None
    ) -> None:
        """Lets any number of consoles join whose routing ids begin with `secret`."""
        self._membership.add_consoles(name, secret, grants, rule)

    def expect(self, instance: str, pid: int) -> None:
        """Names the process that may connect as `instance`, itself or by one below it."""
        self._membership.expect(instance, pid)

    def remove(self, name: str) -> None:
        """Forgets an instance, or consoles; open calls to it end as `crashed`."""
        self._membership.remove(name)

    def serve(self, capability: str) -> None:
        """Makes the kernel itself the provider of a capability."""
        self._roster.local.add(capability)
        self._state.bump()

    def providers(self, capability: str) -> list[str]:
        """The registered instances that provide it, by name."""
        return self._roster.providers(capability)

    def rejoin(self, datapath: Datapath) -> None:
        """Goes on with a new datapath after the old one ended (`PROTOCOL.md` section 11).

        Everybody is let in again and told. What the kernel waits for is asked for again, only its
        streams end. Nothing is bound yet.
        """
        self._state.datapath = datapath
        self._flows.settle()
        self._flows.next_generation()
        self._membership.rejoin()
        self._calls.repeat_all()

    def give_up(self, error: BusError) -> None:
        """There is no datapath any more: whatever the kernel waits for ends with this error."""
        self._calls.fail_all(error)

    # -- the kernel as a caller -------------------------------------------------------------

    def call(
        self,
        capability: str,
        method: str | None,
        body: bytes,
        ttl_ms: int,
        call: KernelCall,
        *,
        trace: str | None = None,
        stream: int | None = None,
    ) -> int:
        """Sends a call of the kernel to `call.instance`, or to the provider with the least to do
        if that is empty; returns its request number. Raises BusError `unavailable`.

        With `stream` it may be answered by chunks, so many before more are credited.
        """
        options = {wire.TRACE_OPTION: trace, wire.STREAM_OPTION: stream}
        said: dict[str, object] = {
            name: value for name, value in options.items() if value is not None
        }
        return self._calls.call(capability, method, body, ttl_ms, call, said)

    def cancel(self, request: int) -> None:
        """Asks the provider to end a call of the kernel; its answer is no longer waited for."""
        self._calls.cancel(request)

    def credit(self, request: int, chunks: int) -> None:
        """Takes so many chunks more of a call of the kernel."""
        self._calls.credit(request, chunks)

    def activate(self, message: Activate, ttl_ms: int, call: KernelCall) -> int:
        """Sends `activate` to `call.instance`; returns its request number."""
        return self._calls.activate(call.instance, encode(message), ttl_ms, call)

    def unload(self, instance: str, grace_ms: int) -> None:
        """Asks an instance to end; it answers with bye."""
        self.datapath.send(instance, encode_header(wire.UNLOAD), encode(Unload(grace_ms)))

    def publish(self, topic: str, body: bytes, *, keep: bool = False) -> None:
        """Sends an event to every subscriber; raises BusError `bad-request`."""
        self._events.publish(topic, body, keep=keep)

    def hear(self, topic: str, hearer: Hearer) -> None:
        """The kernel's own subscription."""
        self._events.hear(topic, hearer)

    def subscribers(self, topic: str) -> int:
        """How many peers subscribe to a topic now."""
        return self._events.subscribers(topic)

    def answer(self, call: LocalCall, kind: int, body: bytes) -> None:
        """Sends result, error, progress or chunk of a call that the kernel serves."""
        header = encode_header(kind, call.number, call.request)
        self.datapath.inject(KERNEL, header, body)

    # -- figures and time -------------------------------------------------------------------

    def flow_rows(self) -> list[FlowRow]:
        """Every flow that carried something, and what."""
        rows = []
        for stats in self.datapath.flows():
            key = self._flows.key(stats.number)
            if key is not None:
                provider = self._flows.last_provider(stats.number) or KERNEL
                rows.append(FlowRow(key.behalf or key.caller, key.capability, provider, stats))
        return rows

    def next_tick(self) -> float | None:
        """When `tick` has something to do."""
        return self._keyed.mediator.next_deadline()

    def tick(self) -> None:
        """Lets the time that the clock shows take effect."""
        self._keyed.mediator.expire(self._state.clock())

    # -- the datapath's reports -------------------------------------------------------------

    def handle(self, upcall: Upcall) -> None:
        """Decides one upcall."""
        event, peer = upcall.event, upcall.peer
        if event == SILENT:
            self._membership.silent(peer)
        elif event == OVERDUE:
            if peer in self._roster.members and not self._roster.is_console(peer):
                self._listener.overdue(peer)
        elif event == CONSOLE:
            self._membership.console(peer, upcall.body)
        elif event == CONNECTING:
            self._membership.connecting(peer, upcall.header, upcall.body)
        elif event == HANDSHAKE:
            self._state.denials.count(peer, "connect", "handshake", int(upcall.header))
        elif event == UNDELIVERED:
            self._undelivered(peer, decode_header(upcall.header), upcall.body)
        elif event == DELIVERY:
            self._delivered(decode_header(upcall.header), upcall.body)
        elif event == VIOLATION:
            self._membership.turn_away(peer, "message", "violation")
        elif event == MESSAGE:
            self._message(peer, upcall.header, upcall.body)

    def _message(self, peer: str, header: bytes, body: bytes) -> None:
        try:
            head = decode_header(header)
        except ProtocolError:  # the datapath lets this pass for one reason: another version
            self._membership.turn_away(peer, "hello", "protocol")
            return
        if peer == KERNEL:
            self._calls.unrouted(head)
        elif head.kind == wire.HELLO:
            self._membership.hello(peer, body)
        elif peer not in self._roster.members:
            return  # it was removed while this waited
        elif head.kind == wire.CALL:
            self._resolve(peer, head, body)
        elif head.kind == wire.CANCEL:
            if not self._keyed.mediator.cancel(peer, head.request):
                self.datapath.inject(peer, header, body)
        elif head.kind == wire.CREDIT:
            self.datapath.inject(peer, header, body)
        elif head.kind == wire.EVENT:
            self._events.published(peer, head, body)
        elif head.kind == wire.SUBSCRIBE:
            self._events.subscribed(peer, head, body)
        elif head.kind == wire.BYE:
            self._membership.bye(peer, body)
        else:  # result or error without a flow: the answer to activate
            self._calls.activated(peer, head, body)

    # -- calls of peers ---------------------------------------------------------------------

    def _resolve(self, caller: str, head: Header, body: bytes) -> None:
        """The first call to a capability, one on a flow that was revoked, or one with a key."""
        options = head.options or {}
        capability = ""
        try:
            capability = self._called_capability(caller, head.target)
            if wire.IDEM_OPTION in options:
                self._keyed.begin(caller, capability, head, body)
                return
            number = self._leading.lead(caller, capability, head.request, again=head.again)
        except BusError as error:
            if error.code == "unavailable":
                self._lost(caller, "", head, capability, error.code, body)
            self._refuse(caller, head, error)
            return
        # Whoever gets the first call of a flow learns what the number stands for.
        options = {**options, wire.CAPABILITY_OPTION: capability}
        header = encode_header(wire.CALL, number, head.request, head.ttl, head.method, options)
        try:
            require_short(header)
        except BusError as error:
            self._refuse(caller, head, error)
            return
        self.datapath.inject(caller, header, body)

    def _called_capability(self, caller: str, target: int | str | None) -> str:
        """What a call's target stands for; raises BusError if the caller may not call that."""
        if isinstance(target, int):
            key = self._flows.key(target)
            if key is None or key.caller != caller:
                self._state.denials.count(caller, "flow", "not-yours")
                raise BusError("refused", "this flow does not belong to the caller")
            capability = key.capability
        elif target is None:
            raise BusError("bad-request", "the call names no capability", where="target")
        else:
            capability = target
        if not self._roster.members[caller].grants.may_call(capability):
            self._state.denials.count(caller, capability, "calls")
            raise BusError(
                "refused",
                f"{caller} may not call {capability}",
                where="permissions.calls",
                help="name the capability in the manifest's permissions and grant it",
            )
        return capability

    def _refuse(self, caller: str, head: Header, error: BusError) -> None:
        number = head.target if isinstance(head.target, int) else None
        header = encode_header(wire.ERROR, number, head.request)
        self.datapath.send(caller, header, encode(error.to_body()))

    # -- what is for the kernel -------------------------------------------------------------

    def _delivered(self, head: Header, body: bytes) -> None:
        number, request = head.target, head.request
        if head.kind == wire.CALL and isinstance(number, int):
            self._begin(number, head, body)
        elif head.kind == wire.CANCEL and isinstance(number, int):
            self._local.cancel(number, request)
        elif head.kind == wire.CREDIT and isinstance(number, int):
            self._local.credit(number, request, decode_as(body, int))
        else:
            self._calls.delivered(head, body)

    def _begin(self, number: int, head: Header, body: bytes) -> None:
        key = self._flows.key(number)
        if key is None:
            return
        options = head.options or {}
        trace, credit = options.get(wire.TRACE_OPTION), options.get(wire.STREAM_OPTION)
        self._local.begin(
            LocalCall(
                self._calls.behalf(head.request) if key.caller == KERNEL else key.caller,
                key.capability,
                head.method or wire.DEFAULT_METHOD,
                body,
                number,
                head.request,
                trace,
                min(credit, wire.MAX_CREDIT) if type(credit) is int and credit >= 0 else None,
                head.again,
            )
        )

    def _undelivered(self, addressee: str, head: Header, body: bytes) -> None:
        code = "overloaded" if addressee in self._roster.members else "crashed"
        if head.kind == wire.EVENT:
            sender = self._events.publisher(head)
            self._lost(sender, addressee, head, str(head.target), code, body)
            return
        key = self._flows.key(head.target) if isinstance(head.target, int) else None
        if key is not None:
            sender = self._calls.behalf(head.request) if key.caller == KERNEL else key.caller
            self._lost(sender, addressee, head, key.capability, code, body)

    def _lost(
        self, sender: str, addressee: str, head: Header, name: str, code: str, body: bytes
    ) -> None:
        self._listener.undelivered(
            DeadLetter(
                head.kind, sender, addressee, name, head.method, code, body, head.options or {}
            )
        )

    def _leaving(self, peer: str) -> None:
        self._keyed.mediator.forget(peer)
        self._events.forget(peer)
