"""Contents that come in parts, each handed on to the place as it comes."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from archive_place import BUFFER, MOST_REQUESTS, Place, not_found

from symphony.bus.errors import BusError

if TYPE_CHECKING:
    from obstore import WritableFile

LONGEST_PART: Final = 1 << 20
LARGEST: Final = BUFFER * MOST_REQUESTS
MOST_OPEN: Final = 16  # each holds up to 16 MiB
MOST_COMMITTED: Final = 64
MOST_REPEATED: Final = 1024  # of the last parts, that may come again


Digests = OrderedDict[int, bytes]


@dataclass
class Upload:
    """What has come of one content."""

    ref: str
    bytes: int
    file: WritableFile
    written: int = 0
    parts: Digests = field(default_factory=OrderedDict)  # by offset


class Uploads:
    """Those that are open, and what the last that were committed came to."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._begun = 0
        self._open: OrderedDict[str, Upload] = OrderedDict()
        self._committed: OrderedDict[str, tuple[str, int]] = OrderedDict()

    def begin(self, ref: str, length: int) -> str:
        """A new upload; the one that was begun first makes room."""
        if not 0 <= length <= LARGEST:
            raise BusError("overloaded", f"more than {LARGEST} bytes", where="bytes")
        self._refuse_other(ref, length)
        if len(self._open) >= MOST_OPEN:
            self._open.popitem(last=False)
        self._begun += 1
        name = f"upload-{self._begun}"
        self._open[name] = Upload(ref, length, self._place.writer(ref))
        return name

    def part(self, name: str, offset: int, data: bytes) -> None:
        """The next part, or one of the last again."""
        upload = self._find(name)
        if not 1 <= len(data) <= LONGEST_PART:
            raise BusError("bad-request", "a part has 1 byte to 1 MiB", where="data")
        digest = hashlib.sha256(data).digest()
        if offset != upload.written:
            if upload.parts.get(offset) == digest:
                return
            message = f"the next part begins at {upload.written}"
            raise BusError("conflict", message, where="offset")
        if offset + len(data) > upload.bytes:
            message = f"more than the {upload.bytes} bytes it began with"
            raise BusError("bad-request", message, where="data")
        try:
            self._place.write(upload.file, data)
        except BusError:
            del self._open[name]  # nobody knows how much of it arrived
            raise
        upload.written += len(data)
        upload.parts[offset] = digest
        if len(upload.parts) > MOST_REPEATED:
            upload.parts.popitem(last=False)

    def commit(self, name: str) -> tuple[str, int]:
        """What was uploaded is in the archive: its reference and length."""
        if name in self._committed:
            ref, length = self._committed[name]
            found = self._place.stat(ref)
            if found is None:
                raise not_found(ref)
            return ref, length
        upload = self._find(name)
        if upload.written != upload.bytes:
            message = f"{upload.written} of {upload.bytes} bytes are there"
            raise BusError("bad-request", message, where="upload")
        self._refuse_other(upload.ref, upload.bytes)
        del self._open[name]  # ended for good, however that turns out
        self._place.close(upload.file, upload.ref, upload.bytes)
        self._committed[name] = upload.ref, upload.bytes
        if len(self._committed) > MOST_COMMITTED:
            self._committed.popitem(last=False)
        return upload.ref, upload.bytes

    def _refuse_other(self, ref: str, length: int) -> None:
        """What is there under a reference has as many bytes."""
        found = self._place.stat(ref)
        if found is not None and found[0] != length:
            message = f"{ref} is there with {found[0]} bytes, not {length}"
            raise BusError("conflict", message, where="bytes")

    def _find(self, name: str) -> Upload:
        if name not in self._open:
            message = f"there is no upload {name[:40]!r}"
            raise BusError("not-found", message, where="upload", help="begin again")
        return self._open[name]
