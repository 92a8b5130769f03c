"""The command `symphony-kernel`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from ..errors import Problem, Problems
from . import backup as backup_commands
from .artifacts import app as artifacts_app
from .common import (
    DatapathOption,
    ExtensionsOption,
    HomeOption,
    JsonFlag,
    OutOption,
    SandboxOption,
    TicketOption,
    command,
    execute,
    extension_folders,
    find_places,
    out_folder,
    print_json,
    run_async,
)
from .deadletter import app as deadletter_app
from .importing import add_command as add_import
from .keys import app as keys_app
from .pit import add_commands
from .stale import app as stale_app

app = command(
    "Symphony Conductor: plays workflows (Melodies) of sandboxed models and tools.",
    epilog="First try: symphony-kernel run examples/spec-to-package/spec-to-package.melody.toml "
    "--input brief=examples/spec-to-package/briefs/task-list.md --out result",
)
runs_app = typer.Typer(help="Runs of this home.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(runs_app, name="runs")
app.add_typer(artifacts_app, name="artifacts")
app.add_typer(deadletter_app, name="deadletter")
app.add_typer(keys_app, name="keys")
add_commands(app)
app.add_typer(stale_app, name="stale")
backup_commands.add_commands(app)
add_import(app)


@app.command(
    epilog="Examples: symphony-kernel run my.melody.toml --input brief=brief.md --out result | "
    "symphony-kernel run my.melody.toml --headless --json events.jsonl --junit report.xml | "
    "symphony-kernel run --resume my-20260131-1a2b3c"
)
def run(
    melody: Annotated[
        Path | None,
        typer.Argument(metavar="[MELODY]", help="A Melody file, *.melody.toml or JSON."),
    ] = None,
    inputs: Annotated[
        list[str] | None,
        typer.Option(
            "--input",
            "-i",
            metavar="NAME=VALUE",
            help="An input; a file by its path.",
            show_default=False,
        ),
    ] = None,
    out: OutOption = None,
    resume: Annotated[
        str | None,
        typer.Option("--resume", metavar="RUN", help="Go on with a run.", show_default=False),
    ] = None,
    events: Annotated[
        str | None,
        typer.Option(
            "--json",
            metavar="FILE",
            help="Append events as JSON lines; - is standard output.",
            show_default=False,
        ),
    ] = None,
    tenant: Annotated[
        str | None,
        typer.Option(
            "--tenant",
            metavar="NAME",
            help="On whose part of the resources and budgets it plays (pit.toml).",
            show_default=False,
        ),
    ] = None,
    junit: Annotated[
        Path | None,
        typer.Option("--junit", metavar="FILE", help="Write a JUnit report.", show_default=False),
    ] = None,
    headless: Annotated[bool, typer.Option("--headless", help="No live view, for CI.")] = False,
    sandbox: SandboxOption = None,
    datapath: DatapathOption = None,
    extensions: ExtensionsOption = None,
    home: HomeOption = None,
) -> None:
    """Play one Melody and get its artifacts, or go on with a run that was interrupted."""
    from ..kernel import Settings
    from ..plays import DEFAULT_TENANT, PlayOptions
    from .play import RunRequest, play

    if (melody is None) == (resume is None):
        what = "give a Melody or --resume RUN, not both" if melody else "nothing to play"
        help_ = "symphony-kernel run FILE.melody.toml --input NAME=VALUE"
        raise Problems([Problem(what, "command line", help_)])
    if resume is not None and inputs:
        raise Problems([Problem("a resumed run keeps its inputs", "--input", "leave it out")])
    places, folders = find_places(home), extension_folders(extensions)
    settings = Settings(places, sandbox, folders, datapath=datapath)
    if resume is not None and tenant is not None:
        raise Problems([Problem("a resumed run keeps its tenant", "--tenant", "leave it out")])
    options = PlayOptions(out_folder(out), sandbox, tenant or DEFAULT_TENANT)
    request = RunRequest(
        melody=melody,
        resume=resume,
        inputs=inputs or [],
        options=options,
        events=events,
        junit=junit,
        headless=headless,
        home=("--home", str(home.absolute())) if home else (),
        extensions=tuple(
            word for folder in extensions or () for word in ("--extensions", str(folder.absolute()))
        ),
    )
    raise typer.Exit(run_async(play(settings, request)))


@app.command(
    epilog="Examples: symphony-kernel serve --home /var/lib/symphony | "
    "symphony-kernel serve --background | symphony-kernel serve --listen tcp://0.0.0.0:7700 "
    "(after `symphony-kernel keys new NAME`)"
)
def serve(
    background: Annotated[
        bool,
        typer.Option("--background", help="Return when it serves; `stop` ends it."),
    ] = False,
    sandbox: SandboxOption = None,
    datapath: DatapathOption = None,
    listen: Annotated[
        str | None,
        typer.Option(
            "--listen",
            metavar="tcp://HOST:PORT",
            help="Let consoles in from elsewhere, encrypted, by keys of `keys new`.",
            show_default=False,
        ),
    ] = None,
    extensions: ExtensionsOption = None,
    home: HomeOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Run a kernel until it is stopped; consoles and extensions attach to it."""
    if background:
        from .background import serve_in_background

        options = [*(("--sandbox", str(sandbox)) if sandbox else ())]
        options += ["--datapath", str(datapath)] if datapath else []
        options += ["--listen", listen] if listen else []
        options += ["--home", str(find_places(home).home)]
        for folder in extensions or ():
            options += ["--extensions", str(folder.absolute())]
        raise typer.Exit(serve_in_background(options, as_json))
    from ..kernel import Settings
    from ..keys import require_tcp
    from .service import serve as serve_

    settings = Settings(
        find_places(home),
        sandbox,
        extension_folders(extensions),
        datapath=datapath,
        listen=None if listen is None else require_tcp(listen, "--listen"),
    )
    raise typer.Exit(run_async(serve_(settings, as_json)))


