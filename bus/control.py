"""The control plane of the hub: who may join, call, publish; which provider serves a flow.

Upcalls of a datapath go in, commands to the datapath and notices to the kernel come out. There is
no socket, thread or clock here; see `hub.py` for the asyncio side.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from typing import Final, Protocol

from . import wire
from .codec import Header, decode, decode_as, decode_header, encode, encode_header
from .datapath import DELIVERY, ENDED, KERNEL, SILENT, VIOLATION, Datapath, Upcall
from .errors import BusError, ProtocolError
from .flowtable import FlowTable
from .messages import Activate, Bye, Hello, Progress, Unload, Welcome

ANY: Final = "*"  # in a grant: every name
MAX_REFUSAL_ROWS: Final = 1_000


@dataclass(frozen=True)
class Grants:
    """What an instance may do on the bus: names of capabilities and topics, or `*` for all."""

    provides: frozenset[str] = frozenset()
    calls: frozenset[str] = frozenset()
    publishes: frozenset[str] = frozenset()
    subscribes: frozenset[str] = frozenset()


class HubListener(Protocol):
    """What the kernel is told about its instances."""

    def registered(self, instance: str, hello: Hello) -> None:
        """It said hello and was welcomed."""

    def rejected(self, instance: str, reason: str) -> None:
        """It was turned away when it joined (`protocol`, `manifest`) or cut off later, for what
        it sent (`violation`); it is on the bus no longer."""

    def silent(self, instance: str) -> None:
        """Nothing was heard of it for the whole liveness window."""

    def left(self, instance: str, reason: str) -> None:
        """It said bye."""

    def broken(self, report: str) -> None:
        """The bus itself has ended by a bug of ours; `report` is for whoever mends it."""


class LocalProvider(Protocol):
    """The kernel as a provider."""

    def begin(self, call: "LocalCall") -> None:
        """Starts to answer a call; `Control.answer` ends it."""

    def cancel(self, number: int, request: int) -> None:
        """The caller no longer wants the answer, or its time is over."""


@dataclass(frozen=True)
class LocalCall:
    """A call to a capability that the kernel serves itself."""

    caller: str
    capability: str
    method: str
    body: bytes
    number: int
    request: int


@dataclass
class _Member:
    """An admitted peer and what is known of it."""

    grants: Grants
    console: bool = False
    provides: frozenset[str] = frozenset()
    registered: bool = False
    open_calls: int = 0  # of the kernel


@dataclass
class KernelCall:
    """An open call or activation of the kernel; exactly one of its ends is called, once."""

    instance: str
    number: int | None
    on_result: Callable[[object], None]
    on_error: Callable[[BusError], None]
    on_progress: Callable[[Progress], None] | None = None


@dataclass
class Control:
    """All decisions of the hub that are not plain forwarding."""

    datapath: Datapath
    listener: HubListener
    local: LocalProvider
    heartbeat_ms: int
    liveness: int
    local_capabilities: set[str] = field(default_factory=set)
    flows: FlowTable = field(default_factory=FlowTable)
    refusals: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    _members: dict[str, _Member] = field(default_factory=dict)
    _consoles: dict[str, Grants] = field(default_factory=dict)
    _kernel_calls: dict[int, KernelCall] = field(default_factory=dict)
    _requests: "count[int]" = field(default_factory=lambda: count(1))
    _picks: "count[int]" = field(default_factory=lambda: count(1))
    _turns: Counter[str] = field(default_factory=Counter)  # when each was picked last
    _ended: BusError | None = None  # why nothing can be called any more

    # -- the kernel's wishes ----------------------------------------------------------------

    def add(self, instance: str, identity: bytes, grants: Grants) -> None:
        """Lets the holder of the routing id join as `instance`."""
        self._members[instance] = _Member(grants)
        self.datapath.admit(instance, identity)

    def add_consoles(self, name: str, secret: bytes, grants: Grants) -> None:
        """Lets any number of consoles join whose routing ids begin with `secret`."""
        self._consoles[name] = grants
        self.datapath.admit(name, secret, console=True)

    def remove(self, instance: str) -> None:
        """Forgets an instance, or consoles; open calls to it end as `crashed`."""
        if self._consoles.pop(instance, None) is not None:
            self.datapath.expel(instance)
        member = self._members.pop(instance, None)
        if member is None:
            return
        self._turns.pop(instance, None)
        self.flows.forget(instance)
        self.datapath.expel(instance)
        if member.provides:
            self._bump()
        crashed = BusError("crashed", "the instance ended before it answered", where=instance)
        for request, call in list(self._kernel_calls.items()):
            if call.instance == instance and call.number is None:
                self._end(request).on_error(crashed)

    def serve(self, capability: str) -> None:
        """Makes the kernel itself the provider of a capability."""
        self.local_capabilities.add(capability)
        self._bump()

    def providers(self, capability: str) -> list[str]:
        """The registered instances that provide it, by name."""
        return sorted(
            name for name, member in self._members.items() if capability in member.provides
        )

    def call(
        self, capability: str, method: str | None, body: bytes, ttl_ms: int, call: KernelCall
    ) -> int:
        """Sends a call of the kernel to `call.instance`, or to the provider with the least to do
        if that is empty; returns its request number. Raises BusError `unavailable`."""
        provider = self._choose(capability, call.instance)
        number = self.flows.number(KERNEL, capability, provider)
        self.datapath.install(self.flows.assign(number, provider))
        call.number = number
        call.instance = provider
        request = self._open(call)
        options = {wire.CAPABILITY_OPTION: capability}
        header = encode_header(wire.CALL, number, request, ttl_ms, method, options)
        self.datapath.inject(KERNEL, header, body)
        return request

    def cancel(self, request: int) -> None:
        """Asks the provider to end a call of the kernel; its answer is no longer waited for."""
        if request in self._kernel_calls:
            number = self._end(request).number
            if number is not None:
                header = encode_header(wire.CANCEL, number, request)
                self.datapath.inject(KERNEL, header, b"")

    def activate(self, message: Activate, ttl_ms: int, call: KernelCall) -> int:
        """Sends `activate` to `call.instance`; returns its request number."""
        self._registered(call.instance)
        request = self._open(call)
        header = encode_header(wire.ACTIVATE, None, request, ttl_ms)
        self.datapath.send(call.instance, header, encode(message))
        return request

    def unload(self, instance: str, grace_ms: int) -> None:
        """Asks an instance to end; it answers with bye."""
        self.datapath.send(instance, encode_header(wire.UNLOAD), encode(Unload(grace_ms)))

    def publish(self, topic: str, body: bytes) -> None:
        """Sends an event to every registered subscriber."""
        header = encode_header(wire.EVENT, topic)
        for name, member in self._members.items():
            if member.registered and _granted(topic, member.grants.subscribes):
                self.datapath.send(name, header, body)

    def answer(self, call: LocalCall, kind: int, body: bytes) -> None:
        """Sends result, error or progress of a call that the kernel serves."""
        header = encode_header(kind, call.number, call.request)
        self.datapath.inject(KERNEL, header, body)

    # -- the datapath's reports -------------------------------------------------------------

    def handle(self, upcall: Upcall) -> None:
        """Decides one upcall."""
        if upcall.event == SILENT:
            self._silent(upcall.peer)
            return
        if upcall.event == ENDED:
            self._broken(upcall.body.decode(errors="replace"))
            return
        if upcall.event == VIOLATION:
            self._turn_away(upcall.peer, "message", "violation")
            return
        try:
            head = decode_header(upcall.header)
        except ProtocolError:  # the datapath lets this pass for one reason: another version
            self._turn_away(upcall.peer, "hello", "protocol")
            return
        if upcall.event == DELIVERY:
            self._delivered(head, upcall.body)
        elif upcall.peer == KERNEL:
            self._undelivered(head)
        elif head.kind == wire.HELLO:
            self._hello(upcall.peer, upcall.body)
        elif upcall.peer not in self._members:
            return  # it was removed while this waited
        elif head.kind == wire.CALL:
            self._resolve(upcall.peer, head, upcall.body)
        elif head.kind == wire.CANCEL:
            self.datapath.inject(upcall.peer, upcall.header, upcall.body)
        elif head.kind == wire.EVENT:
            self._event(upcall.peer, head, upcall.body)
        elif head.kind == wire.BYE:
            self._bye(upcall.peer, upcall.body)
        else:  # result or error without a flow: the answer to activate
            call = self._kernel_calls.get(head.request)
            if call is not None and call.number is None and call.instance == upcall.peer:
                self._finish(head, upcall.body)

    def _hello(self, peer: str, body: bytes) -> None:
        member = self._joining(peer)
        if member is None:
            return
        try:
            hello = decode_as(body, Hello)
        except ProtocolError:
            self._reject(peer, member, "hello", "protocol")
            return
        if hello.protocol != wire.VERSION:
            self._reject(peer, member, "hello", "protocol")
        elif not member.grants.provides.issuperset(hello.provides):
            self._reject(peer, member, "hello", "manifest")
        else:
            member.registered = True
            member.provides = frozenset(hello.provides)
            welcome = Welcome(
                peer, self.heartbeat_ms, self.liveness, wire.MAX_BODY, wire.INLINE_MAX
            )
            self.datapath.open(peer)
            self.datapath.send(peer, encode_header(wire.WELCOME), encode(welcome))
            if member.provides:
                self._bump()
            if not member.console:
                self.listener.registered(peer, hello)

    def _joining(self, peer: str) -> _Member | None:
        """The member of this name; a console becomes one with its first message."""
        member = self._members.get(peer)
        grants = self._consoles.get(peer.partition("/")[0])
        if member is None and grants is not None:
            member = self._members[peer] = _Member(grants, console=True)
        return member

    def _turn_away(self, peer: str, what: str, reason: str) -> None:
        member = self._joining(peer)
        if member is not None:
            self._reject(peer, member, what, reason)

    def _reject(self, peer: str, member: _Member, what: str, reason: str) -> None:
        self._count_refusal(peer, what, reason)
        self.datapath.send(peer, encode_header(wire.BYE), encode(Bye(reason)))
        self.remove(peer)
        if not member.console:
            self.listener.rejected(peer, reason)

    def _resolve(self, caller: str, head: Header, body: bytes) -> None:
        """The first call to a capability, or one on a flow that was revoked."""
        try:
            capability = self._called_capability(caller, head.target)
            provider = self._choose(capability, "")
        except BusError as error:
            number = head.target if isinstance(head.target, int) else None
            header = encode_header(wire.ERROR, number, head.request)
            self.datapath.send(caller, header, encode(error.to_body()))
            return
        number = self.flows.number(caller, capability)
        self.datapath.install(self.flows.assign(number, provider))
        # Whoever gets the first call of a flow learns what the number stands for.
        options = {**(head.options or {}), wire.CAPABILITY_OPTION: capability}
        header = encode_header(wire.CALL, number, head.request, head.ttl, head.method, options)
        self.datapath.inject(caller, header, body)

    def _called_capability(self, caller: str, target: int | str | None) -> str:
        """What a call's target stands for; raises BusError if the caller may not call that."""
        if isinstance(target, int):
            capability = self.flows.capability_of(target)
            if capability is None or self.flows.caller_of(target) != caller:
                self._count_refusal(caller, "flow", "not-yours")
                raise BusError("refused", "this flow does not belong to the caller")
        elif target is None:
            raise BusError("bad-request", "the call names no capability", where="target")
        else:
            capability = target
        if not _granted(capability, self._members[caller].grants.calls):
            self._count_refusal(caller, capability, "calls")
            raise BusError(
                "refused",
                f"{caller} may not call {capability}",
                where="permissions.calls",
                help="name the capability in the manifest's permissions and grant it",
            )
        return capability

    def _event(self, peer: str, head: Header, body: bytes) -> None:
        if isinstance(head.target, str) and _granted(
            head.target, self._members[peer].grants.publishes
        ):
            self.publish(head.target, body)
        else:
            self._count_refusal(peer, str(head.target), "publishes")

    def _bye(self, peer: str, body: bytes) -> None:
        try:
            reason = decode_as(body, Bye).reason
        except ProtocolError:
            reason = ""
        self.datapath.send(peer, encode_header(wire.BYE), encode(Bye("bye")))
        self.remove(peer)
        if not self._is_console(peer):
            self.listener.left(peer, reason)

    def _silent(self, peer: str) -> None:
        if self._is_console(peer):
            self.remove(peer)
        elif peer in self._members:
            self.listener.silent(peer)

    def _broken(self, report: str) -> None:
        self._ended = BusError("internal", "the bus has ended because of a bug in it")
        for request in list(self._kernel_calls):
            self._end(request).on_error(self._ended)
        self.listener.broken(report)

    def _is_console(self, peer: str) -> bool:
        return peer.partition("/")[0] in self._consoles

    def _delivered(self, head: Header, body: bytes) -> None:
        number = head.target
        if head.kind == wire.CALL and isinstance(number, int):
            caller = self.flows.caller_of(number)
            capability = self.flows.capability_of(number)
            if caller is not None and capability is not None:
                method = head.method or wire.DEFAULT_METHOD
                self.local.begin(LocalCall(caller, capability, method, body, number, head.request))
        elif head.kind == wire.CANCEL and isinstance(number, int):
            self.local.cancel(number, head.request)
        elif head.kind == wire.PROGRESS:
            call = self._kernel_calls.get(head.request)
            if call is not None and call.on_progress is not None:
                try:
                    call.on_progress(decode_as(body, Progress))
                except ProtocolError:
                    self._count_refusal(call.instance, "progress", "protocol")
        elif head.request in self._kernel_calls:
            self._finish(head, body)

    def _undelivered(self, head: Header) -> None:
        # The kernel's own call found no flow: the provider left between two commands.
        if head.kind == wire.CALL and head.request in self._kernel_calls:
            call = self._end(head.request)
            call.on_error(BusError("crashed", "the provider ended", where=call.instance))

    # -- helpers ----------------------------------------------------------------------------

    def _open(self, call: KernelCall) -> int:
        if self._ended is not None:
            raise self._ended
        request = next(self._requests)
        self._kernel_calls[request] = call
        member = self._members.get(call.instance)
        if member is not None:
            member.open_calls += 1
        return request

    def _end(self, request: int) -> KernelCall:
        call = self._kernel_calls.pop(request)
        member = self._members.get(call.instance)
        if member is not None:
            member.open_calls -= 1
        return call

    def _finish(self, head: Header, body: bytes) -> None:
        call = self._end(head.request)
        try:
            value = decode(body)
        except ProtocolError as error:
            call.on_error(error)
            return
        if head.kind == wire.RESULT:
            call.on_result(value)
        else:
            call.on_error(BusError.from_body(value))

    def _choose(self, capability: str, instance: str) -> str:
        """The provider with the least open calls and flows; the one served longest ago of those."""
        if instance:
            self._registered(instance)
            if capability not in self._members[instance].provides:
                raise BusError("unavailable", f"{instance} does not provide {capability}")
            return instance
        if capability in self.local_capabilities:
            return KERNEL
        found = self.providers(capability)
        if not found:
            raise BusError("unavailable", f"no provider of {capability} is running")

        def rank(name: str) -> tuple[int, int]:
            busy = self._members[name].open_calls + self.flows.load(name)
            return busy, self._turns[name]

        chosen = min(found, key=rank)
        self._turns[chosen] = next(self._picks)
        return chosen

    def _registered(self, instance: str) -> None:
        member = self._members.get(instance)
        if member is None or not member.registered:
            raise BusError("unavailable", f"the instance {instance} is not on the bus")

    def _bump(self) -> None:
        self.datapath.revoke(self.flows.next_generation())

    def _count_refusal(self, caller: str, what: str, rule: str) -> None:
        row = (caller, what, rule)
        if row not in self.refusals and len(self.refusals) >= MAX_REFUSAL_ROWS:
            row = (caller.partition("/")[0], ANY, rule)
        self.refusals[row] += 1


def _granted(name: str, grant: frozenset[str]) -> bool:
    return name in grant or ANY in grant
