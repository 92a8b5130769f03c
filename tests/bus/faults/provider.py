"""An extension to be stopped, killed or hung. Every call that it begins and every one that was
cancelled is a line of the file that it is started with."""

import ctypes
import itertools
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

from symphony.bus.extension import Cancelled, Context, Extension

LEDGER = Path(sys.argv[1])
ext = Extension()


def note(what: str) -> None:
    with LEDGER.open("a") as ledger:
        ledger.write(what + "\n")


@ext.provides("test.echo/1")
def echo(ctx: Context, id: str) -> str:  # noqa: A002 - as the callers say it
    note(id)
    return id


@ext.provides("test.echo/1", "hold")
def hold(ctx: Context, id: str) -> str:  # noqa: A002
    """Until it is cancelled."""
    note(id)
    ctx.progress(0)
    try:
        ctx.wait(3_600)
    except Cancelled:
        note(f"{id} cancelled")
        raise
    return id


@ext.provides("test.echo/1", "gate")
def gate(ctx: Context, id: str) -> str:  # noqa: A002
    """Until there is a file of this name beside the ledger."""
    note(id)
    while not LEDGER.with_name(id).exists():
        ctx.wait(0.005)
    return id


@ext.provides("test.echo/1", "large")
def large(ctx: Context, id: str, data: bytes) -> int:  # noqa: A002
    note(id)
    return len(data)


@ext.provides("test.echo/1", "count")
def count(ctx: Context, id: str) -> Iterator[str]:  # noqa: A002
    """Chunks without an end."""
    for number in itertools.count():
        note(f"{id} {number}")
        yield f"{id} {number}"


@ext.provides("test.echo/1", "hang")
def hang(ctx: Context, id: str) -> None:  # noqa: A002
    """For ever, whatever it is asked."""
    ctx.progress(0)
    threading.Event().wait()


@ext.provides("test.echo/1", "seize")
def seize(ctx: Context, id: str) -> None:  # noqa: A002
    """For ever, and no other thread of this process gets the interpreter."""
    ctx.progress(0)
    ctypes.PyDLL(None).pause()


ext.run()
