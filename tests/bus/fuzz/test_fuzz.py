"""The fuzzer in a short form: live hubs that are sent messages of every sort."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from ..conftest import NEEDS_NATIVE

FUZZING = Path(__file__).resolve().parents[3] / "scripts" / "fuzzing.py"
INPUTS = 30_000


@pytest.mark.slow
@pytest.mark.parametrize("datapath", ["reference", pytest.param("native", marks=NEEDS_NATIVE)])
def test_a_hub_neither_dies_nor_leaks(datapath: str) -> None:
    command = [sys.executable, str(FUZZING), "--json", "--only", f"hub-{datapath}"]
    done = subprocess.run(
        [*command, "--inputs", str(INPUTS)], capture_output=True, text=True, check=False
    )
    outcome, total = map(json.loads, done.stdout.splitlines())
    assert done.returncode == 0, outcome.get("crashes")
    assert total == {"inputs": outcome["inputs"], "crashes": 0}
    assert outcome["inputs"] >= INPUTS
    assert outcome["witness"]["errors"] == 0
    said = [line for line in done.stderr.splitlines() if line != f"hub-{datapath}"]
    assert said
    assert all(re.fullmatch(rf"hub-{datapath}: [0-9]+ inputs", line) for line in said), said
    counters = outcome["counters"]
    assert counters["undecodable"] > 0
    assert counters["frames"] > 0
    assert counters["oversize"] > 0
    assert counters["wrong-side"] > 0
    assert counters["stray-answer"] > 0
