"""Which datapath a hub is made with: the native one where it is installed, else the reference."""

from collections.abc import Callable, Mapping
from typing import Final

from .datapath import Datapath
from .errors import BusError

NATIVE: Final = "native"
REFERENCE: Final = "reference"


def choose(name: str | None = None) -> Datapath:
    """A new datapath, not started; None takes the best that is installed.

    Raises BusError `bad-request` for an unknown name, `unavailable` if the native one is asked for
    but not installed.
    """
    if name is None:
        name = _best()
    if name not in _MAKERS:
        raise BusError(
            "bad-request",
            f"there is no datapath {name!r}",
            where="datapath",
            help=f"one of: {', '.join(_MAKERS)}",
        )
    return _MAKERS[name]()


def _best() -> str:
    from .native import available

    return NATIVE if available() else REFERENCE


def _native() -> Datapath:
    from .native import NativeDatapath

    return NativeDatapath()


def _reference() -> Datapath:
    from .reference import ReferenceDatapath  # imports pyzmq, which the native one does without

    return ReferenceDatapath()


_MAKERS: Final[Mapping[str, Callable[[], Datapath]]] = {NATIVE: _native, REFERENCE: _reference}
