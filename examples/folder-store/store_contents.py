"""Bytes in and out: put, uploads, collect, get, stage."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import msgspec
import store_below as below
from store import LISTING, Store
from store_index import Change, Put
from store_names import About, bad, check_reference
from store_uploads import Uploads

MOST_GIVEN: Final = 1 << 20  # bytes of one `get`


@dataclass(frozen=True)
class Wanted:
    """One thing to take from an outbox."""

    path: str
    about: About


class Contents:
    """The methods."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._last_read: tuple[object, ...] = ()
        self.uploads = Uploads()

    def put(self, items: Sequence[tuple[bytes, About]]) -> list[dict[str, Any]]:
        """Takes contents in, all or none."""
        for _, about in items:
            about.check()
        with _Taking(self._store) as taking:
            return [taking.content([data], about) for data, about in items]

    def commit(self, name: str) -> dict[str, Any]:
        """Takes in what was uploaded."""
        done = self.uploads.committed(name)
        if done is not None:
            self._store.blob(done[0])
            return {"ref": done[0], "bytes": done[1]}
        upload = self.uploads.whole(name)
        with _Taking(self._store) as taking:
            taking.content([bytes(upload.data)], upload.about)
        self.uploads.commit(name)
        return {"ref": upload.ref, "bytes": upload.bytes}

    def collect(
        self, folder: Path, items: Sequence[Wanted], limits: below.Limits
    ) -> list[dict[str, Any]]:
        """Takes files and folders from below a folder, all or none."""
        for item in items:
            item.about.check()
        with below.opened(folder) as root, _Taking(self._store) as taking:
            return [taking.item(root, item, limits) for item in items]

    def get(self, ref: str, offset: int, limit: int) -> dict[str, Any]:
        """A piece of a content; of a folder, of its listing."""
        blob = self._store.blob(check_reference(ref))
        if limit < 1:
            raise bad("limit", "the limit is less than 1")
        if not 0 <= offset <= blob.length:
            raise bad("offset", f"the artifact has only {blob.length} bytes")
        with self._store.disk.open(ref, blob.length) as file:
            file.seek(offset)
            data = file.read(min(limit, MOST_GIVEN))
        more = offset + len(data) < blob.length
        if self._last_read != (self._store.record.by, ref, offset) or offset == 0:
            self._store.note([ref])
        self._last_read = (self._store.record.by, ref, offset + len(data))
        return {"data": data, "bytes": blob.length, "kind": blob.kind, "more": more}

    def stage(
        self, folder: Path, items: Sequence[tuple[str, str]], *, writable: bool
    ) -> list[dict[str, Any]]:
        """Writes artifacts (reference, path) below a folder, all or none."""
        blobs = [self._store.blob(check_reference(ref)) for ref, _ in items]
        self._store.revive([ref for ref, _ in items])
        with below.opened(folder) as root:
            target = below.Target(root, writable=writable)
            try:
                for (ref, path), blob in zip(items, blobs, strict=True):
                    if blob.size is None:
                        target.file(path, self._store.pieces(ref), executable=False)
                        continue
                    target.folder(path)
                    for inner, mode, member, _ in self._store.members(ref):
                        pieces = self._store.pieces(member)
                        target.file(f"{path}/{inner}", pieces, executable=mode == 0o755)
            except BaseException:
                target.undo()
                raise
        self._store.note([ref for ref, _ in items])
        sizes = [blob.length if blob.size is None else blob.size for blob in blobs]
        return [
            {"path": path, "bytes": size, "kind": blob.kind}
            for (_, path), blob, size in zip(items, blobs, sizes, strict=True)
        ]


class _Taking:
    """One call that takes contents in: nothing of it is there before its block has ended well."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._pending = store.disk.pending()
        self._puts: list[Put] = []
        self._refs: set[str] = set()
        self._noted: list[str] = []  # what the caller will hear of

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        index = self._store.index
        with self._pending:
            changes: list[Change] = [put for put in self._puts if index.changes(put)]
            if kind is None:
                self._pending.place()
                self._store.note(list(dict.fromkeys(self._noted)))
                if changes:
                    self._store.change(changes)

    def content(self, pieces: Sequence[bytes] | Iterator[bytes], about: About) -> dict[str, Any]:
        """Takes a content."""
        ref, length = self._pending.add(pieces)
        new = self._add(Put(ref, length, about))
        self._noted.append(ref)
        return {"ref": ref, "bytes": length, "new": new}

    def item(self, root: int, item: Wanted, limits: below.Limits) -> dict[str, Any]:
        """Takes a file or a folder from an outbox."""
        is_folder = below.is_folder(root, item.path)
        # Of a folder only the folder itself is named and derived, its files are contents.
        about = About(item.about.ts) if is_folder else item.about
        members = []
        taken: dict[str, Any] = {}
        for found in below.walk(root, item.path, limits):
            taken = self.content(found.pieces, about)
            inner = found.path[len(item.path) + 1 :]
            if is_folder == (inner == ""):
                raise bad(item.path, f"{item.path} changed while it was collected")
            mode = 0o755 if found.executable else 0o644
            members.append((inner, mode, taken["ref"], taken["bytes"]))
        if not is_folder:
            return taken | {"name": item.about.name, "kind": "file", "files": 1}
        del self._noted[len(self._noted) - len(members) :]
        members.sort(key=lambda member: member[0].encode())
        listing = LISTING + msgspec.msgpack.encode(members)
        ref, length = self._pending.add([listing])
        size = sum(member[3] for member in members)
        new = self._add(Put(ref, length, item.about, size, len(members)))
        self._noted.append(ref)
        told = {"name": item.about.name, "ref": ref, "kind": "folder", "new": new}
        return told | {"bytes": size, "files": len(members)}

    def _add(self, put: Put) -> bool:
        """Whether the content is new."""
        known = self._store.index.blob(put.ref) is not None
        new = not known and put.ref not in self._refs
        self._puts.append(put)
        self._refs.add(put.ref)
        return new
