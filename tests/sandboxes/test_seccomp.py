"""The filter on both architectures, run by a small BPF interpreter, and the table against headers.

`test_confinement` tries the same refusals on the real kernel.
"""

from __future__ import annotations

import errno
import re
import signal
import struct
from pathlib import Path

import pytest

from symphony.sandboxes import SandboxRefused
from symphony.sandboxes.seccomp import ALLOW, ARCHITECTURES, ERRNO, KILL, assemble, encode
from symphony.sandboxes.syscalls import ALLOWED

MACHINES = list(ARCHITECTURES)
NUMBERS = {
    machine: {call.name: n for call in ALLOWED if (n := getattr(call, machine)) is not None}
    for machine in MACHINES
}


def run(program: bytes, number: int, arch: int, *arguments: int) -> int:
    """What the kernel's interpreter would answer; only the instructions a filter may have."""
    padded = (*arguments, *(0,) * (6 - len(arguments)))
    data = struct.pack("=iIQ6Q", number, arch, 0, *padded)
    ops = [struct.unpack_from("=HBBI", program, at) for at in range(0, len(program), 8)]
    accumulator, at = 0, 0
    while True:
        code, true, false, k = ops[at]
        at += 1
        match code:
            case 0x20:
                accumulator = struct.unpack_from("=I", data, k)[0]
            case 0x15:
                at += true if accumulator == k else false
            case 0x35:
                at += true if accumulator >= k else false
            case 0x45:
                at += true if accumulator & k else false
            case 0x06:
                return k
            case _:
                raise AssertionError(f"unknown instruction {code:#x}")


def answer(machine: str, name: str | int, *arguments: int) -> int:
    number = NUMBERS[machine][name] if isinstance(name, str) else name
    return run(encode(assemble(machine)), number, ARCHITECTURES[machine].audit, *arguments)


def refused(number: int) -> int:
    return ERRNO | number


ANY = [
    ("read", (), ALLOW),
    ("execve", (), ALLOW),
    ("futex", (), ALLOW),
    ("socket", (1,), ALLOW),
    ("socket", (2,), refused(errno.EAFNOSUPPORT)),
    ("socket", (10,), refused(errno.EAFNOSUPPORT)),
    ("socket", (16,), refused(errno.EAFNOSUPPORT)),
    ("socket", (40,), refused(errno.EAFNOSUPPORT)),
    ("socket", (1 | 1 << 32,), ALLOW),
    ("socketpair", (40,), refused(errno.EAFNOSUPPORT)),
    ("clone", (0x3D0F00,), ALLOW),
    ("clone", (signal.SIGCHLD,), ALLOW),
    ("clone", (0x10000000,), refused(errno.EPERM)),
    ("clone", (0x20000 | 0x3D0F00,), refused(errno.EPERM)),
    ("prctl", (1, 0), refused(errno.EPERM)),
    ("prctl", (15,), ALLOW),
    ("prctl", (22,), refused(errno.EPERM)),
    ("ioctl", (0, 0x5412), refused(errno.EPERM)),
    ("ioctl", (0, 0x5412 | 1 << 32), refused(errno.EPERM)),
    ("ioctl", (0, 0x5413), ALLOW),
    ("openat", (0, 0, 0o2, 0o4777), ALLOW),
    ("openat", (0, 0, 0o102, 0o644), ALLOW),
    ("openat", (0, 0, 0o102, 0o4755), refused(errno.EPERM)),
    ("openat", (0, 0, 0o20200002, 0o2755), refused(errno.EPERM)),
    ("fchmod", (0, 0o1777), ALLOW),
    ("fchmod", (0, 0o2755), refused(errno.EPERM)),
    ("fchmodat", (0, 0, 0o4755), refused(errno.EPERM)),
    ("fchmodat2", (0, 0, 0o4755, 0), refused(errno.EPERM)),
    ("mkdirat", (0, 0, 0o2755), refused(errno.EPERM)),
    ("mknodat", (0, 0, 0o106755), refused(errno.EPERM)),
    ("mknodat", (0, 0, 0o10644), ALLOW),
    ("setxattr", (), refused(errno.ENOTSUP)),
    (435, (), refused(errno.ENOSYS)),  # clone3, as all below on both architectures
    (437, (), refused(errno.ENOSYS)),  # openat2
    (425, (), refused(errno.ENOSYS)),  # io_uring_setup
    (428, (), refused(errno.ENOSYS)),  # open_tree
    (467, (), refused(errno.ENOSYS)),  # open_tree_attr
    (0x3FFFFFFF, (), refused(errno.ENOSYS)),
]
ONLY_X86_64 = [
    ("open", (0, 0o102, 0o4755), refused(errno.EPERM)),
    ("open", (0, 0o2, 0o4755), ALLOW),
    ("creat", (0, 0o4755), refused(errno.EPERM)),
    ("chmod", (0, 0o4755), refused(errno.EPERM)),
    ("mkdir", (0, 0o2755), refused(errno.EPERM)),
    ("mknod", (0, 0o104755), refused(errno.EPERM)),
    ("vfork", (), ALLOW),
    (165, (), refused(errno.ENOSYS)),  # mount
    (101, (), refused(errno.ENOSYS)),  # ptrace
    (0x40000000, (), KILL),  # x32
    (0x40000000 | 520, (), KILL),
    (-1, (), KILL),
]
ONLY_AARCH64 = [
    (40, (), refused(errno.ENOSYS)),  # mount
    (117, (), refused(errno.ENOSYS)),  # ptrace
    (97, (), refused(errno.ENOSYS)),  # unshare
]
CASES = [
    *((machine, *case) for machine in MACHINES for case in ANY),
    *(("x86_64", *case) for case in ONLY_X86_64),
    *(("aarch64", *case) for case in ONLY_AARCH64),
]


