"""The CURVE keys of consoles elsewhere: `keys` in the home, 0700, one 0600 file a pair.

The hub's own pair, with the secret that consoles' routing ids begin with, is made when it is first
needed. Only who has a pair of this folder is let in, so removing a file is a revocation. A key is
found out by nobody but the user: secrets leave only as a ticket in a 0600 file.
"""

from __future__ import annotations

import logging
import re
import secrets
import struct
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final, TypeVar

import msgspec
from msgspec import Meta, Struct

from symphony.bus import wire
from symphony.bus.ticket import Curve, Ticket

from .answers import Key, Keys
from .errors import ExitCode, Problem, Problems, SymphonyError
from .wholefiles import create_private

FOLDER: Final = "keys"
HUB: Final = "hub.json"
OWN: Final = "hub"  # what the kernel's own key is called in lists
NAME: Final = "[a-z][a-z0-9-]{0,62}"
_TCP: Final = re.compile(r"tcp://(\[[0-9A-Fa-f:.%]+\]|[A-Za-z0-9._*-]+):([0-9]{1,5})")

KEY_BYTES: Final = 32
log = logging.getLogger(__name__)

_Z85 = Annotated[str, Meta(min_length=40, max_length=40)]


class Pair(Struct, frozen=True, kw_only=True):
    """A CURVE pair in Z85, and when it was made."""

    public: _Z85
    secret: _Z85
    created: str

    def __repr__(self) -> str:
        return f"Pair(public={self.public!r}, secret=...)"


class HubPair(Pair, frozen=True, kw_only=True):
    """The hub's pair; `console` is what its remote consoles' routing ids begin with, in hex."""

    console: Annotated[str, Meta(pattern="^[0-9a-f]{32}$")]


_P = TypeVar("_P", bound=Pair)


class KeyRing:
    """The keys of one home. Every method raises SymphonyError `io` where the folder fails."""

    def __init__(self, home: Path) -> None:
        self._folder = home / FOLDER
        self._consoles = self._folder / "consoles"
        self._told: set[Path] = set()  # of the damaged ones, which are told of once

    def hub(self) -> HubPair:
        """The hub's pair, made if there is none."""
        path = self._folder / HUB
        if not path.exists():
            self._write(path, _hub_pair(), replace=False)
        return _read(path, HubPair)

    def rotate(self) -> HubPair:
        """A new pair and a new secret for the hub: no ticket that was given out works any more."""
        self._write(self._folder / HUB, _hub_pair(), replace=True)
        return self.hub()

    def all(self) -> Keys:
        """The consoles' keys and the hub's, without secrets."""
        hub = _read(self._folder / HUB, HubPair) if (self._folder / HUB).exists() else None
        keys = [
            Key(name=path.stem, public=pair.public, created=pair.created)
            for path, pair in self._pairs()
        ]
        own = Key(name=OWN, public=hub.public, created=hub.created) if hub else None
        return Keys(hub=own, keys=keys)

    def new(self, name: str) -> Key:
        """Makes a console's pair. Raises for a name that is taken or not a name."""
        if re.fullmatch(NAME, name) is None:
            remedy = "small letters, digits and hyphens, a letter first"
            raise Problems([Problem(f'"{name}" is no name for a key', "NAME", remedy)])
        _refuse_own(name, "choose another name")
        pair = _pair()
        if not self._write(self._path(name), pair, replace=False):
            remedy = f"choose another, or `symphony-kernel keys revoke {name}` first"
            raise Problems([Problem(f'there is a key "{name}" already', "NAME", remedy)])
        return Key(name=name, public=pair.public, created=pair.created)

    def revoke(self, name: str) -> None:
        """Forgets a console's pair; it is not let in any more."""
        _refuse_own(name, "`symphony-kernel keys rotate` gives the kernel another one")
        try:
            self._path(name).unlink()
        except FileNotFoundError:
            raise _unknown(name) from None

    def ticket(self, name: str, endpoint: str) -> Ticket:
        """What a console elsewhere needs to reach this home's kernel at `endpoint`."""
        _refuse_own(name, "name a console's key; `symphony-kernel keys new NAME` makes one")
        try:
            pair = _read(self._path(name), Pair)
        except FileNotFoundError:
            raise _unknown(name) from None
        hub = self.hub()
        return Ticket(
            v=wire.VERSION,
            endpoint=require_tcp(endpoint, "--connect"),
            identity=hub.console,
            instance=name,
            curve=Curve(hub.public, pair.public, pair.secret),
        )

    def allows(self, public: bytes) -> bool:
        """Whether this public key (32 bytes) is one of a console's."""
        return any(known == public for known in self._known())

    def _known(self) -> Iterator[bytes]:
        """The consoles' public keys; a file that cannot be read lets nobody in and keeps nobody
        else out."""
        for path in sorted(self._consoles.glob("*.json")):
            try:
                yield raw(_read(path, Pair).public)
            except FileNotFoundError:  # it was revoked just now
                continue
            except (OSError, SymphonyError) as error:
                if path not in self._told:
                    self._told.add(path)
                    log.warning("a key is left out", extra={"key": path.stem, "reason": str(error)})

    def _path(self, name: str) -> Path:
        """Where a console's pair lies; no name leads out of the folder."""
        if re.fullmatch(NAME, name) is None:
            raise _unknown(name)
        return self._consoles / f"{name}.json"

    def _pairs(self) -> list[tuple[Path, Pair]]:
        found = sorted(self._consoles.glob("*.json")) if self._consoles.is_dir() else []
        return [(path, _read(path, Pair)) for path in found]

    def _write(self, path: Path, pair: Pair, *, replace: bool) -> bool:
        """Writes a whole file at once; False if there is one that may not be replaced."""
        for folder in (self._folder.parent, self._folder, self._consoles):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        new = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        create_private(new, msgspec.json.encode(pair))
        try:
            if replace:
                new.replace(path)
            else:
                path.hardlink_to(new)
        except FileExistsError:
            return False
        finally:
            new.unlink(missing_ok=True)
        return True


