"""Listening sockets of the bus: made, owned and removed by the kernel process.

A datapath listens with a duplicate of the descriptor, so a socket outlives the datapath that
served it. Its file stays the same, also where it was mounted into a sandbox, and whoever connects
meanwhile waits for the next datapath.
"""

import errno
import os
import socket
import stat
from pathlib import Path
from typing import Final

from .errors import BusError

BACKLOG: Final = 128
OWNER_ONLY: Final = 0o600

_SCHEME: Final = "ipc://"


class ListeningSocket:
    """Listens at the path of an ipc endpoint until closed, for this process's user alone.

    Takes the place of a file that a dead process has left. Raises BusError `io` if somebody listens
    there, or the path cannot be had.
    """

    def __init__(self, endpoint: str) -> None:
        self._path = Path(endpoint.removeprefix(_SCHEME))
        try:
            self._socket = _listen(self._path)
        except OSError as error:
            raise BusError(
                "io",
                f"cannot listen on the bus socket: {error.strerror or error}",
                where=endpoint,
                help="choose another folder for sockets, or stop the process that uses it",
            ) from error
        self._socket.setblocking(False)  # its duplicates share that: to accept never waits

    @property
    def fd(self) -> int:
        """Its descriptor."""
        return self._socket.fileno()

    def close(self) -> None:
        """Listens no more and removes the file; whoever still waits there is cut off once the
        duplicates are closed too. Idempotent."""
        if self.fd >= 0:
            self._path.unlink(missing_ok=True)
            self._socket.close()


def is_local(endpoint: str) -> bool:
    """Whether an endpoint is a path for which there is a listening socket."""
    return endpoint.startswith(_SCHEME)


def _listen(path: Path) -> socket.socket:
    _remove_abandoned(path)
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        # A file that is bound gets the mode of its socket: there is no moment of another one.
        os.fchmod(made.fileno(), OWNER_ONLY)
        made.bind(str(path))
        made.listen(BACKLOG)
    except OSError:
        made.close()
        raise
    return made


def _remove_abandoned(path: Path) -> None:
    """Removes a socket that nobody listens at; raises OSError if somebody does."""
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise OSError(errno.EEXIST, "something that is no socket lies there")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)  # a full backlog is somebody's, too
        if probe.connect_ex(str(path)) != errno.ECONNREFUSED:
            raise OSError(errno.EADDRINUSE, "another process listens there")
    path.unlink(missing_ok=True)
