"""Members of the Pit under load, killed at random instants, on a disk that may lose its power.

A ledger of what each member acknowledged proves that nothing of it is lost or done twice. See
`scripts/crash --help`.
"""

import argparse
import asyncio
import json
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from benchlib import BAD_USAGE, FAILED, INTERRUPTED, BenchError, fail, say
from crashdisk import Disk, Harm, compiled
from crashstage import PATIENCE_S, Gone, Member, Stage, milliseconds_since
from crashworlds import WORLDS, World

from symphony.bus.errors import BusError

LONGEST_LIFE_S = 3.0  # after which it is killed wherever it is
STARTED = 16  # changes of the disk, about, until a member has started
EARLY = 0.15  # of the kills: while it starts
TIMED = 0.3  # of the kills: by the clock, else at a change of the disk
ENOUGH = 20  # faults, after which nothing more is learned


@dataclass(frozen=True)
class Kill:
    """One line of the plan: when, and what becomes of what was not synced."""

    harm: Harm
    at_change: int | None
    after_s: float

    @classmethod
    def drawn(cls, dice: random.Random, changes: int) -> "Kill":
        harm = dice.choice(list(Harm))
        draw = dice.random()
        if draw < EARLY:
            return cls(harm, dice.randint(1, STARTED), LONGEST_LIFE_S)
        if draw < EARLY + TIMED:
            return cls(harm, None, dice.uniform(0.0, 0.3))
        return cls(harm, dice.randint(STARTED, changes), LONGEST_LIFE_S)


@dataclass
class Report:
    """What the kills of one member came to."""

    member: str
    seed: int
    kills: int = 0
    while_starting: int = 0
    harms: Counter[str] = field(default_factory=Counter)
    acknowledged: Counter[str] = field(default_factory=Counter)
    refused: int = 0  # stores of which something acknowledged was damaged: the control
    recovery_ms: list[float] = field(default_factory=list)
    seconds: float = 0.0
    faults: list[str] = field(default_factory=list)

    def line(self) -> dict[str, Any]:
        times = self.recovery_ms or [0.0]
        return {
            "crash": self.member,
            "seed": self.seed,
            "kills": self.kills,
            "while_starting": self.while_starting,
            "harms": dict(sorted(self.harms.items())),
            "acknowledged": dict(sorted(self.acknowledged.items())),
            "refused": self.refused,
            "recovery_ms": round(median(times), 1),
            "recovery_max_ms": round(max(times), 1),
            "seconds": round(self.seconds, 1),
            "faults": self.faults,
        }


class Trial:
    """The lives and deaths of one member."""

    def __init__(self, world: World, member: Member, disk: Disk, report: Report) -> None:
        self._world, self._member, self._disk, self._report = world, member, disk, report
        self._powerless = False  # since the last check

    async def run(self, plan: list[Kill], stop: asyncio.Event) -> None:
        for number, kill in enumerate(plan, 1):
            if stop.is_set() or len(self._report.faults) >= ENOUGH:
                return
            say(f"{self._report.member}: kill {number} of {len(plan)} ({kill.harm})")
            before = len(self._world.faults)
            await self._live(kill)
            self._report.kills += 1
            self._report.harms[kill.harm] += 1
            new = self._world.faults[before:]
            self._report.faults += [f"found at kill {number}: {fault}" for fault in new]
        await self._start(None)
        await self._world.check(self._member, powerless=self._powerless)
        await self._control()
        await self._world.finish(self._member)
        self._report.faults += self._world.faults[len(self._report.faults) :]

    async def _control(self) -> None:
        """Rot of what was acknowledged is no torn tail: it is refused, and nothing is changed."""
        await self._member.kill()
        rotten = self._disk.rot(self._world.dice)
        if rotten is not None:
            path, whole = rotten
            found = path.read_bytes()
            try:
                await self._start(None)
            except BenchError:
                self._report.refused += 1
            else:
                self._world.wrong(f"{path.name} has rotted, and nobody says so")
            if path.read_bytes() != found:
                self._world.wrong(f"{path.name} had rotted and was changed")
            await self._member.kill()
            path.write_bytes(whole)
        await self._start(None)
        await self._world.check(self._member, powerless=False)

    async def _live(self, kill: Kill) -> None:
        if await self._start(kill.at_change):
            try:
                await self._world.check(self._member, powerless=self._powerless)
            except Gone:
                self._report.while_starting += 1
            else:
                self._powerless = False
                await self._work(kill)
        else:
            self._report.while_starting += 1
        await self._member.kill()
        await asyncio.to_thread(self._disk.harm, kill.harm, self._world.dice)
        self._powerless = self._powerless or kill.harm is not Harm.KEPT

    async def _start(self, at_change: int | None) -> bool:
        """Whether it recovered; false where it was killed meanwhile. Raises BenchError where it
        refuses its store."""
        begun = time.monotonic()
        program = self._member.program
        if await self._member.start(self._disk.store, self._disk.environment(at_change)):
            try:
                await self._world.first(self._member)
            except Gone:
                return False
            except BusError as error:
                if error.code != "corrupt":
                    raise
                raise BenchError(f"{program} refuses its store: {error}") from None
            self._report.recovery_ms.append(milliseconds_since(begun))
            return True
        if self._member.code == -signal.SIGKILL:
            return False
        said = self._member.said.decode(errors="replace").strip()
        raise BenchError(f"{program} does not start: {self._member.code} {said}")

    async def _work(self, kill: Kill) -> None:
        tasks = self._world.tasks(self._member)
        await self._member.ended(kill.after_s)
        await self._member.kill()
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.gather(*tasks)


