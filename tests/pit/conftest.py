"""Fixtures of the Pit's tests."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from pit_stage import Play, Test, staged


@pytest.fixture
def sockets() -> Iterator[Path]:
    """A folder whose name is short enough for socket paths."""
    with tempfile.TemporaryDirectory(prefix="pit-") as folder:
        yield Path(folder)


@pytest.fixture
def play(sockets: Path) -> Play:
    """Runs an async test with a stage."""

    def run(test: Test, heartbeat_ms: int = 1000) -> None:
        async def whole() -> None:
            async with staged(sockets, heartbeat_ms) as stage:
                await test(stage)

        asyncio.run(whole())

    return run
