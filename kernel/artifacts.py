"""The Artifact Store as the kernel uses it: values in, values out, files staged and collected."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from msgspec import UNSET

from symphony.bus.errors import BusError

from .errors import from_bus
from .intake import copy
from .journal import timestamp
from .members import Member
from .removal import Remover
from .values import Value, content

Made = Mapping[str, object]


@dataclass(frozen=True)
class Outgoing:
    """A file or folder that waits in an outbox."""

    name: str
    path: str
    media: str = ""


class Artifacts:
    """Typed calls of `pit.artifacts/1`; every call waits while the store is away."""

    def __init__(self, member: Member, remover: Remover) -> None:
        self._remover = remover
        self._member = member

    async def _ask(self, method: str, args: Mapping[str, object]) -> Any:
        """Raises :class:`SymphonyError` where the store itself fails: that is no player's fault."""
        try:
            return await self._member.call(method, args)
        except BusError as error:
            if error.code in ("io", "corrupt"):
                raise from_bus(error) from error
            raise

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
        self, folder: Path, items: Iterable[tuple[str, str]], *, writable: bool = False
    ) -> None:
        """Puts artifacts (reference, relative path) below ``folder``."""
        asked = [{"ref": ref, "path": path} for ref, path in items]
        if asked:
            mode = "writable" if writable else "read-only"
            args = {"folder": str(folder), "items": asked, "mode": mode}
            await self._ask("stage", args)

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


def _spool(source: Path, spool: Path, name: str) -> None:
    spool.mkdir(mode=0o700, parents=True, exist_ok=True)
    copy(source, spool / name)
