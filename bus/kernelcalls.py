"""The kernel's own calls and activations, from their numbers to their ends."""

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from typing import Protocol

from . import wire
from .codec import Header, decode, decode_as, encode, encode_header
from .datapath import KERNEL
from .errors import BusError, ProtocolError
from .flowtable import Key
from .grants import UNLIMITED, Limit
from .leading import Leading
from .messages import Progress
from .readable import require_short
from .state import State


class Waiter(Protocol):
    """Who made a call of the kernel; `answered` is called once, nothing after it."""

    def answered(self, kind: int, body: bytes) -> None:
        """The call ended with a result or an error."""

    def progressed(self, body: bytes) -> None:
        """The provider says how far it is."""

    def chunk(self, body: bytes) -> None:
        """The provider sent a part of its answer."""


@dataclass
class KernelCall:
    """A call of the kernel as functions of values; exactly one of its ends is called, once.

    `instance` is the provider, or empty for any; it and `number`, the flow's, are set when the
    call is made.
    """

    instance: str
    number: int | None
    on_result: Callable[[object], None]
    on_error: Callable[[BusError], None]
    on_progress: Callable[[Progress], None] | None = None
    on_chunk: Callable[[object], None] | None = None

    def answered(self, kind: int, body: bytes) -> None:
        """Calls one of the ends."""
        try:
            value = decode(body)
        except ProtocolError as error:
            self.on_error(error)
            return
        if kind == wire.RESULT:
            self.on_result(value)
        else:
            self.on_error(BusError.from_body(value))

    def progressed(self, body: bytes) -> None:
        """Passes it on; raises ProtocolError."""
        progress = decode_as(body, Progress)
        if self.on_progress is not None:
            self.on_progress(progress)

    def chunk(self, body: bytes) -> None:
        """Passes it on; raises ProtocolError."""
        value = decode(body)
        if self.on_chunk is not None:
            self.on_chunk(value)


@dataclass
class Outgoing:
    """One open call: what is sent to whom, and who waits.

    `number` None: an activation. `deadline` in seconds, None without one. `behalf` is the peer
    whose call this really is, and `limit` how much it may ask. `ending`: its provider was asked to
    end it.
    """

    waiter: Waiter
    instance: str
    number: int | None
    capability: str
    method: str | None
    body: bytes
    deadline: float | None
    options: dict[str, object] = field(default_factory=dict)
    behalf: str = KERNEL
    limit: Limit = UNLIMITED
    ending: bool = False

    @property
    def streams(self) -> bool:
        """Whether it may be answered by chunks."""
        return wire.STREAM_OPTION in self.options

    def header(self, request: int, now: float, *, again: bool = False) -> bytes:
        """What to send now; `again` if it was sent before. Raises BusError `deadline`."""
        ttl = 0 if self.deadline is None else int((self.deadline - now) * 1000)
        if ttl < 0 or (ttl == 0 and self.deadline is not None):
            raise BusError("deadline", "the call was not answered in time")
        options = {**self.options, **({wire.AGAIN_OPTION: True} if again else {})}
        if self.number is None:
            return encode_header(wire.ACTIVATE, None, request, ttl, None, options or None)
        options[wire.CAPABILITY_OPTION] = self.capability
        return encode_header(wire.CALL, self.number, request, ttl, self.method, options)

    def fail(self, error: BusError) -> None:
        """Ends it with an error of ours."""
        self.waiter.answered(wire.ERROR, encode(error.to_body()))


