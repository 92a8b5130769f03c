"""The processes that benchmarks start: each ends with its block, and none is waited for in vain."""

import ctypes
import os
import select
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchlib import fail

ANSWER_S = 30.0
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)

Command = Sequence[str | Path]
Process = subprocess.Popen[bytes]


@contextmanager
def running(command: Command, **environment: str) -> Iterator[Process]:
    """The process, asked to end at the end of the block, and killed if it does not or if the
    benchmark itself is.

    Unbuffered, so that `select` sees every line.
    """
    pipe = subprocess.PIPE
    process = subprocess.Popen(
        command,
        stdin=pipe,
        stdout=pipe,
        stderr=pipe,
        bufsize=0,
        env=os.environ | environment,
        preexec_fn=_end_with_the_benchmark,
    )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.communicate(timeout=ANSWER_S)
        finally:
            process.kill()


def _end_with_the_benchmark() -> None:
    """In a new process: however the benchmark ends, this one is killed then."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def hear(process: Process, limit_s: float = ANSWER_S) -> bytes:
    """Its next line; a process that says nothing in time ends the benchmark."""
    assert process.stdout is not None
    heard, _, _ = select.select([process.stdout], [], [], limit_s)
    line = process.stdout.readline() if heard else b""
    if not line:
        process.kill()
        said = process.communicate()[1].decode(errors="replace")
        fail(1, f"no answer from: {' '.join(map(str, command_of(process)))}\n{said}")
    return line


def command_of(process: Process) -> Sequence[object]:
    return process.args if isinstance(process.args, list | tuple) else [process.args]


def run(command: Command, limit_s: float, environment: Mapping[str, str] | None = None) -> str:
    """What a program says on its standard output; one that fails ends the benchmark."""
    with running(command, **(environment or {})) as process:
        try:
            out, said = process.communicate(timeout=limit_s)
        except subprocess.TimeoutExpired:
            process.kill()
            fail(1, f"not done within {limit_s:g} s: {' '.join(map(str, command))}")
        if process.returncode != 0:
            reason = said.decode(errors="replace")[-4000:]
            fail(1, f"exit code {process.returncode}: {' '.join(map(str, command))}\n{reason}")
        return out.decode()
