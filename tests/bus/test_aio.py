"""The client for asyncio over the datapath in memory: every path without a socket or a process."""

import asyncio
import gc
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest

from symphony.bus import wire
from symphony.bus.aio import AsyncClient
from symphony.bus.codec import encode_header
from symphony.bus.errors import BusError
from symphony.bus.hub import DeadLetter, Grants, Hub, Request
from symphony.bus.memory import MemoryDatapath, MemoryPeer
from symphony.bus.messages import Hello, Progress

LIMIT_S = 10.0
SERVED = "kernel.served/1"
TOPIC = "t.opic"
ALL = frozenset({"*"})
ONE = Grants(calls=frozenset({SERVED}))


class World:
    """A hub in memory that serves SERVED; `started` and `cancelled` tell of its method `wait`."""

    def __init__(self) -> None:
        self.datapath = MemoryDatapath()
        self.hub = Hub(self.datapath, listener=self)
        self.started = asyncio.Event()
        self.cancelled = asyncio.Event()
        self.notices: asyncio.Queue[tuple[str, str]] = asyncio.Queue()

    def registered(self, instance: str, hello: Hello) -> None:
        self.notices.put_nowait(("registered", instance))

    def rejected(self, instance: str, reason: str) -> None:
        self.notices.put_nowait((reason, instance))

    def silent(self, instance: str) -> None:
        self.notices.put_nowait(("silent", instance))

    def left(self, instance: str, reason: str) -> None:
        self.notices.put_nowait((reason, instance))

    def overdue(self, instance: str) -> None:
        self.notices.put_nowait(("overdue", instance))

    def undelivered(self, letter: DeadLetter) -> None:
        """Tested elsewhere."""

    def bus_ended(self, reason: str) -> None:
        raise AssertionError(reason)

    async def told(self, what: str, instance: str) -> None:
        while await self.notices.get() != (what, instance):
            pass

    async def serve(self, request: Request) -> object:
        if request.method == "wait":
            self.started.set()
            try:
                await asyncio.Event().wait()
            finally:
                self.cancelled.set()
        if request.method == "refuse":
            raise BusError("conflict", "not twice", where="name", help="choose another")
        request.progress(1, 2, "half")
        return request.args

    def link(self, name: str = "c", grants: Grants | None = None) -> MemoryPeer:
        grants = grants or Grants(calls=ALL, publishes=ALL, subscribes=ALL)
        ticket = self.hub.add_peer(name, f"memory://{name}", grants)
        return self.datapath.connect(ticket.endpoint, ticket.routing_id())


@asynccontextmanager
async def world() -> AsyncIterator[World]:
    made = World()
    await made.hub.start()
    made.hub.serve(SERVED, made.serve)
    try:
        yield made
    finally:
        await made.hub.close()


def run(test: Callable[[World], Coroutine[Any, Any, None]]) -> None:
    async def main() -> None:
        async with asyncio.timeout(LIMIT_S), world() as made:
            await test(made)

    asyncio.run(main())


def test_a_call_brings_progress_and_its_result() -> None:
    async def test(world: World) -> None:
        async with await AsyncClient.join(world.link()) as client:
            seen: list[Progress] = []
            for n in range(2):  # by name, then by flow
                answer = await client.call(
                    SERVED, "echo", {"n": n}, on_progress=seen.append, idem=f"k{n}"
                )
                assert answer == {"n": n}
            assert seen == [Progress(1, 2, "half")] * 2
        assert world.notices.get_nowait() == ("registered", "c")
        await world.told("closed", "c")

    run(test)


def test_more_calls_at_once_than_an_inbox_holds_are_all_answered() -> None:
    async def test(world: World) -> None:
        async with await AsyncClient.join(world.link()) as client:
            calls = [client.call(SERVED, None, {"n": n}) for n in range(600)]
            assert await asyncio.gather(*calls) == [{"n": n} for n in range(600)]

    run(test)


def test_errors_arrive_as_they_were_raised() -> None:
    async def test(world: World) -> None:
        async with await AsyncClient.join(world.link(grants=ONE)) as client:
            with pytest.raises(BusError) as caught:
                await client.call(SERVED, "refuse")
            error = caught.value
            assert (error.code, error.fault, error.where) == ("conflict", "caller", "name")
            assert (error.message, error.help) == ("not twice", "choose another")
            with pytest.raises(BusError, match="refused"):
                await client.call("other.thing/1")

    run(test)


@pytest.mark.parametrize(
    "bad",
    [
        {"args": {"x": object()}},
        {"args": {"x": bytes(wire.MAX_BODY)}},
        {"idem": "k" * (wire.MAX_IDEM + 1)},
        {"ttl_ms": -1},
        {"method": "m" * wire.MAX_HEADER},
    ],
)
def test_what_the_hub_would_drop_is_refused_before_it_is_sent(bad: dict[str, Any]) -> None:
    async def test(world: World) -> None:
        async with await AsyncClient.join(world.link()) as client:
            with pytest.raises(BusError, match="bad-request"):
                await client.call(SERVED, **bad)
            assert await client.call(SERVED, None, {"still": "here"}) == {"still": "here"}

    run(test)


