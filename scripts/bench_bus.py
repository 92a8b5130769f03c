"""Round trips through the hub, each case beside the same hub in C; and beside other systems.

TRANSPORT/BYTES/IN_FLIGHT is our datapath alone: the ends are the same C programs for both hubs,
linked with the very libzmq that the datapath uses. `busy/...` is the same while the main thread of
the hub's process is busy in Python; `c-hub-busy` is the hub in C beside a process as busy, on the
same cores. Without --datapath the default one is measured under these names and each other that is
installed under its own (`reference/...`).

A chain has our clients on both ends of a whole hub: `chain` the blocking Python client and a Python
extension, `chain-async` the asyncio client and the same extension, `chain-rust` both ends in Rust;
over ipc, with `-tcp` over tcp and CURVE, which the C programs do without. The Python ones over ipc
also stand beside NATS, Redis (lists over a unix socket) and Ray (actor calls). These are set up in
.bench-env/ when a case first needs them; one that cannot be had is told and left out.

`scale/PEERS/IN_FLIGHT`: median latency at 64 bytes with so many idle peers connected, beside none,
and KiB of the hub's memory for each of them.

Details of a case: p50 and p99 in microseconds, cpu of the hub for a round trip, rss of the hub at
most, shed: calls that the hub refused because it had too many, each of which takes one off the
calls in flight. Runs of ours and theirs alternate; medians.
"""

import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from functools import cache, partial
from itertools import product
from pathlib import Path

import benchpeers
from benchlib import (
    BAD_USAGE,
    BenchError,
    Plan,
    Result,
    compared,
    fail,
    parser,
    play,
    rounded,
    say,
    take_turns,
)
from benchproc import running
from busload import UNITS, Load, Sample, chain, middle, through_hub
from busprograms import c_ends, datapaths, python, rust_programs

from symphony.bus.datapaths import NATIVE, REFERENCE

SIZES = (64, 1024, 65536, 1 << 20)
IN_FLIGHT = (100, 1, 1000)
TRANSPORTS = ("ipc", "tcp")
CHAINS = ("chain", "chain-async", "chain-rust")
PEERS = ("nats", "redis", "ray")
IDLE = (100, 500, 1000)
EXAMPLES = """
--json
--only 'ipc/*/100'
--only 'chain*/64/100' --quick
--datapath reference --no-peers --keep bus.jsonl --markdown"""

Measure = Callable[[], Sample]


def results(case: str, samples: Mapping[str, Sample]) -> Iterator[Result]:
    """What was measured of ours, beside each of the others."""
    ours = samples["ours"]
    for detail, unit in UNITS.items():
        name = case if detail == "rate" else f"{case}/{detail}"
        value = getattr(ours, detail)
        if value is None or (detail == "shed" and value == 0):
            continue
        theirs = {
            against: getattr(sample, detail)
            for against, sample in samples.items()
            if against != "ours" and getattr(sample, detail)
        }
        for against, other in theirs.items():
            yield compared("bus", name, unit, value, against, other)
        if not theirs:
            yield Result("bus", name, unit, rounded(value))


def beside(case: str, rounds: int, measures: Mapping[str, Measure]) -> list[Result]:
    """The medians of ours and theirs, taken in turns."""
    taken = take_turns(rounds, list(measures.values()))
    return list(results(case, dict(zip(measures, map(middle, taken), strict=True))))


def hub(
    folder: Path, case: str, rounds: int, load: Load, *, datapath: str, transport: str, busy: bool
) -> list[Result]:
    """Our datapath alone, and the hub in C."""
    ends = c_ends(datapath, folder)
    ours = [*python("hub"), datapath]
    c_hub = partial(through_hub, [ends.hub], ends, transport, load)

    def c_hub_busy() -> Sample:
        with running(python("busy")):
            return c_hub()

    measures: dict[str, Measure] = {
        "ours": partial(through_hub, ours, ends, transport, load, busy=busy),
        "c-hub": c_hub,
    }
    if busy:
        measures["c-hub-busy"] = c_hub_busy
    return beside(case, rounds, measures)


def chained(
    folder: Path,
    case: str,
    rounds: int,
    load: Load,
    *,
    datapath: str,
    kind: str,
    transport: str,
    peers: bool,
) -> list[Result]:
    """Our clients on both ends of a hub, the hub in C with C ends, and other systems."""
    ends = c_ends(datapath, folder)
    caller, callee = chain_ends(kind)

    def ours() -> Sample:
        with chain(datapath, transport, callee) as joined:
            return joined.sample(caller, load)

    measures: dict[str, Measure] = {
        "ours": ours,
        "c-hub": partial(through_hub, [ends.hub], ends, transport, load),
    }
    if peers:
        measures |= peer_measures(load)
    return beside(case, rounds, measures)


