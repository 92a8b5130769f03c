"""`scripts/bench bus`: round trips through the hub, beside the same hub in C.

The load is the same C programs for both hubs, linked with the very libzmq that pyzmq bundles. Runs
of ours and theirs alternate; every figure is the median. `chain` has our Python clients at both
ends.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchlib import Result, alternate, compared, show

SOURCES = Path(__file__).resolve().parent / "benchmarks" / "bus"
CASES = [(bytes_, flight) for bytes_ in (64, 1024, 65536) for flight in (100, 1)]
CHAIN = (64, 100)
START_S = 10.0

OUR_HUB = """
import sys
from symphony.bus.datapath import Flow
from symphony.bus.reference import ReferenceDatapath

FLOW = Flow(1, "caller", "callee", 1)

def again():  # a call came before the callee did: its flow is asked for anew
    hub.poll()
    hub.install(FLOW)

hub = ReferenceDatapath()
hub.start(again, heartbeat_ms=600_000, liveness=5)
for name, endpoint in zip(("caller", "callee"), sys.argv[1:], strict=True):
    hub.bind(endpoint)
    hub.admit(name, name.encode().ljust(16, b"."))
    hub.open(name)
hub.install(FLOW)
sys.stdin.read()
hub.close()
"""

CHAIN_HUB = """
import asyncio, sys
from symphony.bus.hub import Grants, Hub
from symphony.bus.reference import ReferenceDatapath

class Quiet:
    def registered(self, instance, hello): print("registered", flush=True)
    def rejected(self, instance, reason): sys.exit(reason)
    def silent(self, instance): sys.exit("silent")
    def left(self, instance, reason): pass

async def main():
    name = frozenset({"bench.echo/1"})
    hub = Hub(ReferenceDatapath(), listener=Quiet())
    await hub.start()
    for who, endpoint, grants in (
        ("callee", sys.argv[2], Grants(provides=name)), ("caller", sys.argv[1], Grants(calls=name))
    ):
        with open(sys.argv[3] + "/" + who, "wb") as file:
            file.write(hub.add_peer(who, endpoint, grants).to_json())
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await hub.close()

asyncio.run(main())
"""

CHAIN_CALLEE = """
from symphony.bus.extension import Extension

ext = Extension()

@ext.provides("bench.echo/1")
def echo(ctx, data: bytes) -> bytes:
    return data

ext.run()
"""

CHAIN_CALLER = """
import collections, os, sys, time
from symphony.bus.client import Client
from symphony.bus.ticket import Ticket

size, in_flight, seconds = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
with Client(Ticket.load(os.environ)) as client:
    args = {"data": bytes(size)}
    client.call("bench.echo/1", None, args)
    waiting = collections.deque(
        client.start_call("bench.echo/1", None, args) for _ in range(in_flight)
    )
    done, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        waiting.popleft().result()
        waiting.append(client.start_call("bench.echo/1", None, args))
        done += 1
    print(done / (time.perf_counter() - start))
"""


def build(folder: Path, name: str) -> Path:
    """Compiles one of the C programs; raises SystemExit with the reason if that fails."""
    import zmq

    libraries = sorted((Path(zmq.__file__).parent.parent / "pyzmq.libs").glob("libzmq*.so*"))
    if not libraries:
        sys.exit("error: pyzmq has no bundled libzmq (pyzmq.libs)\nhelp: install pyzmq's wheel")
    program = folder / name
    source = str(SOURCES / f"{name}.c")
    library = str(libraries[0])
    command = ["gcc", "-std=c11", "-O2", "-Wall", source, library]
    command += [f"-Wl,-rpath,{libraries[0].parent}", "-o", str(program)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        sys.exit(f"error: gcc failed ({source})\n{result.stderr}")
    return program


@contextmanager
def running(command: Sequence[str], **options: object) -> Iterator["subprocess.Popen[str]"]:
    """A process that ends with the block: by the end of its input, or else killed."""
    process = subprocess.Popen(  # type: ignore[call-overload]
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **options
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def measure_hub(hub: Sequence[str], load: Path, case: tuple[int, int], seconds: float) -> float:
    """Round trips per second of one run through a hub that is given its two endpoints."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        caller, callee = f"ipc://{folder}/caller", f"ipc://{folder}/callee"
        stack.enter_context(running([*hub, caller, callee]))
        stack.enter_context(running([str(load), "callee", callee]))
        command = [str(load), "caller", caller, str(case[0]), str(case[1]), str(seconds)]
        done = subprocess.run(
            command, capture_output=True, text=True, check=True, timeout=START_S + 4 * seconds
        )
        return float(done.stdout)


def measure_chain(case: tuple[int, int], seconds: float) -> float:
    """Round trips per second between our Python client and an extension of our SDK."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        endpoints = [f"ipc://{folder}/{name}.sock" for name in ("caller", "callee")]
        hub = stack.enter_context(running([sys.executable, "-c", CHAIN_HUB, *endpoints, folder]))
        assert hub.stdout is not None
        hub.stdout.readline()
        callee = os.environ | {"SYMPHONY_TICKET": f"file:{folder}/callee"}
        stack.enter_context(running([sys.executable, "-c", CHAIN_CALLEE], env=callee))
        hub.stdout.readline()
        caller = os.environ | {"SYMPHONY_TICKET": f"file:{folder}/caller"}
        command = [sys.executable, "-c", CHAIN_CALLER, str(case[0]), str(case[1]), str(seconds)]
        done = subprocess.run(
            command,
            env=caller,
            capture_output=True,
            text=True,
            check=True,
            timeout=START_S + 4 * seconds,
        )
        return float(done.stdout)


def results(*, quick: bool) -> Iterator[Result]:
    """One result a case, as soon as it is known."""
    runs, seconds = (1, 0.2) if quick else (5, 0.6)
    with tempfile.TemporaryDirectory() as folder:
        load, c_hub = build(Path(folder), "load"), [str(build(Path(folder), "hub"))]
        our_hub = [sys.executable, "-c", OUR_HUB]

        def through(hub: Sequence[str], case: tuple[int, int]) -> Callable[[], float]:
            return lambda: measure_hub(hub, load, case, seconds)

        def beside_c(name: str, ours: Callable[[], float], case: tuple[int, int]) -> Result:
            our, their = alternate(runs, ours, through(c_hub, case))
            name = f"{name}/{case[0]}/{case[1]}"
            return compared("bus", name, "rt/s", our, "c-hub", their)

        for case in CASES:
            yield beside_c("ipc", through(our_hub, case), case)
        yield beside_c("chain", lambda: measure_chain(CHAIN, seconds), CHAIN)


def main(argv: Sequence[str] | None = None) -> int:
    """Prints a table, or with `--json` one line a result."""
    parser = argparse.ArgumentParser(prog="scripts/bench bus", description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    parser.add_argument("--quick", action="store_true", help="one short run of each")
    options = parser.parse_args(argv)
    show(list(results(quick=options.quick)), as_json=options.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
