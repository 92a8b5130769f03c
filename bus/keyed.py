"""Calls with an idempotency key, between the messages of peers and the mediator."""

from . import wire
from .askers import Asker
from .codec import Header, encode_header
from .datapath import KERNEL
from .errors import BusError
from .flowtable import Key
from .idempotency import Scoped
from .kernelcalls import KernelCalls, Outgoing
from .leading import Leading
from .mediation import Mediated, Mediator
from .state import State


class KeyedCalls:
    """Makes the calls as the kernel's own, on flows with their caller's limits; the mediator's
    `Wires`."""

    def __init__(self, state: State, calls: KernelCalls, leading: Leading) -> None:
        self._state = state
        self._leading = leading
        self._calls = calls
        self.mediator = Mediator(self, state.clock)

    def begin(self, caller: str, capability: str, head: Header, body: bytes) -> None:
        """A call with a key, which the caller may make; raises BusError."""
        options = head.options or {}
        key, trace = options[wire.IDEM_OPTION], options.get(wire.TRACE_OPTION)
        if not key:
            raise BusError("bad-request", "the idempotency key is empty", where=wire.IDEM_OPTION)
        if options.get(wire.STREAM_OPTION):
            raise BusError(
                "bad-request",
                "a call with an idempotency key cannot stream",
                where=wire.STREAM_OPTION,
                help="leave out the key, or take the result in one piece",
            )
        if head.request == 0:
            return  # no answer could be told from another
        deadline = self._state.clock() + head.ttl / 1000 if head.ttl else None
        call = Mediated(
            self.mediator,
            Scoped(self._state.roster.members[caller].owner, key),
            capability,
            head.method,
            body,
        )
        self.mediator.begin(call, Asker(caller, head.request, deadline, trace, head.again))

    def mediate(self, call: Mediated) -> None:
        """Makes a call for a key; raises BusError."""
        roster = self._state.roster
        call.provider = provider = roster.best(call.capability)
        call.safe = roster.is_safe(provider, call.capability)
        number = self._state.flows.number(Key(KERNEL, call.capability, provider, call.key.owner))
        options: dict[str, object] = {wire.IDEM_OPTION: call.key.key}
        if call.trace:
            options[wire.TRACE_OPTION] = call.trace
        call.request = self._calls.send(
            Outgoing(
                call,
                provider,
                number,
                call.capability,
                call.method,
                call.body,
                call.deadline,
                options,
                call.caller,
                self._leading.limit(call.caller, call.capability),
            )
        )

    def prolong(self, call: Mediated, deadline: float | None) -> None:
        """Lets an open call be repeated until then, should the hub start anew."""
        self._calls.prolong(call.request, deadline)

    def withdraw(self, call: Mediated) -> None:
        """Asks for the end of a call that nobody waits for; its result may still be remembered."""
        self._calls.ask_to_end(call.request)

    def reply(self, call: Mediated, asker: Asker, kind: int, body: bytes) -> None:
        """Answers one who waits for a key, by the number that it may use for later calls."""
        if asker.peer in self._state.roster.members:
            number = self._state.flows.number(Key(asker.peer, call.capability))
            self._state.datapath.send(asker.peer, encode_header(kind, number, asker.request), body)
