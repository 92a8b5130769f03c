"""Where everything of one kernel lies: the durable home, the runtime folder of sockets, the lock.

The home is what ``--home``, ``SYMPHONY_HOME`` or the XDG data folder says, 0700. Sockets lie apart
because their paths are limited to 107 bytes. One kernel per home: an flock that names its holder.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import shlex
import shutil
import stat
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from .errors import ExitCode, SymphonyError

# How long a dead kernel's guard may still hold the lock: its end takes milliseconds, that of one
# which has to be forced two seconds more.
TOGETHER_S = 0.5  # within which a process that ends has let go of all that it had locked
HANDOVER_S = 4.0
STORES = frozenset({"dag", "artifacts", "pool", "arbitration", "stale", "folder-store"})
SETTINGS = frozenset({"pit.toml", "grants.json", "extensions", "archive-object.toml"})
SECRETS = frozenset({"keys", "artifacts.keys", "archive-object.keys"})
OWN = (  # what a home holds
    STORES
    | SETTINGS
    | SECRETS
    | {
        "budgets.last",
        "budgets.last.new",
        "charges.pending",
        "charges.pending.new",
        "charges.pending.torn",
        "dead",
        "deadletters.db",
        "epochs.ended",
        "epochs.ended.new",
        "instances",
        "kernel.lock",
        "logs",
        "reports",
        "stores.seen",
        "stores.seen.new",
    }
    | {"restoring", "spool", "trash"}
)
LONGEST_SOCKET = 107  # bytes of a path, in sockaddr_un
LONGEST_NAME = len("/12345678.sock")  # of a socket in the folder


def home_folder(option: Path | None, environment: Mapping[str, str]) -> Path:
    """The home by option, ``SYMPHONY_HOME``, ``XDG_DATA_HOME`` or ``~/.local/share``."""
    if option is not None:
        return option.resolve()
    if chosen := environment.get("SYMPHONY_HOME"):
        return Path(chosen).resolve()
    data = environment.get("XDG_DATA_HOME")
    base = Path(data) if data else Path.home() / ".local" / "share"
    return (base / "symphony").resolve()


def runtime_folder(home: Path, environment: Mapping[str, str]) -> Path:
    """The folder of this home's sockets; its name follows from the home's path."""
    digest = hashlib.blake2b(os.fsencode(home), digest_size=6).hexdigest()
    if (base := environment.get("XDG_RUNTIME_DIR")) and _is_own_folder(base):
        folder = Path(base).absolute() / f"symphony-{digest}"
        if _is_short(folder):
            return folder
    name = f"symphony-{os.getuid()}-{digest}"
    folder = Path(tempfile.gettempdir()) / name
    return folder if _is_short(folder) else Path("/tmp", name)  # noqa: S108 - 0700, ours, checked


def _is_short(folder: Path) -> bool:
    return len(os.fsencode(folder)) + LONGEST_NAME <= LONGEST_SOCKET


def _is_own_folder(path: str) -> bool:
    """False for what `su` and containers leave in the environment: another user's, or nothing."""
    try:
        found = Path(path).stat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()


