"""One store, open: what its documents say, how a change becomes durable, who did what.

A change is checked, then its objects are placed, then its document is written, then the index takes
it in: whatever fails or ends before the document leaves nothing of the call.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import msgspec
from store_audit import Record, Trail
from store_disk import PIECE, Disk, UnusableError
from store_index import Blob, Change, Document, Index, Unmark, decode, encode
from store_names import unknown

LISTING: Final = b"symphony-folder 1"
READS_S: Final = 1.0  # until a read is in the audit trail, if nothing is written before


class Store:
    """One store, open."""

    def __init__(self, root: Path) -> None:
        """Opens the store, making it if there is none. Raises UnusableError, OSError."""
        self.disk = Disk(root)
        self.index = Index()
        self.trail = Trail()
        self.record = Record("", "", [])
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None
        try:
            self._read(root)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Lets another process open the store."""
        if self._timer is not None:
            self._timer.cancel()
        self.disk.close()

    @contextmanager
    def call(self, record: Record) -> Iterator[None]:
        """One call: what it reads and writes is put on record as this says, unless it fails."""
        with self._lock:
            self.record, waiting = record, len(self.trail.waiting)
            try:
                yield
            except BaseException:
                del self.trail.waiting[waiting:]
                raise
            if self.trail.waiting and self._timer is None:
                self._timer = threading.Timer(READS_S, self._write_reads)
                self._timer.daemon = True
                self._timer.start()

    def _write_reads(self) -> None:
        with self._lock, suppress(OSError):  # they wait for the next document then
            self._timer = None
            if self.trail.waiting:
                self.change([])

    def _read(self, root: Path) -> None:
        for number, content in enumerate(self.disk.documents(), 1):
            try:
                document = decode(content)
                self.index.apply(document.changes)
                self.trail.links += document.audit
            except (msgspec.DecodeError, KeyError) as error:
                message = f"document {number} of {root} is damaged: {error}"
                raise UnusableError(message, "restore the store from a copy") from error
        self.disk.remove([ref for ref in self.disk.objects() if self.index.blob(ref) is None])

    def change(self, changes: list[Change]) -> None:
        """Writes a document, then takes it in."""
        links = self.trail.linked()
        self.disk.write_document(encode(Document(changes, links)))
        self.trail.written(links)
        self.index.apply(changes)

    def note(self, refs: Sequence[str]) -> None:
        """This call has to do with these; before it changes anything."""
        self.trail.note(self.record, refs)

    def blob(self, ref: str) -> Blob:
        """A content that is there."""
        blob = self.index.blob(ref)
        if blob is None:
            raise unknown(ref)
        return blob

    def is_marked(self, ref: str) -> bool:
        """Whether it is to go."""
        blob = self.index.blob(ref)
        return blob is not None and blob.marked_ms is not None

    def revive(self, refs: Sequence[str]) -> None:
        """Takes the marks from what is used, of a folder also from its files."""
        used = list(refs)
        for ref in refs:
            if self.blob(ref).size is not None:
                used += [member for _, _, member, _ in self.members(ref)]
        marked = [ref for ref in dict.fromkeys(used) if self.is_marked(ref)]
        if marked:
            self.change([Unmark(marked)])

    def members(self, ref: str) -> list[tuple[str, int, str, int]]:
        """The files of a folder: path, mode, reference, bytes."""
        listing = b"".join(self.pieces(ref))
        found: list[tuple[str, int, str, int]] = msgspec.msgpack.decode(
            listing.removeprefix(LISTING), type=list[tuple[str, int, str, int]]
        )
        return found

    def pieces(self, ref: str) -> Iterator[bytes]:
        """Its bytes, which are the right ones."""
        with self.disk.open(ref, self.blob(ref).length) as file:
            while piece := file.read(PIECE):
                yield piece
