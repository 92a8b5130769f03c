"""The programs of the bus benchmark, built where they must be."""

import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import NamedTuple

from benchlib import PROJECT, BenchError

from symphony.bus.datapaths import NATIVE, REFERENCE

SOURCES = PROJECT / "scripts" / "benchmarks" / "bus"
CRATES = PROJECT / "pit-rs"


class Ends(NamedTuple):
    """The C programs, linked with one libzmq: a hub, and the two ends of a load."""

    hub: Path
    load: Path


def python(name: str) -> list[str]:
    """The command of one of our Python programs."""
    return [sys.executable, str(SOURCES / f"{name}.py")]


@cache
def datapaths() -> tuple[str, ...]:
    """Those that are installed, first the one that the kernel takes by itself."""
    from symphony.bus.native import available

    return (NATIVE, REFERENCE) if available() else (REFERENCE,)


@cache
def c_ends(datapath: str, folder: Path) -> Ends:
    """The C programs with the very libzmq that the datapath uses.

    The native one has it from our own crate; the reference one has pyzmq's, and the programs
    are compiled into `folder`.
    """
    if datapath == NATIVE:
        built = rust_programs()
        return Ends(built / "bench-hub", built / "bench-load")
    library = pyzmq_library()
    for name in Ends._fields:
        command = ["gcc", "-std=c11", "-O2", "-Wall", str(SOURCES / f"{name}.c"), str(library)]
        command += [f"-Wl,-rpath,{library.parent}", "-o", str(folder / name)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise BenchError(f"gcc failed: {' '.join(command)}\n{done.stderr}")
    return Ends(folder / "hub", folder / "load")


def pyzmq_library() -> Path:
    """The libzmq that pyzmq's wheel bundles."""
    import zmq

    libraries = sorted((Path(zmq.__file__).parent.parent / "pyzmq.libs").glob("libzmq*.so*"))
    if not libraries:
        raise BenchError("pyzmq has no bundled libzmq (pyzmq.libs)", "install pyzmq's wheel")
    return libraries[0]


def rust_programs() -> Path:
    """Builds `symphony-bench`, showing cargo's progress, and gives the folder of its programs."""
    return rust_built("--package", "symphony-bench")


def rust_example(package: str, name: str) -> Path:
    """Builds an example of one of our crates, showing cargo's progress, and gives the program."""
    return rust_built("--package", package, "--example", name) / "examples" / name


@cache
def rust_built(*what: str) -> Path:
    """Builds it as it is released and gives the folder where cargo puts what it builds."""
    command = ["cargo", "build", "--release", "--locked", *what]
    command += ["--manifest-path", str(CRATES / "Cargo.toml")]
    try:
        done = subprocess.run(command, stdout=sys.stderr, check=False)
    except FileNotFoundError:
        raise BenchError("cargo is not installed", "install Rust with rustup") from None
    if done.returncode != 0:
        raise BenchError(f"cargo could not build {what[1]}", "its reason stands above")
    return Path(os.environ.get("CARGO_TARGET_DIR") or CRATES / "target") / "release"
