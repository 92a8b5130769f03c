"""From how a process ended to why: the one place that reads exit codes."""

from __future__ import annotations

import signal

from .policy import ExitReason

_CANNOT_EXECUTE = (126, 127)


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""


def interpret(code: int | None, text: str, *, killed: str | None = None) -> ExitReason:
    """`code`: exit code, 128 + signal, or None if the command never ran. `text`: end of the log.

    `killed` says why we ended it, if we did: exit code 137 alone would not tell.
    """
    last = _last_line(text)
    if killed is not None:
        return ExitReason("killed", signal=signal.SIGKILL, text=killed)
    if code is None:
        return ExitReason("spawn-failed", text=last or "the sandbox could not be set up")
    if code == 0:
        return ExitReason("finished", code=0)
    if code in _CANNOT_EXECUTE and last.startswith("prlimit: failed to execute"):
        return ExitReason("spawn-failed", code=code, text=last.removeprefix("prlimit: "))
    try:
        number = signal.Signals(code - 128) if code > 128 else None
    except ValueError:
        number = None
    if number is None:
        return ExitReason("error", code=code, text=last)
    if number is signal.SIGSYS:
        return ExitReason("seccomp", signal=number, text="made a system call that kills")
    if number is signal.SIGXCPU:
        return ExitReason("cpu", signal=number, text="used up its processor time")
    return ExitReason("signal", signal=number, text=last or f"ended by {number.name}")