def chain_ends(kind: str) -> tuple[list[str], list[str]]:
    """The commands of the caller and the callee."""
    if kind == "chain-rust":
        built = rust_programs()
        return [str(built / "bench-caller")], [str(built / "bench-echo")]
    return python("caller_async" if kind == "chain-async" else "caller"), python("echo")


def peer_measures(load: Load) -> dict[str, Measure]:
    """The other systems that can be had and that take this load."""
    measures: dict[str, Measure] = {}
    for peer in PEERS:
        reason = benchpeers.ready(peer)
        once = cache(partial(benchpeers.measure, peer, load))  # proves that it takes the load
        try:
            if not reason:
                once()
        except BenchError as error:
            reason = str(error)
        if reason:
            say(f"without {peer}: {reason.splitlines()[0]}")
        else:  # Ray takes seconds to start: one run of it must do
            measures[peer] = once if peer == "ray" else partial(benchpeers.measure, peer, load)
    return measures


def scale(case: str, rounds: int, load: Load, *, datapath: str, idle: int) -> list[Result]:
    """Latency and memory with idle peers, beside none."""
    caller, callee = chain_ends("chain-rust")
    resident: dict[int, list[float]] = {0: [], idle: []}

    def crowd(peers: int) -> Sample:
        with chain(datapath, "ipc", callee, peers) as joined:
            resident[peers].append(joined.meter.resident())
            return joined.sample(caller, load)

    some, none = map(middle, take_turns(rounds, [partial(crowd, idle), partial(crowd, 0)]))
    each = (min(resident[idle]) - min(resident[0])) * 1024 / idle
    return [
        compared("bus", case, "µs", some.p50, "no-peers", none.p50),
        Result("bus", f"{case}/rss", "KiB/peer", rounded(each)),
    ]


def plan(chosen: tuple[str, ...], folder: Path, rounds: int, seconds: float, peers: bool) -> Plan:
    """Every case by name; the first of the chosen datapaths has the plain names."""
    cases: dict[str, Callable[[], list[Result]]] = {}
    loads = [Load(size, flight, seconds) for size in SIZES for flight in IN_FLIGHT]
    for datapath, busy, transport, load in product(chosen, (False, True), TRANSPORTS, loads):
        prefix = "" if datapath == chosen[0] else f"{datapath}/"
        name = f"{prefix}{'busy/' if busy else ''}{transport}/{load}"
        of = partial(hub, datapath=datapath, transport=transport, busy=busy)
        cases[name] = partial(of, folder, name, rounds, load)
    for transport, kind, load in product(TRANSPORTS, CHAINS, loads):
        name = f"{kind}/{load}" if transport == "ipc" else f"{kind}-{transport}/{load}"
        beside_peers = peers and transport == "ipc" and kind != "chain-rust"
        chain_of = partial(chained, datapath=chosen[0], kind=kind, transport=transport)
        cases[name] = partial(chain_of, folder, name, rounds, load, peers=beside_peers)
    for idle, flight in product(IDLE, (1, 100)):
        name, load = f"scale/{idle}/{flight}", Load(64, flight, seconds)
        cases[name] = partial(scale, name, rounds, load, datapath=chosen[0], idle=idle)
    return cases


def main() -> int:
    arguments = parser("bus", __doc__ or "", EXAMPLES)
    arguments.add_argument("--quick", action="store_true", help="one short run of each")
    arguments.add_argument("--datapath", choices=(NATIVE, REFERENCE), help="this one alone")
    arguments.add_argument("--no-peers", action="store_true", help="without NATS, Redis and Ray")
    options = arguments.parse_args()
    chosen = (options.datapath,) if options.datapath else datapaths()
    if chosen[0] not in datapaths():
        fail(BAD_USAGE, f"the {chosen[0]} datapath is not installed", "scripts/setup run")
    rounds, seconds = (1, 0.2) if options.quick else (5, 0.6)
    with tempfile.TemporaryDirectory() as folder:
        cases = plan(chosen, Path(folder), rounds, seconds, not options.no_peers)
        return play(cases, options)


if __name__ == "__main__":
    sys.exit(main())