def require_tcp(endpoint: str, option: str) -> str:
    """The endpoint, if it is one for tcp with a host and a port; raises `Problems`."""
    found = _TCP.fullmatch(endpoint)
    if found is None or not 1 <= int(found[2]) <= 65_535:
        message = f'"{endpoint}" is no endpoint for tcp'
        raise Problems([Problem(message, option, "write tcp://HOST:PORT, with a port to 65535")])
    return endpoint


def raw(key: str) -> bytes:
    """The 32 bytes of a key in Z85."""
    from zmq.utils.z85 import decode

    return bytes(decode(key.encode()))


def _pair() -> Pair:
    public, secret = _curve()
    return Pair(public=public, secret=secret, created=_now())


def _hub_pair() -> HubPair:
    public, secret = _curve()
    console = secrets.token_hex(wire.IDENTITY_BYTES)
    return HubPair(public=public, secret=secret, created=_now(), console=console)


def _curve() -> tuple[str, str]:
    import zmq  # slow to import, and few commands make keys

    public, secret = zmq.curve_keypair()
    return public.decode(), secret.decode()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _read(path: Path, kind: type[_P]) -> _P:
    try:
        pair = msgspec.json.decode(path.read_bytes(), type=kind)
        whole = all(len(raw(key)) == KEY_BYTES for key in (pair.public, pair.secret))
    except (msgspec.DecodeError, ValueError, KeyError, struct.error):
        whole = False
    if not whole:  # never told with the content: it is a secret
        raise SymphonyError(
            ExitCode.IO,
            "the key file is damaged",
            where=str(path),
            help="remove it and make the key again",
            fault="environment",
        )
    return pair


def _refuse_own(name: str, remedy: str) -> None:
    if name == OWN:
        raise Problems([Problem(f'"{OWN}" is the kernel\'s own key', "NAME", remedy)])


def _unknown(name: str) -> SymphonyError:
    return SymphonyError(
        ExitCode.NOT_FOUND,
        f'there is no key "{name}"',
        where=name,
        help="symphony-kernel keys list",
    )
