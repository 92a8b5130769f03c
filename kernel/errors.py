"""Errors that reach a user: what, where, remedy, whose fault, and the exit code of the process.

The one place for the exit codes. Everything the kernel refuses ends as a `SymphonyError`; documents
collect many faults in one `Problems`, so that a user repairs a file in one go.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import IntEnum
from typing import Final, Literal, NamedTuple, cast

from symphony.bus.errors import BusError
from symphony.sandboxes.policy import SandboxRefused

from .plaintext import encodable, one_line, short

Fault = Literal["caller", "provider", "kernel", "environment"]

SHOWN: Final = 100  # problems rendered for a person; JSON holds them all


class ExitCode(IntEnum):
    """How a command ended, as scripts see it."""

    DONE = 0
    FAILED = 1
    BAD_REQUEST = 2
    REFUSED = 3
    NOT_FOUND = 4
    UNAVAILABLE = 5
    IO = 6
    INTERNAL = 70
    INTERRUPTED = 130
    TERMINATED = 143

    @property
    def label(self) -> str:
        """Its name in JSON, e.g. `not-found`; the bus uses the same words."""
        return self.name.lower().replace("_", "-")


FAULTS: Final[dict[ExitCode, Fault]] = {
    ExitCode.DONE: "caller",
    ExitCode.FAILED: "provider",
    ExitCode.BAD_REQUEST: "caller",
    ExitCode.REFUSED: "caller",
    ExitCode.NOT_FOUND: "caller",
    ExitCode.UNAVAILABLE: "environment",
    ExitCode.IO: "environment",
    ExitCode.INTERNAL: "kernel",
    ExitCode.INTERRUPTED: "caller",
    ExitCode.TERMINATED: "environment",
}

BUS_CODES: Final[dict[str, ExitCode]] = {
    "bad-request": ExitCode.BAD_REQUEST,
    "not-found": ExitCode.NOT_FOUND,
    "conflict": ExitCode.BAD_REQUEST,
    "refused": ExitCode.REFUSED,
    "unavailable": ExitCode.UNAVAILABLE,
    "overloaded": ExitCode.UNAVAILABLE,
    "deadline": ExitCode.FAILED,
    "cancelled": ExitCode.FAILED,
    "crashed": ExitCode.FAILED,
    "failed": ExitCode.FAILED,
    "wrong-output": ExitCode.FAILED,
    "io": ExitCode.IO,
    "corrupt": ExitCode.IO,
    "protocol": ExitCode.UNAVAILABLE,
    "internal": ExitCode.INTERNAL,
}


REMEDIES: Final[dict[str, str]] = {
    "bad-request": "correct what is named",
    "not-found": "`runs list`, `artifacts list` and `symphony-ext list` show what is there",
    "conflict": "look at what is there already, then choose another name",
    "refused": "see `symphony-ext list` for what is granted",
    "unavailable": "see `symphony-kernel status`",
    "overloaded": "ask again in a moment, or for less",
    "deadline": "allow more time, or see the provider's log in the home's folder logs",
    "cancelled": "ask again",
    "crashed": "see its log in the home's folder logs",
    "failed": "see its log in the home's folder logs",
    "wrong-output": "correct the provider or its manifest",
    "io": "check the path, its permissions and the free space",
    "corrupt": "put back a copy of the home; what is not damaged can still be read",
    "protocol": "build and install it again",
    "internal": "please report it with the log kernel.log in the home's folder logs",
}  # where the one who refused did not say what to do


def exit_code_of(bus_code: str) -> ExitCode:
    """The exit code for an error code of the bus; an unknown one counts as `failed`."""
    return BUS_CODES.get(bus_code, ExitCode.FAILED)


def from_bus(error: BusError, where: str | None = None) -> SymphonyError:
    """An error of the bus as one of a command; `where` for one that does not say it."""
    return SymphonyError(
        exit_code_of(error.code),
        error.message,
        where=error.where or where,
        help=error.help or REMEDIES.get(error.code),
        fault=cast(Fault, error.fault),
        name=error.code,
    )


def from_refusal(refused: SandboxRefused) -> SymphonyError:
    """A sandbox that cannot be had."""
    return SymphonyError(
        ExitCode.REFUSED,
        f"the sandbox cannot be had: no working {refused.mechanism}",
        where="sandbox",
        help=f"{refused.remedy}; or ask for `--sandbox none`: players then have all your rights",
        fault="environment",
    )


class Problem(NamedTuple):
    """One fault in something that was given to us."""

    message: str
    where: str | None = None
    help: str | None = None

    def render(self) -> str:
        """`error: WHAT (WHERE)`, then `help: REMEDY` if there is one."""
        place = f" ({self.where})" if self.where else ""
        remedy = f"\nhelp: {one_line(self.help)}" if self.help else ""
        return one_line(f"error: {short(self.message)}{place}") + remedy

    def to_json(self) -> dict[str, object]:
        """`{message, where, help}`; what is not known is null."""
        fields = self._asdict().items()
        return {name: None if text is None else encodable(text) for name, text in fields}


class SymphonyError(Exception):
    """One error with its exit code. `name` is the finer code of the bus where there is one."""

    def __init__(
        self,
        code: ExitCode,
        message: str,
        *,
        where: str | None = None,
        help: str | None = None,  # noqa: A002 - the word of the interface
        fault: str | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.where = where
        self.help = help
        self.fault: str = fault or FAULTS[code]
        self.name = name or code.label

    def body(self) -> dict[str, object]:
        """`{code, message, where, help, fault}`."""
        problem = Problem(self.message, self.where, self.help)
        return {"code": self.name, **problem.to_json(), "fault": self.fault}

    def to_json(self) -> dict[str, object]:
        """`{"error": BODY}`."""
        return {"error": self.body()}

    def render(self) -> str:
        """The lines for a person, without a final newline."""
        return Problem(self.message, self.where, self.help).render()


class Problems(SymphonyError):  # noqa: N818 - it is their plural, and how users know it
    """Many faults of one document or command line, at least one, in the order of their places."""

    def __init__(
        self, problems: Iterable[Problem], *, code: ExitCode = ExitCode.BAD_REQUEST
    ) -> None:
        self.problems = tuple(problems)
        first = self.problems[0]
        more = len(self.problems) - 1
        message = f"{first.message} (and {more} more)" if more else first.message
        super().__init__(code, message, where=first.where, help=first.help)

    def __str__(self) -> str:
        return self.render()

    def body(self) -> dict[str, object]:
        """As for one error, with every problem under `problems` too."""
        problems = [problem.to_json() for problem in self.problems]
        return {**super().body(), "problems": problems}

    def render(self) -> str:
        """One block a problem; from `SHOWN` on only their number."""
        lines = [problem.render() for problem in self.problems[:SHOWN]]
        left = len(self.problems) - SHOWN
        if left > 0:
            lines.append(f"error: {left} more problems are not shown")
        return "\n".join(lines)


def raise_damaged(problems: Sequence[Problem]) -> None:
    """Raises `Problems` of the code `corrupt` (exit code 6) if there are any."""
    if problems:
        found = Problems(problems, code=ExitCode.IO)
        found.name = "corrupt"
        raise found
