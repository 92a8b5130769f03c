"""What an instance is shown: its code, inbox, outbox, socket and granted paths."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
import threading
import venv
from pathlib import Path
from typing import Any

import pytest

from symphony.sandboxes import Bind, Level, SandboxPolicy


@pytest.fixture
def private(tmp_path: Path) -> Path:
    """A folder whose parent nobody else may enter."""
    tmp_path.chmod(0o700)
    folder = tmp_path / "folder"
    folder.mkdir(mode=0o700)
    return folder


def _private_file(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text)
    path.chmod(0o600)
    return path


def test_the_code_runs_with_its_own_modules_and_cannot_be_changed(
    sandboxes: Any, private: Path
) -> None:
    _private_file(private, "helper.py", "ANSWER = 42\n")
    _private_file(
        private,
        "main.py",
        "import helper\nprint(helper.ANSWER)\n"
        "try: open('/ext/helper.py', 'a')\nexcept OSError as fault: print(fault.errno)\n",
    )
    reason, output = sandboxes.run("python", "/ext/main.py", code=private)
    assert reason.kind == "finished", output
    assert output.split() == ["42", str(errno.EROFS)]


def test_a_command_of_the_extension_itself_runs(sandboxes: Any, private: Path) -> None:
    tool = _private_file(private, "tool", "#!/bin/sh\necho tool $1\n")
    tool.chmod(0o755)
    assert sandboxes.run("/ext/tool", "x", code=private)[1] == "tool x\n"


def test_the_inbox_can_be_read_only(sandboxes: Any, private: Path) -> None:
    _private_file(private, "brief.md", "hello")
    (private / "call").mkdir(mode=0o700)
    source = (
        "report([open('/inbox/brief.md').read(), attempt(open, '/inbox/brief.md', 'a'), "
        "attempt(open, '/inbox/new', 'w'), attempt(open, '/inbox/call/new', 'w'), "
        "attempt(os.unlink, '/inbox/brief.md'), attempt(os.chmod, '/inbox/brief.md', 0o777)])"
    )
    text, *refused = sandboxes.probe(source, inbox=private)
    assert text == "hello"
    assert set(refused) == {errno.EROFS}
    assert (private / "brief.md").read_text() == "hello"


def test_the_outbox_is_written_and_belongs_to_the_owner_outside(
    sandboxes: Any, private: Path
) -> None:
    (private / "made-by-host").mkdir(mode=0o700)
    source = (
        "os.makedirs('/outbox/call/deep')\n"
        "for p in ('/outbox/a', '/outbox/call/deep/b', '/outbox/made-by-host/c'):\n"
        "    with open(p, 'w') as f: f.write(p)\n"
        "report(os.stat('/outbox/a').st_uid)"
    )
    assert sandboxes.probe(source, outbox=private) == 1000
    for name in ("a", "call/deep/b", "made-by-host/c"):
        written = private / name
        assert written.read_text() == f"/outbox/{name}"
        assert written.stat().st_uid == os.geteuid()
        assert written.stat().st_gid == os.getegid()


def test_the_one_socket_can_be_connected_to(sandboxes: Any, private: Path) -> None:
    path = private / "bus.sock"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        path.chmod(0o600)
        server.listen()
        server.settimeout(10)
        received: list[bytes] = []

        def accept() -> None:
            connection, _ = server.accept()
            with connection:
                received.append(connection.recv(100))
                connection.sendall(b"pong")

        thread = threading.Thread(target=accept)
        thread.start()
        source = (
            "import socket\ns = socket.socket(socket.AF_UNIX)\ns.connect('/run/bus.sock')\n"
            "s.sendall(b'ping')\nreport([s.recv(100).decode(), os.listdir('/run')])"
        )
        assert sandboxes.probe(source, socket=path) == ["pong", ["bus.sock"]]
        thread.join()
    assert received == [b"ping"]


def test_granted_folders_are_read_only_or_writable_as_granted(
    sandboxes: Any, private: Path
) -> None:
    readable, writable = private / "data", private / "out"
    for folder in (readable, writable):
        folder.mkdir(mode=0o700)
        _private_file(folder, "there", "before")
    binds = (Bind(readable, "/data/deep"), Bind(writable, "/out", writable=True))
    source = (
        "def write(p):\n    with open(p, 'w') as f: f.write('after')\n"
        "report([open('/data/deep/there').read(), attempt(write, '/data/deep/there'), "
        "attempt(write, '/out/there'), attempt(write, '/out/new'), attempt(os.mkdir, '/out/d')])"
    )
    answers = sandboxes.probe(source, policy=SandboxPolicy(binds=binds))
    assert answers == ["before", errno.EROFS, 0, 0, 0]
    assert (readable / "there").read_text() == "before"
    for name in ("there", "new"):
        assert (writable / name).read_text() == "after"
    for name in ("there", "new", "d"):
        assert (writable / name).stat().st_uid == os.geteuid()


def test_a_single_file_can_be_granted(sandboxes: Any, private: Path) -> None:
    path = _private_file(private, "settings.toml", "x = 1")
    policy = SandboxPolicy(binds=(Bind(path, "/settings.toml"),))
    assert sandboxes.probe("report(open('/settings.toml').read())", policy=policy) == "x = 1"


@pytest.mark.parametrize(
    "target", ["relative", "/a/../usr/x", "/", "/usr/lib/x", "/proc", "/ext", "/run/bus.sock"]
)
def test_a_grant_may_not_cover_the_sandbox_itself(
    sandboxes: Any, private: Path, target: str
) -> None:
    policy = SandboxPolicy(binds=(Bind(private, target),))
    with pytest.raises(ValueError, match="bind target"):
        sandboxes.run("/usr/bin/true", policy=policy)


def test_a_symbolic_link_in_the_outbox_leads_nowhere_inside(sandboxes: Any, private: Path) -> None:
    (private / "link").symlink_to("/etc/hostname")
    assert Path("/etc/hostname").exists()
    source = "report(attempt(open, '/outbox/link'))"
    assert sandboxes.probe(source, outbox=private) == errno.ENOENT


def test_the_log_is_never_written_through_a_link(sandboxes: Any, private: Path) -> None:
    victim = _private_file(private, "victim", "")
    log = private / "log"
    log.symlink_to(victim)
    reason, _ = sandboxes.run("/usr/bin/echo", "x", log=log)
    assert reason.kind == "spawn-failed"
    assert victim.read_text() == ""


def test_the_log_is_appended_to_and_private(sandboxes: Any, private: Path) -> None:
    log = private / "log"
    for word in ("one", "two"):
        sandboxes.run("/usr/bin/sh", "-c", f"echo {word}; echo {word} >&2", log=log)
    assert log.read_text().split() == ["one", "one", "two", "two"]
    assert log.stat().st_mode & 0o777 == 0o600


def test_without_a_sandbox_the_paths_are_those_of_the_host(sandboxes: Any, private: Path) -> None:
    _private_file(private, "main.py", "import os; print(os.getcwd(), os.getuid())\n")
    reason, output = sandboxes.run(
        "python", "/ext/main.py", code=private, policy=SandboxPolicy(level=Level.NONE)
    )
    assert reason.kind == "finished", output
    assert output.split() == [str(private), str(os.getuid())]


def test_an_environment_in_a_private_home_with_private_files_works(
    private: Path, as_root: None
) -> None:
    """A fresh virtual environment with umask 077, our package linked into it by a .pth file."""
    previous = os.umask(0o077)
    try:
        home = private / "venv"
        venv.create(home, symlinks=True)
        site = next(home.glob("lib/python*/site-packages"))
        linked = private / "sources"
        (linked / "symphony").mkdir(parents=True)
        package = Path(sys.modules["symphony.sandboxes"].__path__[0])
        (linked / "symphony/sandboxes").symlink_to(package.resolve())
        (site / "editable.pth").write_text(f"{linked}\n")
    finally:
        os.umask(previous)
    script = f"""
