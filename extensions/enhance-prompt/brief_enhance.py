"""A brief in, the enhanced prompt out: the whole player as one pure function."""

from __future__ import annotations

from pathlib import Path

import brief_fate
import brief_text
from brief_understand import understand

TEMPLATES = Path(__file__).with_name("templates")


def enhance(brief: Path | str | bytes) -> str:
    """The enhanced prompt of a brief. Raises brief_text.UnreadableBrief if nothing can be read."""
    from jinja2 import Environment, FileSystemLoader

    title, found, left_out = brief_text.statements(brief_text.load(brief))
    spec = understand(title, found, left_out)
    env = Environment(
        loader=FileSystemLoader(TEMPLATES),
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,  # noqa: S701 - what is rendered is plain text, not HTML
    )
    env.filters["requirement_id"] = lambda number: f"R{number}"
    for made in spec.requirements:
        made.text = " ".join(made.text.split())
    return (
        env.get_template("enhanced_prompt.txt.j2")
        .render(spec=spec, told=brief_fate.told(spec))
        .rstrip()
        + "\n"
    )
