"""Makes host paths reachable for a dropped uid: the guard's private mounts (root only).

The guard leaves the host's mount namespace (nothing done here is seen outside, and all of it is
gone when the guard ends) and clones each wanted path below a tmpfs of its own. The clone is mounted
with an id mapping, so that what the owner owns outside, the dropped uid owns inside, and the other
way round for files made there. open_tree(2), mount_setattr(2), move_mount(2), user_namespaces(7).
"""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import stat
import struct
from pathlib import Path

# A folder that every machine has and no sandbox needs: covered in the guard's own view only.
STAGE = "/sys/module"

_OPEN_TREE, _MOVE_MOUNT, _MOUNT_SETATTR = 428, 429, 442  # the same on all architectures
_CLONE_NEWNS, _CLONE_NEWUSER = 0x20000, 0x10000000
_MS_REC, _MS_PRIVATE, _MS_SLAVE = 0x4000, 0x40000, 0x80000
_MS_NOSUID, _MS_NODEV, _MS_NOEXEC = 2, 4, 8
_MNT_DETACH = 2
_PR_SET_PDEATHSIG = 1
_AT_EMPTY_PATH, _AT_SYMLINK_NOFOLLOW = 0x1000, 0x100
_OPEN_TREE_CLONE = 1
_MOVE_EMPTY_FROM = 4
_ATTR_RDONLY, _ATTR_NOSUID, _ATTR_NODEV, _ATTR_IDMAP = 1, 2, 4, 0x100000
_NO_IDMAP = (errno.EINVAL, errno.EOPNOTSUPP, errno.EPERM)

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


def _check(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def _syscall(what: str, number: int, *arguments: object) -> int:
    return _check(_libc.syscall(ctypes.c_long(number), *arguments), what)


def enter() -> None:
    """Moves this single-threaded process into its own mount namespace, with an empty stage."""
    _check(_libc.unshare(_CLONE_NEWNS), "unshare mount namespace")
    _check(_libc.mount(None, b"/", None, _MS_REC | _MS_SLAVE, None), "make / a slave")
    flags = _MS_NOSUID | _MS_NODEV | _MS_NOEXEC
    made = _libc.mount(b"tmpfs", STAGE.encode(), b"tmpfs", flags, b"mode=0711,size=1m")
    _check(made, f"mount the stage on {STAGE}")
    _check(_libc.mount(None, STAGE.encode(), None, _MS_PRIVATE, None), "make the stage private")


def _mapping(owner: tuple[int, int], uid: int) -> int:
    """A user namespace (its descriptor) that shows `owner`'s files as `uid`'s."""
    ready_r, ready_w = os.pipe()
    guard = os.getpid()
    child = os.fork()
    if child == 0:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != guard:
            os._exit(1)
        os.write(ready_w, b"1" if _libc.unshare(_CLONE_NEWUSER) == 0 else b"0")
        signal.pause()
    try:
        if os.read(ready_r, 1) != b"1":
            raise OSError(errno.EPERM, "unshare user namespace: refused")
        process = Path(f"/proc/{child}")
        (process / "uid_map").write_text(f"{owner[0]} {uid} 1\n")
        (process / "gid_map").write_text(f"{owner[1]} {uid} 1\n")
        return os.open(process / "ns/user", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(ready_r)
        os.close(ready_w)


def _cannot_map(source: str) -> OSError:
    return OSError(
        errno.EOPNOTSUPP,
        f"the file system of {source} cannot map owners: what an instance writes must lie on ext4, "
        "xfs or btrfs, or on tmpfs from kernel 6.3 on",
    )


def path(name: str, index: int) -> str:
    """Where the stage called `name` shows its path number `index`."""
    return f"{STAGE}/{name}/{index}"


class Stage:
    """The staged paths of one instance, below one folder of the stage."""

    def __init__(self, name: str, uid: int) -> None:
        self._folder = Path(STAGE, name)
        self._uid = uid
        self._mounted: list[Path] = []
        self._mappings: dict[tuple[int, int], int] = {}
        self._folder.mkdir(mode=0o711)

    def add(self, index: int, source: str, *, writable: bool, own: bool) -> None:
        """Clones `source` (followed through symbolic links) to `path(name, index)`."""
        clone = _syscall(
            f"open {source}",
            _OPEN_TREE,
            -100,
            os.fsencode(source),
            ctypes.c_uint(_OPEN_TREE_CLONE | os.O_CLOEXEC),
        )
        try:
            self._restrict(clone, source, writable=writable, own=own)
            place = Path(path(self._folder.name, index))
            if stat.S_ISDIR(os.fstat(clone).st_mode):
                place.mkdir(mode=0o711)
            else:
                place.touch(mode=0o600)
            _syscall(
                f"stage {source}",
                _MOVE_MOUNT,
                clone,
                b"",
                -100,
                os.fsencode(place),
                _MOVE_EMPTY_FROM,
            )
            self._mounted.append(place)
        finally:
            os.close(clone)

    def _restrict(self, clone: int, source: str, *, writable: bool, own: bool) -> None:
        flags = _ATTR_NOSUID | _ATTR_NODEV | (0 if writable else _ATTR_RDONLY)
        status = os.fstat(clone)
        owner = (status.st_uid, status.st_gid)
        if owner not in self._mappings:
            self._mappings[owner] = _mapping(owner, self._uid)
        try:
            _set_attributes(clone, source, flags | _ATTR_IDMAP, self._mappings[owner])
        except OSError as fault:
            if fault.errno not in _NO_IDMAP:
                raise
            # The file system cannot map ids. Reading goes by the files' own modes then; what is the
            # instance's own is given to it; a user's folder does not change hands.
            if own:
                self._give(clone, source)
            elif writable:
                raise _cannot_map(source) from fault
            _set_attributes(clone, source, flags, 0)

    def _give(self, clone: int, source: str) -> None:
        here = Path(f"/proc/self/fd/{clone}")
        if here.is_dir() and any(here.iterdir()):
            raise _cannot_map(source)
        os.chown(here, self._uid, self._uid)

    def mapped(self) -> None:
        """Forgets the mappings once every path is staged."""
        while self._mappings:
            os.close(self._mappings.popitem()[1])

    def remove(self) -> None:
        """Takes the stage down; a running sandbox keeps its own copies."""
        self.mapped()
        for place in reversed(self._mounted):
            _check(_libc.umount2(os.fsencode(place), _MNT_DETACH), f"unmount {place}")
        for place in self._folder.iterdir():
            place.rmdir() if place.is_dir() else place.unlink()
        self._folder.rmdir()


def _set_attributes(clone: int, source: str, flags: int, namespace: int) -> None:
    attributes = struct.pack("=QQQQ", flags, 0, 0, namespace)
    _syscall(
        f"restrict {source}",
        _MOUNT_SETATTR,
        clone,
        b"",
        ctypes.c_uint(_AT_EMPTY_PATH),
        attributes,
        ctypes.c_size_t(len(attributes)),
    )