import asyncio, sys
from pathlib import Path
from symphony.sandboxes import LocalLauncher, SandboxPolicy, SpawnSpec
async def main():
    launcher = LocalLauncher()
    await launcher.start()
    try:
        log = Path({str(private)!r}, "log")
        source = "import sys, symphony.sandboxes.policy as p; print(sys.prefix, p.__name__)"
        argv = ("python", "-c", source)
        spec = SpawnSpec(instance="x", argv=argv, policy=SandboxPolicy(), log=log)
        reason = await (await launcher.spawn(spec)).wait()
        print(reason.kind, log.read_text())
    finally:
        await launcher.close()
asyncio.run(main())
"""
    done = subprocess.run(
        [home / "bin/python", "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout.split() == ["finished", str(home), "symphony.sandboxes.policy"], done.stderr


_ON_RAMFS = """
import asyncio, os, socket, sys
from pathlib import Path
from symphony.sandboxes import Bind, LocalLauncher, SandboxPolicy, SpawnSpec
base = Path("/mnt")
for name in ("in", "out", "granted"):
    (base / name).mkdir(mode=0o755)
(base / "in/brief").write_text("hello")
server = socket.socket(socket.AF_UNIX)
server.bind("/mnt/bus.sock")
server.listen()
source = '''
import os, socket
socket.socket(socket.AF_UNIX).connect("/run/bus.sock")
open("/outbox/a", "w").write(open("/inbox/brief").read())
print("all", end=" ")
'''
async def main():
    launcher = LocalLauncher()
    await launcher.start()
    try:
        for binds in ((), (Bind(base / "granted", "/granted", writable=True),)):
            spec = SpawnSpec(
                instance="x", argv=("python", "-c", source), policy=SandboxPolicy(binds=binds),
                inbox=base / "in", outbox=base / "out", socket=base / "bus.sock",
                log=Path(sys.argv[1]))
            reason = await (await launcher.spawn(spec)).wait()
            print(reason.kind, reason.text)
            for path in (base / "out").iterdir():
                path.unlink()
    finally:
        await launcher.close()
    print(os.stat("/mnt/granted").st_uid, Path(sys.argv[1]).read_text())
