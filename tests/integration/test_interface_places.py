"""Places: the home, the sockets, one kernel on one home, nothing written elsewhere."""

from __future__ import annotations

import json
import os
import shutil
import socket
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from command_harness import PLAYERS, Symphony
from interface_checks import check_errors

NOBODY = 65534


@pytest.fixture
def short() -> Iterator[Path]:
    """A folder with a short path, for sockets."""
    folder = Path(tempfile.mkdtemp(prefix="s", dir="/tmp"))
    yield folder
    shutil.rmtree(folder)


def ready_home(symphony: Symphony, *arguments: str, **environment: str) -> Path:
    """The home that `serve` says it has; the kernel is stopped again."""
    kept = {k: v for k, v in symphony.environment.items() if k != "SYMPHONY_HOME"}
    subject = Symphony(symphony.home, symphony.folder, {**kept, **environment})
    process = subject.start("serve", "--json", *arguments)
    assert process.stdout is not None
    line = process.stdout.readline()
    process.terminate()
    _, said = process.communicate()
    assert line, said
    return Path(json.loads(line)["home"])


def modes(folder: Path) -> set[int]:
    return {stat.S_IMODE(path.stat().st_mode) & 0o077 for path in (folder, *folder.iterdir())}


def test_the_option_goes_before_the_variable_and_that_before_xdg(symphony: Symphony) -> None:
    option, variable, xdg = (symphony.folder / name for name in ("option", "variable", "xdg"))
    both = {"SYMPHONY_HOME": str(variable), "XDG_DATA_HOME": str(xdg)}
    assert ready_home(symphony, "--home", str(option), **both) == option
    assert ready_home(symphony, **both) == variable
    assert ready_home(symphony, XDG_DATA_HOME=str(xdg)) == xdg / "symphony"
    user = symphony.folder / "user"
    kept = {**symphony.environment, "HOME": str(user)}
    kept.pop("XDG_DATA_HOME", None)
    home = ready_home(Symphony(symphony.home, symphony.folder, kept))
    assert home == user / ".local/share/symphony"
    for made in (option, variable, xdg / "symphony", home):
        assert stat.S_IMODE(made.stat().st_mode) == 0o700