def test_cancelling_the_task_cancels_the_provider() -> None:
    async def test(world: World) -> None:
        async with await AsyncClient.join(world.link()) as client:
            task = asyncio.create_task(client.call(SERVED, "wait"))
            await world.started.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await world.cancelled.wait()
            assert await client.call(SERVED, None, {"still": "here"}) == {"still": "here"}

    run(test)


def test_events_reach_their_subscribers() -> None:
    async def test(world: World) -> None:
        publisher = await AsyncClient.join(world.link("publisher"))
        subscriber = await AsyncClient.join(world.link("subscriber"))
        heard: asyncio.Queue[object] = asyncio.Queue()
        await subscriber.subscribe(TOPIC, lambda event: heard.put_nowait(event.value))
        publisher.publish("other.topic", 0)
        publisher.publish(TOPIC, {"n": 1})
        assert await heard.get() == {"n": 1}
        world.hub.publish(TOPIC, 2)
        assert await heard.get() == 2
        await publisher.close()
        await subscriber.close()

    run(test)


def test_what_a_listener_raises_costs_nothing_else_of_what_came_with_it() -> None:
    async def test(world: World) -> None:
        told: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
        client = await AsyncClient.join(world.link())

        def fail(news: object) -> None:
            raise RuntimeError(repr(news))

        await client.subscribe(TOPIC, fail)
        calls = [client.call(SERVED, None, {"n": n}, on_progress=fail) for n in range(50)]
        for n in range(50):
            client.publish(TOPIC, n)
        assert await asyncio.gather(*calls) == [{"n": n} for n in range(50)]
        await client.call(SERVED)
        assert len(told) == 100
        assert {type(context["exception"]) for context in told} == {RuntimeError}
        await client.close()

    run(test)


class Stopped:
    """A link whose other side takes nothing any more."""

    def __init__(self, link: MemoryPeer) -> None:
        self._link = link
        self.stopped = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._link, name)

    def send(self, header: bytes, body: bytes) -> bool:
        if not self.stopped:
            self._link.send(header, body)
        return not self.stopped


def test_what_waits_to_be_sent_is_bounded_and_goes_out_in_order() -> None:
    async def test(world: World) -> None:
        link = Stopped(world.link())
        client = await AsyncClient.join(cast(MemoryPeer, link))
        heard: asyncio.Queue[object] = asyncio.Queue()
        await client.subscribe(TOPIC, lambda event: heard.put_nowait(event.value))
        await client.call(SERVED)
        link.stopped = True
        for n in range(wire.MAX_QUEUED):
            client.publish(TOPIC, n)
        with pytest.raises(BusError, match="2,048 messages wait to be sent") as caught:
            client.publish(TOPIC, -1)
        assert caught.value.code == "overloaded"
        assert caught.value.retry_after_ms
        call = asyncio.create_task(client.call(SERVED, None, {"still": "here"}))
        link.stopped = False
        assert [await heard.get() for _ in range(100)] == list(range(100))
        client.publish(TOPIC, "again")
        assert await call == {"still": "here"}
        await client.close()

    run(test)


def test_closing_ends_open_calls_and_refuses_new_ones() -> None:
    async def test(world: World) -> None:
        client = await AsyncClient.join(world.link())
        task = asyncio.create_task(client.call(SERVED, "wait"))
        await world.started.wait()
        await client.close()
        await client.close()
        for late in (task, asyncio.create_task(client.call(SERVED))):
            with pytest.raises(BusError, match="the connection is closed"):
                await late
        await world.cancelled.wait()
        await world.told("closed", "c")

    run(test)


def test_a_dismissed_client_says_so_in_every_open_call() -> None:
    async def test(world: World) -> None:
        link = world.link()
        client = await AsyncClient.join(link)
        task = asyncio.create_task(client.call(SERVED, "wait"))
        await world.started.wait()
        link.send(*[b""] * (wire.MAX_FRAMES + 1))
        with pytest.raises(BusError, match="dismissed this peer: violation"):
            await task
        with pytest.raises(BusError, match="dismissed"):
            client.publish(TOPIC, 1)
        await world.told("violation", "c")

    run(test)


def test_joining_fails_when_the_hub_turns_the_peer_away() -> None:
    async def test(world: World) -> None:
        link = world.link()
        link.send(encode_header(wire.HELLO), b"\xc1")  # the hub's answer is there before ours
        with pytest.raises(BusError, match="dismissed this peer: protocol"):
            await AsyncClient.join(link)

    run(test)


def test_a_stream_that_was_left_behind_makes_no_noise() -> None:
    async def test(world: World) -> None:
        said: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, what: said.append(what))
        client = await AsyncClient.join(world.link())
        stream = client.stream(SERVED, "wait")
        await world.started.wait()
        await client.close()
        del stream
        gc.collect()
        await asyncio.sleep(0)
        assert said == []

    run(test)
