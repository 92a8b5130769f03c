"""The control plane's flow table: which number stands for which caller and capability.

A number belongs to one (caller, capability, pinned instance) for as long as the caller is known,
so an old number can always be looked up anew; only its provider changes. Every change of who may
or can serve starts a new generation, in which nothing is assigned yet.
"""

from collections import Counter

from . import wire
from .datapath import Flow

Key = tuple[str, str, str]  # caller, capability, pinned instance or ""


class FlowTable:
    """Numbers, their meaning, and the providers assigned in this generation."""

    def __init__(self) -> None:
        self.generation = 1
        self._last = 0
        self._numbers: dict[Key, int] = {}
        self._keys: dict[int, Key] = {}
        self._assigned: dict[int, str] = {}
        self._load: Counter[str] = Counter()

    def number(self, caller: str, capability: str, instance: str = "") -> int:
        """The flow number of this key, made if there is none."""
        key = (caller, capability, instance)
        number = self._numbers.get(key)
        if number is None:
            number = self._unused()
            self._numbers[key] = number
            self._keys[number] = key
        return number

    def caller_of(self, number: int) -> str | None:
        """Whose number this is."""
        key = self._keys.get(number)
        return key[0] if key else None

    def capability_of(self, number: int) -> str | None:
        """What this number stands for."""
        key = self._keys.get(number)
        return key[1] if key else None

    def assign(self, number: int, provider: str) -> Flow:
        """Makes `provider` serve this number."""
        self._release(number)
        self._assigned[number] = provider
        self._load[provider] += 1
        return Flow(number, self._keys[number][0], provider, self.generation)

    def load(self, provider: str) -> int:
        """How many flows lead to this provider in this generation."""
        return self._load[provider]

    def next_generation(self) -> int:
        """Forgets every assignment; returns the new generation."""
        self.generation += 1
        self._assigned.clear()
        self._load.clear()
        return self.generation

    def forget(self, name: str) -> None:
        """Drops the numbers of a caller, and those that are pinned to it as an instance."""
        for key in [key for key in self._numbers if name in (key[0], key[2])]:
            number = self._numbers.pop(key)
            del self._keys[number]
            self._release(number)

    def _release(self, number: int) -> None:
        former = self._assigned.pop(number, None)
        if former is not None:
            self._load[former] -= 1

    def _unused(self) -> int:
        while True:
            self._last = self._last % wire.MAX_FLOW + 1
            if self._last not in self._keys:
                return self._last
