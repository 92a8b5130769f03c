"""Another Artifact Store by one line of configuration: runs play, and ours is not even started."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from command_harness import PLAYERS, Symphony

ROOT = Path(__file__).resolve().parents[2]


def test_one_line_replaces_the_artifact_store(symphony: Symphony) -> None:
    shutil.copytree(
        ROOT / "examples" / "folder-store", symphony.home / "extensions" / "folder-store"
    )
    line = 'members = { "pit.artifacts/1" = "folder-store" }\n'
    (symphony.home / "pit.toml").write_text(line, encoding="utf-8")
    melody = symphony.melody({"id": "a", "inputs": {"plan": ["ok"]}})
    done = symphony.kernel("run", melody, "--extensions", PLAYERS, "--json", "events.jsonl")
    assert done.returncode == 0, done.stderr
    documents = sorted((symphony.home / "folder-store" / "documents").iterdir())
    assert documents
    assert not (symphony.home / "artifacts").exists()
    # A member in Python takes longer to come up than those who ask it.
    assert symphony.answer("stale", "plan").get("stopped") is None
    symphony.serve()
    puts = [json.loads(path.read_text("utf-8"))["changes"] for path in documents]
    refs = {change["ref"] for changes in puts for change in changes if change["type"] == "put"}
    found = symphony.answer("artifacts", "list")
    listed = {info["ref"] for info in found["artifacts"]}
    assert listed
    assert listed <= refs
