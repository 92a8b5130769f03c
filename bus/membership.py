"""Who is on the bus: admitted, welcomed, turned away, gone."""

from collections.abc import Callable

from . import wire
from .admission import Admission, Rule, Verdict
from .codec import decode_as, encode, encode_header
from .errors import ProtocolError
from .grants import Grants
from .listener import HubListener
from .messages import Bye, Hello, Welcome
from .roster import Consoles, Member
from .state import State


class Membership:
    """Joining and leaving.

    `leaving` is called for each member that is taken out, while the datapath still knows it;
    `gone` for each instance once it does not.
    """

    def __init__(
        self,
        state: State,
        listener: HubListener,
        admission: Admission,
        heartbeat_ms: int,
        liveness: int,
        *,
        leaving: Callable[[str], None],
        gone: Callable[[str], None],
    ) -> None:
        self.heartbeat_ms = heartbeat_ms
        self.liveness = liveness
        self.epoch = 1
        self._state = state
        self._roster = state.roster
        self._listener = listener
        self._admission = admission
        self._leaving = leaving
        self._gone = gone

    def add(self, instance: str, identity: bytes, grants: Grants, rule: Rule | None = None) -> None:
        """Lets the holder of the routing id join as `instance`, if it may connect at all."""
        owner = grants.owner or instance
        self._roster.members[instance] = Member(grants, owner, identity)
        if rule is not None:
            self._admission.guard(instance, rule)
        self._state.datapath.admit(instance, identity)

    def add_consoles(
        self, name: str, secret: bytes, grants: Grants, rule: Rule | None = None
    ) -> None:
        """Lets any number of consoles join whose routing ids begin with `secret`."""
        self._roster.consoles[name] = Consoles(secret, grants)
        if rule is not None:
            self._admission.guard(name, rule)
        self._state.datapath.admit(name, secret, console=True)

    def expect(self, instance: str, pid: int) -> None:
        """Names the process that may connect as `instance`, itself or by one below it."""
        self._decide(self._admission.expect(instance, pid))

    def remove(self, name: str) -> None:
        """Forgets an instance, or consoles; open calls to it end as `crashed`."""
        self._decide(self._admission.forget(name))
        if self._roster.consoles.pop(name, None) is not None:
            for console in [one for one in self._roster.members if one.startswith(name + "/")]:
                self._forget(console)
            self._state.datapath.expel(name)
        member = self._forget(name)
        if member is None:
            return
        self._state.datapath.expel(name)
        if member.provides:
            self._state.bump()
        self._gone(name)

    def rejoin(self) -> None:
        """Lets everybody in again, in a new epoch."""
        self.epoch += 1
        self._admission.restart()
        datapath = self._state.datapath
        for name, consoles in self._roster.consoles.items():
            datapath.admit(name, consoles.secret, console=True)
        for name, member in self._roster.members.items():
            datapath.admit(name, member.identity)
            if member.registered:
                self._welcome(name)

    def console(self, peer: str, identity: bytes) -> None:
        """A console was heard of; it may say hello."""
        self._roster.add_console(peer, identity)

    def hello(self, peer: str, body: bytes) -> None:
        """A peer says who it is."""
        member = self._roster.members.get(peer)
        if member is None or member.registered:
            return  # said again before its welcome came
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
            self._welcome(peer)
            if member.provides:
                self._state.bump()
            if not member.console:
                self._listener.registered(peer, hello)

    def _welcome(self, peer: str) -> None:
        welcome = Welcome(
            peer,
            self.heartbeat_ms,
            self.liveness,
            wire.MAX_BODY,
            wire.INLINE_MAX,
            self.epoch,
            wire.GRACE_MS,
        )
        self._state.datapath.open(peer)
        self._state.datapath.send(peer, encode_header(wire.WELCOME), encode(welcome))

    def turn_away(self, peer: str, what: str, reason: str) -> None:
        """Cuts a peer off for what it sent."""
        member = self._roster.members.get(peer)
        if member is not None:
            self._reject(peer, member, what, reason)

    def _reject(self, peer: str, member: Member, what: str, reason: str) -> None:
        self._state.denials.count(peer, what, reason)
        self._state.datapath.send(peer, encode_header(wire.BYE), encode(Bye(reason)))
        self.remove(peer)
        if not member.console:
            self._listener.rejected(peer, reason)

    def bye(self, peer: str, body: bytes) -> None:
        """A peer leaves."""
        try:
            reason = decode_as(body, Bye).reason
        except ProtocolError:
            reason = ""
        self._state.datapath.send(peer, encode_header(wire.BYE), encode(Bye("bye")))
        self.remove(peer)
        if not self._roster.is_console(peer):
            self._listener.left(peer, reason)

    def silent(self, peer: str) -> None:
        """Nothing was heard of a peer."""
        if self._roster.is_console(peer):
            self.remove(peer)
        elif peer in self._roster.members:
            self._listener.silent(peer)

    def connecting(self, domain: str, address: bytes, connection: bytes) -> None:
        """Somebody connects to a guarded endpoint."""
        self._decide(self._admission.connecting(domain, address, connection))

    def _forget(self, peer: str) -> Member | None:
        member = self._roster.remove(peer)
        if member is not None:
            self._leaving(peer)
            self._state.flows.forget(peer)
        return member

    def _decide(self, verdicts: list[Verdict]) -> None:
        for token, allowed in verdicts:
            self._state.datapath.verdict(token, allowed)