@dataclass(frozen=True)
class Places:
    """All paths of one home."""

    home: Path
    runtime: Path

    @classmethod
    def find(cls, option: Path | None, environment: Mapping[str, str]) -> Places:
        """The places by command line option and environment; nothing is created yet."""
        home = home_folder(option, environment)
        return cls(home, runtime_folder(home, environment))

    @property
    def dag(self) -> Path:
        """The DAG Tracker's store."""
        return self.home / "dag"

    @property
    def artifacts(self) -> Path:
        """The Artifact Store's store."""
        return self.home / "artifacts"

    @property
    def instances(self) -> Path:
        """Inbox and outbox of every running instance."""
        return self.home / "instances"

    @property
    def dead(self) -> Path:
        """What a killed kernel's instances left, until the Stale Manager lets it go."""
        return self.home / "dead"

    @property
    def logs(self) -> Path:
        """One log per instance."""
        return self.home / "logs"

    def log(self, instance: str) -> Path:
        """The log of an instance."""
        return self.logs / f"{instance}.log"

    @property
    def spool(self) -> Path:
        """Inputs on their way into the Artifact Store."""
        return self.home / "spool"

    @property
    def trash(self) -> Path:
        """Folders on their way out."""
        return self.home / "trash"

    @property
    def reports(self) -> Path:
        """Reports of our own bugs."""
        return self.home / "reports"

    @property
    def restoring(self) -> Path:
        """A backup on its way into this home; there only while, or because, it has not arrived."""
        return self.home / "restoring"

    @property
    def lock(self) -> Path:
        """The lock file; it names the kernel's pid."""
        return self.home / "kernel.lock"

    @property
    def console(self) -> Path:
        """The console's ticket while a kernel runs."""
        return self.runtime / "console.json"

    def create(self) -> None:
        """Makes the folders, all 0700."""
        help_ = "choose another folder with --home or SYMPHONY_HOME"
        _make(self.home, "home", help_)
        self._require_free()
        self._require_whole()
        _require_private(self.home)
        own = (self.instances, self.dead, self.logs, self.spool, self.trash, self.reports)
        for folder in own:
            _make(folder, "home", help_)
            _require_private(folder)
        for store in (self.dag, self.artifacts):  # which their members make
            if store.is_symlink():
                _require_private(store)
        _make(self.runtime, "folder of the sockets", "remove what is there, or set XDG_RUNTIME_DIR")
        _require_private(self.runtime)

    def clear_runtime(self) -> None:
        """Removes sockets and ticket; only for who holds the lock."""
        try:
            for entry in self.runtime.iterdir():
                if entry.name.startswith("symphony-canary-"):
                    shutil.rmtree(entry)
                else:
                    entry.unlink(missing_ok=True)
        except OSError as error:
            raise SymphonyError(
                ExitCode.IO,
                f"the folder of the sockets is occupied: {error.strerror}",
                where=str(error.filename),
                help="remove what is there",
                fault="environment",
            ) from error

    def _require_whole(self) -> None:
        """Refuses a home into which a backup has not come whole."""
        if self.restoring.exists():
            raise SymphonyError(
                ExitCode.REFUSED,
                "a backup is being restored into this home, or was not to the end",
                where=str(self.restoring),
                help="wait for it, or give the same `symphony-kernel restore` again",
                fault="caller",
            )

    def _require_free(self) -> None:
        """Refuses to take a folder in use for other things away from those who can read it now."""
        is_open = stat.S_IMODE(self.home.lstat().st_mode) & 0o077
        if is_open and any(entry.name not in OWN for entry in self.home.iterdir()):
            raise SymphonyError(
                ExitCode.REFUSED,
                "the home would be a folder that others can read and that holds other things",
                where=str(self.home),
                help="choose a new or empty folder with --home or SYMPHONY_HOME",
                fault="caller",
            )


def _make(folder: Path, what: str, help_: str) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise SymphonyError(
            ExitCode.IO,
            f"the {what} cannot be made: {error.strerror}",
            where=str(folder),
            help=help_,
            fault="environment",
        ) from error


def _require_private(folder: Path) -> None:
    """Refuses a folder that is a link or somebody else's; closes one that is open to others."""
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise SymphonyError(
            ExitCode.REFUSED,
            "a link, or not a folder of this user",
            where=str(folder),
            help="put a folder of your own in its place, or choose another home",
            fault="environment",
        )
    if stat.S_IMODE(found.st_mode) & 0o077:
        folder.chmod(0o700)


