"""What a strict sandbox keeps from the program inside; each with the same attempt outside or a
control inside that shows the attempt itself is sound."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path
from typing import Any

import psutil
import pytest

from symphony.sandboxes import SandboxPolicy


def test_the_host_file_system_is_not_there(sandboxes: Any, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("x")
    hidden = ["/etc/shadow", "/etc/passwd", str(secret), "/root/.ssh", "/home", "/var", "/sys"]
    seen = sandboxes.probe(
        f"report([os.path.exists(p) for p in {hidden!r}] + [os.path.exists('/usr/bin')])"
    )
    assert seen == [False] * len(hidden) + [True]
    assert secret.exists()


def test_a_private_home_shows_only_the_way_to_the_interpreter(sandboxes: Any) -> None:
    listed = sandboxes.probe(
        "report([sys.executable, sys.base_prefix, "
        "{p: os.listdir(p) for p in ('/root', '/home') if os.path.isdir(p)}])"
    )
    executable, base, homes = listed
    assert Path(executable).exists()
    assert Path(base).exists()
    for home, names in homes.items():
        assert all(base.startswith(f"{home}/{name}") for name in names)


def test_nothing_outside_tmp_can_be_written(sandboxes: Any) -> None:
    source = (
        "places = ['/', '/etc', '/usr', '/ext', '/inbox', '/run', '/dev', '/proc/sys/kernel', "
        "sys.prefix, sys.base_prefix]\n"
        "def write(folder):\n"
        "    with open(folder + '/planted', 'w') as f: f.write('x')\n"
        "report([attempt(write, p) for p in places] + [attempt(write, '/tmp')])"
    )
    *refused, control = sandboxes.probe(source)
    assert 0 not in refused
    assert control == 0


def test_kernel_settings_cannot_be_opened_for_writing(sandboxes: Any) -> None:
    read, write = sandboxes.probe(
        "p = '/proc/sys/kernel/core_pattern'\n"
        "report([attempt(os.open, p, os.O_RDONLY), attempt(os.open, p, os.O_WRONLY)])"
    )
    assert read == 0
    assert write in (errno.EROFS, errno.EACCES)


def test_other_processes_are_not_visible(sandboxes: Any) -> None:
    pids = sandboxes.probe("report([int(p) for p in os.listdir('/proc') if p.isdigit()])")
    assert len(pids) <= 3
    assert max(pids) < 10
    assert len(psutil.pids()) > 3


def test_the_user_outside_is_one_that_owns_nothing(sandboxes: Any, as_root: None) -> None:
    mapped = sandboxes.probe("report(open('/proc/self/uid_map').read().split())")
    outer = int(sandboxes.probe("report(os.stat('/proc/self').st_uid)"))
    assert mapped[0] == "1000"
    assert mapped[2] == "1"
    assert outer == 1000
    inside = sandboxes.probe("report([os.getresuid(), os.getresgid(), os.getgroups()])")
    assert inside[0] == [1000] * 3
    assert inside[1] == [1000] * 3
    assert 0 not in inside[2]


def test_each_instance_has_a_user_id_of_its_own(sandboxes: Any, as_root: None) -> None:
    async def owners() -> set[int]:
        processes = [
            await sandboxes.launcher.spawn(sandboxes.spec("/usr/bin/sleep", "60")) for _ in range(2)
        ]
        found = {psutil.Process(p.pid).uids().real for p in processes}
        for process in processes:
            process.kill()
            await process.wait()
        return found

    found = sandboxes.runner.run(owners())
    assert len(found) == 2
    assert min(found) >= 1_879_048_192


@pytest.mark.parametrize("family", ["AF_INET", "AF_INET6", "AF_NETLINK", "AF_VSOCK", "AF_PACKET"])
def test_only_unix_sockets_can_be_made(sandboxes: Any, family: str) -> None:
    refused, control = sandboxes.probe(
        "import socket\n"
        f"report([attempt(socket.socket, socket.{family}, socket.SOCK_DGRAM), "
        "attempt(socket.socket, socket.AF_UNIX)])"
    )
    assert refused == errno.EAFNOSUPPORT
    assert control == 0


def test_abstract_sockets_of_the_host_are_out_of_reach(sandboxes: Any) -> None:
    name = f"\0symphony-test-{os.getpid()}"
    source = f"import socket\nreport(attempt(socket.socket(socket.AF_UNIX).connect, {name!r}))"
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as control:
        server.bind(name)
        server.listen()
        control.connect(name)
        assert sandboxes.probe(source) == errno.ECONNREFUSED


def test_the_network_namespace_holds_no_interface_but_lo(sandboxes: Any) -> None:
    lines = sandboxes.probe("report(open('/proc/net/dev').read().splitlines()[2:])")
    assert [line.split(":")[0].strip() for line in lines] == ["lo"]


def test_setuid_and_setgid_bits_are_refused(sandboxes: Any, tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    source = """
os.umask(0)
open('/outbox/f', 'w').close()
fd = os.open('/outbox/f', os.O_RDWR)
folder = os.open('/outbox', os.O_RDONLY)
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
def raw(*a):
    if libc.syscall(*a) < 0: raise OSError(ctypes.get_errno(), '')