@pytest.mark.parametrize(("machine", "name", "arguments", "expected"), CASES)
def test_the_answer_to_a_call(
    machine: str, name: str | int, arguments: tuple[int, ...], expected: int
) -> None:
    assert answer(machine, name, *arguments) == expected


@pytest.mark.parametrize("machine", MACHINES)
def test_a_foreign_architecture_is_killed(machine: str) -> None:
    for arch in (0x40000003, 0xC000003E, 0xC00000B7, 0):  # i386, x86_64, aarch64, none
        if arch != ARCHITECTURES[machine].audit:
            assert run(encode(assemble(machine)), 0, arch) == KILL


@pytest.mark.parametrize("machine", MACHINES)
def test_the_program_is_one_the_kernel_takes(machine: str) -> None:
    ops = assemble(machine)
    assert len(ops) <= 4096
    for at, op in enumerate(ops):
        assert at + 1 + max(op.true, op.false) < len(ops) or op.code == 0x06
        assert 0 <= op.k < 1 << 32


def test_an_unknown_machine_is_refused() -> None:
    with pytest.raises(SandboxRefused, match="riscv64"):
        assemble("riscv64")


@pytest.mark.parametrize(
    ("machine", "header", "prefix"),
    [
        ("x86_64", "/usr/include/x86_64-linux-gnu/asm/unistd_64.h", "__NR_"),
        ("aarch64", "/usr/include/asm-generic/unistd.h", "__NR(?:3264)?_"),
    ],
)
def test_the_numbers_are_those_of_the_kernel_headers(
    machine: str, header: str, prefix: str
) -> None:
    path = Path(header)
    if not path.exists():
        pytest.skip("no kernel headers here")
    found = dict(re.findall(rf"#define {prefix}(\w+) (\d+)", path.read_text()))
    if "fstatat" in found:
        found["newfstatat"] = found["fstatat"]
    newest = max(map(int, found.values())) - 1
    for name, number in NUMBERS[machine].items():
        if number < newest or name in found:
            assert int(found[name]) == number, name
