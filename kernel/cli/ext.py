"""The command `symphony-ext`: write, check, attach, list and call extensions."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from ..errors import ExitCode, Problems
from .common import (
    ExtensionsOption,
    HomeOption,
    JsonFlag,
    OutOption,
    SandboxOption,
    command,
    execute,
    extension_folders,
    find_places,
    out_folder,
    print_json,
)

app = command(
    "Extensions of Symphony Conductor: create, check, attach, list and call them.",
    epilog="First try: symphony-ext create shout && symphony-ext check shout",
)


@app.command(epilog="Example: symphony-ext create word-count --capability text.count/1")
def create(
    name: Annotated[str, typer.Argument(help="Name of the extension, e.g. word-count.")],
    capability: Annotated[
        str | None,
        typer.Option(help="What it provides [default: example.NAME/1].", show_default=False),
    ] = None,
    folder: Annotated[
        Path | None, typer.Option("--in", help="Where to make its folder.", show_default=False)
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Make the folder of a new extension that runs at once, with a test."""
    from ..scaffold import create as create_

    made = create_(name, capability or f"example.{name}/1", folder or Path())
    if as_json:
        print_json({"name": name, "folder": str(made)})
        return
    print(f"made {made}")
    print(f"next: symphony-ext check {made}")


@app.command(epilog="Example: symphony-ext check extensions/enhance-prompt --json")
def check(
    folder: Annotated[Path, typer.Argument(help="The extension's folder, or its manifest.")],
    as_json: JsonFlag = False,
) -> None:
    """Check a manifest whole: every error with its line."""
    from ..answers import Check, ProblemInfo
    from ..manifest import load_manifest

    try:
        manifest = load_manifest(folder)
    except Problems as error:
        if not as_json:
            raise
        found = [ProblemInfo(message=p.message, where=p.where, help=p.help) for p in error.problems]
        print(error.render(), file=sys.stderr)
        print_json(Check(ok=False, problems=found, error=error.body()))
        raise typer.Exit(ExitCode.BAD_REQUEST) from error
    provides = [provided.capability for provided in manifest.provides]
    if as_json:
        print_json(Check(ok=True, name=manifest.name, version=manifest.version, provides=provides))
    else:
        print(f"{manifest.name} {manifest.version} is valid; it provides {', '.join(provides)}")


@app.command(
    "test",
    epilog="Example: symphony-ext test ./folder-store --contract pit.artifacts/1   "
    "(it runs outside any sandbox, with all your rights)",
)
def check_contract(
    folder: Annotated[
        Path,
        typer.Argument(help="The extension's folder [default: this one].", show_default=False),
    ] = Path(),
    contract: Annotated[
        str | None,
        typer.Option(
            metavar="CAPABILITY",
            help="Whose contract [default: of all that it provides].",
            show_default=False,
        ),
    ] = None,
    keep: Annotated[
        bool, typer.Option("--keep", help="Keep its stores and logs, and say where.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Check that an extension does what the contract of its capability says."""
    from .testing import check_contract as check_contract_

    raise typer.Exit(check_contract_(folder.absolute(), contract, as_json, keep))


@app.command("list", epilog="Example: symphony-ext list --json")
def list_(
    extensions: ExtensionsOption = None, home: HomeOption = None, as_json: JsonFlag = False
) -> None:
    """The installed extensions, what they may do, and which are running."""
    from .extensions import inventory, show

    found = inventory(find_places(home), extension_folders(extensions))
    print_json(found) if as_json else show(found)


@app.command(epilog="Example: symphony-ext attach ./word-count   (Ctrl-C detaches it)")
def attach(
    folder: Annotated[Path, typer.Argument(help="The extension's folder.")],
    sandbox: SandboxOption = None,
    detach: Annotated[
        bool, typer.Option("--background", help="Return at once; it stays attached.")
    ] = False,
    home: HomeOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Bring an extension to the running kernel, for development; shows its log until Ctrl-C."""
    from .extensions import attach as attach_

    raise typer.Exit(attach_(find_places(home), folder, sandbox, detach, as_json))


@app.command(
    epilog='Examples: symphony-ext call example.shout/1 --json \'{"text": "hello"}\' | '
    "symphony-ext call output.deliver/1 --method undo --out result   (takes the last delivery back)"
)
def call(
    capability: Annotated[str, typer.Argument(help="The capability, e.g. example.shout/1.")],
    arguments: Annotated[
        str, typer.Option("--json", metavar="JSON", help="The arguments as a JSON object.")
    ] = "{}",
    method: Annotated[
        str | None,
        typer.Option(help="Another method than its main one, e.g. undo.", show_default=False),
    ] = None,
    out: OutOption = None,
    player: Annotated[
        str | None, typer.Option(help="Which extension, if several provide it.", show_default=False)
    ] = None,
    sandbox: SandboxOption = None,
    timeout_s: Annotated[float, typer.Option("--timeout", help="Seconds.")] = 60.0,
    home: HomeOption = None,
) -> None:
    """Call a capability through the running kernel and print the result as JSON."""
    from .extensions import call as call_

    found = call_(
        find_places(home),
        capability,
        arguments,
        player,
        sandbox,
        timeout_s,
        method,
        out_folder(out),
    )
    print_json(found)


def main() -> None:
    """The entry point."""
    sys.exit(execute(app, "symphony-ext"))


if __name__ == "__main__":
    main()
