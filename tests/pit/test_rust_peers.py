"""Peers in Rust on a real hub: streams, calls of calls, retries, events, starting anew, CURVE."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Any

import msgspec
import pytest
import zmq
import zmq.utils.z85
from pit_stage import PATIENCE_S, Play, Stage
from rust_examples import console, has_cargo, player, running, until

from symphony.bus import wire
from symphony.bus.codec import decode, decode_header, encode, encode_header
from symphony.bus.errors import BusError
from symphony.bus.hub import Curve, Grants, Limit, Request
from symphony.bus.messages import Welcome
from symphony.bus.ticket import Curve as Keys
from symphony.bus.ticket import Ticket

pytestmark = pytest.mark.skipif(not has_cargo(), reason="builds Rust programs")

PARTS = frozenset({"parts.count/1", "parts.relay/1", "parts.words/1", "parts.wait/1"})
CALLS = frozenset({"text.upper/1", "text.words/1"})
PLAYER = Grants(provides=PARTS, calls=CALLS)
TTL_MS = 20_000
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.mark.parametrize("credit", [1, 3, 16])
def test_a_stream_is_whole_and_in_order(play: Play, credit: int) -> None:
    async def test(stage: Stage) -> None:
        async with player(stage, PLAYER):
            args = {"upto": 200}
            stream = stage.hub.stream("parts.count/1", None, args, credit=credit, ttl_ms=TTL_MS)
            assert [chunk async for chunk in stream] == list(range(200))
            assert await stream.result() == 200
            # A caller that takes no chunks gets the result alone.
            assert await stage.hub.call("parts.count/1", None, args, ttl_ms=TTL_MS) == 200

    play(test)


def test_a_stream_that_is_left_ends_at_the_player_too(play: Play) -> None:
    async def test(stage: Stage) -> None:
        async with player(stage, PLAYER):
            endless = {"upto": 2**63}
            async with stage.hub.stream("parts.count/1", None, endless, credit=4) as stream:
                assert await anext(stream) == 0
            # The one thread of the player is free again.
            assert await stage.hub.call("parts.count/1", None, {"upto": 1}, ttl_ms=TTL_MS) == 1

    play(test)


def test_a_call_that_waits_its_turn_is_answered_when_it_is_cancelled(play: Play) -> None:
    """Otherwise its instance counted as hanging and were ended."""

    async def test(stage: Stage) -> None:
        async with player(stage, PLAYER):
            begun = asyncio.Event()
            running_call = asyncio.create_task(
                stage.hub.call("parts.wait/1", None, {}, on_progress=lambda _: begun.set())
            )
            await begun.wait()
            with pytest.raises(BusError) as caught:
                await stage.hub.call("parts.count/1", None, {"upto": 1}, ttl_ms=200)
            assert caught.value.code == "deadline"
            await until(lambda: "late-answer" in stage.hub.counters())
            assert not running_call.done()
            running_call.cancel()
            assert await stage.hub.call("parts.count/1", None, {"upto": 1}, ttl_ms=TTL_MS) == 1
            assert stage.seen.events.empty()

    play(test)


def test_nobody_waits_for_all_that_another_has_asked(play: Play) -> None:
    """Flows take turns: of three calls that wait, the last is the only one of its flow."""

    async def test(stage: Stage) -> None:
        def wait() -> tuple[asyncio.Event, asyncio.Task[object]]:
            begun = asyncio.Event()
            call = stage.hub.call("parts.wait/1", None, {}, on_progress=lambda _: begun.set())
            return begun, asyncio.create_task(call)

        def sent() -> int:
            return sum(row.stats.calls for row in stage.hub.flows())

        async with player(stage, PLAYER), asyncio.timeout(PATIENCE_S):
            (begun, first), second, third = wait(), wait(), wait()
            await begun.wait()
            await until(lambda: sent() == 3)
            count = asyncio.create_task(stage.hub.call("parts.count/1", None, {"upto": 1}))
            await until(lambda: sent() == 4)
            first.cancel()
            await second[0].wait()
            second[1].cancel()
            assert await count == 1
            await third[0].wait()
            third[1].cancel()

    play(test)


def test_a_player_calls_on_within_its_trace_and_time(play: Play) -> None:
    seen: list[Request] = []

    async def upper(request: Request) -> object:
        seen.append(request)
        return str(request.args["text"]).upper()

    async def test(stage: Stage) -> None:
        stage.hub.serve("text.upper/1", upper)
        async with player(stage, PLAYER):
            said = await stage.hub.call(
                "parts.relay/1", None, {"text": "a"}, ttl_ms=TTL_MS, trace=TRACE
            )
            assert said == ["A", TRACE]
            (request,) = seen
            assert request.caller == "parts"
            assert request.trace is not None
            assert request.trace[:36] == TRACE[:36]
            assert request.trace != TRACE

    play(test)


def test_a_player_passes_a_stream_on(play: Play) -> None:
    async def words(request: Request) -> object:
        parts = str(request.args["text"]).split()
        for part in parts:
            await request.chunk(part)
        return len(parts)

    async def test(stage: Stage) -> None:
        stage.hub.serve("text.words/1", words)
        async with player(stage, PLAYER):
            text = " ".join(f"word{number}" for number in range(50))
            stream = stage.hub.stream("parts.words/1", None, {"text": text}, credit=3)
            assert [chunk async for chunk in stream] == text.split()
            assert await stream.result() == 50

    play(test)


def test_a_call_of_a_call_ends_with_it(play: Play) -> None:
    asked, ended = asyncio.Event(), asyncio.Event()

    async def upper(request: Request) -> object:
        asked.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return None

    async def test(stage: Stage) -> None:
        stage.hub.serve("text.upper/1", upper)
        async with player(stage, PLAYER):
            call = asyncio.create_task(stage.hub.call("parts.relay/1", None, {"text": "a"}))
            async with asyncio.timeout(PATIENCE_S):
                await asked.wait()
                call.cancel()
                await ended.wait()

    play(test)


CALLER = Grants(
    calls=frozenset({"text.upper/1", "parts.count/1", "parts.wait/1"}),
    publishes=frozenset({"news"}),
    subscribes=frozenset({"news"}),
)


def test_a_client_calls_streams_and_is_told_of_progress(play: Play) -> None:
    async def test(stage: Stage) -> None:
        async with player(stage, PLAYER), console(stage, CALLER) as client:
            call = {"capability": "parts.count/1", "limit_ms": TTL_MS}
            assert await client.ask("call", **call, args={"upto": 3}) == 3
            args = {"upto": 100}
            whole = await client.ask("stream", **call, args=args, credit=5)
            assert whole == {"chunks": list(range(100)), "result": 100}
            part = await client.ask("stream", **call, args={"upto": 2**60}, credit=5, take=7)
            assert part == {"chunks": list(range(7))}
            client.tell("call", capability="parts.wait/1", args={}, limit_ms=300)
            assert await client.hear() == {"progress": "waiting"}
            assert (await client.hear())["error"]["code"] == "deadline"
            client.tell("call", capability="other/1", args={})
            assert (await client.hear())["error"]["code"] == "refused"
            client.tell("call", capability="No such name", args={})
            assert (await client.hear())["error"]["code"] == "bad-request"
            assert await client.close() == 0
            assert await stage.seen.expect("left", "console-1") == "done"

    play(test)


def test_a_call_is_repeated_only_as_the_hub_allows(play: Play) -> None:
    served: list[str | None] = []

    async def upper(request: Request) -> object:
        served.append(request.trace)
        if request.args.get("fail"):
            raise BusError("failed", "no")
        return len(served)

    async def test(stage: Stage) -> None:
        stage.hub.serve("text.upper/1", upper)
        limits = {"text.upper/1": Limit(rate=4.0, burst=1)}
        grants = Grants(calls=CALLER.calls, limits=limits)
        async with console(stage, grants) as client:
            call: dict[str, Any] = {"capability": "text.upper/1", "limit_ms": TTL_MS}
            assert await client.ask("call", **call) == 1
            client.tell("call", **call)
            error = (await client.hear())["error"]
            assert (error["code"], error["repeatable"]) == ("overloaded", True)
            assert await client.ask("call", **call, attempts=9, trace=TRACE) == 2
            assert served[1] == TRACE
            client.tell("call", **call, attempts=9, args={"fail": True})
            while "error" not in (answer := await client.hear()):
                pass
            assert answer["error"]["code"] == "failed"
            assert len(served) == 3

    play(test)


def test_a_key_makes_a_call_take_effect_once(play: Play) -> None:
    served = 0

    async def upper(_: Request) -> object:
        nonlocal served
        served += 1
        return served

    async def test(stage: Stage) -> None:
        stage.hub.serve("text.upper/1", upper)
        async with console(stage, CALLER) as client:
            call: dict[str, Any] = {"capability": "text.upper/1", "idem": "k", "limit_ms": TTL_MS}
            assert [await client.ask("call", **call) for _ in range(3)] == [1, 1, 1]
            client.tell("call", **call, args={"other": 1})
            assert (await client.hear())["error"]["code"] == "conflict"

    play(test)


def test_events_reach_subscribers_the_kept_one_later_ones(play: Play) -> None:
    async def test(stage: Stage) -> None:
        async with console(stage, CALLER, "first") as first:
            await first.ask("publish", topic="news", value={"n": 1}, keep=True)
            await first.ask("subscribe", topic="news")
            (kept,) = await first.ask("events", count=1)
            assert kept["snapshot"]
            assert (kept["topic"], kept["value"], kept["gap"]) == ("news", {"n": 1}, 0)
            async with console(stage, CALLER, "second") as second:
                await second.ask("publish", topic="news", value=2, keep=False)
                (event,) = await first.ask("events", count=1)
                assert (event["value"], event["snapshot"]) == (2, False)
                assert event["sequence"] == kept["sequence"] + 1
                await second.close()
            assert await stage.seen.expect("left", "second") == "done"
            await first.ask("unsubscribe", topic="news")
            first.tell("subscribe", topic="secrets")
            assert (await first.hear())["error"]["code"] == "refused"

    play(test)


@pytest.mark.parametrize("answered", [False, True], ids=["while it runs", "once it is answered"])
def test_a_hub_that_starts_anew_gets_every_answer_once(play: Play, answered: bool) -> None:
    """Of a player that is called, and of a client that calls."""
    served: list[int] = []
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def upper(_: Request) -> object:
        served.append(len(served))
        begun.set()
        await go_on.wait()
        return str(len(served))

    async def test(stage: Stage) -> None:
        stage.hub.serve("text.upper/1", upper)
        async with player(stage, PLAYER), console(stage, CALLER) as client:
            relay = asyncio.create_task(stage.hub.call("parts.relay/1", None, {"text": "a"}))
            async with asyncio.timeout(PATIENCE_S):
                await begun.wait()
                begun.clear()
                client.tell("call", capability="text.upper/1", limit_ms=TTL_MS)
                await begun.wait()
                if answered:
                    go_on.set()
                stage.hub._line.datapath._crash()
                await until(lambda: stage.hub.counters()["restarts"] > 0)
                go_on.set()
                assert (await relay)[0] in ("1", "2")
            assert (await client.hear())["ok"] == "2"
            assert len(served) == 2

    play(test)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.mark.parametrize("allowed", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_a_player_joins_over_tcp_with_its_keys(play: Play, allowed: bool) -> None:
    """Spoken to by pyzmq; a key that is not allowed gets no message."""

    async def test(stage: Stage) -> None:
        server, hub_secret = zmq.curve_keypair()
        own, secret = zmq.curve_keypair()
        known = zmq.utils.z85.decode(own)
        asked: list[bytes] = []

        def allows(key: bytes) -> bool:
            asked.append(key)
            return allowed

        curve = Curve(zmq.utils.z85.decode(hub_secret), allows)
        endpoint = f"tcp://127.0.0.1:{free_port()}"
        ticket = stage.hub.add_peer("parts", endpoint, PLAYER, curve=curve)
        keys = Keys(server.decode(), own.decode(), secret.decode())
        ticket = msgspec.structs.replace(ticket, curve=keys)
        async with running("parts", ticket, stage.folder) as program:
            if allowed:
                await stage.seen.expect("registered", "parts")
                stream = stage.hub.stream("parts.count/1", None, {"upto": 50}, ttl_ms=TTL_MS)
                assert [chunk async for chunk in stream] == list(range(50))
            else:
                async with asyncio.timeout(PATIENCE_S):
                    assert await program.process.wait() == 5
                assert stage.seen.events.empty()
        assert set(asked) == {known}

    play(test)


def test_pyzmq_and_rust_understand_each_other_encrypted(sockets: Path) -> None:
    """A server that speaks plain pyzmq, without any of our hub."""
    server, hub_secret = zmq.curve_keypair()
    own, secret = zmq.curve_keypair()

    async def test() -> None:
        with zmq.Context() as context, context.socket(zmq.ROUTER) as router:
            router.linger = 0
            router.rcvtimeo = int(PATIENCE_S * 1000)
            router.curve_server = True
            router.curve_secretkey = hub_secret
            port = router.bind_to_random_port("tcp://127.0.0.1")
            ticket = Ticket(
                v=1,
                endpoint=f"tcp://127.0.0.1:{port}",
                identity="5e" * 16,
                instance="console",
                curve=Keys(server.decode(), own.decode(), secret.decode()),
            )
            async with running("console", ticket, sockets) as client:
                peer, hello, _ = await asyncio.to_thread(router.recv_multipart)
                assert decode_header(hello).kind == wire.HELLO
                welcome = Welcome("console", 1000, 5, wire.MAX_BODY, wire.INLINE_MAX)
                router.send_multipart([peer, encode_header(wire.WELCOME), encode(welcome)])
                data = "x" * 50_000
                client.tell("call", capability="test.echo/1", args={"data": data})
                while True:
                    _, header, body = await asyncio.to_thread(router.recv_multipart)
                    if decode_header(header).kind == wire.CALL:
                        break
                assert decode(body) == {"data": data}
                request = decode_header(header).request
                router.send_multipart([peer, encode_header(wire.RESULT, 1, request), body])
                assert await client.hear() == {"ok": {"data": data}}

    asyncio.run(test())
