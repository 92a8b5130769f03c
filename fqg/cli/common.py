"""What the commands share: reading levels, naming players, one way to report errors, exit codes."""

import json
import os
import sys
from collections.abc import Callable
from enum import IntEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from typer._click.exceptions import ClickException, NoArgsIsHelpError

from .. import policy
from ..baselines.bandit import Bandit
from ..baselines.best import Exact
from ..baselines.rule import ff, fixed
from ..baselines.simple import Greedy, Random
from ..level import Level, LevelError, load_levels
from ..network import WeightsError
from ..player import Player

SHOWN = 100
"""Faults of a file that are shown to a person; JSON holds them all."""
JsonFlag = Annotated[bool, typer.Option("--json", help="Answer with one JSON value.")]
LevelsOption = Annotated[
    Path, typer.Option("--levels", metavar="FILE", help="JSON of levels, or JSON in .gz.")
]
BASELINES: dict[str, Callable[[], Player]] = {
    "random": Random,
    "greedy": Greedy,
    "ff": ff,
    "fixed": fixed,
    "bandit": Bandit,
    "exact": Exact,
}
LEARNED = ("dqn", "guided")


class ExitCode(IntEnum):
    """As everywhere in Symphony."""

    DONE = 0
    FAILED = 1
    BAD_REQUEST = 2
    NOT_FOUND = 4
    UNAVAILABLE = 5
    IO = 6
    INTERNAL = 70
    INTERRUPTED = 130


FAULTS = {ExitCode.BAD_REQUEST: "caller", ExitCode.NOT_FOUND: "caller", ExitCode.INTERNAL: "kernel"}


class CommandError(Exception):
    """Faults that end a command: for each what and where; one remedy for all."""

    def __init__(self, code: ExitCode, faults: list[tuple[str, str]], remedy: str) -> None:
        super().__init__(faults[0][0])
        self.code, self.faults, self.remedy = code, faults, remedy


def read_levels(path: Path) -> tuple[Level, ...]:
    """The levels of a file. Raises CommandError."""
    try:
        return load_levels(path)
    except LevelError as error:
        faults = [(problem.message, f"{path}: {problem.place}") for problem in error.problems]
        remedy = "correct the file; its form is described in fqg/level.py"
        raise CommandError(ExitCode.BAD_REQUEST, faults, remedy) from None
    except (FileNotFoundError, IsADirectoryError) as error:
        fault = (error.strerror or "not a file", str(path))
        raise CommandError(ExitCode.BAD_REQUEST, [fault], "name a file of levels") from None


def find_player(name: str) -> Player:
    """The player of this name, or the one of a policy file. Raises CommandError."""
    if name in BASELINES:
        return BASELINES[name]()
    try:
        if name in LEARNED:
            network = policy.read(policy.shipped())
            return policy.Dqn(network) if name == "dqn" else policy.Guided(network)
        if Path(name).is_file():
            return policy.Dqn(policy.read(Path(name)))
    except FileNotFoundError as error:
        remedy = "train one (`symphony-fqg train`), or name the file of one"
        raise CommandError(ExitCode.UNAVAILABLE, [(str(error), name)], remedy) from None
    except WeightsError as error:
        remedy = "name a file that `symphony-fqg export` wrote"
        raise CommandError(ExitCode.BAD_REQUEST, [(str(error), name)], remedy) from None
    known = ", ".join([*LEARNED, *BASELINES])
    message = f"{name!r} is neither a player nor a policy file"
    raise CommandError(ExitCode.BAD_REQUEST, [(message, "--policy")], f"one of {known}, or a file")


def print_json(value: object) -> None:
    """One JSON value on stdout."""
    print(json.dumps(value, allow_nan=False), flush=True)


def execute(app: typer.Typer, program: str) -> int:
    """Runs a command line; every outcome becomes an exit code and a clear message."""
    try:
        return _invoke(app, program)
    except CommandError as error:
        return _report(error)
    except (typer.Abort, KeyboardInterrupt):
        print("interrupted: to go on, give the same command again", file=sys.stderr)
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.IO
    except OSError as error:
        fault = (error.strerror or str(error), str(error.filename or "standard output"))
        remedy = "check the path, its permissions and the free space"
        return _report(CommandError(ExitCode.IO, [fault], remedy))
    except Exception as error:  # the outermost place: nothing may end in a traceback
        fault = (f"a bug of ours: {type(error).__name__}: {error}", _place(error))
        return _report(CommandError(ExitCode.INTERNAL, [fault], "please report it"))


def _invoke(app: typer.Typer, program: str) -> int:
    try:
        return int(app(prog_name=program, standalone_mode=False) or 0)
    except typer.Exit as done:
        return int(done.exit_code)
    except NoArgsIsHelpError as error:
        print(error.format_message())
        return ExitCode.BAD_REQUEST
    except ClickException as error:
        context = getattr(error, "ctx", None)
        asked = program if context is None else context.command_path
        fault = (error.format_message().rstrip("."), "command line")
        raise CommandError(ExitCode.BAD_REQUEST, [fault], f"see `{asked} --help`") from error


def _report(error: CommandError) -> int:
    for message, where in error.faults[:SHOWN]:
        print(f"error: {message} ({where})", file=sys.stderr)
    if len(error.faults) > SHOWN:
        print(f"and {len(error.faults) - SHOWN} more", file=sys.stderr)
    print(f"help: {error.remedy}", file=sys.stderr)
    if "--json" in sys.argv:
        message, where = error.faults[0]
        value: dict[str, Any] = {
            "code": error.code.name.lower().replace("_", "-"),
            "message": message,
            "where": where,
            "help": error.remedy,
            "fault": FAULTS.get(error.code, "environment"),
        }
        if len(error.faults) > 1:
            value["problems"] = [{"message": m, "where": w} for m, w in error.faults]
        print_json({"error": value})
    return error.code


def _place(error: Exception) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return "nowhere"
    return f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}"
