"""Stale Manager on a real store and tracker: nothing is lost, what is freed is proven."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

from crashstage import Gone, Member

from crashworlds.world import TS, World
from symphony.bus.errors import BusError

STORE, TRACKER = "pit.artifacts/1", "pit.dag/1"
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
AGAIN = 10
QUESTIONS = 200  # between two words of people, or until a run of the curator is over


class StaleWorld(World):
    program: ClassVar[str] = "symphony-stale-manager"
    capability: ClassVar[str] = "pit.stale/1"
    asks: ClassVar[tuple[str, ...]] = (STORE, TRACKER)
    changes: ClassVar[int] = 400

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._store = Member(self.stage, "symphony-artifact-store", STORE, ())
        self._tracker = Member(self.stage, "symphony-dag-tracker", TRACKER, ())
        self._data: dict[str, bytes] = {}  # by reference
        self._pinned: set[str] = set()  # acknowledged
        self._pinning: set[str] = set()  # asked for
        self._used: set[str] = set()  # by a run that is open
        self._freed: set[str] = set()  # seen to be gone
        self._words: dict[str, dict[str, Any]] = {}  # acknowledged feedback by id
        self._runs: dict[str, dict[str, Any]] = {}  # runs of the curator that were answered
        self._proofs = 0
        self._days = 0

    def _ts(self) -> str:
        at = BEGIN + timedelta(days=self._days)
        return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")

    async def prepare(self) -> None:
        for member in (self._store, self._tracker):
            store = self.stage.folder / member.program
            await member.start(store)
        await self._store.call("configure", grace_s=1)
        await self._make(6)
        self._used = set(sorted(self._data)[:3])
        await self._tracker.call(
            "open",
            run="open-run",
            melody="m",
            version="1.0.0",
            digest="d",
            document={},
            inputs={ref: ref for ref in self._used},
            steps=[{"id": "a"}],
            ts=TS,
        )

    async def _make(self, count: int) -> None:
        for _ in range(count):
            number = self.number()
            data = f"{number}:".encode() + self.dice.randbytes(self.dice.randint(1, 900))
            made = {"run": f"r{number % 7}", "step": "s", "player": f"p{number % 3}"}
            answer = await self._store.call(
                "put", data=data, name=f"n{number}", made=made, ts=self._ts()
            )
            self._data[answer["ref"]] = data

    async def first(self, member: Member) -> None:
        await member.call("report")

    async def check(self, member: Member, *, powerless: bool) -> None:  # noqa: ARG002
        await member.call("configure", local_days=2, pack_days=1, valuable=0)
        report = await member.call("report")
        if not len(self._pinned) <= report["pins"] <= len(self._pinned | self._pinning):
            self.wrong(f"{len(self._pinned)} pins were acknowledged, {report['pins']} are there")
        if report["proofs"] < self._proofs:
            self.wrong(f"{self._proofs} proofs were told, {report['proofs']} are there")
        for id_, args in self._words.items():
            await member.call("feedback", **args)  # the same again: no effect
            try:
                await member.call("feedback", **{**args, "score": args["score"] + 1})
            except BusError as error:
                if error.code == "conflict":
                    continue
            self.wrong(f"the feedback {id_} was acknowledged and is forgotten")
        for id_, reply in self._runs.items():
            if await member.call("run", id=id_, ts=self._ts()) != reply:
                self.wrong(f"the run {id_} was answered and is done again")
        self._forget()
        await self._check_kept(member)

    def _forget(self) -> None:
        """Older ones were asked often enough."""
        for table in (self._words, self._runs):
            for key in list(table)[: -2 * AGAIN]:
                del table[key]

    async def _check_kept(self, member: Member) -> None:
        """Whatever was put is at the store, or proven to be in the archive."""
        gone = set()
        for ref in sorted(set(self._data) - self._freed):
            if (content := await self._read(ref)) is None:
                gone.add(ref)
            elif content != self._data[ref]:
                self.wrong(f"the store gives other bytes for {ref}")
        for ref in sorted(gone & (self._pinned | self._used)):
            self.wrong(f"{ref} had to stay and is gone")
        proven = await self._proven(member)
        for ref in sorted(gone - proven):
            self.wrong(f"{ref} was freed without a proof")
        self._freed |= gone
        self._proofs = max(self._proofs, len(proven))
        again = self.dice.sample(sorted(self._freed), min(2, len(self._freed)))
        for ref in again:
            await self._restore(member, ref)

    async def _read(self, ref: str) -> bytes | None:
        try:
            return bytes((await self._store.call("get", ref=ref))["data"])
        except BusError as error:
            if error.code != "not-found":
                raise
            return None

    async def _proven(self, member: Member) -> set[str]:
        proven: set[str] = set()
        after = 0
        while True:
            page = await member.call("proofs", after=after)
            proven |= {proof["ref"] for proof in page["proofs"]}
            if "next" not in page:
                return proven
            after = page["next"]

    async def _restore(self, member: Member, ref: str) -> None:
        answer = await member.call("restore", ref=ref, id=f"b{self.number()}", ts=self._ts())
        self.acknowledged["restore"] += 1
        if answer["missing"] or await self._read(ref) != self._data[ref]:
            self.wrong(f"{ref} does not come back from the archive: {answer}")
        self._freed.discard(ref)

    def tasks(self, member: Member) -> list[asyncio.Task[None]]:
        return [asyncio.create_task(one) for one in (self._curate(member), self._tell(member))]

    async def _curate(self, member: Member) -> None:
        try:
            while True:
                self._days += 4
                await self._make(4)
                id_, ts = f"c{self.number()}", self._ts()
                answer = await member.call("run", id=id_, ts=ts)
                self.acknowledged["run"] += 1
                if (answer["failed"] or "stopped" in answer) and not self.troubled:
                    self.wrong(f"a run went wrong: {answer}")
                if "stopped" not in answer:  # else it goes on when it is asked again
                    self._runs[id_] = answer
        except Gone:
            return

    async def _tell(self, member: Member) -> None:
        """What people say while it works."""
        try:
            while True:
                await self._pin(member)
                args = {
                    "id": f"f{self.number()}",
                    "run": f"r{self.dice.randrange(7)}",
                    "score": self.dice.randint(0, 900),
                    "who": "me",
                    "ts": TS,
                }
                await member.call("feedback", **args)
                self.acknowledged["feedback"] += 1
                self._words[str(args["id"])] = args
                note = {"id": f"o{self.number()}", "run": args["run"], "outcome": "succeeded"}
                await member.call("note", **note, ts=TS)
                self.acknowledged["note"] += 1
                runs = self.acknowledged["run"]
                for _ in range(QUESTIONS):
                    if self.acknowledged["run"] == runs:
                        await member.call("report")
        except Gone:
            return

    async def _pin(self, member: Member) -> None:
        """Of every thirtieth artifact; one that is there once the pin is told has to stay."""
        free = sorted(set(self._data) - self._freed - self._pinning)
        if len(self._pinning) * 30 >= len(self._data) or not free:
            return
        ref = self.dice.choice(free)
        self._pinning.add(ref)
        await member.call("pin", ref=ref, who="me", why="a test", ts=self._ts())
        self.acknowledged["pin"] += 1
        if await self._read(ref) is None:
            await member.call("unpin", ref=ref, who="me", why="a test", ts=self._ts())
            self._pinning.discard(ref)
        else:
            self._pinned.add(ref)

    async def finish(self, member: Member) -> None:
        await self._check_kept(member)
        for ref in sorted(self._freed):
            await self._restore(member, ref)
        await member.leave()

    async def close(self) -> None:
        for member in (self._store, self._tracker):
            await member.kill()
