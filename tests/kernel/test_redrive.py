"""Letters sent again over a real hub: calls that it serves itself, events to a client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from symphony.bus import wire
from symphony.bus.aio import AsyncClient
from symphony.bus.codec import encode
from symphony.bus.errors import BusError
from symphony.bus.grants import Grants
from symphony.bus.heard import Event
from symphony.bus.hub import Hub, Request
from symphony.bus.listener import DeadLetter, HubListener
from symphony.bus.messages import Hello
from symphony.bus.reference import ReferenceDatapath
from symphony.kernel.deadletters import DeadLetterBox
from symphony.kernel.redrive import Redriver

CAPABILITY = "test.count/1"
TTL_MS = 20_000


LETTER = DeadLetter(
    wire.CALL, "a-1", "", CAPABILITY, None, "unavailable", encode({"word": "late"}), {}
)
TOPIC, END = "test.words", "test.end"


class Deaf(HubListener):
    """Nobody joins or leaves here."""

    def registered(self, instance: str, hello: Hello) -> None: ...
    def rejected(self, instance: str, reason: str) -> None: ...
    def silent(self, instance: str) -> None: ...
    def left(self, instance: str, reason: str) -> None: ...
    def overdue(self, instance: str) -> None: ...
    def undelivered(self, letter: DeadLetter) -> None: ...
    def bus_ended(self, reason: str) -> None: ...


class Desk:
    """A redriver, its box with one letter, and a provider that answers when it is told to."""

    def __init__(self, hub: Hub, home: Path) -> None:
        self.hub, self.folder = hub, home
        self.box = DeadLetterBox(home)
        self.box.add(LETTER)
        self.letter = self.box.all(1).letters[0].id
        self.redriver = Redriver(hub, self.box)
        self.calls = 0
        self.called, self.answer = asyncio.Event(), asyncio.Event()
        hub.serve(CAPABILITY, self._serve)

    async def redrive(self) -> None:
        await self.redriver.redrive(self.letter, TTL_MS)

    async def _serve(self, request: Request) -> object:
        del request
        self.calls += 1
        self.called.set()
        await self.answer.wait()
        return None


@asynccontextmanager
async def reader(desk: Desk, name: str) -> AsyncIterator[asyncio.Queue[Event]]:
    """A client that subscribes to the topics of these tests; what it hears."""
    heard: asyncio.Queue[Event] = asyncio.Queue()
    grants = Grants(subscribes=frozenset({TOPIC, END}))
    ticket = desk.hub.add_peer(name, f"ipc://{desk.folder / name}", grants)
    async with await AsyncClient.connect(ticket) as client:
        for topic in (TOPIC, END):
            await client.subscribe(topic, heard.put_nowait)
        yield heard


@asynccontextmanager
async def desk(home: Path) -> AsyncIterator[Desk]:
    hub = Hub(ReferenceDatapath, listener=Deaf())
    await hub.start()
    try:
        yield Desk(hub, home)
    finally:
        await hub.close()


Story = Callable[[Desk], Awaitable[None]]
Run = Callable[[Story], None]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    def run_(story: Story) -> None:
        async def main() -> None:
            async with asyncio.timeout(TTL_MS / 1000), desk(tmp_path) as made:
                await story(made)

        asyncio.run(main())

    return run_


def test_two_at_the_same_time_send_a_letter_once(run: Run) -> None:
    async def story(desk: Desk) -> None:
        both = [asyncio.create_task(desk.redrive()) for _ in range(2)]
        done, _ = await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        (refused,) = (task.exception() for task in done)
        assert isinstance(refused, BusError)
        assert (refused.code, refused.where) == ("conflict", desk.letter)
        desk.answer.set()
        await asyncio.wait(both)
        assert desk.calls == 1
        assert desk.box.all(10).letters == []

    run(story)


def test_one_that_is_dropped_while_it_is_sent_has_arrived_all_the_same(run: Run) -> None:
    async def story(desk: Desk) -> None:
        sending = asyncio.create_task(desk.redrive())
        await desk.called.wait()
        desk.box.drop(desk.letter)
        desk.answer.set()
        await sending

    run(story)


def test_an_equal_one_that_comes_in_while_it_is_sent_is_kept(run: Run) -> None:
    async def story(desk: Desk) -> None:
        sending = asyncio.create_task(desk.redrive())
        await desk.called.wait()
        desk.box.add(LETTER)
        desk.answer.set()
        await sending
        assert [letter.times for letter in desk.box.all(10).letters] == [1]
        await desk.redrive()
        assert desk.box.all(10).letters == []

    run(story)


def test_one_that_comes_in_after_it_was_dropped_is_kept(run: Run) -> None:
    async def story(desk: Desk) -> None:
        sending = asyncio.create_task(desk.redrive())
        await desk.called.wait()
        desk.box.drop(desk.letter)
        desk.box.add(LETTER)
        desk.answer.set()
        await sending
        assert [letter.times for letter in desk.box.all(10).letters] == [1]

    run(story)


@pytest.mark.parametrize("keep", [False, True])
def test_an_event_arrives_when_somebody_subscribes_and_is_kept_as_it_was(
    run: Run, keep: bool
) -> None:
    async def story(desk: Desk) -> None:
        event = replace(
            LETTER, kind=wire.EVENT, name=TOPIC, options={wire.KEEP_OPTION: True} if keep else {}
        )
        desk.box.drop(desk.letter)
        desk.box.add(event)
        desk.letter = desk.box.all(1).letters[0].id
        with pytest.raises(BusError) as caught:
            await desk.redrive()
        assert (caught.value.code, caught.value.where) == ("unavailable", TOPIC)
        assert desk.box.get(desk.letter).times == 2

        async with reader(desk, "early") as early:
            await desk.redrive()
            assert not (await early.get()).snapshot
            async with reader(desk, "late") as late:
                desk.hub.publish(END, None)
                first = await late.get()
                assert (first.topic, first.snapshot) == ((TOPIC, True) if keep else (END, False))
        assert desk.box.all(10).letters == []

    run(story)


def test_one_whose_sending_is_broken_off_is_kept(run: Run) -> None:
    async def story(desk: Desk) -> None:
        sending = asyncio.create_task(desk.redrive())
        await desk.called.wait()
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        desk.answer.set()
        await desk.redrive()
        assert desk.calls == 2
        assert desk.box.all(10).letters == []

    run(story)
