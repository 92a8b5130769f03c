"""`symphony-kernel keys`: who may reach this kernel from elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..errors import Problem, Problems
from ..places import Places
from .common import HomeOption, JsonFlag, find_places, print_json

app = typer.Typer(
    help="Keys of consoles elsewhere, for `serve --listen`.",
    epilog="Examples: symphony-kernel keys new laptop | symphony-kernel keys export laptop "
    "--connect tcp://192.0.2.7:7700 --out laptop.ticket | "
    "symphony-kernel status --ticket laptop.ticket",
    no_args_is_help=True,
    rich_markup_mode=None,
)
NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="As the list shows it.")]


@app.command("list", epilog="Example: symphony-kernel keys list --json")
def list_(home: HomeOption = None, as_json: JsonFlag = False) -> None:
    """The keys that are let in, and the kernel's own; only their public halves."""
    from ..keys import KeyRing
    from .render import table

    found = KeyRing(find_places(home).home).all()
    if as_json:
        print_json(found)
        return
    rows = [found.hub, *found.keys] if found.hub else found.keys
    if not rows:
        print("no keys; `symphony-kernel keys new NAME` makes one")
        return
    table(("name", "public key", "made"), ((key.name, key.public, key.created) for key in rows))


@app.command("new", epilog="Example: symphony-kernel keys new laptop")
def new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A name of your choice.")],
    home: HomeOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Make a key; whoever holds it is let in from now on."""
    from ..keys import KeyRing

    made = KeyRing(find_places(home).home).new(name)
    if as_json:
        print_json(made)
        return
    print(f"made {name}")
    print(f"next: symphony-kernel keys export {name} --connect tcp://HOST:PORT --out {name}.ticket")


@app.command(
    "export",
    epilog="Example: symphony-kernel keys export laptop --connect tcp://192.0.2.7:7700 "
    "--out laptop.ticket",
)
def export(
    name: NameArgument,
    connect: Annotated[
        str,
        typer.Option(
            metavar="tcp://HOST:PORT",
            help="Where the console reaches the kernel, which runs with --listen.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="A new file.")],
    home: HomeOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Write a ticket, which holds the key's secret, to a file that only you can read."""
    from ..keys import KeyRing
    from ..wholefiles import create_private

    ticket = KeyRing(find_places(home).home).ticket(name, connect)
    try:
        create_private(out, ticket.to_json())
    except FileExistsError:
        remedy = "choose another name, or remove it"
        raise Problems([Problem("there is a file already", str(out), remedy)]) from None
    if as_json:
        print_json({"name": name, "file": str(out.absolute())})
        return
    print(f"wrote {out}; take it to the console by a way that nobody else can read")
    print(f"there: symphony-kernel status --ticket {out.name}")


@app.command("revoke", epilog="Example: symphony-kernel keys revoke laptop")
def revoke(name: NameArgument, home: HomeOption = None, as_json: JsonFlag = False) -> None:
    """Forget a key: its holder is cut off and not let in again."""
    from ..keys import KeyRing

    places = find_places(home)
    KeyRing(places.home).revoke(name)
    _apply(places)
    print_json({"revoked": name}) if as_json else print(f"revoked {name}")


@app.command("rotate", epilog="Example: symphony-kernel keys rotate")
def rotate(home: HomeOption = None, as_json: JsonFlag = False) -> None:
    """Give the kernel a new key: every ticket must be exported again."""
    from ..keys import KeyRing

    places = find_places(home)
    made = KeyRing(places.home).rotate()
    _apply(places)
    if as_json:
        print_json({"rotated": True, "public": made.public})
        return
    print("the kernel has a new key; no ticket exported before works any more")
    print("next: symphony-kernel keys export NAME ... for each of `symphony-kernel keys list`")


def _apply(places: Places) -> None:
    """Tells a running kernel, so that who lost its right is cut off at once."""
    from ..places import lock_holder
    from .session import ask_kernel

    if lock_holder(places) is not None:
        ask_kernel(places, "rekey")