asyncio.run(main())
"""


def test_a_file_system_that_cannot_map_owners(tmp_path: Path, as_root: None) -> None:
    """ramfs is one: what is the instance's own changes owner, a granted folder is refused."""
    script = 'mount -t ramfs ramfs /mnt && exec "$@"'
    argv = ["unshare", "--mount", "sh", "-c", script, "sh", sys.executable, "-c", _ON_RAMFS]
    log = str(tmp_path / "log")
    done = subprocess.run([*argv, log], capture_output=True, text=True, timeout=60, check=False)
    first, second, last = done.stdout.splitlines()
    assert first.strip() == "finished", done
    assert second.startswith("spawn-failed")
    assert "/mnt/granted" in second
    assert last.split() == ["0", "all"]


def test_a_test_suite_with_database_threads_and_subprocesses_runs_inside(
    sandboxes: Any, private: Path
) -> None:
    suite = """
import multiprocessing, sqlite3, subprocess, sys, tempfile, threading
def test_database(tmp_path):
    with sqlite3.connect(tmp_path / "x.db") as db:
        db.execute("create table t (a)"); db.execute("insert into t values (1)")
    assert sqlite3.connect(tmp_path / "x.db").execute("select a from t").fetchall() == [(1,)]
def test_threads():
    threads = [threading.Thread(target=lambda: None) for _ in range(16)]
    [t.start() for t in threads]; [t.join() for t in threads]
def test_subprocess():
    assert subprocess.run([sys.executable, "-c", "print(1)"], capture_output=True).stdout == b"1\\n"
def test_pool():
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        assert pool.map(abs, [-1, -2]) == [1, 2]
"""
    (private / "test_suite.py").write_text(suite)
    options = ("-q", "-p", "no:cacheprovider", "--rootdir=/tmp", "--junitxml=/outbox/report.xml")
    outbox = private / "out"
    outbox.mkdir()
    argv = ("python", "-m", "pytest", *options, "/ext")
    reason, output = sandboxes.run(*argv, code=private, outbox=outbox)
    assert reason.kind == "finished", output
    assert "4 passed" in output
    assert (outbox / "report.xml").exists()
