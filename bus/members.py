"""Who is let in: peers by name and by routing id, and consoles by their common secret."""

from collections.abc import Iterator
from typing import Final

from . import wire
from .datapath import KERNEL
from .table import Peer

MAX_CONSOLES: Final = 256


class TooManyConsolesError(Exception):
    """A console cannot join before another one leaves."""


class Members:
    """The admitted peers in the order of their admission, the kernel first."""

    def __init__(self, now: float) -> None:
        self.kernel = Peer(KERNEL, b"", now)
        self.kernel.opened = True
        self.by_name: dict[str, Peer] = {KERNEL: self.kernel}
        self.by_identity: dict[bytes, Peer] = {}
        self._consoles: dict[bytes, str] = {}
        self._consoles_seen = 0

    def __iter__(self) -> Iterator[Peer]:
        return iter(self.by_name.values())

    def add(self, name: str, identity: bytes, now: float) -> Peer:
        """Adds a peer; its name must be free."""
        peer = self.by_name[name] = self.by_identity[identity] = Peer(name, identity, now)
        return peer

    def add_consoles(self, name: str, secret: bytes) -> None:
        """Lets in every long routing id that begins with `secret`."""
        self._consoles[secret] = name

    def remove(self, name: str) -> list[Peer]:
        """Takes out a peer, or all consoles of this name; returns who is gone."""
        names = [name]
        for secret in [key for key, console in self._consoles.items() if console == name]:
            del self._consoles[secret]
            names[:0] = self._consoles_of(name)
        gone = [self.by_name.pop(known) for known in names if known in self.by_name]
        for peer in gone:
            if self.by_identity.get(peer.identity) is peer:
                del self.by_identity[peer.identity]
        return gone

    def knows(self, identity: bytes) -> bool:
        """Whether these bytes are a routing id that is let in."""
        return identity in self.by_identity or identity[: wire.IDENTITY_BYTES] in self._consoles

    def find_console(self, identity: bytes, now: float) -> Peer | None:
        """A new console if the routing id is one's; raises TooManyConsolesError."""
        if len(identity) != wire.CONSOLE_IDENTITY_BYTES:
            return None
        name = self._consoles.get(identity[: wire.IDENTITY_BYTES])
        if name is None:
            return None
        if len(self._consoles_of(name)) >= MAX_CONSOLES:
            raise TooManyConsolesError
        return self.add(self._unused(name), identity, now)

    def _unused(self, name: str) -> str:
        while True:
            self._consoles_seen += 1
            unused = f"{name}/{self._consoles_seen}"
            if unused not in self.by_name:
                return unused

    def _consoles_of(self, name: str) -> list[str]:
        return [known for known in self.by_name if known.startswith(name + "/")]
