"""First come, first served within fixed capacities: what stands in for Arbitration."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping

Needs = Mapping[str, int]


class FirstCome:
    """A queue in the order of arrival. `held` tells what is out, in smallest units."""

    def __init__(self, capacities: Needs, held: Callable[[], Needs]) -> None:
        self._capacities = capacities
        self._held = held
        self._waiting: deque[tuple[Needs, asyncio.Future[bool]]] = deque()
        self._going: asyncio.Future[bool] | None = None  # its turn came, it holds nothing yet

    async def wait(self, needs: Needs) -> bool:
        """True once there is room and it is our turn; False if the queue was closed meanwhile.

        Who may go must hold what it needs before it awaits anything else.
        """
        turn: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append((needs, turn))
        self.look()
        try:
            return await turn
        finally:
            self._waiting = deque(entry for entry in self._waiting if entry[1] is not turn)
            if self._going is turn:
                self._going = None
            asyncio.get_running_loop().call_soon(self.look)

    def look(self) -> None:
        """Lets the first go if there is room for it."""
        while self._waiting and self._waiting[0][1].done():  # it was cancelled
            self._waiting.popleft()
        if self._going is None and self._waiting and self._fits(self._waiting[0][0]):
            self._going = self._waiting.popleft()[1]
            self._going.set_result(True)

    def close(self) -> None:
        """Everybody who waits goes elsewhere."""
        while self._waiting:
            turn = self._waiting.popleft()[1]
            if not turn.done():
                turn.set_result(False)

    def _fits(self, needs: Needs) -> bool:
        held = self._held()
        return all(
            held.get(name, 0) + amount <= self._capacities.get(name, 0)
            for name, amount in needs.items()
        )
