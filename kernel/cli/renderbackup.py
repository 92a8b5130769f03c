"""What `backup`, `restore` and `verify` show to people."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from ..backupfiles import Manifest, Progress
from ..errors import SHOWN
from ..restore import CheckedBackup, Restored
from ..soundness import Sound
from ..units import size, some
from .render import console, say, table, tell


@contextlib.contextmanager
def following() -> Iterator[Progress]:
    """Follows long work on stderr, in a terminal only."""
    sheet = console(stderr=True)
    if not sheet.is_terminal:
        yield lambda _what, _files, _bytes: None
        return
    with sheet.status("") as shown:
        yield lambda what, files, count: shown.update(
            f"{what}: {files}, {size(count)}" if files else what
        )


def made(found: Manifest) -> None:
    """Where the backup is, and what is not in it."""
    made = f"{some(found.files, 'file')}, {size(found.bytes)}, {some(found.artifacts, 'artifact')}"
    say(f"{found.path}: {made}")
    if found.left_out:
        table(("left out", "why"), ((note.path, note.why) for note in found.left_out))


def damaged(found: Manifest) -> None:
    """What was damaged before the backup was made."""
    for note in found.damaged[:SHOWN]:
        tell(f"damaged already, and in it as it is: {note.path}: {note.why}")
    if (more := len(found.damaged) - SHOWN) > 0:
        tell(f"{more} more are not shown: --json names them")


def restored(found: Restored) -> None:
    """Where the home is now, and what to do next."""
    say(f"{found.home}: {some(found.files, 'file')}, {size(found.bytes)}, as of {found.made}")
    if not found.secrets:
        say("keys were left out of the backup: put them back before you start a kernel")
    say("`symphony-kernel verify` reads it back; open runs go on with `run --resume`")


def checked(found: CheckedBackup) -> None:
    """The backup is as it was written."""
    files = f"{some(found.files, 'file')}, {size(found.bytes)}"
    say(f"{files} of {found.home}, as written on {found.made}")


def sound(found: Sound) -> None:
    """Nothing is damaged."""
    say(f"{some(found.journals, 'journal')}, {some(found.records, 'record')}: whole")
    say(f"{some(found.artifacts, 'artifact')}, {size(found.bytes)}: as they were put")
    gone = f", {found.gone} of them let go with a proof" if found.gone else ""
    named = f"{some(found.named, 'artifact')} that {some(found.runs, 'run')} named"
    say(f"{named}: all accounted for{gone}")
    if found.archived:
        say(f"{some(found.archived, 'archived artifact')}: as they were put")
