"""generate-code: turns a backlog into an installable Python package.

Only this file knows the bus.
"""

from __future__ import annotations

from pathlib import Path

from code_generate import generate
from plan_read import UnreadableBacklog

from symphony.bus.errors import BusError
from symphony.bus.extension import Context, Extension

ext = Extension()


@ext.provides("code.generate/1")
def generate_code(ctx: Context, backlog: str, enhanced_prompt: str = "") -> Path:
    """The package as a folder.

    The enhanced prompt, if given, lends it its title, goal and plurals.
    """
    try:
        files = generate(backlog, enhanced_prompt)
    except UnreadableBacklog as problem:
        raise BusError(
            "bad-request",
            f"the backlog cannot be read: {problem}",
            where="backlog",
            help="give the output of features.extract/1: CSV with a first line id,feature,actor,…",
        ) from None
    folder = ctx.outbox / "source_files"
    for number, (name, text) in enumerate(files.items(), 1):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        ctx.progress(number, len(files), name)
    return folder


if __name__ == "__main__":
    ext.run()
