"""The commands `symphony-kernel backup`, `restore` and `verify`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..errors import ExitCode, SymphonyError
from ..places import STORES, Places
from .common import HomeOption, JsonFlag, find_places, print_json, run_async

LONG_S = 24 * 3600.0  # for one answer


def add_commands(app: typer.Typer) -> None:
    """Adds them to `symphony-kernel`."""
    app.command(
        epilog="Examples: symphony-kernel backup /mnt/backups/monday | "
        "symphony-kernel backup monday --without-secrets --json"
    )(backup)
    app.command(epilog="Example: symphony-kernel restore /mnt/backups/monday --home /srv/new")(
        restore
    )
    app.command(
        epilog="Examples: symphony-kernel verify --json | symphony-kernel verify /mnt/monday"
    )(verify)


def _require_used(places: Places) -> None:
    """A slip in the home's name must not pass for a backup, or for a sound home."""
    if not any((places.home / store).is_dir() for store in STORES):
        raise SymphonyError(
            ExitCode.NOT_FOUND,
            "there is nothing in this home yet",
            where=str(places.home),
            help="name the one that is meant with --home or SYMPHONY_HOME",
        )


def backup(
    target: Annotated[
        Path, typer.Argument(metavar="DEST", help="A folder that is not there yet, or is empty.")
    ],
    without_secrets: Annotated[
        bool, typer.Option("--without-secrets", help="Leave out all keys.")
    ] = False,
    home: HomeOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Copy all that the home holds, as of one moment, while its kernel works or not.

    In it: the stores of all members with their archive, pit.toml, grants, installed extensions,
    dead letters, keys (mode 0600). Not in it: logs, what is on its way, archives elsewhere, and
    keys that the environment gives. DEST is there only once it is whole. What is damaged already
    is in it as it is, and named (exit code 6).
    """
    from ..backup import back_up
    from . import renderbackup
    from .session import query

    places = find_places(home)
    _require_used(places)
    with renderbackup.following() as progress:
        found = query(
            places,
            lambda s: back_up(s.ask, places, target, progress, secrets=not without_secrets),
            LONG_S,
        )
    print_json(found) if as_json else renderbackup.made(found)
    renderbackup.damaged(found)
    if found.damaged:
        raise typer.Exit(ExitCode.IO)


def restore(
    source: Annotated[Path, typer.Argument(metavar="BACKUP", help="A folder of `backup`.")],
    home: HomeOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Make a new home of a backup; every hash is checked first.

    Runs that were open go on with `run --resume`.
    """
    from .. import restore as restoring
    from ..backup import in_thread
    from . import renderbackup

    places = find_places(home)
    with renderbackup.following() as progress:
        found = run_async(
            in_thread(lambda stop: restoring.restore(source.absolute(), places, stop, progress))
        )
    print_json(found) if as_json else renderbackup.restored(found)


def verify(
    source: Annotated[
        Path | None,
        typer.Argument(
            metavar="[BACKUP]", help="A folder of `backup`, not the home.", show_default=False
        ),
    ] = None,
    home: HomeOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Read back all that the home holds, or a backup, and name what is damaged (exit code 6).

    Of a home: every journal, artifact and archived one, the audit trail, and whether what runs
    name is there or provably let go.
    """
    from .. import restore as restoring
    from .. import soundness
    from ..backup import in_thread
    from . import renderbackup
    from .session import query

    if source is not None:
        with renderbackup.following() as progress:
            manifest, _ = run_async(
                in_thread(lambda stop: restoring.verify(source.absolute(), stop, progress))
            )
        checked = restoring.CheckedBackup(
            made=manifest.made, home=manifest.home, files=manifest.files, bytes=manifest.bytes
        )
        print_json(checked) if as_json else renderbackup.checked(checked)
        return
    places = find_places(home)
    _require_used(places)
    with renderbackup.following() as progress:
        found = query(places, lambda s: soundness.verify(s.ask, places, progress), LONG_S)
    print_json(found) if as_json else renderbackup.sound(found)