report({
  'chmod': attempt(os.chmod, '/outbox/f', 0o4755), 'setgid': attempt(os.chmod, '/outbox/f', 0o2755),
  'fchmod': attempt(os.fchmod, fd, 0o4755),
  'fchmodat': attempt(os.chmod, 'f', 0o4755, dir_fd=folder),
  'open': attempt(os.open, '/outbox/g', os.O_CREAT | os.O_WRONLY, 0o4755),
  'mkdir': attempt(os.mkdir, '/outbox/d', 0o2755),
  'mknod': attempt(os.mknod, '/outbox/n', 0o106755),
  'fchmodat2': attempt(raw, 452, folder, b'f', 0o4755, 0),
  'openat2': attempt(raw, 437, folder, b'h', b'\\0' * 24, 24),
  'fine': attempt(os.chmod, '/outbox/f', 0o755),
  'sticky': attempt(os.chmod, '/outbox/f', 0o1755),
})"""
    answers = sandboxes.probe(source, outbox=tmp_path)
    assert answers.pop("fine") == 0
    assert answers.pop("sticky") == 0
    assert answers.pop("openat2") == errno.ENOSYS
    assert set(answers.values()) == {errno.EPERM}
    assert not any(path.stat().st_mode & 0o6000 for path in tmp_path.iterdir())


def test_dangerous_calls_are_not_there_and_ordinary_ones_are(sandboxes: Any) -> None:
    numbers = {
        "mount": 165, "ptrace": 101, "bpf": 321, "perf_event_open": 298, "io_uring_setup": 425,
        "keyctl": 250, "init_module": 175, "kexec_load": 246, "userfaultfd": 323, "setns": 308,
        "process_vm_writev": 311, "unshare": 272, "clone3": 435, "open_tree": 428, "fsopen": 430,
        "memfd_create": 319, "add_key": 248, "open_by_handle_at": 304, "pivot_root": 155,
        "seccomp": 317, "pidfd_getfd": 438, "getpid": 39,
    }  # fmt: skip
    answers = sandboxes.probe(
        "import ctypes\nlibc = ctypes.CDLL(None, use_errno=True)\n"
        "def raw(n): return ctypes.get_errno() if libc.syscall(n, 0, 0, 0, 0, 0, 0) < 0 else 0\n"
        f"report({{name: raw(n) for name, n in {numbers!r}.items()}})"
    )
    assert answers.pop("getpid") == 0
    assert set(answers.values()) == {errno.ENOSYS}, answers


def test_new_namespaces_are_refused_and_threads_work(sandboxes: Any) -> None:
    refused, threads = sandboxes.probe(
        "import ctypes, signal, threading\nlibc = ctypes.CDLL(None, use_errno=True)\n"
        "r = ctypes.get_errno() if libc.syscall(56, 0x10000000 | signal.SIGCHLD, 0, 0, 0, 0) < 0 "
        "else 0\n"
        "done = []\n"
        "t = [threading.Thread(target=done.append, args=(i,)) for i in range(8)]\n"
        "[x.start() for x in t]; [x.join() for x in t]\nreport([r, len(done)])"
    )
    assert refused == errno.EPERM
    assert threads == 8


def test_the_death_signal_cannot_be_cleared(sandboxes: Any) -> None:
    clear, name = sandboxes.probe(
        "import ctypes\nlibc = ctypes.CDLL(None, use_errno=True)\n"
        "report([libc.prctl(1, 0), libc.prctl(15, b'renamed')])"
    )
    assert clear == -1
    assert name == 0


def test_the_memory_of_the_first_process_cannot_be_opened(sandboxes: Any) -> None:
    first, task, own = sandboxes.probe(
        "report([attempt(os.open, p, os.O_RDWR) for p in "
        "('/proc/1/mem', '/proc/1/task/1/mem', '/proc/self/mem')])"
    )
    assert own == 0
    assert 0 not in (first, task)


def test_typing_into_the_terminal_is_refused(sandboxes: Any) -> None:
    tricks, control = sandboxes.probe(
        "import fcntl, pty\nmaster, slave = pty.openpty()\n"
        "report([attempt(fcntl.ioctl, slave, 0x5412, b'x'), "
        "attempt(fcntl.ioctl, slave, 0x5413, b'x' * 8)])"
    )
    assert tricks == errno.EPERM
    assert control == 0


def test_a_foreign_call_convention_kills(sandboxes: Any) -> None:
    source = "import ctypes; print('alive', flush=True); ctypes.CDLL(None).syscall(0x40000000 | 39)"
    reason, output = sandboxes.run("python", "-c", source)
    assert output == "alive\n"
    assert reason.kind == "seccomp"


def test_the_environment_is_only_what_was_given(
    sandboxes: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SYMPHONY_TEST_SECRET", "hush")
    given = {"SYMPHONY_TEST_GIVEN": "value", "PATH": "/evil"}
    seen = sandboxes.probe("report(dict(os.environ))", policy=SandboxPolicy(environment=given))
    expected = {"PATH", "HOME", "LANG", "PYTHONDONTWRITEBYTECODE", "SYMPHONY_TICKET", "PWD"}
    assert set(seen) == expected | {"SYMPHONY_TEST_GIVEN"}
    assert seen["SYMPHONY_TICKET"] == "fd:0"
    assert seen["PATH"] == "/usr/bin:/bin"


def test_only_the_three_standard_descriptors_are_open(sandboxes: Any) -> None:
    held = sandboxes.probe(
        "import stat\ndef kind(fd):\n"
        "    try: return stat.filemode(os.fstat(fd).st_mode)[0]\n    except OSError: return ''\n"
        "report({fd: kind(fd) for fd in range(256) if kind(fd)})"
    )
    assert held == {"0": "p", "1": "-", "2": "-"}


def test_granted_secrets_and_paths_are_in_no_argument_list(sandboxes: Any, tmp_path: Path) -> None:
    async def arguments() -> str:
        policy = SandboxPolicy(environment={"TOKEN": "hush-token"})
        spec = sandboxes.spec(
            "/usr/bin/sleep", "60", policy=policy, stdin=b"hush-ticket", inbox=tmp_path
        )
        process = await sandboxes.launcher.spawn(spec)
        tree = psutil.Process().children(recursive=True)
        seen = "\n".join(" ".join(p.cmdline()) for p in tree)
        process.kill()
        await process.wait()
        return seen

    seen = sandboxes.runner.run(arguments())
    assert "sleep 60" in seen
    assert "hush" not in seen
    assert str(tmp_path) not in seen


def test_a_fork_bomb_stops_at_the_limit(sandboxes: Any) -> None:
    source = """
