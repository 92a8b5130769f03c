"""`symphony-kernel deadletter`: what reached nobody; look at it, send it again, forget it."""

from __future__ import annotations

from typing import Annotated, Final

import typer

from ..errors import Problem, Problems
from ..places import Places
from .common import HomeOption, JsonFlag, TicketOption, find_places, print_json

app = typer.Typer(
    help="Calls and events that reached nobody.",
    epilog="Example: symphony-kernel deadletter list, then redrive or drop what it shows",
    no_args_is_help=True,
    rich_markup_mode=None,
)
MOST_SHOWN: Final = 64  # characters of a capability and its method, which a peer may have chosen
LetterArgument = Annotated[str, typer.Argument(metavar="ID", help="As the list shows it.")]


@app.command("list", epilog="Example: symphony-kernel deadletter list --limit 5 --json")
def list_(
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many.")] = 50,
    home: HomeOption = None,
    ticket: TicketOption = None,
    as_json: JsonFlag = False,
) -> None:
    """The newest letters: who sent what, why it did not arrive, how often."""
    import msgspec

    from ..answers import DeadLetters
    from ..deadletters import DeadLetterBox
    from .render import table
    from .session import ask_kernel, find_kernel

    kernel = find_kernel(home, ticket)
    if isinstance(kernel, Places):  # needs no running kernel
        found = DeadLetterBox(kernel.home).all(limit)
    else:
        found = msgspec.convert(ask_kernel(kernel, "letters", {"limit": limit}), DeadLetters)
    if as_json:
        print_json(found)
    elif not found.letters:
        print("no dead letters")
    else:
        table(
            ("id", "kind", "from", "to", "why", "times", "last", "bytes"),
            (
                (
                    letter.id,
                    letter.kind,
                    letter.sender,
                    _short(letter.name + (f" {letter.method}" if letter.method else "")),
                    letter.code,
                    str(letter.times),
                    letter.last,
                    str(letter.bytes),
                )
                for letter in found.letters
            ),
        )


def _short(text: str) -> str:
    """For one row of a table; `show` tells it whole."""
    return text if len(text) <= MOST_SHOWN else text[: MOST_SHOWN - 1] + "…"


@app.command("show", epilog="Example: symphony-kernel deadletter show 1f2e3d4c5b6a")
def show(
    letter: LetterArgument,
    home: HomeOption = None,
    ticket: TicketOption = None,
    as_json: JsonFlag = False,
) -> None:
    """One letter with what it carried.

    What JSON cannot hold stands as $bytes, $ext, $float, $text (hex if it is bytes), or $map (pairs
    of key and value); a body that makes no sense as $msgpack.
    """
    import msgspec

    from ..answers import DeadLetter
    from ..deadletters import DeadLetterBox
    from .render import say
    from .session import ask_kernel, find_kernel

    kernel = find_kernel(home, ticket)
    if isinstance(kernel, Places):
        found = DeadLetterBox(kernel.home).get(letter)
    else:
        found = msgspec.convert(ask_kernel(kernel, "letter", {"letter": letter}), DeadLetter)
    if as_json:
        print_json(found)
        return
    for key, value in msgspec.to_builtins(found).items():
        if key != "body":
            say(f"{key + ':':11}{'' if value is None else value}")
    for line in msgspec.json.format(msgspec.json.encode(found.body)).decode().split("\n"):
        say(line)


@app.command("redrive", epilog="Example: symphony-kernel deadletter redrive 1f2e3d4c5b6a")
def redrive(
    letter: LetterArgument,
    home: HomeOption = None,
    ticket: TicketOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Send a letter again, through the running kernel; one that arrives is forgotten.

    At least once: if this command or the kernel ends before the answer comes, the letter stays,
    although it may have arrived.
    """
    from ..console import CALL_TIMEOUT_S
    from .session import ask_kernel, find_kernel

    kernel = find_kernel(home, ticket)
    answer = ask_kernel(kernel, "redrive", {"letter": letter}, CALL_TIMEOUT_S)
    print_json(answer) if as_json else print(f"{letter} has arrived")


@app.command(
    "drop",
    epilog="Examples: symphony-kernel deadletter drop 1f2e3d4c5b6a | "
    "symphony-kernel deadletter drop --all",
)
def drop(
    letter: Annotated[str | None, typer.Argument(metavar="[ID]")] = None,
    every: Annotated[bool, typer.Option("--all", help="Forget all of them.")] = False,
    home: HomeOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Forget a letter, or all."""
    from ..deadletters import DeadLetterBox

    if (letter is None) == (not every):
        remedy = "symphony-kernel deadletter drop ID"
        raise Problems([Problem("give one letter, or --all", "command line", remedy)])
    box = DeadLetterBox(find_places(home).home)
    if letter is None:
        dropped = box.clear()
    else:
        box.drop(letter)
        dropped = 1
    print_json({"dropped": dropped}) if as_json else print(f"dropped {dropped}")
