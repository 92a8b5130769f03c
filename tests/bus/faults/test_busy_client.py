"""A client that always has something to say, and never waits for anything."""

import asyncio
import time
from pathlib import Path
from threading import Event as Flag

from symphony.bus.client import Client
from symphony.bus.grants import Grants
from symphony.bus.heard import Event

from .ground import LIMIT_S, Ground, play

TOPICS = frozenset({"test.topic"})


def test_it_hears_what_is_for_it_while_it_talks(datapath: str, tmp_path: Path) -> None:
    """And does not take the hub for dead because it did not listen."""

    async def test(ground: Ground) -> None:
        ticket = ground.ticket("c", Grants(publishes=TOPICS, subscribes=TOPICS))

        def talk() -> int:
            heard, said = Flag(), 0

            def hear(event: Event) -> None:
                heard.set()

            with Client(ticket) as client:
                client.subscribe("test.topic", hear)
                end = time.monotonic() + LIMIT_S / 4
                while not heard.is_set():
                    assert time.monotonic() < end, f"nothing was heard while {said} were said"
                    client.publish("test.topic", said)
                    said += 1
                    time.sleep(0.001)  # as a program that makes what it says
            return said

        assert await asyncio.to_thread(talk) < 1_000

    play(datapath, tmp_path, test)
