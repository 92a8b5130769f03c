"""Switch semantics over every datapath: consoles, a busy kernel, lost messages, figures."""

import os

import psutil
import pytest

from symphony.bus import wire
from symphony.bus.codec import decode, decode_header, encode, encode_header
from symphony.bus.datapath import (
    CONSOLE,
    DELIVERY,
    KERNEL,
    MAX_UPCALL_BYTES_PER_PEER,
    MAX_UPCALLS_PER_PEER,
    MESSAGE,
    SILENT,
    UNDELIVERED,
    Flow,
)

from .bare import FLOW, Bare, Ends, bare, ends
from .conftest import HEARTBEAT_MS, READ_AHEAD, Connection

__all__ = ["bare", "ends"]


class TestConsoles:
    def test_a_new_one_is_named_as_nobody_else_and_told_with_its_routing_id(
        self, bare: Bare
    ) -> None:
        peer = bare.add("peer")
        bare.datapath.admit("console/1", os.urandom(wire.IDENTITY_BYTES))
        bare.datapath.admit("console", bytes(wire.IDENTITY_BYTES), console=True)
        bare.tick()  # in force before the first message comes
        identity = bytes(range(wire.CONSOLE_IDENTITY_BYTES - wire.IDENTITY_BYTES))
        console = Connection(bare, bytes(wire.IDENTITY_BYTES) + identity, peer.endpoint)
        console.say(wire.HELLO)
        upcall = bare.upcall(CONSOLE)
        assert upcall == (CONSOLE, "console/2", b"", console.identity)
        assert bare.upcall(MESSAGE).peer == "console/2"

    def test_one_that_never_joins_falls_silent_as_well(self, bare: Bare) -> None:
        """Or its place would never be free again."""
        peer = bare.add("peer")
        bare.datapath.admit("console", bytes(wire.IDENTITY_BYTES), console=True)
        bare.tick()
        console = Connection(bare, bytes(wire.CONSOLE_IDENTITY_BYTES), peer.endpoint)
        console.say(wire.HEARTBEAT)
        assert bare.upcall(CONSOLE).peer == "console/1"
        bare.advance(HEARTBEAT_MS / 1000 * wire.LIVENESS + 1)
        bare.until(lambda: any(u == (SILENT, "console/1", b"", b"") for u in bare.upcalls))


class TestBusyKernel:
    @pytest.mark.parametrize("kind", [wire.CALL, wire.SUBSCRIBE])
    def test_what_it_cannot_even_queue_is_overloaded(self, bare: Bare, kind: int) -> None:
        peer = bare.add("peer")
        bare.busy = True
        for _ in range(MAX_UPCALLS_PER_PEER):
            peer.say(wire.EVENT, "test.topic")
        peer.say(kind, "test.topic", 5, body=encode(True))
        head, error = peer.expect(wire.ERROR, 5)
        assert head.target is None
        assert error == {
            "code": "overloaded",
            "message": "too many messages waiting for the kernel",
            "fault": "environment",
            "where": "messages waiting for the kernel",
            "help": "wait for answers before calling again",
            "retry_after_ms": wire.RETRY_MS,
            "repeatable": True,
        }
        assert bare.count("upcalls-full") == 1
        bare.busy = False
        bare.pump()
        assert len(bare.upcalls) == MAX_UPCALLS_PER_PEER


