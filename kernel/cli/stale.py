"""The command `symphony-kernel stale`."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import Annotated

import typer

from ..errors import ExitCode, Problem
from .common import HomeOption, JsonFlag, find_places, print_json

app = typer.Typer(
    help="What happens to artifacts that grow old.", no_args_is_help=True, rich_markup_mode=None
)
LONG_S = 24 * 3600.0  # for one answer
PUT_BACK = (
    "put the files back into the archive (the built-in one is the folder stale/archive of the home)"
    " from a backup, then ask again"
)
NAMED = "A reference (blake3:...), or a run: all of it."
Subject = Annotated[str, typer.Argument(metavar="REF|RUN", help=NAMED)]
HoldName = Annotated[str, typer.Argument(metavar="NAME", help="Of the hold, e.g. case-7.")]


def _said(reason: str) -> str:
    """A reason that whoever finds the pin or hold later can read."""
    if not reason.strip():
        raise typer.BadParameter("it must say something")
    return reason


class Act(StrEnum):
    """What a run may be asked to do alone."""

    PACK = "pack"
    ARCHIVE = "archive"
    FREE = "free"
    DELETE = "delete"


@app.command(
    "plan", epilog="Examples: symphony-kernel stale plan --all | symphony-kernel stale plan --json"
)
def stale_plan(
    everything: Annotated[
        bool, typer.Option("--all", help="List what stays as it is as well, with its reason.")
    ] = False,
    home: HomeOption = None,
    as_json: JsonFlag = False,
) -> None:
    """What would happen to every artifact, with bytes and reasons; nothing is changed."""
    from ..pit import curation
    from . import renderstale
    from .session import query

    found = query(find_places(home), lambda s: curation.plan(s.ask))
    print_json(found) if as_json else renderstale.plan(found, everything=everything)
    if found.stopped is not None and found.help is not None:
        print(Problem(found.stopped, "stale plan", found.help).render(), file=sys.stderr)
    _end(stopped=found.stopped is not None)


@app.command(
    "run", epilog="Examples: symphony-kernel stale run | symphony-kernel stale run --only pack"
)
def stale_run(
    only: Annotated[
        list[Act] | None,
        typer.Option("--only", help="Nothing but this; may be repeated."),
    ] = None,
    home: HomeOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Do what `plan` says; each artifact is checked again before it is touched."""
    from ..pit import curation
    from . import renderstale
    from .session import query

    found = query(find_places(home), lambda s: curation.run(s.ask, only or ()), LONG_S)
    print_json(found) if as_json else renderstale.ran(found)
    if found.stopped is not None or found.failed:
        why = found.stopped or str(found.failed[0].get("error"))
        remedy = found.help or "ask again; `symphony-kernel stale report` tells what was done"
        print(Problem(why, "stale run", remedy).render(), file=sys.stderr)
    own = bool(found.failed) and not found.waited_for
    _end(stopped=found.stopped is not None or bool(found.failed), failed=own)


@app.command("restore", epilog="Example: symphony-kernel stale restore my-20260131-1a2b3c")
def stale_restore(subject: Subject, home: HomeOption = None, as_json: JsonFlag = False) -> None:
    """Bring artifacts back from the archive; their hashes are checked."""
    from ..pit import curation
    from . import renderstale
    from .session import query

    found = query(find_places(home), lambda s: curation.restore(s.ask, subject), LONG_S)
    print_json(found) if as_json else renderstale.restored(found)
    if found.missing:
        print(Problem(found.told_missing, subject, PUT_BACK).render(), file=sys.stderr)
    _end(failed=bool(found.missing))


@app.command("pin", epilog="Example: symphony-kernel stale pin RUN --why 'for the paper'")
def stale_pin(
    subject: Subject,
    reason: Annotated[str, typer.Option("--why", callback=_said, help="Why it must stay.")],
    off: Annotated[bool, typer.Option("--off", help="Take the pin away.")] = False,
    home: HomeOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Keep artifacts where they are, whatever the rules say."""
    from ..pit import curation
    from ..units import some
    from .session import query

    found = query(find_places(home), lambda s: curation.pin(s.ask, subject, reason, pinned=not off))
    print_json(found) if as_json else print(some(found.pinned, "pin"))


@app.command(
    "hold", epilog="Example: symphony-kernel stale hold case-7 RUN blake3:... --why 'the lawsuit'"
)
def stale_hold(
    name: HoldName,
    subjects: Annotated[list[str], typer.Argument(metavar="REF|RUN...", help=NAMED)],
    reason: Annotated[str, typer.Option("--why", callback=_said, help="Why it must stay.")],
    home: HomeOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Put artifacts under a legal hold: stronger than any rule, until it is released.

    What has that name already grows by them.
    """
    from ..pit import curation
    from .session import query

    found = query(find_places(home), lambda s: curation.hold(s.ask, name, subjects, reason))
    print_json(found) if as_json else print(f"{found.held} artifacts and runs under hold")


@app.command(
    "release", epilog="Example: symphony-kernel stale release case-7 --why 'it was settled'"
)
def stale_release(
    name: HoldName,
    reason: Annotated[str, typer.Option("--why", callback=_said, help="Why it need not stay.")],
    subjects: Annotated[
        list[str] | None,
        typer.Argument(metavar="[REF|RUN]...", help="Only these of it.", show_default=False),
    ] = None,
    home: HomeOption = None,
    as_json: JsonFlag = False,
) -> None:
    """End a legal hold, or take some artifacts or runs out of it."""
    from ..pit import curation
    from .session import query

    asked = subjects or ()
    found = query(find_places(home), lambda s: curation.release(s.ask, name, asked, reason))
    print_json(found) if as_json else print(f"{found.held} artifacts and runs under hold")


@app.command("report", epilog="Example: symphony-kernel stale report --events 100")
def stale_report(
    events: Annotated[int, typer.Option(min=1, max=1000, help="So many of the last events.")] = 20,
    home: HomeOption = None,
    as_json: JsonFlag = False,
) -> None:
    """What lies where, what is held, what happened, and what stopped it."""
    from ..pit import curation
    from . import renderstale
    from .session import query

    found = query(find_places(home), lambda s: curation.report(s.ask, events))
    print_json(found) if as_json else renderstale.report(found)


def _end(*, stopped: bool = False, failed: bool = False) -> None:
    """Whoever runs it by a timer sees by the exit code that it was not done."""
    if failed:
        raise typer.Exit(ExitCode.IO)
    if stopped:
        raise typer.Exit(ExitCode.UNAVAILABLE)
