"""What a peer hears of the hub, as its session reports it."""

from typing import Any

from msgspec import Struct

from .codec import Buffer
from .errors import BusError
from .messages import Activate, Progress, Welcome


class Welcomed(Struct, frozen=True):
    """The hub let us in."""

    welcome: Welcome


class Called(Struct, frozen=True, gc=False):
    """A call to us.

    `deadline` is in seconds of the session's clock, None without one; `streaming`: the caller
    takes chunks; `trace` is its `traceparent`.
    """

    capability: str | None
    method: str
    flow: int
    request: int
    body: Buffer
    deadline: float | None
    streaming: bool = False
    trace: str | None = None


class CancelAsked(Struct, frozen=True):
    """The caller no longer wants the answer to this call, or can no longer get it."""

    flow: int
    request: int


class CreditGiven(Struct, frozen=True):
    """The caller of this stream takes more chunks."""

    flow: int
    request: int


class Answered(Struct, frozen=True, gc=False):
    """The end of a call of ours: `error` or else `value`."""

    request: int
    value: Any = None
    error: BusError | None = None


class Progressed(Struct, frozen=True):
    """A call of ours goes on."""

    request: int
    progress: Progress


class Chunked(Struct, frozen=True):
    """The next part of a stream of ours."""

    request: int
    value: Any


class Event(Struct, frozen=True):
    """An event of a topic that this peer has subscribed to.

    `sequence` counts the topic's events; `gap` of them were dropped for this peer just before
    this one. A `snapshot` was published before the subscription.
    """

    topic: str
    value: Any
    sequence: int = 0
    gap: int = 0
    snapshot: bool = False


class Activated(Struct, frozen=True):
    """Configuration and parameters; to be answered."""

    request: int
    message: Activate


class UnloadAsked(Struct, frozen=True):
    """We are to end within `grace_ms`."""

    grace_ms: int


class Dismissed(Struct, frozen=True):
    """The hub said bye."""

    reason: str


class Rejoined(Struct, frozen=True):
    """The hub has started anew. What could not go on ended: `ended` of our calls, `lost` to us."""

    ended: tuple[Answered, ...]
    lost: tuple[CancelAsked, ...]


Heard = (
    Welcomed
    | Called
    | CancelAsked
    | CreditGiven
    | Answered
    | Progressed
    | Chunked
    | Event
    | Activated
    | UnloadAsked
    | Dismissed
    | Rejoined
)
