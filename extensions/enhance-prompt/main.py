"""enhance-prompt: turns a free-form brief into a structured prompt.

Only this file knows the bus.
"""

from __future__ import annotations

from pathlib import Path

from brief_enhance import enhance
from brief_text import UnreadableBrief

from symphony.bus.errors import BusError
from symphony.bus.extension import Context, Extension

ext = Extension()


@ext.provides("prompt.enhance/1")
def enhance_prompt(ctx: Context, brief: Path) -> Path:
    """The enhanced prompt as a file. A brief that cannot be read is `bad-request`."""
    try:
        text = enhance(brief)
    except UnreadableBrief as problem:
        raise BusError("bad-request", str(problem), where="brief", help=problem.help) from None
    ctx.progress(1, 1, f"{text.count(chr(10) + '    Operation:')} requirements")
    out = ctx.outbox / "enhanced_prompt.txt"
    out.write_text(text, encoding="utf-8")
    return out


if __name__ == "__main__":
    ext.run()
