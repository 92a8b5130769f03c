"""Spawn latency: from the request to the first message of a player on the bus, in milliseconds.

`strict/cold` and `standard/cold` start a player in a fresh sandbox, `bare` starts the same program
with the same interpreter by a plain subprocess. Rounds alternate; medians; one warm-up round each.
The first message is the SDK's hello.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import secrets
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import zmq

from symphony.bus.ticket import Ticket
from symphony.sandboxes import Level, LocalLauncher, SandboxPolicy, SpawnSpec, bubblewrap
from symphony.sandboxes.runtime import FLAGS, find

SANDBOXED = {"strict/cold": Level.STRICT, "standard/cold": Level.STANDARD}
TIMEOUT_MS = 20_000

PLAYER = """
from symphony.bus.extension import Extension
ext = Extension()
@ext.provides("bench.noop/1")
def noop(ctx) -> None: ...
ext.run()
"""


class Bench:
    """One folder, one hub socket per round, one launcher for all."""

    def __init__(self, folder: Path, launcher: LocalLauncher) -> None:
        self._folder = folder
        self._launcher = launcher
        self._context = zmq.Context()
        self._code = folder / "player"
        self._code.mkdir()
        (self._code / "main.py").write_text(PLAYER)
        self._round = 0

    def _hub(self) -> tuple[zmq.Socket[bytes], Path]:
        self._round += 1
        path = self._folder / f"{self._round}.sock"
        hub = self._context.socket(zmq.ROUTER)
        hub.bind(f"ipc://{path}")
        return hub, path

    def _ticket(self, endpoint: str) -> bytes:
        folder = str(self._folder)
        return Ticket(1, endpoint, secrets.token_hex(16), "bench", folder, folder).to_json()

    @staticmethod
    def _first_message(hub: zmq.Socket[bytes], begun: float) -> float:
        if not hub.poll(TIMEOUT_MS):
            raise TimeoutError("the player sent nothing")
        taken = (time.perf_counter() - begun) * 1000
        hub.recv_multipart()
        hub.close(0)
        return taken

    async def sandboxed(self, level: Level) -> float:
        hub, path = self._hub()
        spec = SpawnSpec(
            instance="bench",
            argv=("python", "/ext/main.py"),
            policy=SandboxPolicy(level=level),
            code=self._code,
            socket=path,
            stdin=self._ticket("ipc:///run/bus.sock"),
            log=self._folder / "log",
        )
        begun = time.perf_counter()
        process = await self._launcher.spawn(spec)
        try:
            return self._first_message(hub, begun)
        finally:
            process.kill()
            await process.wait()

    def bare(self) -> float:
        hub, path = self._hub()
        environment = bubblewrap.environment(SandboxPolicy(), home=str(self._folder))
        argv = [find().python, *FLAGS, str(self._code / "main.py")]
        begun = time.perf_counter()
        with subprocess.Popen(argv, stdin=subprocess.PIPE, env=environment) as process:
            assert process.stdin is not None
            process.stdin.write(self._ticket(f"ipc://{path}"))
            process.stdin.close()
            try:
                return self._first_message(hub, begun)
            finally:
                process.kill()

    def close(self) -> None:
        self._context.destroy(0)


async def measure(rounds: int) -> dict[str, float]:
    """Median milliseconds of every case."""
    taken: dict[str, list[float]] = {case: [] for case in ("bare", *SANDBOXED)}
    launcher = LocalLauncher()
    await launcher.start()
    with tempfile.TemporaryDirectory(prefix="symphony-bench-") as folder:
        bench = Bench(Path(folder), launcher)
        try:
            for _ in range(rounds + 1):
                taken["bare"].append(await asyncio.to_thread(bench.bare))
                for case, level in SANDBOXED.items():
                    taken[case].append(await bench.sandboxed(level))
        finally:
            bench.close()
            await launcher.close()
    return {case: statistics.median(values[1:]) for case, values in taken.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    parser.add_argument("--rounds", type=int, default=20, help="rounds of each case (default 20)")
    arguments = parser.parse_args()
    medians = asyncio.run(measure(arguments.rounds))
    bare = medians["bare"]
    if not arguments.json:
        print(f"{'case':<16}{'ms':>8}{'x bare':>8}")
    for case, value in medians.items():
        line: dict[str, object] = {"bench": "spawn", "case": case, "unit": "ms"}
        line["value"] = round(value, 2)
        if case != "bare":
            line |= {"against": "bare", "ratio": round(value / bare, 3)}
        if arguments.json:
            print(json.dumps(line))
        else:
            print(f"{case:<16}{value:>8.1f}{value / bare:>8.2f}")


if __name__ == "__main__":
    main()
