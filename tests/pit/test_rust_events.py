"""A player in Rust that publishes and listens, on a real hub."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from pit_stage import Play, Stage
from rust_examples import has_cargo, running

from symphony.bus.errors import BusError
from symphony.bus.hub import Grants

pytestmark = pytest.mark.skipif(not has_cargo(), reason="builds Rust programs")

TTL_MS = 20_000
TOPIC = "herald.words"
PROVIDED = frozenset({"herald.publish/1", "herald.heard/1"})
TURNS = 500  # more calls than an event takes to arrive


@asynccontextmanager
async def herald(stage: Stage, *, topics: frozenset[str]) -> AsyncIterator[None]:
    """The example `herald`, registered."""
    grants = Grants(provides=PROVIDED, publishes=frozenset({TOPIC}), subscribes=topics)
    ticket = stage.hub.add_peer("herald", f"ipc://{stage.folder}/herald.sock", grants)
    async with running("herald", ticket, stage.folder):
        await stage.seen.expect("registered", "herald")
        yield


async def hears(stage: Stage, last: str) -> list[str]:
    """What it has heard, once this has come."""
    for _ in range(TURNS):
        heard: list[str] = await stage.hub.call("herald.heard/1", None, {}, ttl_ms=TTL_MS)
        if last in heard:
            return heard
    raise AssertionError(f"{last} was not heard")


def test_a_player_publishes_and_hears_in_order(play: Play) -> None:
    async def test(stage: Stage) -> None:
        stage.hub.publish(TOPIC, "kept", keep=True)
        async with herald(stage, topics=frozenset({TOPIC})):
            await stage.hub.activate("herald", {}, {}, ttl_ms=TTL_MS)
            words = [f"word {number}" for number in range(100)]
            await stage.hub.call("herald.publish/1", None, {"words": words}, ttl_ms=TTL_MS)
            stage.hub.publish(TOPIC, 5)  # no word: dropped
            stage.hub.publish(TOPIC, "end")
            assert await hears(stage, "end") == ["kept", *words, "end"]
            await stage.hub.activate("herald", {}, {}, ttl_ms=TTL_MS)  # once more: still one each
            stage.hub.publish(TOPIC, "again")
            assert await hears(stage, "again") == ["kept", *words, "end", "again"]

    play(test)


def test_a_topic_that_was_not_granted_ends_the_activation(play: Play) -> None:
    async def test(stage: Stage) -> None:
        async with herald(stage, topics=frozenset()):
            with pytest.raises(BusError, match=r"may not subscribe to herald\.words") as caught:
                await stage.hub.activate("herald", {}, {}, ttl_ms=TTL_MS)
            assert (caught.value.code, caught.value.where) == (
                "refused",
                "permissions.subscribes",
            )

    play(test)