async def try_member(options: argparse.Namespace, name: str, stop: asyncio.Event) -> Report:
    """Kills one member as often as was asked for."""
    report = Report(name, options.seed)
    made = WORLDS[name]
    plan_dice = random.Random(f"{options.seed} {name}")  # noqa: S311 - to be repeatable
    plan = [Kill.drawn(plan_dice, made.changes) for _ in range(options.kills)]
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="crash-") as place:
        folder = Path(place)
        stage = Stage(folder)
        await stage.hub.start()
        world = made(stage, plan_dice)
        member = Member(stage, made.program, made.capability, made.asks)
        disk = Disk(folder, compiled(folder), lies=options.without_sync)
        try:
            await world.prepare()
            await Trial(world, member, disk, report).run(plan, stop)
        except (BenchError, BusError, TimeoutError) as error:
            at = f"after kill {report.kills}"
            report.faults.append(f"{at}: {error}, {member.program} said {member.said.decode()}")
        finally:
            await member.kill()
            await world.close()
            await stage.hub.close()
        report.faults += stage.faults
        report.acknowledged = world.acknowledged
    report.seconds = time.monotonic() - begun
    return report


def killed(path: Path | None, name: str, seed: int) -> int:
    """Kills of this plan that earlier runs have written down, without faults."""
    if path is None or not path.exists():
        return 0
    try:
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        good = [row for row in rows if (row["crash"], row["seed"]) == (name, seed)]
        return sum(int(row["kills"]) for row in good if not row["faults"])
    except (OSError, ValueError, TypeError, KeyError) as error:
        fail(BAD_USAGE, f"not a file of crashes: {path} ({error})", "name another with --keep")


def show(line: dict[str, Any]) -> None:
    """For people."""
    for name, value in line.items():
        text = "  ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else value
        print(f"{name:>15}  {text}")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/crash",
        description="Members of the Pit under load on a real hub, killed at random instants: by the"
        " clock, at a change of the disk, while they start. What was not synced by then is kept,"
        " lost, cut short, zeroed, flipped or doubled. After each start a ledger proves that"
        " nothing of what was acknowledged is lost or done twice, and nothing is there in part;"
        " nobody repairs anything. At the end a bit of what was acknowledged is flipped, which"
        " must be refused.",
        epilog="examples:\n  scripts/crash\n  scripts/crash --member pool --kills 20 --json\n"
        "  scripts/crash --keep crashes.jsonl    members that were done before are skipped\n"
        "  scripts/crash --without-sync          on a disk that lies: losses must be found",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--kills", type=int, default=100, help="of each member (100)")
    parser.add_argument(
        "--member", action="append", choices=list(WORLDS), help="instead of all; may be repeated"
    )
    parser.add_argument("--seed", type=int, default=1, help="of the plan (1)")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    parser.add_argument(
        "--keep", type=Path, metavar="FILE", help="add results to FILE; kill who is missing"
    )
    parser.add_argument(
        "--without-sync", action="store_true", help="let every sync do nothing: the proof must fail"
    )
    options = parser.parse_args()
    if options.kills <= 0:
        parser.error("kills are more than 0")
    return options


async def try_all(options: argparse.Namespace) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for sign in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(sign, stop.set)
    code = 0
    for name in options.member or WORLDS:
        if killed(options.keep, name, options.seed) >= options.kills:
            say(f"{name}: killed before")
            continue
        report = await try_member(options, name, stop)
        line = report.line()
        if stop.is_set():
            print("error: interrupted", file=sys.stderr)
            return INTERRUPTED
        if options.keep is not None:
            with options.keep.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
        say("")
        if options.json:
            print(json.dumps(line), flush=True)
        else:
            show(line)
        code = FAILED if report.faults else code
    return code


def main() -> int:
    options = arguments()
    try:
        return asyncio.run(try_all(options))
    except BenchError as error:
        error.show()
        return FAILED


if __name__ == "__main__":
    sys.exit(main())
