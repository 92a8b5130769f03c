"""The native datapath: the module of the wheel `symphony-native` as a `Datapath`.

Its threads are Rust and need the interpreter for nothing but a `wake` that is no `Bell`, which a
thread of its own calls, so that forwarding goes on while the kernel's main thread is busy. Behaves
as `reference.py` does, with one thing more: libzmq itself ends a message of more than
`wire.MAX_FRAMES` frames or 4 MiB (counter `endless`, of the whole process). Of the former it hands
on what shows the sender, throws the rest away and cuts the connection if that has no end; for the
latter it cuts the connection at once, and no VIOLATION says whose it was.
"""

import importlib
import weakref
from collections.abc import Callable, Sequence
from typing import Any, Final

from .bell import Bell
from .datapath import ALL, Flow, FlowStats, PeerStats, Upcall
from .errors import BusError

MODULE: Final = "symphony_native"
INTERFACE: Final = 3  # of the module; to be raised whenever what is called of it changes
VERDICT_S: Final = 5.0  # as `zap.VERDICT_S`, which comes with pyzmq


def available() -> bool:
    """Whether the wheel is installed in this environment and loads.

    Raises BusError `unavailable` for one that does not load, or belongs to another version of this
    package.
    """
    try:
        load()
    except BusError as error:
        missing = error.__cause__
        if isinstance(missing, ModuleNotFoundError) and missing.name == MODULE:
            return False
        raise
    return True


def load() -> Any:
    """The compiled module; raises BusError `unavailable` if it cannot be had."""
    try:
        module = importlib.import_module(MODULE)
    except (ImportError, OSError) as error:
        raise BusError(
            "unavailable",
            f"the native datapath cannot be loaded: {error}",
            where=MODULE,
            help="install the wheel symphony-native anew, or choose the reference datapath",
        ) from error
    if getattr(module, "INTERFACE", 0) != INTERFACE:
        raise BusError(
            "unavailable",
            "the native datapath is of another version",
            where=MODULE,
            help="install the wheel symphony-native that belongs to this version",
        )
    return module


class NativeDatapath:
    """See `datapath.Datapath`. `clock` gives seconds and must be monotonic.

    With a clock of your own the thread needs the interpreter each time it looks: for tests.
    """

    def __init__(self, *, clock: Callable[[], float] | None = None) -> None:
        self._native = load().Datapath(clock)
        # Also at the interpreter's end: the threads must not outlive it.
        self._close = weakref.finalize(self, self._native.close)

    def start(
        self, wake: Callable[[], None], *, heartbeat_ms: int, liveness: int, grace_ms: int
    ) -> None:
        bell = wake.fd if isinstance(wake, Bell) else -1
        self._native.start(wake, bell, heartbeat_ms, liveness, grace_ms, int(VERDICT_S * 1000))

    def close(self) -> None:
        self._close()

    def bind(self, endpoint: str, *, domain: str = "", curve: bytes = b"", fd: int = -1) -> None:
        try:
            self._native.bind(endpoint, domain, curve, fd)
        except OSError as error:
            raise BusError(
                "io",
                f"cannot listen on the bus socket: {error.strerror}",
                where=endpoint,
                help="choose another folder for sockets, or stop the process that uses it",
            ) from None
        except RuntimeError as error:
            raise BusError("unavailable", str(error)) from None

    def unbind(self, endpoint: str) -> None:
        self._native.unbind(endpoint)

    def verdict(self, token: bytes, allowed: bool) -> None:
        self._native.verdict(token, allowed)

    def admit(self, peer: str, identity: bytes, *, console: bool = False) -> None:
        self._native.admit(peer, identity, console)

    def open(self, peer: str) -> None:
        self._native.open(peer)

    def expel(self, peer: str) -> None:
        self._native.expel(peer)

    def install(self, flow: Flow) -> None:
        self._native.install(flow)

    def revoke(self, generation: int) -> None:
        self._native.revoke(generation)

    def send(self, peer: str, header: bytes, body: bytes) -> None:
        self._native.send(peer, header, body)

    def event(self, peers: Sequence[str], header: bytes, body: bytes) -> None:
        self._native.event(peers, header, body)

    def inject(self, peer: str, header: bytes, body: bytes) -> None:
        self._native.inject(peer, header, body)

    def poll(self, limit: int = ALL) -> list[Upcall]:
        return [Upcall(*upcall) for upcall in self._native.poll(limit)]

    def counters(self) -> dict[str, int]:
        return {name: count for name, count in self._native.counters() if count}

    def flows(self) -> list[FlowStats]:
        return [FlowStats._make((*row, tuple(times))) for *row, times in self._native.flows()]

    def peers(self) -> list[PeerStats]:
        return [PeerStats(*row) for row in self._native.peers()]

    def _crash(self) -> None:
        """Makes the thread panic; only for tests."""
        self._native.crash()
