"""What a run shows of the quality of its artifacts is known to whoever looks for it."""

from __future__ import annotations

from pathlib import Path

from command_harness import Symphony

JUDGE = """
[extension]
name = "judge"
version = "1.0.0"
entry = { python = "main.py" }
sandbox = "none"

[[provides]]
capability = "test.judge/1"
inputs.text = { type = "file", optional = true }
outputs.text = { type = "file" }
outputs.quality = { type = "number" }
"""
PROGRAM = """
from symphony.bus.extension import Context, Extension

ext = Extension()


@ext.provides("test.judge/1")
def judge(ctx: Context, text=None) -> dict[str, object]:
    out = ctx.outbox / "text.txt"
    out.write_text(f"for {ctx.step}")
    return {"text": out, "quality": 0.8}


ext.run()
"""


def test_a_run_leaves_what_its_artifacts_are_worth(symphony: Symphony) -> None:
    symphony.write("judge/main.py", PROGRAM)
    folder: Path = symphony.write("judge/extension.toml", JUDGE).parent
    melody = symphony.melody(
        {"id": "a", "capability": "test.judge/1", "gate": {"min_quality": 0.5}},
        {"id": "b", "capability": "test.judge/1", "inputs": {"text": "$steps.a.text"}},
        outputs={"text": "$steps.b.text"},
    )
    done = symphony.kernel("run", melody, "--extensions", folder)
    assert done.returncode == 0, done.stderr
    found = {
        row["made"]["step"]: row["quality"]
        for row in symphony.answer("artifacts", "list")["artifacts"]
        if row["name"] == "text"
    }
    # Structure 1000, semantics 800, used once 500; weighted 30 : 50 : 20.
    assert found == {"a": 800, "b": 800}
    searched = symphony.answer("artifacts", "search", "--quality", "800", "--name", "text")
    assert len(searched["artifacts"]) == 2
