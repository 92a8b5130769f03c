"""`symphony-fqg play`: the campaign, for a person at a terminal or lines on stdin."""

import os
import sys
from secrets import randbelow
from typing import Annotated

import typer

from ..campaign import Stage, stages
from ..campaign.session import Session
from .common import CommandError, ExitCode

INTERRUPTED = "\nLeft. `symphony-fqg play N` goes on at level N."


def add_command(app: typer.Typer) -> None:
    """Adds it to `symphony-fqg`."""
    app.command("play")(play)


def play(
    number: Annotated[int, typer.Argument(metavar="[LEVEL]", help="Where to begin.")] = 1,
    listed: Annotated[bool, typer.Option("--list", help="Only list the levels.")] = False,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Of the games' fortunes [default: any].")
    ] = None,
) -> None:
    """Play the campaign: call functions until the goal is there, with as few calls as you can.

    Exit code 0 if the last level that was begun was won or none was, else 1."""
    campaign = stages()
    if listed:
        for at, stage in enumerate(campaign, 1):
            print(f"{at:3}  {stage.difficulty:9} {stage.title}")
        return
    if not 1 <= number <= len(campaign):
        fault = (f"there is no level {number}", "LEVEL")
        raise CommandError(
            ExitCode.BAD_REQUEST, [fault], f"give a number from 1 to {len(campaign)}"
        )
    try:
        won = _campaign(campaign, number - 1, randbelow(1 << 31) if seed is None else seed)
    except KeyboardInterrupt:
        print(INTERRUPTED)
        raise typer.Exit(ExitCode.INTERRUPTED) from None
    if not won:
        raise typer.Exit(ExitCode.FAILED)


def _campaign(campaign: tuple[Stage, ...], at: int, seed: int) -> bool:
    """Plays on from a level until the player has had enough; whether the last one was won."""
    won = True
    while at < len(campaign):
        session = Session(campaign[at], seed)
        _headline(at, campaign[at])
        _print(session.look())
        won = False
        while (line := _ask("> ")) is not None:
            command = line.strip().lower()
            if command in ("quit", "exit", "q"):
                return won
            if command == "next":
                won = True
                break
            if won and command != "restart":
                break
            reply = session.say(line)
            _print(reply.lines)
            won = reply.won
            if reply.over:
                _print(
                    ("", "Enter goes on; `quit` leaves." if won else "`restart`, `next` or `quit`.")
                )
        else:
            return won
        at += 1
    _print(("", "That was the whole campaign. Bravo!"))
    return won


def _headline(at: int, stage: Stage) -> None:
    title = f"{at + 1}. {stage.title}"
    bold, plain = ("\x1b[1m", "\x1b[0m") if _colours() else ("", "")
    print(f"\n{bold}{title}{plain}  ({stage.difficulty}; `help` says what you can type)\n")


def _print(lines: tuple[str, ...]) -> None:
    for line in lines:
        print(line)
    sys.stdout.flush()


def _ask(prompt: str) -> str | None:
    """The next line; None at the end of the input."""
    if sys.stdin.isatty():
        try:
            return input(prompt)
        except EOFError:
            print()
            return None
    line = sys.stdin.readline()
    if not line:
        return None
    print(f"{prompt}{line.rstrip()}")
    return line


def _colours() -> bool:
    return sys.stdout.isatty() and "NO_COLOR" not in os.environ
