"""NATS, Redis and Ray beside our chains, in an environment of their own: `.bench-env/`.

Servers are Debian's packages, unpacked there and not installed; clients are PyPI's. What is on the
machine already is not asked for. What cannot be had is told once and left out. Everything listens
on this machine only and ends with its block.
"""

import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path

from benchlib import PROJECT, BenchError, say
from benchproc import Command, hear, running
from busload import Load, Meter, Sample, call, reading

PLACE = PROJECT / ".bench-env"
PROGRAMS = PROJECT / "scripts" / "benchmarks" / "peers"
SHARED = PROJECT / "scripts" / "benchmarks" / "bus"  # what all callers print
CLIENTS = {"nats": "nats-py", "redis": "redis[hiredis]", "ray": "ray"}
SERVERS = {  # Debian's packages, and which libraries they need that a bare machine has not
    "nats": "nats-server",
    "redis": "redis-server redis-tools libhiredis0.14 libjemalloc2 liblua5.1-0 liblzf1 lua-bitop "
    "lua-cjson",
}


@cache
def ready(peer: str) -> str:
    """Sees to the peer's client and server; the reason if they cannot be had, else nothing."""
    try:
        _client(peer)
        if peer in SERVERS:
            _server(peer)
    except BenchError as error:
        return str(error)
    return ""


def _command(*command: str | Path, folder: Path | None = None) -> None:
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise BenchError(f"{command[0]} is not on this machine") from None
    if done.returncode != 0:
        reason = done.stderr.strip().splitlines()[-1:]
        raise BenchError(f"{' '.join(map(str, command))}: {' '.join(reason)}")


def _python() -> Path:
    return PLACE / "venv" / "bin" / "python"


def _client(peer: str) -> None:
    """The Python package, installed if it is not there."""
    if not _python().exists():
        say(f"making {PLACE.name}/venv")
        _command(sys.executable, "-m", "venv", PLACE / "venv")
    found = [str(_python()), "-c", f"import {peer}"]
    if subprocess.run(found, capture_output=True, check=False).returncode != 0:
        say(f"installing {CLIENTS[peer]} into {PLACE.name}/venv")
        _command(_python(), "-m", "pip", "install", "--quiet", CLIENTS[peer])


def _server(peer: str) -> str:
    """The server's program, unpacked from Debian's packages if it is not there."""
    program = f"{peer}-server"
    unpacked = PLACE / peer / "usr"
    places = [unpacked / "bin", unpacked / "sbin"]
    found = shutil.which(program) or next(
        (str(place / program) for place in places if (place / program).exists()), None
    )
    if found is None:
        say(f"unpacking Debian's {program} into {PLACE.name}/{peer}")
        with tempfile.TemporaryDirectory() as folder:
            _command("apt-get", "download", *SERVERS[peer].split(), folder=Path(folder))
            for package in sorted(Path(folder).glob("*.deb")):
                _command("dpkg", "--extract", package, PLACE / peer)
        found = next(str(place / program) for place in places if (place / program).exists())
    return found


def _libraries(peer: str) -> dict[str, str]:
    return {"LD_LIBRARY_PATH": ":".join(map(str, (PLACE / peer / "usr" / "lib").glob("*-linux-*")))}


@contextmanager
def _serving(command: list[str], environment: dict[str, str], *, errors: bool) -> Iterator[Meter]:
    """A server once it says that it is ready, on its standard error or else output."""
    with running(command, environment) as server:
        while b"eady" not in hear(server, errors=errors):
            pass
        yield Meter(server)


@contextmanager
def _nats(folder: Path) -> Iterator[tuple[Meter, str]]:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = str(probe.getsockname()[1])
    command = [_server("nats"), "--addr", "127.0.0.1", "--port", port, "--pid", f"{folder}/pid"]
    with _serving(command, {}, errors=True) as meter:
        yield meter, f"nats://127.0.0.1:{port}"


@contextmanager
def _redis(folder: Path) -> Iterator[tuple[Meter, str]]:
    place = f"{folder}/redis.sock"
    command = [_server("redis"), "--port", "0", "--unixsocket", place, "--dir", str(folder)]
    command += ["--save", "", "--appendonly", "no"]
    with _serving(command, _libraries("redis"), errors=False) as meter:
        yield meter, place


BROKERS = {"nats": _nats, "redis": _redis}


def measure(peer: str, load: Load) -> Sample:
    """One load through the peer, with its own Python client on both ends; raises BenchError."""
    found = {"PYTHONPATH": str(SHARED)}
    caller = [str(_python()), str(PROGRAMS / f"{peer}_caller.py")]
    if peer == "ray":  # which starts and ends its own cluster
        quiet = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_DISABLE_IMPORT_WARNING": "1"}
        return reading(call(caller, load, found | quiet))[0]
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        meter, place = stack.enter_context(BROKERS[peer](Path(folder)))
        echo: Command = [_python(), PROGRAMS / f"{peer}_echo.py", place]
        hear(stack.enter_context(running(echo, found)))
        return meter.sample(call([*caller, place], load, found))
