"""Arbitration: no grant lost or given twice, what was spent is charged once."""

import asyncio
from typing import Any, ClassVar

from crashstage import Member

from crashworlds.world import TS, Worker, World
from symphony.bus.errors import BusError

CAPACITY = 8
WORKERS = 12
EXPLAINED = 5_000  # grants; the last 10,000 are
TENANTS = ("a", "b", "c")


class Caller(Worker):
    """Asks for something, pays for it, gives it back."""

    def __init__(self, world: "ArbitrationWorld", tenant: str) -> None:
        super().__init__(world)
        self.world = world
        self.tenant = tenant
        self.name = ""
        self.grant: str | None = None
        self.paid = False

    @property
    def is_idle(self) -> bool:
        return not self.asked and self.grant is None

    def next(self) -> tuple[str, dict[str, Any]]:
        number, dice = self.world.number(), self.world.dice
        if self.grant is None:
            self.name = f"q{number}"
            needs = {"slots": dice.randint(1, 3)}
            args = {"id": self.name, "run": self.name, "tenant": self.tenant, "needs": needs}
            return "request", {**args, "ts": TS}
        args = {"id": f"i{number}", "grant": self.grant, "ts": TS}
        if self.paid:
            return "release", {**args, "outcome": "ok"}
        amounts = {"money": dice.randint(1, 9)}
        return "charge", {**args, "run": self.name, "tenant": self.tenant, "amounts": amounts}

    def answered(self, method: str, args: dict[str, Any], answer: Any) -> None:
        if method == "request":
            self.grant = answer["grant"]
            self.world.granted(args, answer)
        elif method == "charge":
            self.paid = True
            self.world.spent += args["amounts"]["money"]
        else:
            self.grant, self.paid = None, False


class ArbitrationWorld(World):
    program: ClassVar[str] = "symphony-arbitration"
    capability: ClassVar[str] = "pit.arbitration/1"

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.spent = 0
        self._grants: dict[str, str] = {}  # every one that was told, by its request
        self._callers = [Caller(self, TENANTS[at % len(TENANTS)]) for at in range(WORKERS)]

    def granted(self, args: dict[str, Any], answer: Any) -> None:
        if answer["grant"] in self._grants.values():
            self.wrong(f"{answer['grant']} was given twice")
        if answer["needs"] != args["needs"]:
            self.wrong(f"{answer['grant']} is of {answer['needs']}, not {args['needs']}")
        self._grants[args["id"]] = answer["grant"]

    async def first(self, member: Member) -> None:
        await member.call("queue")

    async def check(self, member: Member, *, powerless: bool) -> None:  # noqa: ARG002
        queue = await member.call("queue")
        held = {row["grant"]: row for row in queue["held"]}
        must: set[str] = set()
        may: set[str] = set()
        runs: set[str] = set()
        for caller in self._callers:
            asked = caller.asked[0] if caller.asked else ""
            if caller.grant is not None:
                (may if asked == "release" else must).add(caller.grant)
            if asked == "request":
                runs.add(caller.name)
        for grant in must - held.keys():
            self.wrong(f"{grant} was granted and is lost")
        for grant in held.keys() - must - may:
            if held[grant]["run"] not in runs:
                self.wrong(f"{grant} of {held[grant]['run']} is out, and nobody has it")
        used = sum(row["needs"]["slots"] for row in held.values())
        if used > CAPACITY:
            self.wrong(f"{used} slots of {CAPACITY} are out")
        await self._check_spending(member)
        await self._configure(member)
        known = list(self._grants)[-EXPLAINED:]
        for name in self.dice.sample(known, min(3, len(known))):
            try:
                now = str((await member.call("explain", id=name))["grant"])
            except BusError as error:
                now = str(error)
            if now != self._grants[name]:
                self.wrong(f"{name} was granted as {self._grants[name]}, and now {now}")

    async def _check_spending(self, member: Member) -> None:
        rows = (await member.call("budgets"))["budgets"]
        spent = sum(row["spent"] for row in rows)
        open_ = [
            caller.asked[1]["amounts"]["money"]
            for caller in self._callers
            if caller.asked and caller.asked[0] == "charge"
        ]
        possible = {self.spent}
        for amount in open_:
            possible |= {sum_ + amount for sum_ in possible}
        if spent not in possible:
            self.wrong(f"{spent} is spent, {self.spent} was charged, {open_} may have been")

    async def _configure(self, member: Member) -> None:
        budget = {"name": "all", "per": "all", "resource": "money", "limit": 1 << 40}
        await member.call(
            "configure",
            resources={"slots": {"capacity": CAPACITY}},
            tenants={name: {"weight": at + 1} for at, name in enumerate(TENANTS)},
            budgets=[budget],
        )

    def tasks(self, member: Member) -> list[asyncio.Task[None]]:
        return [asyncio.create_task(caller.work(member)) for caller in self._callers]

    async def finish(self, member: Member) -> None:
        """Everything that is open is done, once: then nothing is out and the sum is exact."""
        await asyncio.gather(*(caller.settle(member) for caller in self._callers))
        queue = await member.call("queue")
        if queue["held"] or queue["waiting"]:
            self.wrong(f"at the end there are still {queue['held']} {queue['waiting']}")
        rows = (await member.call("budgets"))["budgets"]
        if sum(row["spent"] for row in rows) != self.spent:
            self.wrong(f"at the end {rows} is spent, not {self.spent}")
        await member.leave()
