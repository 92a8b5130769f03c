"""What both commands share: options, one way to report errors, JSON answers, exit codes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import traceback
from collections.abc import Coroutine, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

import msgspec
import typer

# Typer carries its own copy of click and exports only parts of it; the version is pinned.
from typer._click.exceptions import ClickException, NoArgsIsHelpError

from symphony.bus.errors import BusError
from symphony.bus.wire import TICKET_VARIABLE
from symphony.sandboxes.policy import Level, SandboxRefused

from .. import VERSION
from ..answers import DatapathName
from ..errors import ExitCode, Problem, Problems, SymphonyError, from_bus, from_refusal
from ..intake import require_text
from ..places import Places
from . import signals, streams
from .sendable import require_sendable

T = TypeVar("T")
LONGEST: Final = 400  # characters of what is said of a bad argument


def _named_home(given: str) -> Path:
    """As text: as a path, an empty one (a variable that is not set) means the folder here."""
    if not given.strip():
        raise Problems([Problem("the home has no name", "--home", "write --home DIR")])
    return Path(given)


HomeOption = Annotated[
    Path | None,
    typer.Option(
        "--home",
        parser=_named_home,
        metavar="DIR",
        help="Where everything durable lies [default: SYMPHONY_HOME, or the XDG data folder].",
        show_default=False,
    ),
]
TicketOption = Annotated[
    Path | None,
    typer.Option(
        "--ticket",
        metavar="FILE",
        help="Another kernel, mostly elsewhere, by a ticket of `keys export` "
        "[default: SYMPHONY_TICKET, file:FILE].",
        show_default=False,
    ),
]
JsonFlag = Annotated[bool, typer.Option("--json", help="Answer with one JSON value.")]
ExtensionsOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--extensions",
        metavar="DIR",
        help="An extension's folder, or a folder of extensions, to use as well; may be repeated.",
        show_default=False,
    ),
]
SandboxOption = Annotated[
    Level | None,
    typer.Option(
        "--sandbox",
        help="Sandbox level of every player; `none` gives a player all your rights.",
        show_default=False,
    ),
]

DatapathOption = Annotated[
    DatapathName | None,
    typer.Option(
        "--datapath",
        help="What moves the messages of the bus [default: native where it is installed].",
        show_default=False,
    ),
]

# As text: as a path, an empty one (a variable that is not set) would mean the folder here.
OutOption = Annotated[
    str | None,
    typer.Option("--out", "-o", metavar="DIR", help="Folder for results.", show_default=False),
]


def command(summary: str, epilog: str) -> typer.Typer:
    """A command with our manners: help on nothing, `--version`, errors as `execute` shows them."""
    app = typer.Typer(
        help=summary,
        epilog=epilog,
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )
    app.callback()(_root)
    return app


def _print_version(context: typer.Context, wanted: bool) -> None:
    if wanted:
        print(f"{context.info_name} {VERSION}")
        raise typer.Exit


def _root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    pass


def execute(app: typer.Typer, program: str) -> int:
    """Runs a command line; every outcome becomes an exit code and a clear message."""
    arguments = sys.argv[1:]
    signals.install()
    streams.make_usable()
    try:
        code = _invoke(app, arguments, program)
        _write("")  # what is still in the buffer
    except signals.Left as left:
        print(signals.again(left.code), file=sys.stderr)
        return left.code
    except (typer.Abort, KeyboardInterrupt) as interrupt:
        code = next(iter(interrupt.args), int(ExitCode.INTERRUPTED))
        print(signals.again(code), file=sys.stderr)
        return code
    except Exception as error:  # the outermost place: nothing may end in a traceback
        return _report(as_symphony_error(error), arguments)
    finally:
        streams.finish()
    return code


def _invoke(app: typer.Typer, arguments: Sequence[str], program: str) -> int:
    try:
        root = typer.main.get_command(app)
        require_sendable(root)
        return int(root(list(arguments), prog_name=program, standalone_mode=False) or ExitCode.DONE)
    except typer.Exit as done:
        return int(done.exit_code)
    except NoArgsIsHelpError as error:
        print(error.format_message())
        return ExitCode.BAD_REQUEST
    except ClickException as error:
        raise SymphonyError(
            ExitCode.BAD_REQUEST,
            _short(error.format_message().rstrip(".")),
            where="command line",
            help=f"see `{_asked(error, program)} --help`",
        ) from error


def _short(message: str) -> str:
    """A message without the middle of a value that goes on and on."""
    return message if len(message) <= LONGEST else f"{message[:120]} … {message[-60:]}"


def _asked(error: ClickException, program: str) -> str:
    """The command that the user meant, as far as it was understood."""
    context = getattr(error, "ctx", None)
    return program if context is None else context.command_path


def as_symphony_error(error: Exception) -> SymphonyError:
    """Whatever went wrong as one error for the user."""
    match error:
        case SymphonyError():
            return error
        case SandboxRefused():
            return from_refusal(error)
        case BusError():
            return from_bus(error)
        case OSError():
            return SymphonyError(
                ExitCode.IO,
                error.strerror or str(error),
                where=str(error.filename or "a stream without a name"),
                help="check the path, its permissions and the free space",
            )
        case _:
            return _bug(error)


def run_async(work: Coroutine[Any, Any, T]) -> T:
    """Runs a coroutine on a fresh loop; a signal cancels it, unless it answers that itself."""
    return asyncio.run(_until_signal(work))


async def _until_signal(work: Coroutine[Any, Any, T]) -> T:
    loop = asyncio.get_running_loop()
    task = asyncio.ensure_future(work)
    code: int | None = None

    def stop(as_: int) -> None:
        nonlocal code
        if code is None:
            code = as_
            loop.call_soon_threadsafe(task.cancel)

    with signals.answered_by(stop):
        try:
            return await task
        except asyncio.CancelledError:
            if code is None:
                raise
            raise signals.Left(code) from None


_home: list[Path | None] = [None]  # of this command line: where a report of a bug goes


def find_places(home: Path | None) -> Places:
    """The places of this command line. Raises `Problems` where a ticket means another kernel."""
    if home is None and os.environ.get(TICKET_VARIABLE, "").startswith("file:"):
        message = f"{TICKET_VARIABLE} names a kernel, and this command works on a home of its own"
        raise Problems([Problem(message, TICKET_VARIABLE, "give --home DIR, or unset it")])
    _home[0] = home
    places = Places.find(home, os.environ)
    require_text(places.home, "--home, or SYMPHONY_HOME")  # the bus and the stores speak UTF-8
    require_text(places.runtime, "XDG_RUNTIME_DIR")
    return places


def out_folder(given: str | None) -> Path | None:
    """The folder of `--out`, absolute."""
    if given is None:
        return None
    if not given.strip():
        raise Problems([Problem("the folder has no name", "--out", "write --out DIR")])
    folder = Path(given).absolute()
    require_text(folder, "--out")
    return folder


def extension_folders(given: Sequence[Path] | None) -> tuple[Path, ...]:
    """The extensions' folders; a folder of extensions stands for those in it."""
    found: list[Path] = []
    for folder in given or ():
        absolute = folder.absolute()
        if (absolute / "extension.toml").is_file() or not absolute.is_dir():
            found.append(absolute)
            continue
        inner = sorted(path.parent for path in absolute.glob("*/extension.toml"))
        found += inner or [absolute]
    return tuple(found)


