"""Spawn latency: from the request to the first message of a player on the bus, in milliseconds.

`strict/cold` and `standard/cold` start a player in a fresh sandbox. Beside each, in turns, `bare`
starts the same program with the same interpreter by a plain subprocess. The first message is the
SDK's hello. One round of each is not counted: it fills the disk's cache.
"""

import asyncio
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import zmq
from benchlib import Result, alternate, compared, fail, parser, play

from symphony.bus.ticket import Ticket
from symphony.sandboxes import Level, LocalLauncher, SandboxPolicy, SandboxRefused, SpawnSpec
from symphony.sandboxes.bubblewrap import environment
from symphony.sandboxes.runtime import FLAGS, find

REFUSED = 3
LEVELS = {"strict/cold": Level.STRICT, "standard/cold": Level.STANDARD}
MESSAGE_MS = 20_000
EXAMPLES = """
--json
--only 'strict/*' --rounds 50"""

PLAYER = """
from symphony.bus.extension import Extension
ext = Extension()
@ext.provides("bench.noop/1")
def noop(ctx) -> None: ...
ext.run()
"""


class Bench:
    """One folder, one hub socket per round, one launcher for all."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._code = folder / "player"
        self._code.mkdir()
        (self._code / "main.py").write_text(PLAYER)
        self._round = 0
        self._context = zmq.Context()
        self._loop = asyncio.Runner()
        self._launcher = LocalLauncher()

    def __enter__(self) -> "Bench":
        self._loop.run(self._launcher.start())
        try:
            self._loop.run(self._launcher.prove())
        except SandboxRefused as refused:
            self.__exit__()
            fail(REFUSED, f"no sandbox: no working {refused.mechanism}", refused.remedy)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.run(self._launcher.close())
        self._loop.close()
        self._context.destroy(0)

    def _hub(self) -> tuple[zmq.Socket[bytes], Path]:
        self._round += 1
        path = self._folder / f"{self._round}.sock"
        hub = self._context.socket(zmq.ROUTER)
        hub.bind(f"ipc://{path}")
        return hub, path

    def _ticket(self, endpoint: str) -> bytes:
        folder = str(self._folder)
        return Ticket(1, endpoint, secrets.token_hex(16), "bench", folder, folder).to_json()

    def _first_message(self, hub: zmq.Socket[bytes], begun: float) -> float:
        if not hub.poll(MESSAGE_MS):
            log = self._folder / "log"
            said = log.read_text() if log.exists() else ""
            fail(1, f"the player sent nothing within {MESSAGE_MS // 1000} s\n{said}")
        taken = (time.perf_counter() - begun) * 1000
        hub.recv_multipart()
        hub.close(0)
        return taken

    def sandboxed(self, level: Level) -> float:
        """Milliseconds to the first message from a fresh sandbox."""
        return self._loop.run(self._sandboxed(level))

    async def _sandboxed(self, level: Level) -> float:
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
        """The same without a sandbox, by a plain subprocess."""
        hub, path = self._hub()
        variables = environment(SandboxPolicy(), home=str(self._folder))
        argv = [find().python, *FLAGS, str(self._code / "main.py")]
        begun = time.perf_counter()
        with subprocess.Popen(argv, stdin=subprocess.PIPE, env=variables) as process:
            assert process.stdin is not None
            process.stdin.write(self._ticket(f"ipc://{path}"))
            process.stdin.close()
            try:
                return self._first_message(hub, begun)
            finally:
                process.kill()


def measure(case: str, rounds: int) -> Iterator[Result]:
    with (
        tempfile.TemporaryDirectory(prefix="symphony-bench-") as folder,
        Bench(Path(folder)) as bench,
    ):
        sandboxed = partial(bench.sandboxed, LEVELS[case])
        alternate(1, sandboxed, bench.bare)
        ours, bare = alternate(rounds, sandboxed, bench.bare)
    yield compared("spawn", case, "ms", ours, "bare", bare)


def main() -> int:
    arguments = parser("spawn", __doc__ or "", EXAMPLES)
    arguments.add_argument("--rounds", type=int, default=20, help="the median of so many (20)")
    options = arguments.parse_args()
    return play({case: partial(measure, case, options.rounds) for case in LEVELS}, options)


if __name__ == "__main__":
    sys.exit(main())
