"""The Artifact Store as the kernel uses it: values in, values out, files staged and collected."""

from __future__ import annotations

import asyncio
import logging
import secrets
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from msgspec import UNSET

from symphony.bus.errors import BusError

from .clock import timestamp
from .errors import SymphonyError, from_bus
from .intake import copy
from .members import ARTIFACT_STORE, NOT_ANSWERED, AwayError, Member, unavailable
from .plaintext import short
from .removal import Remover
from .replies import broken, checked, reference_of
from .staged import require_contents, require_staged
from .values import Value, content

log = logging.getLogger(__name__)

OWN_FAULTS = frozenset({"io", "corrupt", "refused"})  # the last: its key is not there, or read-only

CALLERS_FAULTS = {  # what else the store may say of what it was asked for, by method
    "put_many": frozenset[str](),
    "collect": frozenset({"bad-request", "not-found", "conflict"}),
    "stage": frozenset({"not-found"}),
}

Made = Mapping[str, object]


@dataclass(frozen=True)
class Outgoing:
    """A file or folder that waits in an outbox."""

    name: str
    path: str
    media: str = ""


class Artifacts:
    """Typed calls of `pit.artifacts/1`; every call waits while the store is away."""

    def __init__(self, member: Member, curator: Member, remover: Remover) -> None:
        self._remover = remover
        self._member = member
        self._curator = curator

    async def _ask(
        self, method: str, args: Mapping[str, object], again: Callable[[], None] | None = None
    ) -> Any:
        """Raises :class:`SymphonyError` where the store itself fails: that is no player's fault."""
        try:
            reply = await self._member.call(method, args, again=again)
        except BusError as error:
            if error.code in OWN_FAULTS:
                raise from_bus(error) from error
            if error.code in CALLERS_FAULTS.get(method, {error.code}) | NOT_ANSWERED:
                raise
            why = f"it answered `{method}` with {short(str(error))}"
            raise unavailable(self._member.kind, why) from error
        return checked(self._member.kind.capability, method, reply)

    def _broken(self, method: str, why: str) -> SymphonyError:
        return broken(self._member.kind.capability, method, why)

    async def put(self, values: Mapping[str, tuple[object, str]], made: Made) -> dict[str, Value]:
        """Stores inline values (name → value, file name); all in one durable write."""
        if not values:
            return {}
        encoded = [content(value) for value, _ in values.values()]
        items = [
            {"data": data, "media": media, "name": file_name, "made": made}
            for (data, media), (_, file_name) in zip(encoded, values.values(), strict=True)
        ]
        reply = await self._ask("put_many", {"items": items, "ts": timestamp()})
        refs = [stored["ref"] for stored in reply["items"]]
        if refs != [reference_of(data) for data, _ in encoded]:
            raise self._broken("put_many", "the references are not those of the contents")
        return {
            name: Value(ref=stored["ref"], value=value, name=file, media=media, bytes=len(data))
            for (name, (value, file)), stored, (data, media) in zip(
                values.items(), reply["items"], encoded, strict=True
            )
        }

    async def collect(self, folder: Path, items: Iterable[Outgoing], made: Made) -> list[Value]:
        """Takes files and folders from below ``folder``; all or none."""
        asked = [
            {"name": item.name, "path": item.path, **({"media": item.media} if item.media else {})}
            for item in items
        ]
        if not asked:
            return []
        args = {"folder": str(folder), "items": asked, "made": made, "ts": timestamp()}
        reply = await self._ask("collect", args)
        if [taken["name"] for taken in reply["items"]] != [item["name"] for item in asked]:
            raise self._broken("collect", "it does not tell of what it was asked for")
        return [
            Value(
                kind=taken["kind"],
                ref=taken["ref"],
                name=taken["name"],
                media=str(item.get("media", "")),
                bytes=taken["bytes"],
            )
            for item, taken in zip(asked, reply["items"], strict=True)
        ]

    async def stage(
        self,
        folder: Path,
        items: Iterable[tuple[str, str]],
        *,
        writable: bool = False,
        by: str = "kernel",
    ) -> None:
        """Puts artifacts (reference, relative path) below ``folder``, which is empty and ours;
        ``by``: who reads them.

        What only the archive has is brought back first.
        """
        asked = [{"ref": ref, "path": path} for ref, path in items]
        if not asked:
            return
        mode = "writable" if writable else "read-only"
        args = {"folder": str(folder), "items": asked, "mode": mode, "by": by}
        args["ts"] = timestamp()
        empty = partial(_empty, folder)  # of what a store left that ended before it answered
        try:
            await self._ask("stage", args, empty)
        except BusError as error:
            if error.code != "not-found":
                raise
            await self._bring_back(sorted({item["ref"] for item in asked}))
            await self._ask("stage", args, empty)
        paths = [item["path"] for item in asked]
        kind = self._member.kind
        await asyncio.to_thread(require_staged, folder, paths, kind)
        if kind.extension != ARTIFACT_STORE.extension:
            pairs = [(item["ref"], item["path"]) for item in asked]
            await asyncio.to_thread(require_contents, folder, pairs, kind)

    async def _bring_back(self, refs: Iterable[str]) -> None:
        """Raises :class:`BusError` `not-found` for one that nobody has."""
        for ref in refs:
            args = {"ref": ref, "id": f"needed-{secrets.token_hex(8)}", "ts": timestamp()}
            try:
                reply = await self._curator.ask("restore", args)
                checked(self._curator.kind.capability, "restore", reply)
            except AwayError as error:
                raise _lacking(ref, "and the Stale Manager, who may have it, is away") from error
            if reply["missing"]:
                raise _lacking(ref, "it is neither here nor in the archive")
            if reply["restored"]:
                log.info("restored", extra={"ref": ref})

    async def file_as(self, value: Value, made: Made) -> Value:
        """The value with an artifact behind it, storing a literal that has none."""
        if value.ref or value.value is UNSET:
            return value
        return (await self.put({"value": (value.value, value.name or "value")}, made))["value"]

    async def take_in(self, spool: Path, source: Path, name: str, media: str, made: Made) -> Value:
        """Copies a user's file or folder into the store by way of the private spool."""
        try:
            await asyncio.to_thread(_spool, source, spool, name)
            taken = await self.collect(spool, [Outgoing(source.name, name, media)], made)
        finally:
            self._remover.remove(spool)
        return taken[0]

    async def info(self, ref: str) -> dict[str, Any]:
        """INFO of one artifact."""
        reply = await self._ask("stat", {"refs": [ref]})
        found: dict[str, Any] = reply["artifacts"][0]
        return found


def _lacking(ref: str, why: str) -> BusError:
    return BusError(
        "not-found",
        f"there is no such artifact: {why}",
        where=ref,
        help=f"bring it back with `symphony-kernel stale restore {ref}`, or from a backup",
    )


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def _spool(source: Path, spool: Path, name: str) -> None:
    spool.mkdir(mode=0o700, parents=True, exist_ok=True)
    copy(source, spool / name)
