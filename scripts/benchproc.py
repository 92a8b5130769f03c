"""The processes that benchmarks start: each ends with its block, and none is waited for in vain."""

import ctypes
import os
import select
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil
from benchlib import BenchError

ANSWER_S = 30.0
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)

Command = Sequence[str | Path]
Process = subprocess.Popen[bytes]


@contextmanager
def running(command: Command, environment: Mapping[str, str] | None = None) -> Iterator[Process]:
    """The process, asked to end at the end of the block and killed if it does not, with what it
    started; nor does it outlive the benchmark. Raises BenchError if there is no such program.

    Unbuffered, so that `select` sees every line.
    """
    pipe, added = subprocess.PIPE, environment or {}
    try:
        process = subprocess.Popen(
            command,
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
            bufsize=0,
            env=os.environ | added,
            preexec_fn=end_with_the_benchmark,
        )
    except OSError as error:
        raise BenchError(f"cannot start {command[0]}: {error.strerror}") from None
    try:
        yield process
    finally:
        end(process)


def end_with_the_benchmark() -> None:
    """In a new process: however the benchmark ends, this one is killed then."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def end(process: Process) -> None:
    """Ends a process and all that it started."""
    try:
        below = psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        below = []
    process.terminate()
    try:
        process.communicate(timeout=ANSWER_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
    for orphan in below:
        if orphan.is_running():
            orphan.kill()


def hear(process: Process, *, errors: bool = False) -> bytes:
    """Its next line, on standard error or else output; raises BenchError if none comes in time."""
    stream = process.stderr if errors else process.stdout
    assert stream is not None
    heard, _, _ = select.select([stream], [], [], ANSWER_S)
    line = stream.readline() if heard else b""
    if not line:
        raise BenchError(f"no answer from {name(process)}\n{last_words(process)}")
    return line


def run(command: Command, limit_s: float, environment: Mapping[str, str] | None = None) -> str:
    """What a program says on its standard output; raises BenchError if it fails."""
    with running(command, environment) as process:
        try:
            out, said = process.communicate(timeout=limit_s)
        except subprocess.TimeoutExpired:
            raise BenchError(f"not done within {limit_s:g} s: {name(process)}") from None
        if process.returncode != 0:
            reason = said.decode(errors="replace")[-4000:]
            raise BenchError(f"exit code {process.returncode}: {name(process)}\n{reason}")
        return out.decode()


def numbers(command: Command, limit_s: float = 120.0) -> dict[str, float]:
    """What a program tells as lines of a name and a number."""
    lines = run(command, limit_s).splitlines()
    return {what: float(value) for what, value in map(str.split, lines)}


def name(process: Process) -> str:
    """The beginning of its command line."""
    arguments = process.args if isinstance(process.args, list | tuple) else [process.args]
    return " ".join(str(argument) for argument in arguments[:8])


def last_words(process: Process) -> str:
    """What it said on standard error until now, once it is ended."""
    process.kill()
    assert process.stderr is not None
    return process.stderr.read().decode(errors="replace")[-4000:]
