"""The fixture of the integration tests; the harness itself is in command_harness.py."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

# pytest's importlib mode puts no test folder on the path.
sys.path.insert(0, str(Path(__file__).parent))

from command_harness import Symphony


@pytest.fixture
def symphony(tmp_path: Path) -> Iterator[Symphony]:
    home = Path(tempfile.mkdtemp(prefix="symphony-home-"))
    environment = {**os.environ, "SYMPHONY_HOME": str(home)}
    environment.pop("XDG_RUNTIME_DIR", None)
    subject = Symphony(home, tmp_path, environment)
    try:
        yield subject
        subject.close()
    finally:
        for process in subject._started:
            process.kill()
            process.wait()
        shutil.rmtree(home, ignore_errors=True)
