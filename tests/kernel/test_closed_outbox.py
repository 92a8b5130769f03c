"""Files and folders that a player closed, as an ordinary user meets them: found, and removed."""

import asyncio
import concurrent.futures.thread  # noqa: F401 - an ordinary user may not be able to read it
import os
import tempfile
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from symphony.kernel.outbox import first_closed
from symphony.kernel.removal import Remover

NOBODY = 65534


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that an ordinary user can reach; pytest's own are root's."""
    with tempfile.TemporaryDirectory(prefix="symphony-test-") as name:
        folder = Path(name)
        give(folder)
        yield folder


def give(*paths: Path) -> None:
    if os.geteuid() == 0:
        for path in paths:
            os.chown(path, NOBODY, NOBODY)


def as_ordinary_user(act: Callable[[], object]) -> str:
    """What `act` returns, as text, in a process without root's rights over files."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            if os.geteuid() == 0:
                os.setresgid(NOBODY, NOBODY, NOBODY)
                os.setresuid(NOBODY, NOBODY, NOBODY)
            said = str(act())
        except BaseException:
            said = traceback.format_exc()
        os.write(writer, said.encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as file:
        said = file.read()
    os.waitpid(child, 0)
    return said


@pytest.mark.parametrize("closed", ["file", "folder"])
def test_it_is_found(place: Path, closed: str) -> None:
    whole, inner = place / "whole", place / "whole" / "inner"
    inner.mkdir(parents=True)
    (inner / "file").touch()
    (inner / "link").symlink_to("/root")
    give(whole, inner, inner / "file")
    assert as_ordinary_user(lambda: first_closed([whole])) == "None"
    bad = inner / "file" if closed == "file" else inner
    bad.chmod(0)
    assert as_ordinary_user(lambda: first_closed([whole])) == str(bad)


def test_what_lies_in_a_closed_folder_is_found(place: Path) -> None:
    folder = place / "closed"
    folder.mkdir()
    (folder / "file").touch()
    give(folder, folder / "file")
    folder.chmod(0)
    assert as_ordinary_user(lambda: first_closed([folder / "file"])) == str(folder / "file")


def test_it_is_removed(place: Path) -> None:
    whole, inner, trash = place / "whole", place / "whole" / "inner", place / "trash"
    inner.mkdir(parents=True)
    trash.mkdir()
    (inner / "file").touch()
    give(whole, inner, inner / "file", trash)
    inner.chmod(0)

    async def remove() -> None:
        remover = Remover(trash)
        remover.remove(whole)
        await remover.close()

    assert as_ordinary_user(lambda: asyncio.run(remove())) == "None"
    assert not whole.exists()
    assert list(trash.iterdir()) == []
