"""Stand-ins for those whom the Stale Manager asks: a store, a tracker and an archive in memory.

They do what their contracts say, as far as it asks for it, and what goes wrong where a check says.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from symphony.bus.errors import BusError
from symphony.bus.localcalls import Request

from .contents import HELLO, SMALL, Content
from .suite import Subject

Calls = list[str]  # CAPABILITY METHOD, in their order
Infos = list[dict[str, Any]]
GRACE = timedelta(days=1)
BEGIN = datetime(2026, 3, 1, tzinfo=UTC)


def at(day: float) -> str:
    """The time so many days after the artifacts were put."""
    return (BEGIN + timedelta(days=day)).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def instant(ts: str) -> datetime:
    """A time that was written down."""
    return datetime.fromisoformat(ts)


class Keeper:
    """Answers calls with its own methods of the same names, and writes them down."""

    capability = ""

    def __init__(self, subject: Subject, calls: Calls) -> None:
        self.away = False
        self._calls = calls
        subject.serve(self.capability, self._serve)

    async def _serve(self, request: Request) -> object:
        self._calls.append(f"{self.capability.split('.')[1].split('/')[0]} {request.method}")
        await asyncio.sleep(0)
        if self.away:
            raise BusError("unavailable", "away, as the check wants it")
        method = getattr(self, request.method, None)
        if method is None or request.method.startswith("_"):
            raise BusError("bad-request", f"there is no method {request.method}", where="method")
        args = {"ref_" if key == "ref" else key: value for key, value in request.args.items()}
        return method(**args)


class Uploads(Keeper):
    """What store and archive have in common: contents by reference, taken in parts."""

    def __init__(self, subject: Subject, calls: Calls) -> None:
        super().__init__(subject, calls)
        self.kept: dict[str, bytes] = {}
        self._open: dict[str, tuple[str, bytearray]] = {}

    def begin(self, ref_: str, **_: Any) -> object:
        upload = f"u{len(self._open)}"
        self._open[upload] = ref_, bytearray()
        return {"upload": upload}

    def part(self, upload: str, offset: int, data: bytes, **_: Any) -> object:
        self._open[upload][1][offset:] = data
        return {}

    def commit(self, upload: str, **_: Any) -> object:
        ref, data = self._open[upload]
        self._take(ref, bytes(data))
        return {"ref": ref, "bytes": len(data)}

    def get(self, ref_: str, offset: int = 0, limit: int = 1 << 20, **_: Any) -> object:
        data = self._given(ref_)
        part = data[offset : offset + limit]
        more = offset + len(part) < len(data)
        return {"data": part, "bytes": len(data), "kind": "file", "more": more}

    def _given(self, ref: str) -> bytes:
        if ref not in self.kept:
            raise BusError("not-found", "it is not there", where=ref)
        return self.kept[ref]

    def _take(self, ref: str, data: bytes) -> None:
        self.kept[ref] = data


class Store(Uploads):
    """`pit.artifacts/1`: its sweeps are kept with what they cited."""

    capability = "pit.artifacts/1"

    def __init__(self, subject: Subject, calls: Calls) -> None:
        super().__init__(subject, calls)
        self.infos: Infos = []
        self.marks: dict[str, datetime] = {}
        self.swept: dict[str, dict[str, Any]] = {}

    def add(self, content: Content, **more: Any) -> str:
        """An artifact, put when the check begins; its reference."""
        made = {"run": "r-1", "step": "s", "player": "p", "version": "1.0.0"}
        info = {"ref": content.ref, "kind": "file", "bytes": len(content.data), "name": "text"}
        self.infos.append({**info, "created": at(0), "made": made, **more})
        self.kept[content.ref] = content.data
        return content.ref

    def list(self, **_: Any) -> object:
        return {"artifacts": [info for info in self.infos if info["ref"] in self.kept]}

    def stat(self, refs: Any, **_: Any) -> object:
        for ref in refs:
            self._given(ref)
        return {"artifacts": [info for ref in refs for info in self.infos if info["ref"] == ref]}

    def put(self, data: bytes, **_: Any) -> object:
        known = {content.data: content.ref for content in self._contents}
        self._take(known[data], data)
        return {"ref": known[data], "bytes": len(data), "new": True}

    def mark(self, refs: Any, ts: str, **_: Any) -> object:
        there = [ref for ref in refs if ref in self.kept]
        for ref in there:
            self.marks.setdefault(ref, instant(ts))
        return {"marked": len(there)}

    def unmark(self, refs: Any, **_: Any) -> object:
        for ref in refs:
            self.marks.pop(ref, None)
        return {}

    def sweep(self, refs: Any, proofs: Any, ts: str) -> object:
        cited = {proof["ref"]: proof for proof in proofs}
        freed = []
        for ref in refs:
            if ref in self.marks and self.marks[ref] + GRACE <= instant(ts):
                self.swept[ref] = cited[ref]
                freed.append({"ref": ref, "bytes": len(self.kept.pop(ref))})
                del self.marks[ref]
        held = {row["ref"] for row in freed} | self.marks.keys()
        return {"freed": freed, "revived": [ref for ref in refs if ref not in held]}

    def pack(self, refs: Any, **_: Any) -> object:
        return {"packed": [{"ref": ref, "bytes": len(self.kept[ref])} for ref in refs]}

    @property
    def _contents(self) -> tuple[Content, ...]:
        return (HELLO, *SMALL)


class Tracker(Keeper):
    """`pit.dag/1`: runs and their states."""

    capability = "pit.dag/1"

    def __init__(self, subject: Subject, calls: Calls) -> None:
        super().__init__(subject, calls)
        self.states: dict[str, dict[str, Any]] = {"r-1": {"state": "succeeded"}}

    def runs(self, before: str | None = None, **_: Any) -> object:
        names = sorted(self.states) if before is None else []
        row = {"melody": "m", "version": "1.0.0", "opened": at(0), "steps": 1, "ended": 0}
        return {"runs": [{**row, "run": name, "state": self._state(name)} for name in names]}

    def state(self, run: str, **_: Any) -> object:
        head: Mapping[str, Any] = {"run": run, "melody": "m", "version": "1.0.0", "digest": "d"}
        tail = {"document": {}, "inputs": {}, "last": 1, "opened": at(0), "steps": [], "ready": []}
        return {**head, **tail, **self.states[run]}

    def _state(self, name: str) -> str:
        return str(self.states[name]["state"])


class Archive(Uploads):
    """`pit.archive/1`, which may lie about what it keeps."""

    capability = "pit.archive/1"

    def __init__(self, subject: Subject, calls: Calls) -> None:
        super().__init__(subject, calls)
        self.lies = False

    def stat(self, ref_: str, **_: Any) -> object:
        return {"bytes": len(self._given(ref_))}

    def list(self, **_: Any) -> object:
        return {"items": [{"ref": ref, "bytes": len(d)} for ref, d in sorted(self.kept.items())]}

    def delete(self, ref_: str, **_: Any) -> object:
        return {"deleted": self.kept.pop(ref_, None) is not None}

    def get(self, ref_: str, offset: int = 0, limit: int = 1 << 20, **_: Any) -> object:
        data = self._given(ref_)
        if self.lies:
            data = bytes([data[0] ^ 1]) + data[1:]
        part = data[offset : offset + limit]
        return {"data": part, "bytes": len(data), "more": offset + len(part) < len(data)}


class Keepers:
    """All three, a curator that is configured, and what was asked of them in its order."""

    def __init__(self, subject: Subject) -> None:
        self.calls: Calls = []
        self.subject = subject
        self.store = Store(subject, self.calls)
        self.tracker = Tracker(subject, self.calls)
        self.archive = Archive(subject, self.calls)

    async def configure(self, **more: object) -> Any:
        """With the archive that is a call away; the rest as the check wants it."""
        return await self.subject.ask("configure", archive="pit.archive/1", **more)

    async def plan(self, day: float) -> dict[str, dict[str, Any]]:
        """What is to happen so many days after the beginning, by reference."""
        reply = await self.subject.ask("plan", ts=at(day))
        return {item["ref"]: item for item in reply["items"]}

    async def run(self, day: float) -> Any:
        """Does it."""
        return await self.subject.ask("run", id=f"run-{day:g}", ts=at(day))

    async def freed(self, *refs: str) -> None:
        """Runs, two days after each other, until they are only archived."""
        for day in range(40, 60, 2):
            await self.run(day)
            if not set(refs) & self.store.kept.keys():
                return
