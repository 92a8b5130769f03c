"""Many calls wait for one provider: those of one caller keep nobody else waiting for long."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import zmq

from symphony.bus import wire
from symphony.bus.codec import decode, decode_header, encode, encode_header
from symphony.bus.ticket import Ticket

from ..conftest import hello
from .ground import CALLS, ECHO, LIMIT_S, Ground, play, until

GATE = "gate"
LARGE = bytes(512 * 1024)


class Raw:
    """A caller that does not wait for answers."""

    def __init__(self, dealer: "zmq.Socket[bytes]") -> None:
        self._dealer = dealer

    def call(self, request: int, id: str, method: str | None = None, **more: Any) -> None:  # noqa: A002
        header = encode_header(wire.CALL, ECHO, request, method=method)
        self._dealer.send_multipart([header, encode({"id": id, **more})])

    def say(self, kind: int, body: bytes = b"") -> None:
        self._dealer.send_multipart([encode_header(kind), body])

    def hear(self, kind: int) -> None:
        """The next message of this kind, others before it are passed over."""
        while True:
            head, _ = self._receive()
            if head.kind == kind:
                return

    def answers(self, times: int) -> list[Any]:
        """So many results and errors by their requests."""
        answers: dict[int, Any] = {}
        while len(answers) < times:
            head, body = self._receive()
            if head.kind in (wire.RESULT, wire.ERROR):
                answers[head.request] = decode(body)
        return [answer for _, answer in sorted(answers.items())]

    def _receive(self) -> tuple[Any, bytes]:
        assert self._dealer.poll(LIMIT_S * 1_000)
        header, body = self._dealer.recv_multipart()
        return decode_header(header), body


@contextmanager
def raw(ticket: Ticket) -> Iterator[Raw]:
    context = zmq.Context()
    dealer = context.socket(zmq.DEALER)
    dealer.set(zmq.ROUTING_ID, ticket.routing_id())
    dealer.connect(ticket.endpoint)
    try:
        made = Raw(dealer)
        made.say(wire.HELLO, hello())
        yield made
    finally:
        dealer.close(0)
        context.term()


def _flood(caller: Raw, calls: int) -> None:
    """Shuts the gate, then has so many calls before the provider, or on the way to it."""
    caller.hear(wire.WELCOME)
    caller.call(1, GATE, "gate")
    for request in range(2, calls + 1):
        caller.call(request, f"a{request}")
    caller.say(wire.HEARTBEAT)
    caller.hear(wire.HEARTBEAT)  # the hub has had all of them


def test_a_caller_waits_for_one_call_of_another_not_for_all(datapath: str, tmp_path: Path) -> None:
    async def test(ground: Ground) -> None:
        await ground.provider("p")
        other = await ground.caller("b")
        with raw(ground.ticket("a", CALLS)) as caller:
            await asyncio.to_thread(_flood, caller, wire.MAX_OPEN_CALLS)
            await other.say(id="b")
            await ground.asked_by("b")
            (tmp_path / GATE).touch()
            assert await other.hear() == {"id": "b", "result": "b"}
            answers = await asyncio.to_thread(caller.answers, wire.MAX_OPEN_CALLS)
        asked = [GATE, *(f"a{request}" for request in range(2, wire.MAX_OPEN_CALLS + 1))]
        assert answers == asked
        served = (tmp_path / "ledger").read_text().splitlines()
        assert served.index("b") < len(served) / 2
        assert [one for one in served if one != "b"] == asked  # a flow keeps its order

    play(datapath, tmp_path, test)


def test_what_waits_takes_no_more_memory_than_there_is_room_for(
    datapath: str, tmp_path: Path
) -> None:
    calls = 640

    async def test(ground: Ground) -> None:
        await ground.provider("p")
        other = await ground.caller("b")
        with raw(ground.ticket("a", CALLS)) as caller:
            await asyncio.to_thread(_flood, caller, 1)

            def ask() -> list[Any]:
                for request in range(2, calls + 1):
                    caller.call(request, f"a{request}", "large", data=LARGE)
                return caller.answers(calls - 1 - 128)  # as many as do not wait, and are refused

            answers = await asyncio.to_thread(ask)
            where = {answer["where"] for answer in answers}
            assert "arguments that wait" in where, where
            assert {answer["code"] for answer in answers} == {"overloaded"}
            assert all(answer["repeatable"] for answer in answers)
            await other.say(id="b")  # for others there is room
            (tmp_path / GATE).touch()
            assert await other.hear() == {"id": "b", "result": "b"}

    play(datapath, tmp_path, test)


def test_a_call_that_is_cancelled_while_it_waits_is_answered_at_once(
    datapath: str, tmp_path: Path
) -> None:
    """Else its provider would count as hung, for a call that it has not begun."""

    async def test(ground: Ground) -> None:
        await ground.provider("p")
        first, second = await ground.caller("c1"), await ground.caller("c2")
        await first.say(id=GATE, method="gate")
        await ground.noted(GATE)
        assert await second.call("2", ttl_ms=100) == {"id": "2", "error": "deadline"}
        await until(lambda: not any(row.owed for row in ground.hub.peers()))
        (tmp_path / GATE).touch()
        assert await first.hear() == {"id": GATE, "result": GATE}
        assert await second.call("3") == {"id": "3", "result": "3"}
        assert ground.ledger() == {GATE: 1, "3": 1}

    play(datapath, tmp_path, test)


def test_an_unload_comes_after_the_calls_that_waited(datapath: str, tmp_path: Path) -> None:
    async def test(ground: Ground) -> None:
        provider = await ground.provider("p")
        caller = await ground.caller("c")
        await caller.say(id=GATE, method="gate")
        await ground.noted(GATE)
        for number in range(100):
            await caller.say(id=str(number))
        await caller.say(id="late", method="hold", ttl_ms=100)  # they have reached the provider
        ids = [GATE, *map(str, range(100))]
        assert await caller.hear() == {"id": "late", "error": "deadline"}
        ground.hub.unload("p", 5_000)
        (tmp_path / GATE).touch()
        answers = [await caller.hear() for _ in ids]
        assert {answer["id"]: answer["result"] for answer in answers} == {i: i for i in ids}
        assert await provider.process.wait() == 0

    play(datapath, tmp_path, test)
