"""How the calls of a function may fail: its hidden mode, and what a failed call shows of it.

The mode is drawn once a game, by the chances in `modes`. In a file it is the object `failure`:
`{"modes": {"sound": 0.6, "transient": 0.2, "permanent": 0.1, "quality": 0.1}, "recovers": 0.6,
"improves": 0.5, "misleads": 0.1, "known": [8, 3]}`. What the modes leave to 1 is sound.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

from .reading import Item

TOLERANCE = 1e-6


class Mode(IntEnum):
    """What is true of a function for the length of one game. The player does not see it."""

    SOUND = 0
    TRANSIENT = 1
    PERMANENT = 2
    QUALITY = 3


class Error(IntEnum):
    """What a failed call shows. A mode has one of its own; nobody's own is a timeout."""

    NONE = 0
    UNAVAILABLE = 1
    REFUSED = 2
    BAD_OUTPUT = 3
    TIMEOUT = 4


CLASSES = 4
"""How many classes of errors there are."""
OWN = (Error.NONE, Error.UNAVAILABLE, Error.REFUSED, Error.BAD_OUTPUT)
"""The class that a mode shows when it does not mislead."""
SHOWN = ("", "unavailable", "refused", "bad-output", "timeout")
"""The word for an error class."""


class Chances(NamedTuple):
    """The chance of each mode; in all 1."""

    sound: float = 1.0
    transient: float = 0.0
    permanent: float = 0.0
    quality: float = 0.0


@dataclass(frozen=True)
class Failure:
    """Chances from 0 to 1."""

    modes: Chances
    recovers: float = 0.5
    """A call succeeds with this chance while the mode is transient."""
    improves: float = 0.5
    """So does a repeat, which changes its parameters, while it is quality. The first call fails."""
    misleads: float = 0.0
    """The class shown is drawn evenly from all classes instead of being the mode's own."""
    known: tuple[int, int] = (0, 0)
    """Calls and failures that others saw earlier: every player of the game is shown them."""

    def success(self, mode: Mode, calls: int) -> float:
        """The chance that the next call succeeds, after so many calls in this game."""
        match mode:
            case Mode.SOUND:
                return 1.0
            case Mode.TRANSIENT:
                return self.recovers
            case Mode.PERMANENT:
                return 0.0
            case Mode.QUALITY:
                return self.improves if calls else 0.0

    def shows(self, mode: Mode, error: Error) -> float:
        """The chance that a failed call in this mode shows this class."""
        honest = 1 - self.misleads if OWN[mode] is error else 0.0
        return honest + self.misleads / CLASSES


def read_failure(item: Item | None) -> Failure | None:
    """The object `failure` of a function; its faults are noted with their place."""
    if item is None:
        return None
    modes = item.child("modes")
    chances = _chances(modes) if modes else Chances()
    share = "a number from 0 to 1"
    return Failure(
        modes=chances,
        recovers=item.get("recovers", share, 0.5),
        improves=item.get("improves", share, 0.5),
        misleads=item.get("misleads", share, 0),
        known=_known(item),
    )


def _chances(item: Item) -> Chances:
    failing = [item.get(name, "a number from 0 to 1", 0) for name in Chances._fields[1:]]
    rest = 1 - sum(failing)
    sound = item.get("sound", "a number from 0 to 1", max(rest, 0.0))
    if abs(sound - rest) > TOLERANCE:
        item.note(item.place, f"the chances must add up to 1, not {sound + 1 - rest:g}")
    return Chances(sound, *failing)


def _known(item: Item) -> tuple[int, int]:
    counts = item.items("known", "a whole number from 0", [0, 0])
    if len(counts) != 2 or counts[1] > counts[0]:
        item.note(f"{item.place}.known", "must be [calls, failures], no more failures than calls")
        return 0, 0
    return counts[0], counts[1]
