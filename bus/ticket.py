"""The ticket: how an instance learns where the bus is and which secret it joins with."""

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from . import wire
from .errors import BusError

_MAX_BYTES = 65_536
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


class Curve(Struct, frozen=True):
    """The keys of a connection over tcp: the hub's public key and this peer's own pair, in Z85."""

    server: Annotated[str, Meta(min_length=40, max_length=40)]
    public: Annotated[str, Meta(min_length=40, max_length=40)]
    secret: Annotated[str, Meta(min_length=40, max_length=40)]

    def __repr__(self) -> str:
        return f"Curve(server={self.server!r}, public={self.public!r}, secret=...)"


class Ticket(Struct, frozen=True, omit_defaults=True):
    """One instance's way onto the bus (`PROTOCOL.md` section 1).

    `identity` is the secret routing id in hex; `inbox` and `outbox` are absolute folders as the
    instance sees them. A ticket without `inbox` is a console's.
    """

    v: Annotated[int, Meta(ge=wire.VERSION, le=wire.VERSION)]
    endpoint: Annotated[str, Meta(min_length=1)]
    identity: Annotated[str, Meta(pattern="^[0-9a-fA-F]{32}$", max_length=32)]
    instance: str
    inbox: str | None = None
    outbox: str | None = None
    curve: Curve | None = None

    def __repr__(self) -> str:
        return f"Ticket(instance={self.instance!r}, endpoint={self.endpoint!r}, identity=...)"

    @property
    def is_console(self) -> bool:
        """Whether several peers may join with this ticket at once (section 8)."""
        return self.inbox is None

    def routing_id(self) -> bytes:
        """The routing id to join with; a console's ends in fresh random bytes."""
        secret = bytes.fromhex(self.identity)
        return secret + os.urandom(wire.IDENTITY_BYTES) if self.is_console else secret

    def to_json(self) -> bytes:
        """The ticket as the bytes that `load` and `from_json` read."""
        return msgspec.json.encode(self)

    @classmethod
    def from_json(cls, data: bytes) -> "Ticket":
        """Reads a ticket; raises BusError `bad-request` naming the key that is wrong."""
        try:
            return msgspec.json.decode(data, type=cls)
        except (ValueError, RecursionError) as error:
            raise BusError("bad-request", f"the ticket is not valid: {error}") from None

    @classmethod
    def load(cls, environ: Mapping[str, str]) -> "Ticket":
        """Reads the ticket that `SYMPHONY_TICKET` points to; raises BusError `bad-request`, or
        `refused` for a file that is not its owner's alone."""
        place = environ.get(wire.TICKET_VARIABLE, "")
        how, _, rest = place.partition(":")
        try:
            if how == "fd" and rest.isascii() and rest.isdigit():
                return cls.from_json(_drain(int(rest)))
            if how == "file" and rest:
                return cls.from_json(_read_private(Path(rest)))
        except OSError as error:
            raise BusError(
                "bad-request", f"cannot read the ticket: {error.strerror}", where=place
            ) from error
        raise BusError(
            "bad-request",
            "there is no ticket" if not place else "the place of the ticket is not understood",
            where=wire.TICKET_VARIABLE,
            help="start this program through the kernel, or set fd:N or file:PATH",
        )


def _read_private(path: Path) -> bytes:
    with path.open("rb") as file:
        mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
        if mode & _OTHERS:
            raise BusError(
                "refused",
                f"the ticket is a secret, but its mode {mode:04o} lets others have it",
                where=str(path),
                help=f"chmod 600 {path}; if somebody may have read it, have a new one made",
            )
        return file.read()


def _drain(descriptor: int) -> bytes:
    chunks = []
    left = _MAX_BYTES
    while left > 0 and (chunk := os.read(descriptor, left)):
        chunks.append(chunk)
        left -= len(chunk)
    # Descriptors 0 to 2 stay open on nothing, so that no later file takes their number.
    if descriptor <= 2:
        nothing = os.open(os.devnull, os.O_RDWR)
        os.dup2(nothing, descriptor)
        os.close(nothing)
    else:
        os.close(descriptor)
    return b"".join(chunks)