class HomeLock:
    """One kernel per home: it locks its file, which names the pid, and the folder that this is in,
    for a file can be removed beneath a kernel that runs.

    The descriptors are also given to the guard, which holds them until it has ended everything the
    kernel left: so the next kernel never meets the last one's processes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fds: tuple[int, ...] = ()

    @property
    def fds(self) -> tuple[int, ...]:
        """The locked descriptors."""
        if not self._fds:
            raise RuntimeError("the home is not locked")
        return self._fds

    def acquire(self) -> None:
        """Takes the lock, or says who holds it."""
        with contextlib.ExitStack() as opened:
            try:
                fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
                opened.callback(os.close, fd)
                if not stat.S_ISREG(os.fstat(fd).st_mode):
                    raise OSError(errno.EINVAL, "it is no file")  # noqa: TRY301 - one answer
                folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                opened.callback(os.close, folder)
            except OSError as error:
                raise self._not_writable(error) from error
            deadline = time.monotonic() + HANDOVER_S
            while not _locked(fd):
                holder = _written(fd)
                lives = _has_open(holder, fd)
                if lives or time.monotonic() > deadline:
                    raise self._refusal(holder, lives=lives)
                time.sleep(0.005)  # a lock with a time limit there is not
            deadline = time.monotonic() + TOGETHER_S
            while not _locked(folder):
                if time.monotonic() > deadline:
                    raise self._removed()
                time.sleep(0.005)
            try:
                os.ftruncate(fd, 0)
                os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
            except OSError as error:
                raise self._not_writable(error) from error
            opened.pop_all()
        self._fds = (fd, folder)

    def _not_writable(self, error: OSError) -> SymphonyError:
        home = shlex.quote(str(self._path.parent))
        match error.errno:
            case errno.ENOSPC | errno.EDQUOT:
                help_ = "free space there"
            case errno.EROFS | errno.EACCES | errno.EPERM:
                help_ = (
                    "whoever reads a home writes to it, too (its lock, its logs): copy it with "
                    f"`cp -a {home} COPY` and give `--home COPY`"
                )
            case _:
                help_ = "choose a writable home"
        return SymphonyError(
            ExitCode.IO,
            f"the home cannot be locked: {error.strerror}",
            where=str(self._path),
            help=help_,
            fault="environment",
        )

    def _refusal(self, holder: str, *, lives: bool) -> SymphonyError:
        if lives:
            what = f"another kernel runs on this home, pid {holder}"
            help_ = "stop it with `symphony-kernel stop`, or use another --home"
        else:
            former = f" (pid {holder})" if holder else ""
            what = f"the former kernel{former} is gone and its processes are still ending"
            help_ = "try again in a moment, or use another --home"
        where = str(self._path.parent)
        return SymphonyError(ExitCode.REFUSED, what, where=where, help=help_, fault="caller")

    def _removed(self) -> SymphonyError:
        return SymphonyError(
            ExitCode.REFUSED,
            f"another kernel runs on this home, and its {self._path.name} was removed",
            where=str(self._path.parent),
            help=f"end that kernel (`fuser {shlex.quote(str(self._path.parent))}` names it), or "
            "use another --home",
            fault="caller",
        )

    def release(self) -> None:
        """Gives the lock up; idempotent."""
        if self._fds:
            os.ftruncate(self._fds[0], 0)
            for fd in reversed(self._fds):
                os.close(fd)
            self._fds = ()


def _locked(fd: int) -> bool:
    """Takes the lock of what is open there, if nobody has it. What the file system cannot lock, as
    NFS no folder, nobody has."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in (errno.EBADF, errno.ENOLCK, errno.EOPNOTSUPP):
            raise
    return True


def lock_holder(places: Places) -> int | None:
    """The pid of the kernel that runs on this home, if one does."""
    try:
        fd = os.open(places.lock, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # never a pipe
    except OSError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = _written(fd)
        return int(holder) if _has_open(holder, fd) else None
    finally:
        os.close(fd)
    return None


def _written(fd: int) -> str:
    """The pid in the lock file; empty where none is."""
    holder = os.pread(fd, 32, 0).decode("ascii", "replace").strip()
    return holder if holder.isdigit() else ""


def _has_open(pid: str, fd: int) -> bool:
    """Whether process `pid` has this very file open: a dead one has not, even if its number is
    still listed or is another's by now."""
    if not pid:
        return False
    with contextlib.suppress(OSError):
        for entry in Path("/proc", pid, "fd").iterdir():
            with contextlib.suppress(OSError):
                if os.path.samestat(entry.stat(), os.fstat(fd)):
                    return True
    return False