import signal, time
children = 0
try:
    while children < 500:
        if os.fork() == 0:
            signal.pause()
        children += 1
except BlockingIOError: pass
report(children)
"""
    assert 1 <= sandboxes.probe(source, policy=SandboxPolicy(processes=20)) < 20


def test_memory_open_files_and_file_size_are_limited(sandboxes: Any) -> None:
    source = """
def memory():
    try: bytearray(200 << 20)
    except MemoryError: return True
def files():
    try:
        held = [open('/dev/null') for _ in range(100)]
    except OSError as fault: return fault.errno
def size(n):
    with open('/tmp/big', 'wb') as f: f.write(bytes(n))
fits = len(bytearray(50 << 20))
report([memory(), fits, files(), attempt(size, 2 << 20), attempt(size, 1 << 20)])
"""
    policy = SandboxPolicy(memory_bytes=128 << 20, open_files=64, file_bytes=1 << 20)
    refused, fine, files, too_big, fits = sandboxes.probe(source, policy=policy)
    assert refused is True
    assert fine == 50 << 20
    assert files == errno.EMFILE
    assert too_big == errno.EFBIG
    assert fits == 0


def test_the_private_tmp_is_bounded(sandboxes: Any) -> None:
    source = (
        "def fill():\n    with open('/tmp/big', 'wb') as f: f.write(bytes(3 << 20))\n"
        "report(attempt(fill))"
    )
    assert sandboxes.probe(source, policy=SandboxPolicy(tmp_bytes=1 << 20)) == errno.ENOSPC
    assert sandboxes.probe(source) == 0


def test_processor_time_is_limited(sandboxes: Any) -> None:
    reason, _ = sandboxes.run("python", "-c", "while True: pass", policy=SandboxPolicy(cpu_s=1))
    assert reason.kind == "cpu"


def test_user_namespaces_cannot_be_nested(sandboxes: Any) -> None:
    reason, output = sandboxes.run("/usr/bin/unshare", "--user", "/usr/bin/true")
    assert reason.kind == "error"
    assert "unshare" in output
