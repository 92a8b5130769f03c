"""A soak: callers and providers at a share of what they can do, killed at random, for minutes.

Ledgers at both ends prove that no acknowledged call is lost or done twice; the hub's memory is
measured each second. See `scripts/soak --help`.
"""

import argparse
import asyncio
import json
import random
import signal
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from benchlib import BAD_USAGE, FAILED, INTERRUPTED, BenchError, fail, say
from soakhub import Peers, StressedHub
from soakledger import Verdict, judge

from symphony.bus.datapaths import NATIVE, REFERENCE
from symphony.bus.native import available

CALLERS = 3
PROVIDERS = 3
CALIBRATION_S = 3.0
WARM_UP = 0.25  # of the time, before memory counts
GROWTH = 0.05
JUDGED_MINUTES = 5.0  # a shorter soak's memory is reported and not judged


@dataclass
class Stint:
    """One uninterrupted soak, as it is reported."""

    datapath: str
    seed: int
    minutes: float = 0.0
    capacity: float = 0.0  # calls per second
    rate: float = 0.0
    kills: int = 0
    crashes: int = 0
    rss_kib: list[int] = field(default_factory=list)  # each second
    growth: float = 0.0  # of the hub's memory, from the first third after the warm-up to the last
    left_open: int = 0  # calls in the hub after all have ended
    verdict: Verdict = field(default_factory=Verdict)
    faults: list[str] = field(default_factory=list)

    def conclude(self) -> None:
        """Fills in what follows from the rest."""
        settled = self.rss_kib[int(len(self.rss_kib) * WARM_UP) :]
        third = len(settled) // 3
        if third:
            self.growth = median(settled[-third:]) / median(settled[:third]) - 1
        judged = self.minutes >= JUDGED_MINUTES
        for wrong, text in (
            (self.verdict.lost, f"lost: {self.verdict.lost[:10]}"),
            (self.verdict.doubled, f"doubled: {self.verdict.doubled[:10]}"),
            (self.verdict.answered == 0, "no call was answered"),
            (self.left_open, f"{self.left_open} calls are open in the hub after the end"),
            (judged and self.growth > GROWTH, f"memory grew by {self.growth:.1%}"),
        ):
            if wrong:
                self.faults.append(text)

    def report(self) -> dict[str, Any]:
        verdict = self.verdict
        return {
            "soak": self.datapath,
            "seed": self.seed,
            "minutes": round(self.minutes, 2),
            "capacity": round(self.capacity),
            "rate": round(self.rate),
            "answered": verdict.answered,
            "done": verdict.done,
            "errors": dict(verdict.errors),
            "lost": len(verdict.lost),
            "doubled": len(verdict.doubled),
            "kills": self.kills,
            "crashes": self.crashes,
            "p50_us": round(verdict.p50_us),
            "p99_us": round(verdict.p99_us),
            "rss_kib": self.rss_kib,
            "growth": round(self.growth, 4),
            "faults": self.faults,
        }


class Soak:
    """The processes of one stint."""

    def __init__(self, options: argparse.Namespace, stint: Stint, folder: Path) -> None:
        self._stint = stint
        self._options = options
        self._folder = folder
        self._random = random.Random(stint.seed)  # noqa: S311 - to be repeatable
        self.stop = asyncio.Event()

    async def run(self, minutes: float) -> None:
        """Soaks for so long or until told to stop; fills the stint."""
        stint = self._stint
        stint.capacity = await self._capacity()
        stint.rate = stint.capacity * self._options.load
        folder = self._folder / "soak"
        folder.mkdir()
        self._hub = await StressedHub.start(stint.datapath, folder, self._noticed)
        self._providers = Peers("provider", self._hub, folder)
        self._callers = Peers("caller", self._hub, folder)
        try:
            await self._fill(stint.rate)
            begun = time.monotonic()
            await self._disturb(begun, begun + minutes * 60)
            stint.minutes = (time.monotonic() - begun) / 60
            say("the last calls end")
            await self._callers.finish()
            stint.left_open = int(await self._hub.ask("open"))
            stint.kills = self._callers.killed + self._providers.killed
            stint.crashes = (await self._hub.counters())["restarts"]
            stint.verdict = judge(self._providers.ledgers(), self._callers.ledgers())
        finally:
            await self._callers.end()
            await self._providers.end()
            await self._hub.end()

    async def _capacity(self) -> float:
        """Calls per second of the same processes at full speed, undisturbed."""
        say("measuring what the hub and its peers can do")
        folder = self._folder / "capacity"
        folder.mkdir()
        self._hub = await StressedHub.start(self._stint.datapath, folder, self._noticed)
        self._providers = Peers("provider", self._hub, folder)
        self._callers = Peers("caller", self._hub, folder)
        try:
            await self._fill(0)
            begun = time.monotonic()
            await self._wait(CALIBRATION_S)
            await self._callers.finish()
            took = time.monotonic() - begun
            return judge(self._providers.ledgers(), self._callers.ledgers()).answered / took
        finally:
            await self._callers.end()
            await self._providers.end()
            await self._hub.end()

    async def _fill(self, rate: float) -> None:
        self._caller_rate = str(rate / CALLERS)
        for _ in range(PROVIDERS):
            await self._providers.add()
        for _ in range(CALLERS):
            await self._callers.add(self._caller_rate)

    async def _disturb(self, begun: float, end: float) -> None:
        """Kills and crashes at random moments, and measures the hub each second."""
        kill_at = begun + self._kill_pause()
        crash_at = begun + self._crash_pause()
        while not self.stop.is_set() and (now := time.monotonic()) < end:
            self._stint.rss_kib.append(self._hub.rss_kib())
            left = end - now
            say(
                f"{self._stint.datapath}: {left / 60:.1f} min left"
                f" at {self._stint.rate:.0f} calls/s, hub {self._stint.rss_kib[-1] / 1024:.1f} MiB,"
                f" killed {self._callers.killed + self._providers.killed}"
            )
            if now >= kill_at:
                await self._kill()
                kill_at = now + self._kill_pause()
            if now >= crash_at:
                await self._hub.ask("crash")
                crash_at = now + self._crash_pause()
            if ended := self._callers.ended() + self._providers.ended():
                raise BenchError(f"ended by themselves: {', '.join(ended)}")
            await self._wait(1.0 - (time.monotonic() - now))

    async def _kill(self) -> None:
        peers = self._random.choice((self._callers, self._providers))
        await peers.kill(self._random.choice(peers.names()))
        await peers.add(*([self._caller_rate] if peers is self._callers else []))

    def _kill_pause(self) -> float:
        return self._random.uniform(1.0, 5.0)

    def _crash_pause(self) -> float:
        return self._random.uniform(4.0, 12.0)  # more often, and the kernel would give up

    def _noticed(self, notice: list[str]) -> None:
        if notice[0] in ("rejected", "overdue", "ended", "bug"):
            self._stint.faults.append(" ".join(notice))

    async def _wait(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self.stop.wait(), max(0.0, seconds))


