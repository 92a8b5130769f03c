"""Artifact Store: what was put reads back; what was not acknowledged is whole or absent."""

import asyncio
from typing import Any, ClassVar

from crashstage import Gone, Member

from crashworlds.world import TS, World
from symphony.bus.errors import BusError

PUTTERS = 5  # so few that no commit is of sixteen files, which powercut.c would not see
LATER = ("2026-03-01T00:00:00.000Z", "2026-06-01T00:00:00.000Z")  # of a mark, of its sweep
MIB = 1 << 20
OLD = 20  # of those that were read before, so many are read again after each kill


class ArtifactsWorld(World):
    program: ClassVar[str] = "symphony-artifact-store"
    capability: ClassVar[str] = "pit.artifacts/1"
    changes: ClassVar[int] = 600

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._data: dict[str, bytes] = {}  # by name, of what was ever asked for
        self._put: dict[str, str] = {}  # references of what was acknowledged
        self._fresh: set[str] = set()  # of these, what was not read back yet
        self._open: set[str] = set()  # asked for and not answered
        self._going: set[str] = set()  # to be swept: may be there or not
        self._swept: set[str] = set()  # acknowledged

    def _content(self) -> bytes:
        shape = self.dice.random()
        if shape < 0.02:
            return self.dice.randbytes(self.dice.randint(MIB, MIB + MIB // 2))
        if shape < 0.06:
            return self.dice.randbytes(self.dice.randint(20_000, 300_000))
        return self.dice.randbytes(self.dice.randint(1, 40)) * self.dice.randint(1, 120)

    def _name(self) -> str:
        name = f"n{self.number()}"
        self._data[name] = f"{name}:".encode() + self._content()
        self._open.add(name)
        return name

    def _was_put(self, name: str, reference: str) -> None:
        self._open.discard(name)
        self._put[name] = reference
        self._fresh.add(name)

    async def first(self, member: Member) -> None:
        await member.call("list", limit=1)

    async def check(self, member: Member, *, powerless: bool) -> None:  # noqa: ARG002
        await member.call("configure", grace_s=1)
        known = sorted(set(self._put) - self._fresh - self._going - self._swept)
        for name in [*sorted(self._fresh), *self.dice.sample(known, min(OLD, len(known)))]:
            await self._check_there(member, name)
        self._fresh.clear()
        for name in sorted(self._open):
            found = (await member.call("list", name=name))["artifacts"]
            if found:
                self._put[name] = found[0]["ref"]
                await self._check_there(member, name)
        self._open.clear()
        for name in sorted(self._going):
            content = await self._read(member, self._put[name])
            if content not in (None, self._data[name]):
                self.wrong(f"{name}, which is to go, is there in part")
            if content is None:
                self._swept.add(name)
        self._going.clear()
        for name in self.dice.sample(sorted(self._swept), min(OLD, len(self._swept))):
            if await self._read(member, self._put[name]) is not None:
                self.wrong(f"{name} was swept and is there")
        if self.dice.random() < 0.1:
            await self._verify(member)

    async def _check_there(self, member: Member, name: str) -> None:
        if await self._read(member, self._put[name]) != self._data[name]:
            self.wrong(f"{name} was acknowledged as {self._put[name]} and does not read back")
            return
        found = (await member.call("list", name=name))["artifacts"]
        if [row["ref"] for row in found] != [self._put[name]]:
            self.wrong(f"{name} is listed as {found}")

    async def _read(self, member: Member, reference: str) -> bytes | None:
        content = b""
        while True:
            try:
                got = await member.call("get", ref=reference, offset=len(content), limit=MIB)
            except BusError as error:
                if error.code == "not-found":
                    return None
                self.wrong(f"{reference} cannot be read: {error}")
                return b""
            content += got["data"]
            if not got["more"]:
                return bytes(content)

    async def _verify(self, member: Member) -> None:
        answer = await member.call("verify")
        if answer["bad"] or answer.get("broken") is not None:
            self.wrong(f"verify found {answer}")

    def tasks(self, member: Member) -> list[asyncio.Task[None]]:
        work = [self._putting(member) for _ in range(PUTTERS)]
        return [asyncio.create_task(one) for one in (*work, self._sweeping(member))]

    async def _putting(self, member: Member) -> None:
        try:
            while True:
                if self.dice.random() < 0.15:
                    await self._put_many(member)
                    continue
                name = self._name()
                made = {"run": "r", "step": name, "player": "p"}
                answer = await member.call(
                    "put", data=self._data[name], name=name, made=made, ts=TS
                )
                self.acknowledged["put"] += 1
                self._was_put(name, answer["ref"])
        except Gone:
            return

    async def _put_many(self, member: Member) -> None:
        names = [self._name(), self._name()]
        items = [{"data": self._data[name][: MIB // 2], "name": name} for name in names]
        for name in names:
            self._data[name] = self._data[name][: MIB // 2]
        answer = await member.call("put_many", items=items, ts=TS)
        self.acknowledged["put_many"] += 1
        for name, item in zip(names, answer["items"], strict=True):
            self._was_put(name, item["ref"])

    async def _sweeping(self, member: Member) -> None:
        try:
            while True:
                there = sorted(set(self._put) - self._going - self._swept)
                if len(there) < 20:
                    await member.call("list", limit=1)
                    continue
                names = self.dice.sample(there, 2)
                refs = [self._put[name] for name in names]
                self._fresh.difference_update(names)
                self._going.update(names)
                await member.call("mark", refs=refs, why="a test", ts=LATER[0])
                pressure = {"plan": "p1", "used": 2, "bytes": 1, "value": 1}
                proofs = [{"ref": ref, "pressure": pressure} for ref in refs]
                answer = await member.call("sweep", refs=refs, proofs=proofs, ts=LATER[1])
                self.acknowledged["sweep"] += 1
                freed = {row["ref"] for row in answer["freed"]}
                if freed != set(refs):
                    self.wrong(f"{refs} were to be swept, and {answer} was")
                self._going.difference_update(names)
                self._swept.update(names)
        except Gone:
            return

    async def finish(self, member: Member) -> None:
        for name in sorted(set(self._put) - self._swept):
            await self._check_there(member, name)
        await self._verify(member)
        await member.leave()
