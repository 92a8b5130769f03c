"""Who is on the bus, and which provider serves whom."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count

from .datapath import KERNEL
from .errors import BusError
from .grants import Grants


@dataclass
class Member:
    """An admitted peer and what is known of it."""

    grants: Grants
    owner: str  # of its idempotency keys
    identity: bytes
    console: bool = False
    provides: frozenset[str] = frozenset()
    registered: bool = False
    kernel_calls: int = 0  # open ones, to this peer


@dataclass(frozen=True)
class Consoles:
    """Any number of peers with one secret."""

    secret: bytes
    grants: Grants


class Roster:
    """Members by name, consoles under the name of their secret, and what the kernel serves."""

    def __init__(self, flows_to: Callable[[str], int]) -> None:
        self.members: dict[str, Member] = {}
        self.consoles: dict[str, Consoles] = {}
        self.local: set[str] = set()
        self._flows_to = flows_to
        self._picks = count(1)
        self._turns: Counter[str] = Counter()  # when each was picked last

    def is_console(self, peer: str) -> bool:
        """Whether this is the name of a console."""
        return peer.partition("/")[0] in self.consoles

    def add_console(self, peer: str, identity: bytes) -> None:
        """A console was heard of; nothing happens if its secret is no longer valid."""
        name = peer.partition("/")[0]
        if name in self.consoles:
            self.members[peer] = Member(self.consoles[name].grants, name, identity, console=True)

    def remove(self, peer: str) -> Member | None:
        """Takes a member out."""
        self._turns.pop(peer, None)
        return self.members.pop(peer, None)

    def providers(self, capability: str) -> list[str]:
        """The registered instances that provide it, by name."""
        return sorted(
            name for name, member in self.members.items() if capability in member.provides
        )

    def serves(self, peer: str, capability: str) -> bool:
        """Whether a peer, or the kernel itself, provides a capability now."""
        if peer == KERNEL:
            return capability in self.local
        member = self.members.get(peer)
        return member is not None and capability in member.provides

    def is_safe(self, peer: str, capability: str) -> bool:
        """Whether a provider's contract lets a call be repeated."""
        member = self.members.get(peer)
        return member is not None and capability in member.grants.safe

    def require(self, instance: str) -> Member:
        """A registered instance; raises BusError `unavailable`."""
        member = self.members.get(instance)
        if member is None or not member.registered:
            raise BusError("unavailable", f"the instance {instance} is not on the bus")
        return member

    def best(self, capability: str) -> str:
        """The provider with the least to do, of those the one served longest ago.

        Raises BusError `unavailable`.
        """
        if capability in self.local:
            return KERNEL
        found = self.providers(capability)
        if not found:
            raise BusError("unavailable", f"no provider of {capability} is running")

        def rank(name: str) -> tuple[int, int]:
            return self.members[name].kernel_calls + self._flows_to(name), self._turns[name]

        return min(found, key=rank)

    def picked(self, provider: str) -> None:
        """It serves a caller more."""
        self._turns[provider] = next(self._picks)
