"""A hub under stress, its providers and callers: processes, started, killed and measured."""

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from pathlib import Path

from benchlib import PROJECT, BenchError
from benchproc import end_with_the_benchmark

LONGEST_LINE = 16 * 1024 * 1024  # counters by the names that hostile peers made up
PROGRAMS = PROJECT / "scripts" / "soakprograms"
ANSWER_S = 60.0
QUIET = {"RUST_BACKTRACE": "0"}  # that of a panic on purpose would count as memory of the hub


async def start(program: str, *arguments: str, ticket: Path | None = None) -> Process:
    """One of our programs, out of reach of the terminal's Ctrl-C; it ends with this process."""
    return await asyncio.create_subprocess_exec(
        sys.executable,
        str(PROGRAMS / f"{program}.py"),
        *arguments,
        stdin=PIPE,
        stdout=PIPE,
        env=os.environ | QUIET | ({"SYMPHONY_TICKET": f"file:{ticket}"} if ticket else {}),
        preexec_fn=end_with_the_benchmark,
        start_new_session=True,
        limit=LONGEST_LINE,
    )


class StressedHub:
    """The hub's process. `noticed` gets every notice: what happened, to whom, why."""

    def __init__(self, process: Process, noticed: Callable[[list[str]], None]) -> None:
        self._process = process
        self._noticed = noticed
        self._answers: asyncio.Queue[str] = asyncio.Queue()
        self._asking = asyncio.Lock()
        self._registered: dict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self._reader = asyncio.create_task(self._read())

    @classmethod
    async def start(
        cls, datapath: str, folder: Path, noticed: Callable[[list[str]], None]
    ) -> "StressedHub":
        hub = cls(await start("hub", datapath, str(folder)), noticed)
        await hub._answer()
        return hub

    async def ask(self, *command: str) -> str:
        """A command's answer; raises BenchError if there is none."""
        assert self._process.stdin is not None
        async with self._asking:
            self._process.stdin.write(" ".join(command).encode() + b"\n")
            return await self._answer()

    async def registered(self, name: str) -> None:
        """Waits until this peer is there."""
        try:
            await asyncio.wait_for(self._registered[name].wait(), ANSWER_S)
        except TimeoutError:
            raise BenchError(f"{name} does not join") from None

    async def counters(self) -> dict[str, int]:
        counters: dict[str, int] = json.loads(await self.ask("counters"))
        return counters

    def rss_kib(self) -> int:
        """What it holds now."""
        try:
            status = Path(f"/proc/{self._process.pid}/status").read_text("ascii")
        except OSError:
            raise BenchError("the hub has ended") from None
        return int(status.partition("VmRSS:")[2].split(maxsplit=1)[0])

    async def end(self) -> None:
        self._reader.cancel()
        await end(self._process)

    async def _answer(self) -> str:
        try:
            async with asyncio.timeout(ANSWER_S):
                answer = await self._answers.get()
        except TimeoutError:
            raise BenchError("the hub does not answer") from None
        if not answer:
            raise BenchError("the hub has ended")
        return answer

    async def _read(self) -> None:
        assert self._process.stdout is not None
        while line := (await self._process.stdout.readline()).decode():
            what, *rest = line.split(maxsplit=1)
            if what == "ready":
                self._answers.put_nowait(what)
            elif what == "answer":
                self._answers.put_nowait(rest[0])
            else:
                if what == "registered":
                    self._registered[line.split()[1]].set()
                self._noticed(line.split())
        self._answers.put_nowait("")


class Peers:
    """The providers or the callers of a soak: a fixed number, each replaced when it was killed."""

    def __init__(self, kind: str, hub: StressedHub, folder: Path) -> None:
        self.kind = kind
        self.killed = 0
        self._hub = hub
        self._folder = folder
        self._names = count(1)
        self._running: dict[str, Process] = {}

    async def add(self, *arguments: str) -> None:
        """One more; returns when it has joined."""
        name = f"{self.kind}-{next(self._names)}"
        ticket = self._folder / f"{name}.ticket"
        ticket.touch(mode=0o600)
        ticket.write_text(await self._hub.ask(self.kind, name), encoding="ascii")
        ledger = self._folder / f"{name}.ledger"
        process = await start(self.kind, str(ledger), name, *arguments, ticket=ticket)
        self._running[name] = process
        await self._hub.registered(name)

    async def kill(self, name: str) -> None:
        """As a crash, and what the kernel does when it hears of one."""
        process = self._running.pop(name)
        self.killed += 1
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGKILL)
        await end(process)
        await self._hub.ask("remove", name)

    def names(self) -> list[str]:
        return list(self._running)

    def ledgers(self) -> list[Path]:
        return sorted(self._folder.glob(f"{self.kind}-*.ledger"))

    def ended(self) -> list[str]:
        """Those that have ended by themselves, with their exit codes."""
        return [
            f"{name} ({process.returncode})"
            for name, process in self._running.items()
            if process.returncode is not None
        ]

    async def finish(self) -> None:
        """Tells them that their input is over and waits for them."""
        for process in self._running.values():
            assert process.stdin is not None
            process.stdin.close()
        async with asyncio.timeout(ANSWER_S):
            await asyncio.gather(*(process.wait() for process in self._running.values()))

    async def end(self) -> None:
        for process in self._running.values():
            await end(process)


async def end(process: Process) -> None:
    with suppress(ProcessLookupError):
        process.kill()
    await process.communicate()