class KernelCalls:
    """Makes them, and ends them with what comes back."""

    def __init__(self, state: State, leading: Leading) -> None:
        self._state = state
        self._leading = leading
        self._requests = count(1)
        self._open: dict[int, Outgoing] = {}
        self._ended: BusError | None = None  # why nothing can be called any more

    def call(
        self,
        capability: str,
        method: str | None,
        body: bytes,
        ttl_ms: int,
        call: KernelCall,
        options: dict[str, object],
    ) -> int:
        """Calls `call.instance`, or any provider; returns the request number. Raises BusError."""
        call.instance = provider = self._leading.provider(capability, call.instance)
        call.number = number = self._state.flows.number(Key(KERNEL, capability, provider))
        deadline = self._deadline(ttl_ms)
        return self.send(
            Outgoing(call, provider, number, capability, method, body, deadline, options)
        )

    def send(self, call: Outgoing) -> int:
        """Opens a call; raises BusError `deadline` if no time is left for it, `bad-request` if its
        header became too long by what is added here, or why the bus has ended for good."""
        if self._ended is not None:
            raise self._ended
        request = next(self._requests)
        header = call.header(request, self._state.clock())
        require_short(header)
        self._add(request, call)
        self._pass_on(call, header)
        return request

    def activate(self, instance: str, body: bytes, ttl_ms: int, waiter: Waiter) -> int:
        """Sends `activate`; returns the request number. Raises BusError `unavailable`."""
        self._state.roster.require(instance)
        return self.send(Outgoing(waiter, instance, None, "", None, body, self._deadline(ttl_ms)))

    def cancel(self, request: int) -> None:
        """Asks the provider to end a call, whose answer is no longer waited for."""
        self.ask_to_end(request)
        if request in self._open:
            self._end(request)

    def ask_to_end(self, request: int) -> None:
        """Asks the provider to end a call and still waits for its answer."""
        call = self._open.get(request)
        if call is not None and call.number is not None:
            call.ending = True
            self._pass_on_cancel(request, call)

    def prolong(self, request: int, deadline: float | None) -> None:
        """Gives an open call this deadline, in seconds, for when it has to be repeated."""
        call = self._open.get(request)
        if call is not None:
            call.deadline = deadline

    def credit(self, request: int, chunks: int) -> None:
        """Takes so many chunks more."""
        call = self._open.get(request)
        if call is not None:
            header = encode_header(wire.CREDIT, call.number, request)
            self._state.datapath.inject(KERNEL, header, encode(chunks))

    def delivered(self, head: Header, body: bytes) -> None:
        """Something came for an open call."""
        call = self._open.get(head.request)
        if call is None:
            return
        try:
            if head.kind == wire.CHUNK:
                call.waiter.chunk(body)
            elif head.kind == wire.PROGRESS:
                call.waiter.progressed(body)
            else:
                self._end(head.request).waiter.answered(head.kind, body)
        except ProtocolError:
            self._state.denials.count(call.instance, call.capability, "protocol")

    def activated(self, peer: str, head: Header, body: bytes) -> None:
        """A peer answered its activation, or says so."""
        call = self._open.get(head.request)
        if call is not None and call.number is None and call.instance == peer:
            self._end(head.request).waiter.answered(head.kind, body)

    def unrouted(self, head: Header) -> None:
        """A call found no flow: the provider left between two commands."""
        if head.kind == wire.CALL and head.request in self._open:
            call = self._end(head.request)
            where = call.instance
            again = not head.again  # what was sent before may have been done
            call.fail(BusError("crashed", "the provider ended", where=where, repeatable=again))

    def behalf(self, request: int) -> str:
        """Whose call this really is; the kernel's if it is not open any more."""
        call = self._open.get(request)
        return call.behalf if call is not None else KERNEL

    def gone(self, instance: str) -> None:
        """An instance left: its activation ends; the datapath ends the calls to it."""
        crashed = BusError("crashed", "the instance ended before it answered", where=instance)
        for request, call in list(self._open.items()):
            if call.instance == instance and call.number is None:
                self._end(request).fail(crashed)

    def repeat_all(self) -> None:
        """Asks for everything again, after the hub started anew."""
        for request, call in list(self._open.items()):
            self._repeat(request, call)

    def fail_all(self, error: BusError) -> None:
        """Nothing will be answered any more, nor can be called."""
        self._ended = error
        for request in list(self._open):
            self._end(request).fail(error)

    def _repeat(self, request: int, call: Outgoing) -> None:
        if call.streams:
            # What was on the way is lost, and a stream has no gaps.
            header = encode_header(wire.CANCEL, call.number, request)
            self._state.datapath.send(call.instance, header, b"")
            cut = BusError("unavailable", "the stream was cut when the bus started anew")
            self._end(request).fail(cut)
            return
        try:
            header = call.header(request, self._state.clock(), again=True)
        except BusError as error:
            self._end(request).fail(error)
            return
        self._pass_on(call, header)
        if call.ending:
            self._pass_on_cancel(request, call)

    def _pass_on_cancel(self, request: int, call: Outgoing) -> None:
        header = encode_header(wire.CANCEL, call.number, request)
        self._state.datapath.inject(KERNEL, header, b"")

    def _pass_on(self, call: Outgoing, header: bytes) -> None:
        if call.number is None:
            self._state.datapath.send(call.instance, header, call.body)
        else:
            self._leading.install(call.number, call.instance, call.limit)
            self._state.datapath.inject(KERNEL, header, call.body)

    def _deadline(self, ttl_ms: int) -> float | None:
        return self._state.clock() + ttl_ms / 1000 if ttl_ms else None

    def _add(self, request: int, call: Outgoing) -> None:
        self._open[request] = call
        member = self._state.roster.members.get(call.instance)
        if member is not None:
            member.kernel_calls += 1

    def _end(self, request: int) -> Outgoing:
        call = self._open.pop(request)
        member = self._state.roster.members.get(call.instance)
        if member is not None:
            member.kernel_calls -= 1
        return call
