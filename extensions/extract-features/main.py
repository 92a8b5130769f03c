"""extract-features: turns an enhanced prompt into a backlog. Only this file knows the bus."""

from __future__ import annotations

from pathlib import Path

from backlog_extract import NoRequirements, extract

from symphony.bus.errors import BusError
from symphony.bus.extension import Context, Extension

ext = Extension()


@ext.provides("features.extract/1")
def extract_features(ctx: Context, enhanced_prompt: str) -> Path:
    """The backlog as a CSV file."""
    try:
        table = extract(enhanced_prompt)
    except NoRequirements:
        raise BusError(
            "bad-request",
            "the text has no requirements",
            where="enhanced_prompt",
            help="give the output of prompt.enhance/1: a section '## Requirements', lines 'R1. …'",
        ) from None
    out = ctx.outbox / "backlog.csv"
    out.write_text(table, encoding="utf-8")
    return out


if __name__ == "__main__":
    ext.run()