@app.command(epilog="Example: symphony-kernel status --json")
def status(home: HomeOption = None, ticket: TicketOption = None, as_json: JsonFlag = False) -> None:
    """What the running kernel does, and what is degraded."""
    import msgspec

    from ..answers import Status
    from . import render
    from .session import ask_kernel, find_kernel

    found = msgspec.convert(ask_kernel(find_kernel(home, ticket), "status"), Status)
    print_json(found) if as_json else render.status(found)


@app.command(
    epilog="Examples: symphony-kernel bus --json | symphony-kernel bus --ticket laptop.ticket"
)
def bus(home: HomeOption = None, ticket: TicketOption = None, as_json: JsonFlag = False) -> None:
    """The running kernel's bus: who called what, how long it took, what was refused."""
    import msgspec

    from ..busreport import Bus
    from .renderbus import show
    from .session import ask_kernel, find_kernel

    found = msgspec.convert(ask_kernel(find_kernel(home, ticket), "bus"), Bus)
    print_json(found) if as_json else show(found)


@app.command(epilog="Example: symphony-kernel stop")
def stop(home: HomeOption = None, ticket: TicketOption = None, as_json: JsonFlag = False) -> None:
    """Stop the running kernel; its runs stay resumable. Returns when it has ended, or, for one
    elsewhere, when it has agreed."""
    from symphony.bus.ticket import Ticket

    from .session import ask_kernel, find_kernel, stop_kernel

    kernel = find_kernel(home, ticket)
    if isinstance(kernel, Ticket):
        pid = int(ask_kernel(kernel, "stop")["pid"])
        print_json({"stopped": False, "pid": pid}) if as_json else print(
            f"kernel {pid} is stopping"
        )
        return
    pid = stop_kernel(kernel)
    print_json({"stopped": True, "pid": pid}) if as_json else print(f"kernel {pid} stopped")


@app.command(epilog="Example: symphony-kernel schema melody > melody.schema.json")
def schema(
    name: Annotated[str | None, typer.Argument(help="melody, manifest, events, status, …")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Print a JSON Schema of the machine interface; without a name, list them."""
    from ..schemas import NAMES
    from ..schemas import schema as schema_

    if name is not None:
        import msgspec

        sys.stdout.write(msgspec.json.format(msgspec.json.encode(schema_(name))).decode() + "\n")
    elif as_json:
        print_json({"schemas": list(NAMES)})
    else:
        print("\n".join(NAMES))


@runs_app.command("list", epilog="Example: symphony-kernel runs list --limit 5 --json")
def runs_list(
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many.")] = 20,
    home: HomeOption = None,
    as_json: JsonFlag = False,
) -> None:
    """The newest runs."""
    from .. import queries
    from . import render
    from .session import query

    found = query(find_places(home), lambda s: queries.runs(s.ask, limit, s.playing))
    print_json(found) if as_json else render.runs(found.runs)


@runs_app.command("show", epilog="Example: symphony-kernel runs show my-20260131-1a2b3c")
def runs_show(
    run: Annotated[str, typer.Argument(metavar="RUN")],
    home: HomeOption = None,
    as_json: JsonFlag = False,
) -> None:
    """One run: its steps, outputs, and why and in which log a step failed."""
    from .. import queries
    from . import render
    from .session import query

    places = find_places(home)
    found = query(places, lambda s: queries.run(s.ask, run, places.log))
    print_json(found) if as_json else render.run(found)


@runs_app.command(
    "journal",
    epilog="Example: symphony-kernel runs journal my-20260131-1a2b3c --json > journal.jsonl",
)
def runs_journal(
    run: Annotated[str, typer.Argument(metavar="RUN")],
    home: HomeOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Answer with JSON lines.")] = False,
) -> None:
    """Everything that was written down of one run: a JSON line a record, or a table."""
    from .journal import show
    from .session import query

    query(find_places(home), lambda s: show(s.ask, run, as_json=as_json))


def main() -> None:
    """The entry point."""
    sys.exit(execute(app, "symphony-kernel"))


if __name__ == "__main__":
    main()