async def soak(options: argparse.Namespace, datapath: str, minutes: float) -> tuple[Stint, bool]:
    """One stint, and whether it was stopped before its time."""
    stint = Stint(datapath, options.seed)
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        made = Soak(options, stint, Path(folder))
        loop = asyncio.get_running_loop()
        for sign in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(sign, made.stop.set)
        try:
            await made.run(minutes)
        except (BenchError, TimeoutError) as error:
            stint.faults.append(str(error) or "callers do not end")
    stint.conclude()
    return stint, made.stop.is_set()


def soaked(path: Path | None, datapath: str) -> float:
    """Minutes that earlier runs have written down, without faults."""
    if path is None or not path.exists():
        return 0.0
    try:
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        good = [row for row in rows if row["soak"] == datapath and not row["faults"]]
        return sum(float(row["minutes"]) for row in good)
    except (OSError, ValueError, TypeError, KeyError) as error:
        fail(BAD_USAGE, f"not a file of soaks: {path} ({error})", "name another with --keep")


def show(report: dict[str, Any]) -> None:
    """For people."""
    series = report.pop("rss_kib")
    for name, value in report.items():
        print(f"{name:>10}  {value}")
    step = max(1, len(series) // 20)
    print("   rss MiB ", *(f"{kib / 1024:.1f}" for kib in series[::step]))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/soak",
        description="Callers and providers at a share of what they can do, with random kills of"
        " both and of the hub's thread. Ledgers at both ends prove that no acknowledged call is"
        " lost or done twice; the hub's memory must stay flat.",
        epilog="examples:\n  scripts/soak\n  scripts/soak --minutes 0.3 --datapath native --json\n"
        "  scripts/soak --keep soak.jsonl    an interrupted soak goes on where it was",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--minutes", type=float, default=10.0, help="for each datapath (10)")
    parser.add_argument("--load", type=float, default=0.5, help="share of the capacity (0.5)")
    parser.add_argument(
        "--datapath", choices=(NATIVE, REFERENCE), help="instead of each that is installed"
    )
    parser.add_argument("--seed", type=int, default=1, help="of the kills (1)")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    parser.add_argument(
        "--keep", type=Path, metavar="FILE", help="add results to FILE; soak what is missing"
    )
    options = parser.parse_args()
    if options.minutes <= 0 or not 0 < options.load <= 1:
        parser.error("minutes are more than 0, a load is more than 0 and at most 1")
    return options


def main() -> int:
    options = arguments()
    chosen = [options.datapath] if options.datapath else [NATIVE, REFERENCE]
    code = 0
    for datapath in chosen:
        if datapath == NATIVE and not available():
            if options.datapath:
                fail(BAD_USAGE, "the native datapath is not installed", "install symphony-native")
            continue
        minutes = options.minutes - soaked(options.keep, datapath)
        if minutes <= 0.01:
            say(f"{datapath}: soaked before")
            continue
        stint, stopped = asyncio.run(soak(options, datapath, minutes))
        say("")
        report = stint.report()
        if options.keep is not None:
            with options.keep.open("a", encoding="utf-8") as file:
                file.write(json.dumps(report) + "\n")
        if options.json:
            print(json.dumps(report), flush=True)
        else:
            show(report)
        code = FAILED if stint.faults else code
        if stopped:
            print("error: interrupted", file=sys.stderr)
            return INTERRUPTED
    return code


if __name__ == "__main__":
    sys.exit(main())
