"""Contents that come in parts: kept in memory until they are whole, a few at once."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Final

from store_names import About, bad, check_reference, reference_of

from symphony.bus.errors import BusError

MOST_UPLOADS: Final = 8
MOST_COMMITTED: Final = 64
MOST_REPEATED: Final = 1024  # of the last parts, that may come again
LONGEST_PART: Final = 1 << 20
LARGEST: Final = 1 << 30  # of one content: it is in memory until it is committed


@dataclass
class Upload:
    """What has come of one content."""

    ref: str
    bytes: int
    about: About
    data: bytearray = field(default_factory=bytearray)
    parts: OrderedDict[int, str] = field(default_factory=OrderedDict)  # offset → hash


class Uploads:
    """Those that are open, and what the last that were committed came to."""

    def __init__(self) -> None:
        self._begun = 0
        self._open: OrderedDict[str, Upload] = OrderedDict()
        self._committed: OrderedDict[str, tuple[str, int]] = OrderedDict()

    def begin(self, ref: str, length: int, about: About) -> str:
        """A new upload; the oldest makes room."""
        check_reference(ref)
        about.check()
        if not 0 <= length <= LARGEST:
            raise BusError("overloaded", f"more than {LARGEST} bytes", where="bytes")
        if len(self._open) >= MOST_UPLOADS:
            self._open.popitem(last=False)
        self._begun += 1
        name = f"upload-{self._begun}"
        self._open[name] = Upload(ref, length, about)
        return name

    def part(self, name: str, offset: int, data: bytes) -> None:
        """The next part, or one of the last again."""
        if not 1 <= len(data) <= LONGEST_PART:
            raise bad("data", "a part has 1 byte to 1 MiB")
        upload = self._find(name)
        digest = reference_of(data)
        if offset != len(upload.data):
            if upload.parts.get(offset) == digest:
                return
            raise BusError(
                "conflict", f"the next part begins at {len(upload.data)}", where="offset"
            )
        if offset + len(data) > upload.bytes:
            raise bad("data", f"more than the {upload.bytes} bytes it began with")
        upload.data += data
        upload.parts[offset] = digest
        if len(upload.parts) > MOST_REPEATED:
            upload.parts.popitem(last=False)

    def whole(self, name: str) -> Upload:
        """The upload, if all of it has come and is what it should be."""
        upload = self._find(name)
        if len(upload.data) != upload.bytes:
            raise bad("upload", f"{len(upload.data)} of {upload.bytes} bytes are there")
        if reference_of(upload.data) != upload.ref:
            raise bad("upload", f"the bytes have another hash than {upload.ref}")
        return upload

    def committed(self, name: str) -> tuple[str, int] | None:
        """What became of an upload that was committed."""
        return self._committed.get(name)

    def commit(self, name: str) -> None:
        """It is in the store."""
        upload = self._open.pop(name)
        self._committed[name] = upload.ref, upload.bytes
        if len(self._committed) > MOST_COMMITTED:
            self._committed.popitem(last=False)

    def _find(self, name: str) -> Upload:
        if name not in self._open:
            message = f"there is no upload {name[:40]!r}"
            raise BusError("not-found", message, where="upload", help="begin again")
        return self._open[name]
