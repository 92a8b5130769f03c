"""Calls of a member that ends: they wait for the next one, unless there will be none."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from symphony.bus.errors import BusError
from symphony.bus.hub import Hub
from symphony.kernel.errors import ExitCode, SymphonyError
from symphony.kernel.members import ARTIFACT_STORE, MOST_ENDS, Member

LIMIT_S = 10.0
GONE = SymphonyError(ExitCode.UNAVAILABLE, "gone for good")


class Ending:
    """A hub whose provider ends over every call; `meanwhile` happens before its caller hears."""

    def __init__(self) -> None:
        self.calls = 0
        self.there = True
        self.meanwhile = lambda: None

    async def call(self, *_: object, **__: object) -> Any:
        self.calls += 1
        self.there = False
        self.meanwhile()
        raise BusError("crashed", "it ended")

    def providers(self, _: str) -> list[str]:
        return ["artifacts-1"] if self.there else []


async def member(hub: Ending) -> Member:
    made = Member(ARTIFACT_STORE, cast(Hub, hub))
    await made.welcome()
    return made


def test_who_calls_one_that_is_given_up_at_that_moment_hears_so() -> None:
    async def main() -> None:
        hub = Ending()
        subject = await member(hub)
        hub.meanwhile = lambda: subject.gave_up(GONE)
        async with asyncio.timeout(LIMIT_S):
            with pytest.raises(SymphonyError, match="gone for good"):
                await subject.call("put_many", {})
        assert hub.calls == 1

    asyncio.run(main())


def test_a_call_over_which_it_always_ends_is_not_sent_for_ever() -> None:
    async def main() -> None:
        hub = Ending()
        subject = await member(hub)
        undone = []
        loop = asyncio.get_running_loop()

        async def back() -> None:
            hub.there = True
            await subject.welcome()

        hub.meanwhile = lambda: loop.call_soon(lambda: asyncio.ensure_future(back()))
        async with asyncio.timeout(LIMIT_S):
            with pytest.raises(SymphonyError, match="ended 10 times over `put_many`") as caught:
                await subject.call("put_many", {}, again=lambda: undone.append(1))
        assert (hub.calls, len(undone)) == (MOST_ENDS, MOST_ENDS - 1)
        assert caught.value.code == 5

    asyncio.run(main())
