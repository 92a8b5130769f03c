"""What the bus benchmark measures: one load through a hub, and what it cost."""

import socket
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from benchproc import Command, Process, hear, run, running
from busprograms import Ends, python

PATIENCE_S = 40.0


class Load(NamedTuple):
    """How much is asked of a hub: bodies of `size` bytes, `in_flight` calls open at a time."""

    size: int
    in_flight: int
    seconds: float

    def __str__(self) -> str:
        return f"{self.size}/{self.in_flight}"

    def arguments(self) -> list[str]:
        return [str(self.size), str(self.in_flight), str(self.seconds)]


@dataclass(frozen=True)
class Sample:
    """One measurement; what could not be measured is None."""

    rate: float  # round trips per second
    p50: float  # microseconds
    p99: float
    shed: float  # calls that the hub refused because it had too many
    cpu: float | None = None  # microseconds of the hub's CPU per round trip
    rss: float | None = None  # MiB that the hub held at most


UNITS = {"rate": "rt/s", "p50": "µs", "p99": "µs", "shed": "calls", "cpu": "µs/rt", "rss": "MiB"}


def middle(samples: Sequence[Sample]) -> Sample:
    """The medians."""

    def median_of(name: str) -> Any:
        values = [getattr(sample, name) for sample in samples]
        return None if None in values else median(values)

    return Sample(**{name: median_of(name) for name in UNITS})


def endpoints(transport: str, folder: Path) -> list[str]:
    """Two to listen at, for the caller and the callee."""
    if transport == "ipc":
        return [f"ipc://{folder}/caller.sock", f"ipc://{folder}/callee.sock"]
    with ExitStack() as stack:  # both at once, or the second might be the first again
        probes = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(2)]
        return [f"tcp://127.0.0.1:{probe.getsockname()[1]}" for probe in probes]


class Meter:
    """What a process has used since the meter was made. `busy`: its main thread does not count."""

    def __init__(self, process: Process, *, busy: bool = False) -> None:
        self._place = Path(f"/proc/{process.pid}")
        self._ignored = str(process.pid) if busy else ""
        self._begun = self._cpu()

    def sample(self, said: str) -> Sample:
        """What a caller printed, with what it cost the process."""
        plain, total = reading(said)
        cpu = (self._cpu() - self._begun) / 1000 / total
        return replace(plain, cpu=cpu, rss=self._memory("VmHWM"))

    def resident(self) -> float:
        """MiB now."""
        return self._memory("VmRSS")

    def _cpu(self) -> int:
        """Nanoseconds."""
        threads = [one for one in self._place.glob("task/*") if one.name != self._ignored]
        return sum(int((one / "schedstat").read_text("ascii").split()[0]) for one in threads)

    def _memory(self, name: str) -> float:
        status = (self._place / "status").read_text("ascii").splitlines()
        return float(next(line for line in status if line.startswith(name)).split()[1]) / 1024


def reading(said: str) -> tuple[Sample, float]:
    """What a caller printed: the sample, and the number of all its calls."""
    rate, p50, p99, shed, total = map(float, said.split())
    return Sample(rate, p50, p99, shed), total


def call(caller: Command, load: Load, environment: Mapping[str, str] | None = None) -> str:
    """What a caller prints."""
    return run([*caller, *load.arguments()], PATIENCE_S + 4 * load.seconds, environment)


def through_hub(
    hub: Command, ends: Ends, transport: str, load: Load, *, busy: bool = False
) -> Sample:
    """The C ends through a hub that is given its two endpoints."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        caller, callee = endpoints(transport, Path(folder))
        more = ["busy"] if busy else []
        process = stack.enter_context(running([*hub, caller, callee, *more]))
        hear(process)
        stack.enter_context(running([ends.load, "callee", callee]))
        meter = Meter(process, busy=busy)
        return meter.sample(call([ends.load, "caller", caller], load))


class Chain(NamedTuple):
    """A hub that is up, with its far end."""

    meter: Meter
    caller: Mapping[str, str]  # what a caller's environment must hold

    def sample(self, caller: Command, load: Load) -> Sample:
        return self.meter.sample(call(caller, load, self.caller))


@contextmanager
def chain(datapath: str, transport: str, callee: Command, idle: int = 0) -> Iterator[Chain]:
    """A whole hub with a registered extension, and so many idle peers, for callers to join."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        command = [*python("chain_hub"), datapath, *endpoints(transport, Path(folder)), folder]
        hub = stack.enter_context(running([*command, str(idle)]))
        hear(hub)
        if idle:
            tickets = [f"{folder}/idle-{number}" for number in range(idle)]
            stack.enter_context(running([*python("idle"), *tickets]))
        stack.enter_context(running(callee, {"SYMPHONY_TICKET": f"file:{folder}/callee"}))
        for _ in range(idle + 1):
            hear(hub)
        yield Chain(Meter(hub), {"SYMPHONY_TICKET": f"file:{folder}/caller"})
