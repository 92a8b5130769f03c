"""Members of the Pit on a disk that is full, read-only or broken: a typed error, nothing lost, and
all is well once the disk is."""

from __future__ import annotations

import asyncio
import errno
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

from crashdisk import Disk, Harm, compiled
from crashstage import Member, Stage
from crashworlds import WORLDS, World
from smalldisk import fill, mounted

from symphony.bus.errors import BusError

TROUBLE_S = 20.0
SIZE = "48m"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("cc") is None, reason="the disk is built by a C compiler"),
]


@pytest.fixture
def sockets() -> Iterator[Path]:
    """A folder whose name is short enough for socket paths."""
    with tempfile.TemporaryDirectory(prefix="crash-") as folder:
        yield Path(folder)


@asynccontextmanager
async def working(name: str, disk: Disk, sockets: Path) -> AsyncIterator[tuple[World, Member]]:
    """A member that has done some work."""
    stage = Stage(sockets)
    await stage.hub.start()
    made = WORLDS[name]
    world = made(stage, random.Random(1))  # noqa: S311 - to be repeatable
    member = Member(stage, made.program, made.capability, made.asks)
    try:
        await world.prepare()
        assert await member.start(disk.store, disk.environment(None))
        await world.check(member, powerless=False)
        yield world, member
    finally:
        await member.kill()
        await world.close()
        await stage.hub.close()


async def in_trouble(world: World, member: Member, begin: object) -> None:
    """Works until the disk refuses: each task ends with `io`, or waits for one that did."""
    world.troubled = True
    tasks = world.tasks(member)
    begin()  # type: ignore[operator]
    done, waiting = await asyncio.wait(
        tasks, timeout=TROUBLE_S, return_when=asyncio.FIRST_EXCEPTION
    )
    assert done, "the disk refuses, and nobody is told"
    _, waiting = await asyncio.wait(waiting, timeout=1.0) if waiting else (done, set())
    for task in waiting:
        task.cancel()
    for ended in await asyncio.gather(*tasks, return_exceptions=True):
        if not isinstance(ended, asyncio.CancelledError):
            assert isinstance(ended, BusError), ended
            assert (ended.code, ended.fault) == ("io", "environment")
            assert ended.message


async def recovered(world: World, member: Member, disk: Disk) -> None:
    """Goes on with what was refused, in this process and in the next."""
    world.troubled = False
    await world.check(member, powerless=False)
    tasks = world.tasks(member)
    await asyncio.wait(tasks, timeout=0.2)
    await member.kill()
    await asyncio.gather(*tasks)
    disk.harm(Harm.LOST, random.Random(1))  # noqa: S311
    assert await member.start(disk.store, disk.environment(None))
    await world.check(member, powerless=True)
    await world.finish(member)
    assert world.faults == []


@pytest.mark.parametrize("error", [errno.EROFS, errno.ENOSPC, errno.EIO], ids=errno.errorcode.get)
@pytest.mark.parametrize("name", WORLDS)
def test_a_disk_that_begins_to_refuse(name: str, error: int, tmp_path: Path, sockets: Path) -> None:
    async def test() -> None:
        disk = Disk(tmp_path, compiled(tmp_path), lies=False)
        async with working(name, disk, sockets) as (world, member):
            await in_trouble(world, member, lambda: disk.fail(error))
            disk.fail(None)
            await recovered(world, member, disk)

    asyncio.run(test())


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A folder with a small file system in it."""
    folder = tmp_path / "small"
    folder.mkdir()
    with mounted(folder, SIZE):
        yield folder


def remount(folder: Path, how: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{how}", folder], check=True)


class Plain(Disk):
    """A real file system, not watched."""

    def __init__(self, folder: Path) -> None:
        self.store = folder / "store"

    def environment(self, at: int | None) -> dict[str, str]:
        return {}

    def harm(self, harm: Harm, dice: random.Random) -> None:
        """The power stays."""


@pytest.mark.parametrize("name", WORLDS)
def test_a_disk_that_is_full(name: str, small: Path, sockets: Path) -> None:
    async def test() -> None:
        disk = Plain(small)
        async with working(name, disk, sockets) as (world, member):
            await in_trouble(world, member, lambda: fill(small))
            (small / "ballast").unlink()
            await recovered(world, member, disk)

    asyncio.run(test())


@pytest.mark.parametrize("name", WORLDS)
def test_a_disk_that_is_read_only_from_the_start(name: str, small: Path, sockets: Path) -> None:
    async def test() -> None:
        disk = Plain(small)
        async with working(name, disk, sockets) as (world, member):
            tasks = world.tasks(member)
            await asyncio.wait(tasks, timeout=0.2)
            await member.kill()
            await asyncio.gather(*tasks)
            remount(small, "ro")
            assert not await member.start(disk.store)
            said = member.said.decode()
            assert member.code == 6, said
            assert "error: " in said
            assert "Read-only file system" in said
            assert "\nhelp: " in said
            remount(small, "rw")
            assert await member.start(disk.store)
            await recovered(world, member, disk)

    asyncio.run(test())
