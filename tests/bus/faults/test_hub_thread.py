"""The hub's thread ends while processes call each other; ledgers at both ends say what was done."""

import asyncio
from collections import Counter
from pathlib import Path

import msgspec
import zmq

from .ground import CALLS as MAY_CALL
from .ground import Ground, Peer, play

CALLS = 600
CRASH_AFTER = (150, 300, 450)  # answers


def test_no_acknowledged_call_is_lost_or_done_twice(datapath: str, tmp_path: Path) -> None:
    async def test(ground: Ground) -> None:
        await ground.provider("p")
        callers = [await ground.caller(f"c{number}") for number in range(2)]
        answers: Counter[str] = Counter()

        async def listen(caller: Peer) -> None:
            for _ in range(CALLS // 2):
                answer = await caller.hear()
                assert answer["result"] == answer["id"], answer
                answers[answer["id"]] += 1
                if answers.total() in CRASH_AFTER:
                    ground.made[-1]._crash()

        for number in range(CALLS):
            await callers[number % 2].say(id=str(number))
        await asyncio.gather(*(listen(caller) for caller in callers))
        assert answers == Counter(str(number) for number in range(CALLS))
        assert ground.ledger() == answers
        assert ground.hub.counters()["restarts"] == len(CRASH_AFTER)

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
