"""What a flood from one peer does to the latency of others: the median of calls of a quiet pair.

`calls`: the flood is another pair with 100 calls open at a time. `junk`: a peer that sends what
does not decode. `events`: one that publishes to a subscriber. Each as fast as the hub takes it,
through a whole hub with its control plane. Without --datapath the default one is measured under
these names and each other that is installed under its own (`reference/...`).

The same pair is measured without the flood (`alone`), with it, and (`same-cpu`) beside processes
that use as much CPU as the flooding ones but no bus. The three alternate in one run; medians.
Detail `cpu`: what the flooding processes use, in cores.

The hub has one core to itself. On another the flooding processes get what the quiet pair leaves
(SCHED_IDLE): how much of it they take otherwise is the scheduler's doing, which no bus can mend.
"""

import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import psutil
from benchlib import (
    BAD_USAGE,
    BenchError,
    Plan,
    Result,
    alternate,
    compared,
    fail,
    parser,
    play,
    rounded,
)
from benchproc import Process, hear, running
from busprograms import datapaths, python

from symphony.bus.datapaths import NATIVE, REFERENCE

FLOODS = ("calls", "junk", "events")
WARM_UP = 300
YIELDING = ("chrt", "--idle", "0")
LEAST_FLOOD = 0.1  # cores; less is none
EXAMPLES = """
--json
--only '*calls' --datapath reference"""


class Load:
    """Processes that run only while something is measured beside them."""

    def __init__(self, processes: Sequence[Process]) -> None:
        self._processes = processes
        self._seconds = 0.0
        self._signal(signal.SIGSTOP)
        self._before = self._used()

    def go_on(self) -> None:
        """Lets them run, at least to their end."""
        self._signal(signal.SIGCONT)

    def beside(self, measure: Callable[[], float]) -> float:
        begun = time.perf_counter()
        self.go_on()
        try:
            return measure()
        finally:
            self._signal(signal.SIGSTOP)
            self._seconds += time.perf_counter() - begun

    def shares(self) -> list[float]:
        """How much of a core each has used of the time that it ran."""
        pairs = zip(self._used(), self._before, strict=True)
        return [(now - before) / self._seconds for now, before in pairs]

    def _used(self) -> list[float]:
        return [sum(psutil.Process(one.pid).cpu_times()[:2]) for one in self._processes]

    def _signal(self, number: signal.Signals) -> None:
        for process in self._processes:
            os.kill(process.pid, number)


def fairness(case: str, rounds: int, calls: int, *, datapath: str, flood: str) -> list[Result]:
    """The quiet pair alone, flooded, and beside as much work."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        hubs, others = cores()

        def started(*command: str) -> Process:
            process = stack.enter_context(running(command))
            hear(process)
            return process

        def peer(role: str, name: str, *how: str) -> Process:
            return started(*how, *others, *python("fair_peer"), role, str(Path(folder, name)))

        started(*hubs, *python("fair_hub"), datapath, folder)
        peer("echo", "quiet-echo")
        quiet = peer("quiet", "quiet")
        subscriber = peer("echo", "loud-echo", *YIELDING)
        loud = peer(flood, "loud", *YIELDING)

        def latency(calls: int = calls) -> float:
            assert quiet.stdin is not None
            quiet.stdin.write(b"%d\n" % calls)
            return float(hear(quiet))

        def load(processes: list[Process]) -> Load:
            made = Load(processes)
            stack.callback(made.go_on)
            return made

        latency(WARM_UP)
        flooding = load([loud] if flood == "junk" else [loud, subscriber])
        assert loud.stdin is not None
        loud.stdin.write(b"go\n")
        flooding.beside(partial(latency, WARM_UP))  # before it is known what that costs
        burners = [
            started(*YIELDING, *others, *python("burn"), str(share)) for share in flooding.shares()
        ]
        other = load(burners)
        alone, flooded, same_cpu = alternate(
            rounds,
            latency,
            partial(flooding.beside, latency),
            partial(other.beside, latency),
        )
        cpu = sum(flooding.shares())
        if cpu < LEAST_FLOOD:
            raise BenchError("there was no flood: others use this machine", "try when it is idle")
        return [
            compared("fairness", case, "µs", flooded, "alone", alone),
            compared("fairness", case, "µs", flooded, "same-cpu", same_cpu),
            compared("fairness", f"{case}/same-cpu", "µs", same_cpu, "alone", alone),
            Result("fairness", f"{case}/cpu", "cores", rounded(cpu)),
        ]


def cores() -> tuple[list[str], list[str]]:
    """How to start something on the hub's core, and on that of everything else."""
    usable = sorted(os.sched_getaffinity(0))
    if len(usable) < 2:
        raise BenchError("one core is too few", "two are needed: for the hub and for the rest")
    return ["taskset", "-c", str(usable[0])], ["taskset", "-c", str(usable[1])]


def plan(chosen: tuple[str, ...], rounds: int, calls: int) -> Plan:
    """Every case by name; the first of the chosen datapaths has the plain names."""
    return {
        name: partial(fairness, name, rounds, calls, datapath=datapath, flood=flood)
        for datapath in chosen
        for flood in FLOODS
        for name in [flood if datapath == chosen[0] else f"{datapath}/{flood}"]
    }


def main() -> int:
    arguments = parser("fairness", __doc__ or "", EXAMPLES)
    arguments.add_argument("--quick", action="store_true", help="one short run of each")
    arguments.add_argument("--datapath", choices=(NATIVE, REFERENCE), help="this one alone")
    options = arguments.parse_args()
    chosen = (options.datapath,) if options.datapath else datapaths()
    if chosen[0] not in datapaths():
        fail(BAD_USAGE, f"the {chosen[0]} datapath is not installed", "scripts/setup run")
    rounds, calls = (1, 500) if options.quick else (7, 1_500)
    return play(plan(chosen, rounds, calls), options)


if __name__ == "__main__":
    sys.exit(main())
