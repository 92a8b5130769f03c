"""Readers that do not read: processes that are stopped while events and answers are for them."""

from pathlib import Path
from signal import SIGCONT, SIGSTOP

from symphony.bus import wire

from .ground import ECHO, TOPIC, Ground, play

EVENTS = 3_000
CREDIT = 8
IN_TRANSPORT = 2_048  # messages that sockets and libzmq may hold besides the hub's own queue


def test_a_stopped_subscriber_loses_events_and_learns_how_many(
    datapath: str, tmp_path: Path
) -> None:
    async def test(ground: Ground) -> None:
        slow, good = await ground.caller("slow"), await ground.caller("good")
        for peer in (slow, good):
            await peer.say(topic=TOPIC)
            assert await peer.hear() == {"subscribed": True}
        slow.send(SIGSTOP)
        padding = "x" * 2_000
        for number in range(EVENTS):
            ground.hub.publish(TOPIC, [number, padding])
            event = await good.hear()  # is never behind
            assert (event["event"][0], event["gap"]) == (number, 0)
        row = next(row for row in ground.hub.peers() if row.peer == "slow")
        assert row.queued <= wire.MAX_QUEUED_EVENTS
        assert row.queued_bytes <= wire.MAX_QUEUED_EVENTS * 2_100
        dropped = ground.hub.counters()["events-dropped"]
        assert EVENTS - wire.MAX_QUEUED_EVENTS - IN_TRANSPORT <= dropped < EVENTS
        slow.send(SIGCONT)
        seen = EVENTS - dropped
        numbers = [(await slow.hear())["event"][0] for _ in range(seen)]
        assert numbers == list(range(seen))
        ground.hub.publish(TOPIC, ["last", ""])
        assert await slow.hear() == {"event": ["last", ""], "gap": dropped}

    play(datapath, tmp_path, test)


def test_a_stopped_caller_keeps_nobody_waiting(datapath: str, tmp_path: Path) -> None:
    """Its answers wait in the hub and reach it later; the calls of others go on meanwhile."""

    async def test(ground: Ground) -> None:
        await ground.provider("p")
        good = await ground.caller("good")
        slow = await ground.caller("slow")
        calls = 300
        for number in range(calls):
            await slow.say(id=f"slow {number}" + "x" * 4_000)
        first = await slow.hear()
        slow.send(SIGSTOP)
        for number in range(200):
            id_ = f"good {number}"
            assert await good.call(id_) == {"id": id_, "result": id_}
        slow.send(SIGCONT)
        answers = [first, *[await slow.hear() for _ in range(calls - 1)]]
        assert all(answer["id"] == answer["result"] for answer in answers)
        assert len({answer["id"] for answer in answers}) == calls
        assert set(ground.ledger().values()) == {1}

    play(datapath, tmp_path, test)


def test_a_stopped_consumer_stops_its_producer(datapath: str, tmp_path: Path) -> None:
    """Which has sent what it had credit for and no more, until the consumer counts as dead."""

    async def test(ground: Ground) -> None:
        await ground.provider("p")
        consumer = await ground.caller("c")
        await consumer.say(stream="s", credit=CREDIT)
        assert await consumer.hear() == {"chunk": "s 0"}  # and takes no more
        consumer.send(SIGSTOP)
        await ground.told("silent", "c")
        assert await ground.hub.call(ECHO, None, {"id": "after"}) == "after"
        made = [line for line in ground.ledger() if line.startswith("s ")]
        assert made == [f"s {number}" for number in range(CREDIT + 1)]  # the last one waits

    play(datapath, tmp_path, test, heartbeat_ms=200, liveness=5)
