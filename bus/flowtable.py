"""The control plane's flow table: which number stands for which caller and capability.

A number belongs to one key for as long as the caller is known, so an old number can always be
looked up anew; only its provider changes. Every change of who may or can serve starts a new
generation, in which each number is looked up again when it is used. The provider that served last
is remembered, and with which request of the caller it began to: of the calls that are repeated
after the hub started anew, it alone can know those from there on, and none before.
"""

from collections import Counter
from typing import NamedTuple

from . import wire
from .datapath import Flow
from .grants import UNLIMITED, Limit


class Key(NamedTuple):
    """What a flow is. `pinned`: the one instance that it leads to; `behalf`: the owner for
    which the kernel calls."""

    caller: str
    capability: str
    pinned: str = ""
    behalf: str = ""


class FlowTable:
    """Numbers, their meaning, and the providers that serve them."""

    def __init__(self) -> None:
        self.generation = 1
        self._last = 0
        self._numbers: dict[Key, int] = {}
        self._keys: dict[int, Key] = {}
        self._providers: dict[int, str] = {}  # that serve a number, or did last
        self._last_providers: dict[int, str] = {}  # the same, once they are gone too
        self._first: dict[int, int] = {}  # the request with which that provider began
        self._assigned: dict[int, int] = {}  # in which generation it was last looked up
        self._orphans: set[int] = set()  # their provider is gone, and there is no other since
        self._settled: set[int] = set()  # must stay with their provider as long as it lives
        self._load: Counter[str] = Counter()

    def number(self, key: Key) -> int:
        """The flow number of this key, made if there is none."""
        number = self._numbers.get(key)
        if number is None:
            number = self._unused()
            self._numbers[key] = number
            self._keys[number] = key
        return number

    def find(self, key: Key) -> int | None:
        """The flow number of this key, if it has one."""
        return self._numbers.get(key)

    def key(self, number: int) -> Key | None:
        """What this number stands for."""
        return self._keys.get(number)

    def provider(self, number: int) -> str | None:
        """Who serves this number, or did before the generation changed."""
        return self._providers.get(number)

    def last_provider(self, number: int) -> str | None:
        """Who serves this number, or did last, even if it is gone."""
        return self._last_providers.get(number)

    def first(self, number: int) -> int:
        """The request with which that provider began to serve this number."""
        return self._first.get(number, 0)

    def is_current(self, number: int) -> bool:
        """Whether it was looked up in this generation, so that messages may pass on it unseen."""
        return self._assigned.get(number) == self.generation

    def is_orphan(self, number: int) -> bool:
        """Whether its provider is gone."""
        return number in self._orphans

    def is_settled(self, number: int) -> bool:
        """Whether it must stay with its provider."""
        return number in self._settled

    def assign(
        self,
        number: int,
        provider: str,
        *,
        request: int = 0,
        safe: bool = False,
        limit: Limit = UNLIMITED,
    ) -> Flow:
        """Makes `provider` serve this number, if it did not before from this request on."""
        key = self._keys[number]
        settled = number in self._settled
        served = self._providers.get(number) == provider
        first = self._first[number] if served else request
        self._release(number)
        if settled and served:
            self._settled.add(number)
        self._orphans.discard(number)
        self._first[number] = first
        self._assigned[number] = self.generation
        self._providers[number] = self._last_providers[number] = provider
        self._load[provider] += 1
        return Flow(
            number,
            key.caller,
            provider,
            self.generation,
            safe,
            limit.credit,
            limit.rate,
            limit.burst,
        )

    def load(self, provider: str) -> int:
        """How many flows lead to this provider."""
        return self._load[provider]

    def next_generation(self) -> int:
        """Makes every number be looked up again; returns the new generation."""
        self.generation += 1
        return self.generation

    def settle(self) -> None:
        """Lets every number stay with its provider, which may know calls that nobody else does."""
        self._settled = set(self._providers)

    def forget(self, name: str) -> None:
        """Drops the numbers of a caller and those pinned to it; what else it served is orphaned."""
        for key in [key for key in self._numbers if name in (key.caller, key.pinned)]:
            number = self._numbers.pop(key)
            del self._keys[number]
            self._last_providers.pop(number, None)
            self._release(number)
            self._orphans.discard(number)
        for number in [number for number, by in self._providers.items() if by == name]:
            self._release(number)
            self._orphans.add(number)
        del self._load[name]

    def _release(self, number: int) -> None:
        self._settled.discard(number)
        self._first.pop(number, None)
        self._assigned.pop(number, None)
        former = self._providers.pop(number, None)
        if former is not None:
            self._load[former] -= 1

    def _unused(self) -> int:
        while True:
            self._last = self._last % wire.MAX_FLOW + 1
            if self._last not in self._keys:
                return self._last