def print_json(value: object) -> None:
    """One JSON value on stdout."""
    streams.require_stdout()
    _write(msgspec.json.encode(value).decode() + "\n")


def _write(text: str) -> None:
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as error:
        streams.lead_nowhere(sys.stdout.fileno())
        raise SymphonyError(
            ExitCode.IO,
            f"the answer cannot be written: {error.strerror}",
            where="standard output",
            help="send it somewhere else",
        ) from error


def _report(error: SymphonyError, arguments: Sequence[str]) -> int:
    print(error.render(), file=sys.stderr)
    if _json_on_stdout(arguments):
        with contextlib.suppress(SymphonyError):  # it is on stderr already
            print_json(error.to_json())
    return int(error.code)


def _json_on_stdout(arguments: Sequence[str]) -> bool:
    """Whether stdout is promised to hold JSON: `--json`, or for `run` only `--json -`."""
    if "run" not in arguments[:1]:
        return any(word == "--json" or word.startswith("--json=") for word in arguments)
    pairs = zip(arguments, [*arguments[1:], ""], strict=True)
    return any(pair == ("--json", "-") or pair[0] == "--json=-" for pair in pairs)


def _bug(error: Exception) -> SymphonyError:
    """Writes a report of our own bug and names it."""
    report = "".join(traceback.format_exception(error))
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    try:
        folder = Places.find(_home[0], os.environ).reports
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = folder / f"{stamp}-{os.getpid()}.txt"
        path.write_text(report, errors="backslashreplace")
        where = str(path)
    except OSError:
        sys.stderr.write(report)
        where = "the lines above"
    return SymphonyError(
        ExitCode.INTERNAL,
        f"a bug of ours: {type(error).__name__}: {error}",
        where=where,
        help="please report it with that file",
    )
