"""The native datapath: the module of the wheel `symphony-native` as a `Datapath`.

Its thread is Rust and needs the interpreter for nothing but `wake`, which a second thread calls, so
that forwarding goes on while the kernel's main thread is busy. Behaves as `reference.py` does, with
one thing more: a message without end costs its sender the connection (counter `endless`, of the
whole process). If its thread ends by a failure, `wake` is called and `failed` says why.
"""

import importlib
import weakref
from collections.abc import Callable
from typing import Any, Final

from .datapath import Flow, Upcall
from .errors import BusError

MODULE: Final = "symphony_native"


def available() -> bool:
    """Whether the wheel is installed in this environment and loads."""
    try:
        load()
    except BusError:
        return False
    return True


def load() -> Any:
    """The compiled module; raises BusError `unavailable` if it cannot be had."""
    try:
        return importlib.import_module(MODULE)
    except ImportError as error:
        raise BusError(
            "unavailable",
            f"the native datapath cannot be loaded: {error}",
            where=MODULE,
            help="install the wheel symphony-native, or choose the reference datapath",
        ) from error


class NativeDatapath:
    """See `datapath.Datapath`. `clock` gives seconds and must be monotonic.

    With a clock of your own the thread needs the interpreter each time it looks: for tests.
    """

    def __init__(self, *, clock: Callable[[], float] | None = None) -> None:
        self._native = load().Datapath(clock)
        # Also at the interpreter's end: the threads must not outlive it.
        self._close = weakref.finalize(self, self._native.close)

    def start(self, wake: Callable[[], None], *, heartbeat_ms: int, liveness: int) -> None:
        self._native.start(wake, heartbeat_ms, liveness)

    def close(self) -> None:
        self._close()

    def bind(self, endpoint: str) -> None:
        try:
            self._native.bind(endpoint)
        except OSError as error:
            raise BusError(
                "io",
                f"cannot listen on the bus socket: {error.strerror}",
                where=endpoint,
                help="choose another folder for sockets, or stop the process that uses it",
            ) from None
        except RuntimeError as error:
            raise BusError("internal", f"the bus has ended: {error}", where=endpoint) from None

    def unbind(self, endpoint: str) -> None:
        self._native.unbind(endpoint)

    def admit(self, peer: str, identity: bytes, *, console: bool = False) -> None:
        self._native.admit(peer, identity, console)

    def open(self, peer: str) -> None:
        self._native.open(peer)

    def expel(self, peer: str) -> None:
        self._native.expel(peer)

    def install(self, flow: Flow) -> None:
        self._native.install(*flow)

    def revoke(self, generation: int) -> None:
        self._native.revoke(generation)

    def send(self, peer: str, header: bytes, body: bytes) -> None:
        self._native.send(peer, header, body)

    def inject(self, peer: str, header: bytes, body: bytes) -> None:
        self._native.inject(peer, header, body)

    def poll(self) -> list[Upcall]:
        return [Upcall(*upcall) for upcall in self._native.poll()]

    def counters(self) -> dict[str, int]:
        return {name: count for name, count in self._native.counters() if count}

    def failed(self) -> str | None:
        """Why the thread ended without having been told to; None while it serves."""
        reason: str | None = self._native.failed()
        return reason
