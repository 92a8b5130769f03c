"""The Rust runtime's example programs, built as `cargo test` builds them, as peers of a hub."""

from __future__ import annotations

import asyncio
import functools
import json
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from pit_stage import PATIENCE_S, Stage

from symphony.bus.hub import Grants
from symphony.bus.ticket import Ticket

PIT = Path(__file__).parents[2] / "pit-rs"


@functools.cache
def examples() -> dict[str, Path]:
    """Builds the examples and gives their programs by name.

    Of the whole workspace: of one package alone, cargo would build all it needs once more.
    """
    command = ["cargo", "build", "--locked", "--workspace", "--examples"]
    built = subprocess.run(
        [*command, "--message-format", "json"],
        cwd=PIT,
        stdout=subprocess.PIPE,
        check=True,
        timeout=600,
    )
    rows = [json.loads(line) for line in built.stdout.splitlines()]
    return {
        row["target"]["name"]: Path(row["executable"])
        for row in rows
        if row.get("executable") and "example" in row["target"]["kind"]
    }


def has_cargo() -> bool:
    return shutil.which("cargo") is not None


async def until(condition: Callable[[], object]) -> None:
    """Returns once the hub has counted something, of which it tells nobody."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(0)


@asynccontextmanager
async def running(name: str, ticket: Ticket, folder: Path) -> AsyncIterator[Console]:
    """Starts an example with its ticket in a file, and ends it."""
    place = folder / f"{ticket.instance}.json"
    place.write_bytes(ticket.to_json())
    place.chmod(0o600)
    process = await asyncio.create_subprocess_exec(
        examples()[name],
        env={**os.environ, "SYMPHONY_TICKET": f"file:{place}"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        yield Console(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


class Console:
    """A running example; lines of JSON go in and come out of `console`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    def tell(self, do: str, **values: object) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"do": do, **values}).encode() + b"\n")

    async def hear(self) -> Any:
        assert self.process.stdout is not None
        async with asyncio.timeout(PATIENCE_S):
            return json.loads(await self.process.stdout.readline())

    async def ask(self, do: str, **values: object) -> Any:
        """Tells and hears; an answer that is no error."""
        self.tell(do, **values)
        answer = await self.hear()
        assert "ok" in answer, answer
        return answer["ok"]

    async def close(self) -> int:
        """Ends its input and gives its exit code."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        async with asyncio.timeout(PATIENCE_S):
            return await self.process.wait()


@asynccontextmanager
async def player(stage: Stage, grants: Grants) -> AsyncIterator[Console]:
    """The example `parts` as an instance that is ready."""
    ticket = stage.hub.add_peer("parts", f"ipc://{stage.folder}/parts.sock", grants)
    async with running("parts", ticket, stage.folder) as program:
        await stage.seen.expect("registered", "parts")
        yield program


@asynccontextmanager
async def console(stage: Stage, grants: Grants, name: str = "console-1") -> AsyncIterator[Console]:
    """The example `console` as an instance that is ready."""
    ticket = stage.hub.add_peer(name, f"ipc://{stage.folder}/{name}.sock", grants)
    async with running("console", ticket, stage.folder) as program:
        await stage.seen.expect("registered", name)
        yield program
