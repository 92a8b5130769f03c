"""One launcher for all tests of a run, and probes: Python programs that report from inside."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

# pytest's importlib mode puts no test folder on the path.
sys.path.insert(0, str(Path(__file__).parent))

from symphony.sandboxes import ExitReason, LocalLauncher, SandboxPolicy, SpawnSpec


@dataclass
class Sandboxes:
    """Runs programs in sandboxes, one after another, on an event loop of its own."""

    runner: asyncio.Runner
    launcher: LocalLauncher
    folder: Path
    count: int = field(default=0)

    def spec(self, *argv: str, **fields: Any) -> SpawnSpec:
        self.count += 1
        fields.setdefault("policy", SandboxPolicy())
        fields.setdefault("log", self.folder / f"{self.count}.log")
        return SpawnSpec(instance=f"probe-{self.count}", argv=argv, **fields)

    def run(self, *argv: str, **fields: Any) -> tuple[ExitReason, str]:
        """Runs a command to its end: why it ended, and all it wrote."""
        spec = self.spec(*argv, **fields)

        async def whole() -> ExitReason:
            process = await self.launcher.spawn(spec)
            return await asyncio.wait_for(process.wait(), 30)

        reason = self.runner.run(whole())
        return reason, spec.log.read_text() if spec.log.exists() else ""

    def probe(self, source: str, **fields: Any) -> Any:
        """Runs Python source that calls `report(value)` as the last thing it prints."""
        prelude = (
            "import json, os, sys\ndef report(value): print(json.dumps(value))\n"
            "def attempt(f, *a, **k):\n"
            "    try: f(*a, **k)\n"
            "    except OSError as fault: return fault.errno\n"
            "    return 0\n"
        )
        reason, output = self.run("python", "-c", prelude + source, **fields)
        assert reason.kind == "finished", (reason, output)
        return json.loads(output.splitlines()[-1])


@pytest.fixture(scope="session")
def sandboxes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandboxes]:
    with asyncio.Runner() as runner:
        launcher = LocalLauncher()
        runner.run(launcher.start())
        yield Sandboxes(runner, launcher, tmp_path_factory.mktemp("sandboxes"))
        runner.run(launcher.close())


@pytest.fixture
def as_root() -> None:
    if os.geteuid() != 0:
        pytest.skip("only root drops to another user id")