def test_the_home_and_the_sockets_are_private(symphony: Symphony, short: Path) -> None:
    home = symphony.folder / "home"
    home.mkdir(mode=0o755)
    symphony.environment = {**symphony.environment, "TMPDIR": str(short)}
    process = symphony.serve("--home", str(home))
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    (runtime,) = short.glob(f"symphony-{os.getuid()}-*/console.json")
    assert stat.S_IMODE(runtime.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(runtime.stat().st_mode) == 0o600
    process.terminate()
    process.communicate()
    assert not runtime.parent.exists()


def test_sockets_lie_in_the_runtime_folder_of_the_session(symphony: Symphony, short: Path) -> None:
    symphony.environment = {**symphony.environment, "XDG_RUNTIME_DIR": str(short)}
    process = symphony.serve()
    (folder,) = short.iterdir()
    assert folder.name.startswith("symphony-")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert any(path.is_socket() for path in folder.iterdir())
    assert symphony.kernel("status").returncode == 0
    process.terminate()
    process.communicate()
    assert list(short.iterdir()) == []


def test_a_runtime_folder_that_is_not_there_is_not_used(symphony: Symphony) -> None:
    gone = symphony.folder / "gone"
    symphony.environment = {**symphony.environment, "XDG_RUNTIME_DIR": str(gone)}
    symphony.serve()
    assert symphony.kernel("status").returncode == 0
    assert not gone.exists()


def test_a_long_home_works(symphony: Symphony) -> None:
    home = symphony.folder / ("a-very-long-name-" * 12) / ("b" * 200) / "home"
    melody = symphony.melody({"id": "a", "inputs": {"plan": ["ok"]}})
    code, events = symphony.play(melody, "--home", home)
    assert code == 0
    assert events[-1]["outcome"] == "succeeded"
    assert (home / "dag").is_dir()


def test_the_second_kernel_is_refused_with_the_pid_of_the_first(symphony: Symphony) -> None:
    first = symphony.serve()
    melody = symphony.melody({"id": "a", "inputs": {"plan": ["ok"]}})
    for done in (symphony.kernel("serve"), symphony.kernel("run", melody, "--extensions", PLAYERS)):
        check_errors(done, 3, f"pid {first.pid}", str(symphony.home))
    assert symphony.kernel("status").returncode == 0, "the first is as it was"


def test_a_home_that_links_elsewhere_is_one_home(symphony: Symphony) -> None:
    link = symphony.folder / "link"
    link.symlink_to(symphony.home)
    first = symphony.serve("--home", str(link))
    check_errors(symphony.kernel("serve"), 3, f"pid {first.pid}")
    assert symphony.kernel("status", "--home", link).returncode == 0


def test_a_home_below_a_file(symphony: Symphony) -> None:
    path = symphony.write("file", "")
    check_errors(symphony.kernel("serve", "--home", path / "home"), 6, str(path))
    check_errors(symphony.kernel("serve", "--home", path), 6, str(path))
    check_errors(symphony.kernel("runs", "list", "--home", "/proc/home"), 6, "/proc/home")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to somebody else")
def test_a_home_of_somebody_else_is_refused(symphony: Symphony) -> None:
    home = symphony.folder / "home"
    home.mkdir(mode=0o700)
    os.chown(home, NOBODY, NOBODY)
    check_errors(symphony.kernel("serve", "--home", home), 3, str(home))


def test_a_folder_in_use_for_other_things_is_not_taken(symphony: Symphony) -> None:
    home = symphony.folder / "project"
    home.mkdir(mode=0o755)
    (home / "notes.txt").write_text("mine")
    check_errors(symphony.kernel("serve", "--home", home), 3, str(home))
    assert [path.name for path in home.iterdir()] == ["notes.txt"]
    assert stat.S_IMODE(home.stat().st_mode) == 0o755


def occupied(symphony: Symphony, short: Path) -> Path:
    """Where the sockets of the home lie."""
    symphony.environment = {**symphony.environment, "XDG_RUNTIME_DIR": str(short)}
    process = symphony.serve()
    (folder,) = short.iterdir()
    process.terminate()
    process.communicate()
    return folder


@pytest.mark.parametrize("what", ["file", "link", "folder"])
def test_the_place_of_the_sockets_is_occupied(symphony: Symphony, short: Path, what: str) -> None:
    folder = occupied(symphony, short)
    match what:
        case "file":
            folder.write_text("mine")
        case "link":
            folder.symlink_to(symphony.folder)
        case "folder":
            (folder / "console.sock").mkdir(parents=True)
    said = check_errors(symphony.kernel("serve"), 3 if what == "link" else 6, str(folder))
    assert said.count("error: ") == 1
    assert what != "file" or folder.read_text() == "mine"


def test_a_socket_that_a_dead_kernel_left_is_replaced(symphony: Symphony, short: Path) -> None:
    folder = occupied(symphony, short)
    folder.mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(folder / "console.sock"))
        left.listen()
        symphony.serve()
        assert symphony.kernel("status").returncode == 0


def test_nothing_is_written_elsewhere(symphony: Symphony, short: Path) -> None:
    user, temporary = symphony.folder / "user", short / "t"
    for folder in (user, temporary):
        folder.mkdir()
    symphony.environment = {
        **symphony.environment,
        "HOME": str(user),
        "TMPDIR": str(temporary),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    symphony.write("in.txt", "hello\n")
    step = {"id": "a", "capability": "test.shout/1", "inputs": {"source": "$inputs.text"}}
    melody = symphony.melody(
        step, inputs={"text": {"type": "file"}}, outputs={"text": "$steps.a.shouted"}
    )
    before = {path: path.stat().st_mtime_ns for path in PLAYERS.rglob("*")}
    code, _ = symphony.play(melody, "--input", "text=in.txt", "--out", "result")
    assert code == 0
    assert list(user.iterdir()) == []
    assert list(temporary.iterdir()) == []
    assert {path.name for path in symphony.folder.iterdir()} == {
        "user",
        "in.txt",
        "result",
        melody.name,
    }
    assert [path.name for path in (symphony.folder / "result").iterdir()] == ["shouted.txt"]
    assert {path: path.stat().st_mtime_ns for path in PLAYERS.rglob("*")} == before
    assert modes(symphony.home) == {0}
