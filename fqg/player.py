"""What a player is: told of a level once, then asked for an action in each situation."""

from typing import Protocol

from .game import Situation
from .level import Level


class Player(Protocol):
    """Stateful for the length of a game; the same player may play many, one after the other."""

    @property
    def name(self) -> str:
        """What reports call it."""

    def begin(self, level: Level) -> None:
        """A new game on this level."""

    def choose(self, situation: Situation) -> int:
        """A legal action; asked once for every situation of a game, in order."""
