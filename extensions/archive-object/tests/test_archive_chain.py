"""The whole way of an old artifact, with the Stale Manager, a store and a real S3 server: archived,
read back, proven, freed and restored, while the server fails, refuses, dawdles and lies."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from archive_stand import Bucket, configure, installed
from between import Between, Manner

from symphony.kernel.contracts.contents import HELLO, TS, large
from symphony.kernel.contracts.stage import Subject, open_stage
from symphony.kernel.grants import Grant
from symphony.kernel.kit import Kit
from symphony.kernel.manifest import load_manifest

ROOT = Path(__file__).resolve().parents[3]
LARGE = large()
MEMBERS = {
    "pit.dag/1": "extensions/pit-dag",
    "pit.artifacts/1": "examples/folder-store",
    "pit.stale/1": "extensions/pit-stale",
}
BROKEN = (Manner.FAILING, Manner.REFUSING, Manner.BUSY, Manner.SILENT, Manner.LYING, Manner.LOSING)


@dataclass
class Curation:
    """The members that keep artifacts, and time that passes as the test says."""

    archive: Subject
    store: Subject
    stale: Subject
    day: int = 0

    async def run(self) -> Any:
        """One more run of the Stale Manager, two days after the last one."""
        self.day += 2
        ts = f"2026-{3 + self.day // 28:02}-{1 + self.day % 28:02}T00:00:00.000Z"
        return await self.stale.ask("run", id=f"run-{self.day}", ts=ts)

    async def restore(self, ref: str) -> Any:
        self.day += 2
        ts = f"2026-{3 + self.day // 28:02}-{1 + self.day % 28:02}T00:00:00.000Z"
        return await self.stale.ask("restore", ref=ref, id=f"restore-{self.day}", ts=ts)

    async def is_local(self, ref: str) -> bool:
        listed = await self.store.ask("list")
        return any(info["ref"] == ref for info in listed["artifacts"])


@asynccontextmanager
async def curation(folder: Path, sockets: Path) -> AsyncIterator[Curation]:
    async with open_stage(sockets / "home") as stage:
        subjects = {"pit.archive/1": Subject(stage, installed(), "pit.archive/1", folder)}
        for capability, place in MEMBERS.items():
            manifest = load_manifest(ROOT / place)
            member = Kit().attach(ROOT / place, Grant(manifest.permissions, "none"))
            subjects[capability] = Subject(stage, member, capability, folder / manifest.name)
        for subject in subjects.values():
            await subject.start()
        stale = subjects["pit.stale/1"]
        await stale.ask("configure", archive="pit.archive/1", local_days=30)
        yield Curation(subjects["pit.archive/1"], subjects["pit.artifacts/1"], stale)
        for subject in reversed(subjects.values()):
            await subject.close()


async def keep(store: Subject) -> None:
    """Two artifacts of a run, long ago."""
    made = {"run": "r-1", "step": "s", "player": "p", "version": "1.0.0"}
    await store.ask("put", data=HELLO.data, name="greeting.txt", made=made, ts=TS)
    args = {"ref": LARGE.ref, "bytes": len(LARGE.data), "name": "large", "made": made, "ts": TS}
    upload = (await store.ask("begin", **args))["upload"]
    for offset in range(0, len(LARGE.data), 1 << 20):
        data = LARGE.data[offset : offset + (1 << 20)]
        await store.ask("part", upload=upload, offset=offset, data=data)
    await store.ask("commit", upload=upload)


def test_nothing_is_freed_before_the_archive_has_given_it_back(
    tmp_path: Path, bucket: Bucket, between: Between, sockets: Path
) -> None:
    configure(tmp_path, bucket, between.endpoint, timeout_s=1)

    async def play() -> None:
        async with curation(tmp_path, sockets) as at:
            await keep(at.store)
            for manner in BROKEN:
                between.manner = manner
                for _ in range(2):
                    told = await at.run()
                    assert told["stopped"], manner
                between.manner = Manner.WELL
                report = await at.stale.ask("report")
                assert (report["proofs"], report["freed"], report["marked"]) == (0, 0, 0), manner
                assert await at.is_local(LARGE.ref)
                assert await at.is_local(HELLO.ref)

            for _ in range(4):
                told = await at.run()
                assert "stopped" not in told, told
            assert not await at.is_local(LARGE.ref)
            assert not await at.is_local(HELLO.ref)
            assert len(bucket.objects()) == 2
            proofs = (await at.stale.ask("proofs"))["proofs"]
            assert {proof["ref"]: proof["hash"] for proof in proofs} == {
                LARGE.ref: LARGE.ref,
                HELLO.ref: HELLO.ref,
            }
            assert all(proof["read_back"] and proof["freed"] for proof in proofs)

            between.manner = Manner.LYING
            told = await at.restore(LARGE.ref)
            assert (told["restored"], told["missing"]) == ([], [LARGE.ref])
            assert not await at.is_local(LARGE.ref)
            between.manner = Manner.WELL
            told = await at.restore(LARGE.ref)
            assert [row["ref"] for row in told["restored"]] == [LARGE.ref]
            for offset in range(0, len(LARGE.data), 1 << 20):
                wanted = LARGE.data[offset : offset + (1 << 20)]
                reply = await at.store.ask("get", ref=LARGE.ref, offset=offset, limit=1 << 20)
                assert reply["data"] == wanted

    asyncio.run(play())


def test_what_the_archive_lost_after_the_proof_is_not_freed(
    tmp_path: Path, bucket: Bucket, between: Between, sockets: Path
) -> None:
    configure(tmp_path, bucket, between.endpoint)

    async def play() -> None:
        async with curation(tmp_path, sockets) as at:
            await keep(at.store)
            await at.run()
            assert len((await at.stale.ask("proofs"))["proofs"]) == 2
            await at.archive.ask("delete", ref=LARGE.ref, why="somebody's mistake")
            await at.run()
            assert await at.is_local(LARGE.ref)
            for _ in range(4):
                await at.run()
            assert not await at.is_local(LARGE.ref)
            assert len(bucket.objects()) == 2

    asyncio.run(play())
