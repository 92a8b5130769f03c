"""How many inputs the tests of this folder try, and how many they have tried.

`FUZZ_INPUTS` (for all together) and `FUZZ_TALLY` (a file to write the numbers to) come from
`scripts/fuzz`.
"""

import json
import os
from collections import Counter
from pathlib import Path

import pytest

INPUTS = int(os.environ.get("FUZZ_INPUTS", "600"))
tried: Counter[str] = Counter()


@pytest.fixture(autouse=True, scope="session")
def _tally() -> object:
    yield
    if place := os.environ.get("FUZZ_TALLY"):
        Path(place).write_text(json.dumps(tried), encoding="ascii")
