"""deliver: writes a run's results into the user's folder. Only this file knows the bus."""

from __future__ import annotations

from pathlib import Path

import out_folder

from symphony.bus.errors import BusError
from symphony.bus.extension import Context, Extension

OUT = Path("/out")
ext = Extension()


def _refusal(problem: Exception) -> BusError:
    if isinstance(problem, out_folder.DamagedError):
        return BusError(
            "corrupt",
            str(problem),
            where=f"out: .symphony/{problem.path.relative_to(OUT / '.symphony')}",
            help="remove that file from the folder given with --out; the results stay as they are",
        )
    if isinstance(problem, OSError):
        return BusError(
            "io",
            f"cannot write the folder: {problem.strerror}",
            where="out",
            help="check space and permissions of the folder given with --out",
        )
    return BusError(
        "bad-request", str(problem), where="out", help="give an existing folder with --out"
    )


@ext.provides("output.deliver/1")
def deliver(
    ctx: Context,
    enhanced_prompt: Path | None = None,
    backlog: Path | None = None,
    source_files: Path | None = None,
    test_report: Path | None = None,
) -> dict[str, dict[str, str]]:
    """What was written: name of the input → path in the folder."""
    given = {
        "enhanced_prompt": ("enhanced_prompt.txt", enhanced_prompt),
        "backlog": ("backlog.csv", backlog),
        "source_files": ("source_files", source_files),
        "test_report": ("test_report.xml", test_report),
    }
    entries = {name: path for name, path in given.values() if path is not None}
    try:
        told = out_folder.deliver(
            OUT, entries, str(ctx.run or ""), lambda word: ctx.progress(0, None, word)
        )
    except (out_folder.Refused, out_folder.DamagedError, OSError) as problem:
        raise _refusal(problem) from None
    return {"delivered": {key: told[name] for key, (name, _) in given.items() if name in told}}


@ext.provides("output.deliver/1", "undo")
def undo(_ctx: Context) -> dict[str, str]:
    """Puts the former versions back: name → 'restored' or 'removed'."""
    try:
        return out_folder.undo(OUT)
    except out_folder.NothingToUndo:
        raise BusError(
            "not-found", "there is nothing to undo", where="out", help="deliver something first"
        ) from None
    except (out_folder.DamagedError, OSError) as problem:
        raise _refusal(problem) from None


if __name__ == "__main__":
    ext.run()
