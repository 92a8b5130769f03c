"""First come, first served: never more than there is, in the order of arrival."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from symphony.kernel.pit.static import FirstCome


class Desk:
    """Somebody who holds what was given."""

    def __init__(self, **capacities: int) -> None:
        self.capacities = capacities
        self.held: Counter[str] = Counter()
        self.order: list[str] = []
        self.queue = FirstCome(capacities, lambda: self.held)

    async def take(self, name: str, **needs: int) -> bool:
        given = await self.queue.wait(needs)
        if given:
            self.held.update(needs)
            self.order.append(name)
            assert all(self.held[key] <= most for key, most in self.capacities.items())
        return given

    def give_back(self, **needs: int) -> None:
        self.held.subtract(needs)
        self.queue.look()


async def turns() -> None:
    """Lets everything happen that can."""
    for _ in range(8):
        await asyncio.sleep(0)


def test_what_fits_is_given_at_once_and_the_rest_waits_in_order() -> None:
    async def test() -> None:
        desk = Desk(cpu=2)
        tasks = [asyncio.create_task(desk.take(name, cpu=1)) for name in "abcd"]
        await turns()
        assert desk.order == ["a", "b"]
        desk.give_back(cpu=1)
        await turns()
        assert desk.order == ["a", "b", "c"]
        desk.give_back(cpu=1)
        await asyncio.gather(*tasks)
        assert desk.order == ["a", "b", "c", "d"]

    asyncio.run(test())


def test_a_small_one_does_not_overtake_a_large_one() -> None:
    async def test() -> None:
        desk = Desk(cpu=2)
        assert await desk.take("a", cpu=1)
        large = asyncio.create_task(desk.take("large", cpu=2))
        small = asyncio.create_task(desk.take("small", cpu=1))
        await turns()
        assert desk.order == ["a"]
        desk.give_back(cpu=1)
        await turns()
        assert desk.order == ["a", "large"]
        desk.give_back(cpu=2)
        await asyncio.gather(large, small)

    asyncio.run(test())


def test_whoever_is_cancelled_makes_room_for_the_next() -> None:
    async def test() -> None:
        desk = Desk(cpu=1)
        assert await desk.take("a", cpu=1)
        given_up = asyncio.create_task(desk.take("b", cpu=1))
        patient = asyncio.create_task(desk.take("c", cpu=1))
        await turns()
        given_up.cancel()
        desk.give_back(cpu=1)
        assert await patient
        with pytest.raises(asyncio.CancelledError):
            await given_up
        assert desk.order == ["a", "c"]

    asyncio.run(test())


def test_a_turn_that_comes_with_the_cancellation_is_passed_on() -> None:
    async def test() -> None:
        desk = Desk(cpu=1)
        assert await desk.take("a", cpu=1)
        given_up = asyncio.create_task(desk.take("b", cpu=1))
        patient = asyncio.create_task(desk.take("c", cpu=1))
        await turns()
        desk.give_back(cpu=1)  # the turn is b's
        given_up.cancel()
        assert await patient
        with pytest.raises(asyncio.CancelledError):
            await given_up

    asyncio.run(test())


def test_closing_sends_everybody_elsewhere() -> None:
    async def test() -> None:
        desk = Desk(cpu=1)
        assert await desk.take("a", cpu=1)
        waiting = [asyncio.create_task(desk.take(name, cpu=1)) for name in "bc"]
        await turns()
        desk.queue.close()
        assert await asyncio.gather(*waiting) == [False, False]
        desk.give_back(cpu=1)
        assert await desk.take("d", cpu=1)

    asyncio.run(test())


@given(st.lists(st.tuples(st.integers(1, 4), st.booleans()), max_size=30))
def test_all_get_their_turn_in_order(wishes: list[tuple[int, bool]]) -> None:
    async def test() -> None:
        desk = Desk(cpu=4)

        async def use(name: str, cpu: int) -> None:
            assert await desk.take(name, cpu=cpu)
            await asyncio.sleep(0)
            desk.give_back(cpu=cpu)

        tasks = []
        for at, (cpu, pause) in enumerate(wishes):
            tasks.append(asyncio.create_task(use(str(at), cpu)))
            if pause:
                await asyncio.sleep(0)
        await asyncio.gather(*tasks)
        assert desk.order == [str(at) for at in range(len(wishes))]

    asyncio.run(test())
