"""The bodies that the bus itself reads (`PROTOCOL.md` sections 3 and 6) as typed records.

Unknown keys are ignored; a missing or mistyped one makes the whole body invalid.
"""

import sys
from typing import Annotated, Any

from msgspec import UNSET, Meta, Struct, UnsetType

Milliseconds = Annotated[int, Meta(ge=0, le=2**32 - 1)]
NaturalInt = Annotated[int, Meta(ge=0, le=2**53 - 1)]
_MOST = sys.float_info.max  # as bounds, they leave out what is not a number and what is infinite
Finite = int | Annotated[float, Meta(ge=-_MOST, le=_MOST)]


class Hello(Struct, frozen=True):
    """What a peer says about itself when it joins."""

    protocol: NaturalInt
    sdk: str
    pid: NaturalInt
    provides: list[str]


class Welcome(Struct, frozen=True):
    """The hub's answer to hello: the peer's name and the limits in force (bytes, milliseconds)."""

    instance: str
    heartbeat_ms: Annotated[int, Meta(ge=1, le=2**32 - 1)]
    liveness: Annotated[int, Meta(ge=1, le=2**16 - 1)]
    max_body: NaturalInt
    inline_max: NaturalInt
    epoch: NaturalInt = 1
    grace_ms: Milliseconds = 2_000


class Progress(Struct, frozen=True):
    """How far a call is: `done` of `total` (None: unknown), in the provider's own units; what is
    not a finite number is no progress. `spent`: what it has used up so far, by resource."""

    done: Finite
    total: Finite | None = None
    message: str = ""
    spent: dict[str, NaturalInt] | UnsetType = UNSET


class Activate(Struct, frozen=True):
    """Configuration of an instance and parameters of this activation."""

    config: dict[str, Any]
    params: dict[str, Any]


class Unload(Struct, frozen=True):
    """A request to end within `grace_ms`."""

    grace_ms: Milliseconds


class Bye(Struct, frozen=True):
    """The last message of either side."""

    reason: str


class Context(Struct, frozen=True, omit_defaults=True):
    """The reserved argument `$` of a call: the run it belongs to and its folder's name."""

    run: str | None = None
    step: str | None = None
    attempt: int | None = None
    folder: str | None = None
    params: dict[str, Any] | None = None
