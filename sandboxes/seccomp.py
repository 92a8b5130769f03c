"""The system call filter of a strict sandbox, assembled to classic BPF.

An allowlist: `syscalls.ALLOWED` is let through, some of it only with harmless arguments (`RULES`),
everything else answers ENOSYS; a foreign architecture or x32 call kills the process. The program
format is `struct sock_filter` of linux/filter.h, the input `struct seccomp_data`.
"""

from __future__ import annotations

import errno
import platform
import struct
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from .policy import SandboxRefused
from .syscalls import ALLOWED, Syscall

LOAD, JEQ, JGE, JSET, RET = 0x20, 0x15, 0x35, 0x45, 0x06
ALLOW, KILL, ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
NUMBER_AT, ARCH_AT = 0, 4
X32_BIT = 0x40000000

AF_UNIX = 1
SETID_BITS = 0o6000
CREATES = 0o100 | 0o20000000  # O_CREAT, __O_TMPFILE: only then does open read its mode
# NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET
CLONE_NEW = 0x20000 | 0x2000000 | 0x4000000 | 0x8000000 | 0x10000000 | 0x20000000 | 0x40000000
# TIOCSTI, TIOCLINUX, TIOCCONS, TIOCSETD: typing into or taking over a terminal
TERMINAL_TRICKS = (0x5412, 0x541C, 0x541D, 0x5423)
# Of prctl. PR_SET_PDEATHSIG is not among them: a program that reached bubblewrap's process through
# /proc/1/mem could otherwise unbind the sandbox's life from the guard's.
# 2-4 dumpable, 7-8 keepcaps, 15-16 name, 21 seccomp state, 23 capability bounds, 25-26 timing,
# 29-30 timer slack, 35-37 mm and subreaper, 38-42 no_new_privs, tid address, huge pages,
# 47 ambient capabilities (reading), 52-53 speculation, 0x53564D41 naming of memory
PRCTLS = (2, 3, 4, 7, 15, 16, 21, 23, 25, 29, 30, 36, 37, 38, 39, 40, 41, 42, 52, 53, 0x53564D41)


class Architecture(NamedTuple):
    """AUDIT_ARCH of linux/audit.h and the column of the table."""

    audit: int
    column: str
    has_x32: bool


ARCHITECTURES = {
    "x86_64": Architecture(0xC000003E, "x86_64", has_x32=True),
    "aarch64": Architecture(0xC00000B7, "aarch64", has_x32=False),
}


class Op(NamedTuple):
    """One instruction; jumps count instructions from the next one."""

    code: int
    k: int
    true: int = 0
    false: int = 0


def _argument(index: int) -> Op:
    """Loads the low half of an argument; the kernel reads no more of those checked here."""
    return Op(LOAD, 16 + 8 * index)


def _errno(number: int) -> Op:
    return Op(RET, ERRNO | number)


def _refuse_bits(index: int, bits: int) -> list[Op]:
    return [_argument(index), Op(JSET, bits, 0, 1), _errno(errno.EPERM), Op(RET, ALLOW)]


def _open_mode(flags: int, mode: int) -> list[Op]:
    return [
        _argument(flags),
        Op(JSET, CREATES, 1, 0),
        Op(RET, ALLOW),
        *_refuse_bits(mode, SETID_BITS),
    ]


def _only(index: int, values: Sequence[int], otherwise: int) -> list[Op]:
    tests = [op for value in values for op in (Op(JEQ, value, 0, 1), Op(RET, ALLOW))]
    return [_argument(index), *tests, _errno(otherwise)]


def _never(index: int, values: Sequence[int]) -> list[Op]:
    tests = [op for value in values for op in (Op(JEQ, value, 0, 1), _errno(errno.EPERM))]
    return [_argument(index), *tests, Op(RET, ALLOW)]


RULES: Mapping[str, list[Op]] = {
    "open": _open_mode(1, 2),
    "openat": _open_mode(2, 3),
    "creat": _refuse_bits(1, SETID_BITS),
    "mkdir": _refuse_bits(1, SETID_BITS),
    "mkdirat": _refuse_bits(2, SETID_BITS),
    "mknod": _refuse_bits(1, SETID_BITS),
    "mknodat": _refuse_bits(2, SETID_BITS),
    "chmod": _refuse_bits(1, SETID_BITS),
    "fchmod": _refuse_bits(1, SETID_BITS),
    "fchmodat": _refuse_bits(2, SETID_BITS),
    "fchmodat2": _refuse_bits(2, SETID_BITS),
    "setxattr": [_errno(errno.ENOTSUP)],
    "lsetxattr": [_errno(errno.ENOTSUP)],
    "fsetxattr": [_errno(errno.ENOTSUP)],
    "clone": _refuse_bits(0, CLONE_NEW),
    "socket": _only(0, (AF_UNIX,), errno.EAFNOSUPPORT),
    "socketpair": _only(0, (AF_UNIX,), errno.EAFNOSUPPORT),
    "ioctl": _never(1, TERMINAL_TRICKS),
    "prctl": _only(0, PRCTLS, errno.EPERM),
}


def _call(number: int, call: Syscall) -> list[Op]:
    body = RULES.get(call.name, [Op(RET, ALLOW)])
    return [Op(JEQ, number, 0, len(body)), *body]


def assemble(machine: str) -> list[Op]:
    """The filter's instructions for a machine name as `platform.machine()` gives it."""
    architecture = ARCHITECTURES.get(machine)
    if architecture is None:
        raise SandboxRefused(
            f"system call filter for {machine}",
            f"use a machine of one of these kinds: {', '.join(ARCHITECTURES)}",
        )
    program = [Op(LOAD, ARCH_AT), Op(JEQ, architecture.audit, 1, 0), Op(RET, KILL)]
    program.append(Op(LOAD, NUMBER_AT))
    if architecture.has_x32:
        program += [Op(JGE, X32_BIT, 0, 1), Op(RET, KILL)]
    for call in ALLOWED:
        number: int | None = getattr(call, architecture.column)
        if number is not None:
            program += _call(number, call)
    return [*program, _errno(errno.ENOSYS)]


def encode(program: Sequence[Op]) -> bytes:
    """The instructions as the kernel and `bwrap --seccomp` read them."""
    return b"".join(struct.pack("=HBBI", op.code, op.true, op.false, op.k) for op in program)


def program() -> bytes:
    """The filter for this machine."""
    return encode(assemble(platform.machine()))
