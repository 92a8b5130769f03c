"""Charges that Arbitration has not heard of yet, on disk: spend survives a crash of both."""

from __future__ import annotations

import logging
import os
import threading
import zlib
from collections.abc import Collection, Iterable
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Struct

from ..replies import is_name
from ..wholefiles import open_plain, replace_private

log = logging.getLogger(__name__)

MOST: Final = 2**53  # of an amount
MOST_RESOURCES: Final = 32  # of a charge
FIRST_YEAR: Final = 1970
_SUM: Final = 8  # hexadecimal digits of a line's CRC-32, before a blank and the charge


class Charge(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What an attempt spent: the arguments of `pit.arbitration/1 charge`. An id has one effect as
    long as it comes with the same arguments, so they never change."""

    id: str
    run: str
    tenant: str
    amounts: dict[str, Annotated[int, Meta(ge=0, le=MOST)]]
    ts: str
    grant: str | None = None

    def args(self) -> dict[str, Any]:
        """As they are sent."""
        found: dict[str, Any] = msgspec.to_builtins(self)
        return found

    def fits(self) -> bool:
        """Whether they are in the contract's form: Arbitration then takes them, whoever it is."""
        try:
            time = datetime.strptime(self.ts, "%Y-%m-%dT%H:%M:%S.%f%z")
        except ValueError:
            return False
        names = (self.id, self.run, self.tenant, *self.amounts)
        few = len(self.amounts) <= MOST_RESOURCES
        return (
            few and time.year >= FIRST_YEAR and self.ts.endswith("Z") and all(map(is_name, names))
        )


class PendingCharges:
    """A file of lines in the home, a charge each. Small: it grows only while Arbitration is away.

    A torn last line is a charge that nobody was told is kept; the next one begins a line of its own
    all the same. What is damaged, or does not fit the contract (a former version kept it so), is
    never taken for a charge: it goes to a file beside this one.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._torn = path.with_name(f"{path.name}.torn")
        self._lock = threading.Lock()  # of the file: it is written in threads

    def keep(self, charge: Charge) -> None:
        """Returns once it is on disk. Raises OSError."""
        with self._lock:
            _append(self._path, b"\n" + _line(charge))

    def all(self) -> list[Charge]:
        """Those that are kept, in their order. Raises OSError."""
        with self._lock:
            return list(self._read())

    def forget(self, ids: Collection[str]) -> None:
        """These have arrived. Raises OSError."""
        with self._lock:
            kept = self._read()
            if left := [charge for charge in kept if charge.id not in ids]:
                self._write(left)
            else:
                self._path.unlink(missing_ok=True)

    def _read(self) -> list[Charge]:
        """The charges; what is none is set aside first."""
        try:
            with os.fdopen(open_plain(self._path), "rb") as file:
                lines = file.read().split(b"\n")
        except FileNotFoundError:
            return []
        charges, damaged = dict[str, Charge](), list[bytes]()
        for line in filter(None, lines):
            charge = _charge(line)
            if charge is None or charges.setdefault(charge.id, charge) != charge:
                damaged.append(line)  # an id has one charge
        found = list(charges.values())
        if damaged:
            _append(self._torn, b"".join(line + b"\n" for line in damaged))
            self._write(found)
            log.error(
                "charges damaged: set aside",
                extra={"where": str(self._torn), "lines": len(damaged), "whole": len(found)},
            )
        return found

    def _write(self, charges: Iterable[Charge]) -> None:
        replace_private(self._path, b"".join(map(_line, charges)))


def _line(charge: Charge) -> bytes:
    text = msgspec.json.encode(charge)
    return b"%08x %s\n" % (zlib.crc32(text), text)


def _charge(line: bytes) -> Charge | None:
    """What a line says; None if it is damaged or no charge that can be told. Lines of earlier
    versions have no sum."""
    text = line
    if not line.startswith(b"{"):
        total, text = line[:_SUM], line[_SUM + 1 :]
        if b"%08x " % zlib.crc32(text) != total + line[_SUM : _SUM + 1]:
            return None
    try:
        charge = msgspec.json.decode(text, type=Charge)
    except (msgspec.DecodeError, RecursionError):
        return None
    return charge if charge.fits() else None


def _append(path: Path, data: bytes) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(path, flags, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(descriptor)
