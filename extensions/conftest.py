"""Shared by the tests of all players: their modules importable, as in their sandbox, and `main.py`
behind the real switch and codec."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType

import pytest

from symphony.bus.testing import FakeConductor

for _main in sorted(Path(__file__).parent.glob("*/main.py")):
    if str(_main.parent) not in sys.path:
        sys.path.insert(0, str(_main.parent))


@pytest.fixture
def player(request: pytest.FixtureRequest) -> ModuleType:
    """A fresh `main.py` of the extension that the test belongs to."""
    main = request.path.parents[1] / "main.py"
    loader = SourceFileLoader(f"{main.parent.name}-main", str(main))
    module = ModuleType(loader.name)
    loader.exec_module(module)
    return module


@pytest.fixture
def bus(player: ModuleType) -> Iterator[FakeConductor]:
    """The player on the bus, over the datapath in memory."""
    with FakeConductor(player.ext) as conductor:
        yield conductor
