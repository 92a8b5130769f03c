"""What the bus benchmark runs: its programs, built where they must be, and one measurement each."""

import subprocess
import sys
import tempfile
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import NamedTuple

from benchlib import PROJECT, UNAVAILABLE, fail
from benchproc import Command, hear, run, running

SOURCES = PROJECT / "scripts" / "benchmarks" / "bus"
CRATES = PROJECT / "pit-rs"
START_S = 20.0


class Load(NamedTuple):
    """How much is asked of a hub: bodies of `size` bytes, `in_flight` calls open at a time."""

    size: int
    in_flight: int
    seconds: float

    def __str__(self) -> str:
        return f"{self.size}/{self.in_flight}"

    def arguments(self) -> list[str]:
        return [str(self.size), str(self.in_flight), str(self.seconds)]


def python(name: str) -> list[str]:
    """The command of one of our Python programs."""
    return [sys.executable, str(SOURCES / f"{name}.py")]


@cache
def c_program(name: str, folder: Path) -> Path:
    """Compiles one of the C programs, with the very libzmq that pyzmq bundles."""
    import zmq

    libraries = sorted((Path(zmq.__file__).parent.parent / "pyzmq.libs").glob("libzmq*.so*"))
    if not libraries:
        fail(UNAVAILABLE, "pyzmq has no bundled libzmq (pyzmq.libs)", "install pyzmq's wheel")
    program = folder / name
    command = ["gcc", "-std=c11", "-O2", "-Wall", str(SOURCES / f"{name}.c"), str(libraries[0])]
    command += [f"-Wl,-rpath,{libraries[0].parent}", "-o", str(program)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        fail(1, f"gcc failed: {' '.join(command)}\n{done.stderr}")
    return program


@cache
def rust_programs() -> Path:
    """Builds the Rust programs, with cargo's own progress, and gives the folder they are in."""
    target = CRATES / "target"
    command = ["cargo", "build", "--release", "--locked", "--package", "symphony-bench"]
    command += ["--manifest-path", str(CRATES / "Cargo.toml"), "--target-dir", str(target)]
    try:
        done = subprocess.run(command, stdout=sys.stderr, check=False)
    except FileNotFoundError:
        fail(UNAVAILABLE, "cargo is not installed", "install Rust with rustup")
    if done.returncode != 0:
        fail(1, "cargo could not build the Rust ends of the benchmark", "its reason stands above")
    return target / "release"


def through_hub(hub: Command, ends: Path, load: Load) -> float:
    """Round trips per second of the C ends through a hub that is given its two endpoints."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        caller, callee = f"ipc://{folder}/caller", f"ipc://{folder}/callee"
        stack.enter_context(running([*hub, caller, callee]))
        stack.enter_context(running([ends, "callee", callee]))
        command: Command = [ends, "caller", caller, *load.arguments()]
        return float(run(command, START_S + 4 * load.seconds))


def through_chain(caller: Command, callee: Command, load: Load) -> float:
    """Round trips per second between a client and an extension of ours, joined by a whole hub."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        endpoints = [f"ipc://{folder}/{name}.sock" for name in ("caller", "callee")]
        hub = stack.enter_context(running([*python("chain_hub"), *endpoints, folder]))
        hear(hub)
        stack.enter_context(running(callee, SYMPHONY_TICKET=f"file:{folder}/callee"))
        hear(hub)
        ticket = {"SYMPHONY_TICKET": f"file:{folder}/caller"}
        return float(run([*caller, *load.arguments()], START_S + 4 * load.seconds, ticket))