class TestLargeUpcalls:
    def test_what_waits_for_a_busy_kernel_is_bounded_in_bytes(self, bare: Bare) -> None:
        peer, other = bare.add("peer"), bare.add("other")
        bare.busy = True
        body = bytes(wire.MAX_BODY)
        for _ in range(MAX_UPCALL_BYTES_PER_PEER // len(body) + 1):
            peer.say(wire.EVENT, "test.topic", body=body)
        peer.say(wire.CALL, "test.topic", 5)
        assert peer.expect(wire.ERROR, 5)[1]["code"] == "overloaded"
        other.say(wire.EVENT, "test.topic")
        other.fence()
        bare.busy = False
        bare.pump()
        held = [len(upcall.body) for upcall in bare.upcalls if upcall.peer == "peer"]
        assert sum(held) == MAX_UPCALL_BYTES_PER_PEER
        assert [upcall.peer for upcall in bare.upcalls].count("other") == 1


class TestManyUpcalls:
    def test_one_peer_keeps_another_waiting_for_no_more_than_one_of_its_own(
        self, bare: Bare
    ) -> None:
        noisy, quiet = bare.add("noisy"), bare.add("quiet")
        bare.busy = True
        for number in range(200):
            noisy.say(wire.EVENT, "test.topic", number)
        noisy.fence()
        for number in range(3):
            quiet.say(wire.EVENT, "test.topic", number)
        quiet.fence()
        batch = bare.datapath.poll(5)
        assert [upcall.peer for upcall in batch] == ["noisy", "quiet", "noisy", "quiet", "noisy"]
        noisy.say(wire.EVENT, "test.topic", 200)
        noisy.fence()
        taken = [*batch, *bare.datapath.poll(1), *bare.datapath.poll(0), *bare.datapath.poll()]
        assert taken[5].peer == "quiet"
        assert bare.datapath.poll() == []
        for peer, number in (("noisy", 201), ("quiet", 3)):
            said = [decode_header(upcall.header).request for upcall in taken if upcall.peer == peer]
            assert said == list(range(number))

    def test_an_answer_for_the_kernel_comes_before_what_its_giver_says_next(
        self, bare: Bare
    ) -> None:
        provider, noisy = bare.add("provider"), bare.add("noisy")
        bare.install(Flow(FLOW, KERNEL, "provider", 1))
        bare.inject(wire.CALL, 1)
        provider.expect(wire.CALL, 1)
        bare.busy = True
        noisy.say(wire.BYE, body=b"\x80")
        noisy.fence()
        provider.say(wire.RESULT, FLOW, 1, body=encode("done"))
        provider.say(wire.BYE, body=b"\x80")
        provider.fence()
        taken = [(u.event, u.peer) for u in bare.datapath.poll()]
        order = [(DELIVERY, "provider"), (MESSAGE, "provider")]
        assert [row for row in taken if row[1] == "provider"] == order

    def test_places_are_free_again_one_by_one(self, bare: Bare) -> None:
        peer = bare.add("peer")
        bare.busy = True
        for _ in range(MAX_UPCALLS_PER_PEER + 1):
            peer.say(wire.EVENT, "test.topic")
        peer.fence()
        assert bare.count("upcalls-full") == 1
        assert len(bare.datapath.poll(2)) == 2
        for _ in range(3):
            peer.say(wire.EVENT, "test.topic")
        peer.fence()
        assert bare.count("upcalls-full") == 2
        assert len(bare.datapath.poll()) == MAX_UPCALLS_PER_PEER


class TestLargeMessages:
    def test_a_slow_reader_of_results_costs_bounded_memory(self, bare: Bare, ends: Ends) -> None:
        """What libzmq holds for it counts: that bounds messages, of up to 2 MiB each."""
        calls = 200
        body = encode(bytes(wire.MAX_BODY - 5))
        process = psutil.Process()
        before = process.memory_info().rss
        for request in range(1, calls + 1):
            ends.call(request)
            ends.provider.say(wire.RESULT, FLOW, request, body=body)
            ends.provider.fence()
        slack = 32 * 1024 * 1024 + READ_AHEAD * len(body)
        held = wire.MAX_LENT_BYTES + wire.MAX_QUEUED_BYTES
        assert process.memory_info().rss - before < held + slack
        assert bare.count("queue-full") > 0
        answers = [ends.caller.receive() for _ in range(calls)]
        assert [head.request for head, _ in answers] == list(range(1, calls + 1))
        results = [answer for head, answer in answers if head.kind == wire.RESULT]
        assert results == [body] * len(results)
        assert held // len(body) - 2 < len(results) < calls

    def test_a_hundred_of_64_kib_do_not_even_wait(self, bare: Bare, ends: Ends) -> None:
        for _ in range(100):
            bare.datapath.send("caller", encode_header(wire.HEARTBEAT), bytes(wire.LARGE_BODY))
        bare.tick()
        assert bare.peer("caller").queued == 0

    def test_what_is_read_makes_room(self, bare: Bare, ends: Ends) -> None:
        """Several times what may be held, to a reader that reads."""
        for number in range(3 * wire.MAX_LENT_BYTES // wire.MAX_BODY):
            body = bytes([number]) * wire.MAX_BODY
            bare.datapath.send("caller", encode_header(wire.HEARTBEAT), body)
            bare.tick()
            assert ends.caller.receive()[1] == body
        bare.until(lambda: bare.peer("caller").queued == 0)


class TestLostMessages:
    def silence(self, bare: Bare, connection: Connection) -> None:
        """Fills what is between the hub and a peer that does not read."""
        name = "provider" if connection.endpoint.endswith("provider") else "caller"
        while bare.peer(name).queued < 200:  # so many that the transport has come to rest
            bare.datapath.send(name, encode_header(wire.HEARTBEAT), bytes(100_000))
            bare.tick()

    def fill(self, bare: Bare, name: str) -> None:
        for _ in range(wire.MAX_QUEUED - bare.peer(name).queued):
            bare.datapath.send(name, encode_header(wire.HEARTBEAT), b"")
        bare.until(lambda: bare.peer(name).queued == wire.MAX_QUEUED)

    def test_a_call_to_a_full_queue_is_overloaded_and_reported(
        self, bare: Bare, ends: Ends
    ) -> None:
        self.silence(bare, ends.provider)
        self.fill(bare, "provider")
        ends.caller.say(wire.CALL, FLOW, 1, body=encode("lost"))
        error = ends.error(1)
        assert (error["code"], error["repeatable"]) == ("overloaded", True)
        assert error["where"] == "messages queued for the provider"
        lost = bare.upcall(UNDELIVERED)
        assert (lost.peer, decode_header(lost.header).request) == ("provider", 1)
        assert decode(lost.body) == "lost"
        assert bare.stats().open == 0

    @pytest.mark.parametrize("safe", [True, False])
    def test_one_that_was_sent_before_is_repeatable_only_by_contract(
        self, bare: Bare, safe: bool
    ) -> None:
        ends = Ends(bare, safe=safe)
        self.silence(bare, ends.provider)
        self.fill(bare, "provider")
        ends.repeat(1)
        error = ends.error(1)
        assert (error["code"], error.get("repeatable", False)) == ("overloaded", safe)

    @pytest.mark.parametrize("kind", [wire.RESULT, wire.ERROR])
    def test_an_answer_to_a_full_queue_is_replaced_by_a_small_error(
        self, bare: Bare, ends: Ends, kind: int
    ) -> None:
        ends.call(1)
        ends.call(2)
        self.silence(bare, ends.caller)
        self.fill(bare, "caller")
        ends.provider.say(kind, FLOW, 1, body=encode("x" * 5_000))
        ends.provider.say(wire.ERROR, FLOW, 2, body=encode({"code": "failed"}))
        ends.provider.fence()
        bare.until(lambda: bare.peer("caller").queued == wire.MAX_QUEUED + 2)
        answers = {}
        while len(answers) < 2:
            head, body = ends.caller.receive()
            if head.kind == wire.ERROR:
                answers[head.request] = decode(body)
        assert answers[1]["code"] == "overloaded"
        assert "repeatable" not in answers[1]
        assert answers[2] == {"code": "failed"}

    def test_not_even_small_errors_are_queued_without_a_bound(self, bare: Bare, ends: Ends) -> None:
        for request in range(1, wire.MAX_OPEN_CALLS + 1):
            ends.caller.say(wire.CALL, FLOW, request)
        self.silence(bare, ends.caller)
        self.fill(bare, "caller")
        for _ in range(wire.MAX_OPEN_CALLS + 100):
            ends.caller.say(wire.CALL, FLOW, 5_000)  # refused each time
        most = wire.MAX_QUEUED + wire.MAX_OPEN_CALLS
        bare.until(lambda: bare.count("queue-full") == 100)
        assert bare.peer("caller").queued == most

    def test_progress_to_a_full_queue_is_dropped(self, bare: Bare, ends: Ends) -> None:
        ends.call(1)
        self.silence(bare, ends.caller)
        self.fill(bare, "caller")
        ends.provider.say(wire.PROGRESS, FLOW, 1, body=encode({"done": 1}))
        ends.provider.fence()
        bare.counted("progress-dropped")
        assert bare.stats().open == 1

    def test_progress_never_takes_the_place_of_an_answer(self, bare: Bare, ends: Ends) -> None:
        other = bare.add("other")
        bare.install(Flow(FLOW + 1, "caller", "other", 1))
        ends.call(1)
        ends.caller.say(wire.CALL, FLOW + 1, 2)
        other.expect(wire.CALL, 2)
        self.silence(bare, ends.caller)
        for done in range(2 * wire.MAX_QUEUED):
            ends.provider.say(wire.PROGRESS, FLOW, 1, body=encode({"done": done}))
        ends.provider.fence()
        assert bare.count("progress-dropped") >= wire.MAX_QUEUED
        assert bare.peer("caller").queued < wire.MAX_QUEUED_EVENTS + 64  # read at once
        other.say(wire.RESULT, FLOW + 1, 2, body=encode("done"))
        other.fence()
        ends.provider.say(wire.RESULT, FLOW, 1, body=encode("done"))
        kinds = []
        while kinds.count((wire.RESULT, FLOW)) == 0:
            head, _ = ends.caller.receive()
            kinds.append((head.kind, head.target))
        assert (wire.RESULT, FLOW + 1) in kinds
        assert bare.count("queue-full") == 0

    def test_events_that_are_not_read_become_a_gap(self, bare: Bare, ends: Ends) -> None:
        event = encode_header(wire.EVENT, "t.a", 5, 0, None, {"keep": True})
        self.silence(bare, ends.caller)
        for _ in range(wire.MAX_QUEUED_EVENTS - bare.peer("caller").queued):
            bare.datapath.send("caller", encode_header(wire.HEARTBEAT), b"")
        bare.until(lambda: bare.peer("caller").queued == wire.MAX_QUEUED_EVENTS)
        for _ in range(3):
            bare.datapath.event(["caller", "provider", "nobody"], event, encode("v"))
        bare.counted("events-dropped", 3)
        for _ in range(3):
            head, value = ends.provider.expect(wire.EVENT)
            assert (head.options, value) == ({"keep": True}, "v")
        while bare.peer("caller").queued:
            ends.caller.receive()
        bare.datapath.event(["caller"], encode_header(wire.EVENT, "t.b"), encode("other"))
        bare.datapath.event(["caller"], event, encode("v"))
        bare.datapath.event(["caller"], event, encode("v"))
        events = []
        while len(events) < 3:
            head, _ = ends.caller.receive()
            if head.kind == wire.EVENT:
                events.append((head.target, head.options))
        gap = {"keep": True, "gap": 3}
        assert events == [("t.b", None), ("t.a", gap), ("t.a", {"keep": True})]

    def test_events_only_go_to_the_opened(self, bare: Bare) -> None:
        identity = os.urandom(wire.IDENTITY_BYTES)
        bare.datapath.admit("p", identity)
        bare.datapath.event(["p"], encode_header(wire.EVENT, "t"), b"\xc0")
        bare.tick()
        assert bare.count("forwarded") == 0

    def test_events_in_the_queue_of_an_expelled_peer_are_reported(
        self, bare: Bare, ends: Ends
    ) -> None:
        self.silence(bare, ends.caller)
        bare.datapath.event(["caller"], encode_header(wire.EVENT, "t"), encode("v"))
        bare.tick()
        bare.datapath.expel("caller")
        lost = bare.upcall(UNDELIVERED)
        assert (lost.peer, lost.body) == ("caller", encode("v"))
        assert decode_header(lost.header).target == "t"


class TestFigures:
    def test_latency_falls_into_its_bucket(self, bare: Bare, ends: Ends) -> None:
        ends.call(1)
        bare.clock.now += 0.25
        bare.tick()
        ends.answer(1)
        row = bare.stats()
        assert sum(row.latency) == 1
        assert row.latency[18] == 1  # 2^17 <= 250,000 microseconds < 2^18

    def test_a_very_long_call_falls_into_the_last_one(self, bare: Bare, ends: Ends) -> None:
        ends.call(1)
        bare.clock.now += 4_000
        bare.tick()
        ends.answer(1)
        assert bare.stats().latency[-1] == 1

    def test_calls_are_results_errors_and_open_ones(self, bare: Bare, ends: Ends) -> None:
        for request in range(1, 5):
            ends.call(request, ttl=300 if request == 4 else 0)
        ends.answer(1)
        ends.provider.say(wire.ERROR, FLOW, 2, body=encode({"code": "failed"}))
        ends.error(2)
        bare.advance(0.4)
        ends.error(4)
        assert bare.stats()[:6] == (FLOW, 4, 1, 2, 0, 1)
        assert sum(bare.stats().latency) == 2

    def test_peers_are_listed_by_name_without_the_kernel(self, bare: Bare, ends: Ends) -> None:
        ends.call(1)
        ends.call(2)
        ends.caller.say(wire.CANCEL, FLOW, 2)
        ends.provider.expect(wire.CANCEL, 2)
        assert bare.datapath.peers() == [("caller", 0, 0, 2, 0), ("provider", 0, 0, 0, 1)]


assert HEARTBEAT_MS == 1_000  # the times above count on it
