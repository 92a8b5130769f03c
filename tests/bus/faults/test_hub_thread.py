"""The hub's thread ends while processes call each other; ledgers at both ends say what was done."""

import asyncio
import itertools
from collections import Counter
from pathlib import Path

import msgspec
import zmq

from symphony.bus import wire
from symphony.bus.codec import decode_header, encode, encode_header

from ..conftest import hello
from .ground import CALLS as MAY_CALL
from .ground import ECHO, LIMIT_S, Ground, Peer, play, until

CALLS = 600
AT_ONCE = 80  # of each caller
CRASH_AFTER = (150, 300, 450)  # answers


async def crash(ground: Ground) -> None:
    """Ends the hub's thread and waits until there is another."""
    before = len(ground.made)
    ground.made[-1]._crash()
    await until(lambda: len(ground.made) > before)


def test_no_acknowledged_call_is_lost_or_done_twice(datapath: str, tmp_path: Path) -> None:
    async def test(ground: Ground) -> None:
        await ground.provider("p")
        numbers = iter(range(CALLS))
        answers: Counter[str] = Counter()
        crashing = asyncio.Lock()  # the next one is of the hub that is there then

        async def work(caller: Peer) -> None:
            for number in itertools.islice(numbers, AT_ONCE):
                await caller.say(id=str(number))
            left = AT_ONCE
            while left:
                answer = await caller.hear()
                assert answer["result"] == answer["id"], answer
                answers[answer["id"]] += 1
                if answers.total() in CRASH_AFTER:
                    async with crashing:
                        await crash(ground)
                number = next(numbers, None)
                if number is None:
                    left -= 1
                else:
                    await caller.say(id=str(number))

        callers = [await ground.caller(f"c{number}") for number in range(2)]
        await asyncio.gather(*map(work, callers))
        assert answers == Counter(str(number) for number in range(CALLS))
        assert ground.ledger() == answers
        assert ground.hub.counters()["restarts"] == len(CRASH_AFTER)

    play(datapath, tmp_path, test)


def test_nor_is_one_of_very_many_whose_answers_went_with_the_old_hub(
    datapath: str, tmp_path: Path
) -> None:
    """A caller that repeats as many calls as it may have open, all of them done already: none is
    done twice, and of those whose answer is forgotten that much is said."""

    async def test(ground: Ground) -> None:
        await ground.provider("p")
        ticket = ground.ticket("c", MAY_CALL)
        requests = range(1, wire.MAX_OPEN_CALLS + 1)
        context = zmq.Context()
        caller = context.socket(zmq.DEALER)
        caller.set(zmq.ROUTING_ID, ticket.routing_id())
        caller.connect(ticket.endpoint)

        def hear(times: int, *kinds: int) -> list[int]:
            heard: list[int] = []
            while len(heard) < times:
                assert caller.poll(LIMIT_S * 1_000)
                kind = decode_header(caller.recv_multipart()[0]).kind
                if kind in kinds:
                    heard.append(kind)
            return heard

        def call(options: dict[str, object] | None) -> None:
            for request in requests:
                header = encode_header(wire.CALL, ECHO, request, options=options)
                caller.send_multipart([header, encode({"id": str(request)})])

        try:
            caller.send_multipart([encode_header(wire.HELLO), hello()])
            await asyncio.to_thread(hear, 1, wire.WELCOME)
            call(None)
            await asyncio.to_thread(hear, len(requests), wire.RESULT)
            ground.made[-1]._crash()
            await asyncio.to_thread(hear, 1, wire.WELCOME)
            call({wire.AGAIN_OPTION: True})
            again = await asyncio.to_thread(hear, len(requests), wire.RESULT, wire.ERROR)
            assert again.count(wire.RESULT) == wire.MAX_ANSWERS
            assert ground.ledger() == {str(request): 1 for request in requests}
        finally:
            caller.close(0)
            context.term()

    play(datapath, tmp_path, test)


def test_a_call_that_runs_is_answered_once_by_the_hub_that_follows(
    datapath: str, tmp_path: Path
) -> None:
    async def test(ground: Ground) -> None:
        await ground.provider("p")
        caller = await ground.caller("c")
        assert await caller.call("1", method="hold", ttl_ms=3_000) == {"begun": "1"}
        ground.made[-1]._crash()
        # The deadline goes on counting, and the cancel that follows it reaches the provider.
        assert await caller.hear() == {"id": "1", "error": "deadline"}
        await ground.noted("1 cancelled")
        assert ground.ledger() == {"1": 1, "1 cancelled": 1}
        assert await caller.call("2") == {"id": "2", "result": "2"}
        assert ground.hub.counters()["restarts"] == 1

    play(datapath, tmp_path, test)


def test_a_hello_that_went_with_the_old_hub_is_said_again(datapath: str, tmp_path: Path) -> None:
    """A socket without a hub behind it stands for one that ends right after it took the hello."""

    async def test(ground: Ground) -> None:
        ticket = ground.ticket("c", MAY_CALL)
        place = tmp_path / "place"
        place.symlink_to(tmp_path / "old")
        context = zmq.Context()
        old = context.socket(zmq.ROUTER)
        try:
            old.bind(f"ipc://{tmp_path}/old")
            moved = msgspec.structs.replace(ticket, endpoint=f"ipc://{place}")
            caller = await ground.spawn("caller", moved)
            assert len(await asyncio.to_thread(old.recv_multipart)) == 3
            place.unlink()
            place.symlink_to(tmp_path / "c")
        finally:
            old.close(0)
            context.term()
        assert await caller.hear() == {"joined": True}

    play(datapath, tmp_path, test)
