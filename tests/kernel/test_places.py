"""Homes, sockets and the lock."""

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from symphony.kernel.errors import ExitCode, SymphonyError
from symphony.kernel.places import HANDOVER_S, HomeLock, Places, home_folder, lock_holder


def test_order_of_the_home() -> None:
    option = Path("/o")
    assert home_folder(option, {"SYMPHONY_HOME": "/e", "XDG_DATA_HOME": "/x"}) == option
    assert home_folder(None, {"SYMPHONY_HOME": "/e", "XDG_DATA_HOME": "/x"}) == Path("/e")
    assert home_folder(None, {"XDG_DATA_HOME": "/x"}) == Path("/x/symphony")


def test_a_long_home_still_has_short_socket_paths(tmp_path: Path) -> None:
    home = tmp_path / ("very-long-name-" * 12) / "home"
    for environment in ({}, {"XDG_RUNTIME_DIR": str(tmp_path / ("x" * 100))}):
        places = Places.find(home, environment)
        socket = places.runtime / "12345678.sock"
        assert len(os.fsencode(socket)) <= 107


def test_folders_are_private(tmp_path: Path) -> None:
    places = Places(tmp_path / "home", tmp_path / "run")
    places.home.mkdir(mode=0o755)
    places.create()
    for folder in (places.home, places.runtime, places.logs):
        assert folder.stat().st_mode & 0o077 == 0


def test_a_link_in_place_of_the_runtime_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "run").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SymphonyError) as caught:
        Places(tmp_path / "home", tmp_path / "run").create()
    assert caught.value.code is ExitCode.REFUSED


def test_the_second_kernel_is_refused_with_the_pid_of_the_first(tmp_path: Path) -> None:
    first = HomeLock(tmp_path / "lock")
    first.acquire()
    with pytest.raises(SymphonyError, match=str(os.getpid())) as caught:
        HomeLock(tmp_path / "lock").acquire()
    assert caught.value.code is ExitCode.REFUSED
    first.release()
    HomeLock(tmp_path / "lock").acquire()


def test_the_second_kernel_is_refused_although_the_lock_file_was_removed(tmp_path: Path) -> None:
    first = HomeLock(tmp_path / "kernel.lock")
    first.acquire()
    (tmp_path / "kernel.lock").unlink()
    with pytest.raises(SymphonyError, match=r"kernel\.lock was removed") as caught:
        HomeLock(tmp_path / "kernel.lock").acquire()
    assert caught.value.code is ExitCode.REFUSED
    first.release()
    HomeLock(tmp_path / "kernel.lock").acquire()


# The "kernel" writes its pid and dies at once; its child holds the lock until it is told to go.
_DEAD_KERNEL = """
import fcntl, os, sys, time
fd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
fcntl.flock(fd, fcntl.LOCK_EX)
os.write(fd, f"{os.getpid()}\\n".encode())
if os.fork() == 0:
    sys.stdin.readline()
    os._exit(0)
print("held", flush=True)
"""


@contextmanager
def _dead_kernel(lock: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Not waited for yet: its number is still listed."""
    with subprocess.Popen(
        [sys.executable, "-c", _DEAD_KERNEL, str(lock)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as kernel:
        assert kernel.stdout is not None
        assert kernel.stdout.readline() == b"held\n"
        os.waitid(os.P_PID, kernel.pid, os.WEXITED | os.WNOWAIT)
        yield kernel


def test_a_dead_kernels_lock_is_taken_when_its_guard_has_let_go(tmp_path: Path) -> None:
    places = Places(tmp_path, tmp_path)
    with _dead_kernel(places.lock) as kernel, ThreadPoolExecutor() as pool:
        assert lock_holder(places) is None
        lock = HomeLock(places.lock)
        taken = pool.submit(lock.acquire)
        assert not taken.done()
        assert kernel.stdin is not None
        kernel.stdin.close()
        taken.result(HANDOVER_S)
        assert lock_holder(places) == os.getpid()


def test_a_guard_that_does_not_let_go_is_not_called_a_running_kernel(tmp_path: Path) -> None:
    with _dead_kernel(tmp_path / "lock") as kernel:
        with pytest.raises(SymphonyError, match=rf"pid {kernel.pid}\) is gone") as caught:
            HomeLock(tmp_path / "lock").acquire()
        assert caught.value.code is ExitCode.REFUSED
        assert "still ending" in str(caught.value)


def test_the_number_of_a_dead_kernel_may_be_anothers(tmp_path: Path) -> None:
    with _dead_kernel(tmp_path / "kernel.lock"):
        (tmp_path / "kernel.lock").write_text(f"{os.getppid()}\n")
        assert lock_holder(Places(tmp_path, tmp_path)) is None
