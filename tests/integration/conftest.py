"""The fixture of the integration tests; the harness itself is in command_harness.py."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

# pytest's importlib mode puts no test folder on the path.
sys.path.insert(0, str(Path(__file__).parent))

from command_harness import Symphony, symphony_in


@pytest.fixture
def symphony(tmp_path: Path) -> Iterator[Symphony]:
    with symphony_in(tmp_path) as subject:
        yield subject
