"""Switch semantics over every datapath: limits, streams, owed answers, lost messages, figures.

Flows are installed here by hand, so that each limit is seen alone.
"""

import os
from collections.abc import Iterator
from math import ceil
from pathlib import Path
from typing import Any

import pytest

from symphony.bus import wire
from symphony.bus.codec import Header, decode, decode_header, encode, encode_header
from symphony.bus.datapath import (
    CONSOLE,
    DELIVERY,
    KERNEL,
    MAX_UPCALL_BYTES_PER_PEER,
    MAX_UPCALLS_PER_PEER,
    MESSAGE,
    OVERDUE,
    SILENT,
    UNDELIVERED,
    Flow,
    FlowStats,
    PeerStats,
    Upcall,
)
from symphony.bus.memory import MemoryDatapath

from .conftest import HEARTBEAT_MS, KINDS, NEEDS_NATIVE, Clock, Connection, Plane

FLOW = 7
GRACE_S = wire.GRACE_MS / 1000


class Bare(Plane):
    """A datapath without a control plane: upcalls are kept, commands are given by the test."""

    def __init__(self, folder: Path, datapath: Any, clock: Clock) -> None:
        super().__init__(folder, datapath, clock)
        self.upcalls: list[Upcall] = []
        self.busy = False  # no upcall is taken

    def pump(self) -> None:
        self._told.hush()
        if not self.busy:
            self.upcalls += self.datapath.poll()

    def add(self, name: str) -> Connection:
        """An opened peer."""
        identity = os.urandom(wire.IDENTITY_BYTES)
        memory = isinstance(self.datapath, MemoryDatapath)
        endpoint = f"memory://{name}" if memory else f"ipc://{self.folder}/{name}"
        self.datapath.admit(name, identity)
        self.datapath.open(name)
        self.datapath.bind(endpoint)
        connection = Connection(self, identity, endpoint)
        connection.fence()
        return connection

    def upcall(self, event: str) -> Upcall:
        """The next one of this event; waits for it."""
        self.until(lambda: any(upcall.event == event for upcall in self.upcalls))
        return next(self.upcalls.pop(i) for i, u in enumerate(self.upcalls) if u.event == event)

    def inject(self, kind: int, request: int, body: bytes = b"", **more: Any) -> None:
        """A message of the kernel about `FLOW`."""
        self.datapath.inject(KERNEL, encode_header(kind, FLOW, request, **more), body)

    def stats(self) -> FlowStats:
        (row,) = self.datapath.flows()
        return row

    def peer(self, name: str) -> PeerStats:
        return next(row for row in self.datapath.peers() if row.peer == name)


@pytest.fixture(params=["memory", "reference", pytest.param("native", marks=NEEDS_NATIVE)])
def bare(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bare]:
    clock = Clock()
    bare = Bare(tmp_path, KINDS[request.param](clock=clock), clock)
    yield bare
    bare.close()


class Ends:
    """A caller and a provider joined by `FLOW`."""

    def __init__(self, bare: Bare, **limits: Any) -> None:
        self.bare = bare
        self.caller, self.provider = bare.add("caller"), bare.add("provider")
        self.install(**limits)

    def install(self, generation: int = 1, provider: str = "provider", **limits: Any) -> None:
        self.bare.datapath.install(Flow(FLOW, "caller", provider, generation, **limits))
        self.bare.tick()  # in force before the next message is read

    def call(self, request: int, **more: Any) -> Header:
        self.caller.say(wire.CALL, FLOW, request, **more)
        return self.provider.expect(wire.CALL, request)[0]

    def answer(self, request: int) -> None:
        self.provider.say(wire.RESULT, FLOW, request, body=encode("done"))
        self.caller.expect(wire.RESULT, request)

    def error(self, request: int) -> dict[str, Any]:
        return self.caller.expect(wire.ERROR, request)[1]

    def settle(self) -> None:
        """Everything sent until now has been handled."""
        assert self.caller.fence() == []
        assert self.provider.fence() == []


@pytest.fixture
def ends(bare: Bare) -> Ends:
    return Ends(bare)


class TestTenure:
    def test_what_was_asked_before_the_provider_began_is_an_upcall(self, bare: Bare) -> None:
        ends = Ends(bare, first=5)
        ends.caller.say(wire.CALL, FLOW, 4, options={"again": True})
        ends.settle()
        assert [upcall.event for upcall in bare.upcalls] == [MESSAGE]
        ends.call(5, options={"again": True})
        ends.call(3)  # not sent before, so nobody else can know it

    def test_what_the_control_plane_has_decided_goes_its_way(self, bare: Bare) -> None:
        ends = Ends(bare, first=5)
        header = encode_header(wire.CALL, FLOW, 4, options={"again": True})
        bare.datapath.inject("caller", header, b"\x80")
        ends.provider.expect(wire.CALL, 4)


class TestLimits:
    def test_a_flow_has_no_more_open_calls_than_its_credit(self, bare: Bare) -> None:
        ends = Ends(bare, credit=2)
        ends.call(1)
        ends.call(2)
        ends.caller.say(wire.CALL, FLOW, 3)
        assert ends.error(3) == {
            "code": "overloaded",
            "message": "too many open calls of this flow",
            "fault": "environment",
            "where": "open calls of this flow",
            "help": "wait for answers before calling again",
            "retry_after_ms": 50,
            "repeatable": True,
        }
        ends.answer(1)
        ends.call(4)
        ends.settle()
        assert bare.stats()[:6] == (FLOW, 3, 1, 0, 1, 2)

    def test_a_flow_is_called_no_more_often_than_its_rate(self, bare: Bare) -> None:
        ends = Ends(bare, rate=4.0, burst=2)
        ends.call(1)
        ends.call(2)
        ends.caller.say(wire.CALL, FLOW, 3)
        error = ends.error(3)
        assert (error["code"], error["retry_after_ms"]) == ("overloaded", 250)
        assert error["message"] == "more than 4 calls a second of this flow"
        assert (error["where"], error["repeatable"]) == ("rate of this flow", True)
        bare.clock.now += 0.1
        bare.tick()
        ends.caller.say(wire.CALL, FLOW, 4)
        assert ends.error(4)["retry_after_ms"] == ceil(1000 * (0.25 - 0.1))
        bare.clock.now += 0.15
        bare.tick()
        ends.call(5)
        ends.settle()
        assert bare.stats().shed == 2

    @pytest.mark.parametrize(
        ("rate", "text"), [(0.0001, "0.0001"), (1e21, "1" + 21 * "0"), (2.5, "2.5")]
    )
    def test_a_rate_is_named_in_full(self, bare: Bare, rate: float, text: str) -> None:
        ends = Ends(bare, rate=rate, burst=1)
        ends.call(1)
        ends.caller.say(wire.CALL, FLOW, 2)
        assert ends.error(2)["message"] == f"more than {text} calls a second of this flow"

    def test_the_kernel_bounds_its_own_calls(self, bare: Bare) -> None:
        provider = bare.add("provider")
        bare.datapath.install(Flow(FLOW, KERNEL, "provider", 1))
        for request in range(1, wire.MAX_OPEN_CALLS + 3):
            bare.inject(wire.CALL, request)
            provider.expect(wire.CALL, request)
        bare.pump()
        assert bare.upcalls == []

    def test_a_call_with_a_key_is_ended_by_the_kernel(self, bare: Bare) -> None:
        provider = bare.add("provider")
        bare.datapath.install(Flow(FLOW, KERNEL, "provider", 1))
        bare.inject(wire.CALL, 1, ttl=500, options={"idem": "k"})
        bare.inject(wire.CALL, 2, ttl=500)
        assert provider.expect(wire.CALL, 1)[0].ttl == 500
        provider.expect(wire.CALL, 2)
        bare.advance(1)
        provider.expect(wire.CANCEL, 2)
        assert provider.fence() == []
        provider.say(wire.RESULT, FLOW, 1, body=encode("late"))
        header = bare.upcall(DELIVERY).header
        assert (decode_header(header).kind, decode_header(header).request) == (wire.ERROR, 2)
        header = bare.upcall(DELIVERY).header
        assert (decode_header(header).kind, decode_header(header).request) == (wire.RESULT, 1)

    def test_a_flow_that_is_installed_again_keeps_its_bucket_and_its_figures(
        self, bare: Bare
    ) -> None:
        ends = Ends(bare, rate=1.0, burst=1)
        ends.call(1)
        ends.answer(1)
        other = bare.add("other")
        ends.install(2, "other", rate=1.0, burst=1)
        ends.caller.say(wire.CALL, FLOW, 2)
        assert ends.error(2)["code"] == "overloaded"
        bare.clock.now += 1.0
        bare.tick()
        ends.caller.say(wire.CALL, FLOW, 3)
        other.expect(wire.CALL, 3)
        assert bare.stats()[:6] == (FLOW, 2, 1, 0, 1, 1)

    def test_figures_outlast_the_provider_but_not_the_caller(self, bare: Bare, ends: Ends) -> None:
        ends.call(1)
        ends.answer(1)
        bare.datapath.expel("provider")
        bare.tick()
        ends.caller.say(wire.CALL, FLOW, 2)
        bare.upcall("message")
        assert bare.stats().results == 1
        bare.datapath.expel("caller")
        bare.tick()
        assert bare.datapath.flows() == []


class TestRepeatedCalls:
    def test_one_sent_again_reaches_the_provider_again(self, bare: Bare, ends: Ends) -> None:
        ends.call(1)
        again = ends.call(1, options={"again": True})
        assert again.options == {"again": True}
        bare.counted("repeated")
        ends.answer(1)
        assert bare.stats()[:6] == (FLOW, 1, 1, 0, 0, 0)

    def test_a_new_number_said_to_be_sent_again_is_an_ordinary_call(self, ends: Ends) -> None:
        ends.call(1, options={"again": True})
        ends.answer(1)

    @pytest.mark.parametrize("options", [{"again": False}, {"again": True, "cap": "forged/1"}])
    def test_without_the_option_or_with_a_forged_one_it_is_dropped(
        self, bare: Bare, ends: Ends, options: dict[str, Any]
    ) -> None:
        ends.call(1)
        ends.caller.say(wire.CALL, FLOW, 1, options=options)
        ends.settle()
        bare.counted("bad-request-number")

    def test_one_with_a_key_is_decided_by_the_control_plane(self, bare: Bare, ends: Ends) -> None:
        options = {"idem": "key"}
        ends.caller.say(wire.CALL, FLOW, 1, options=options)
        upcall = bare.upcall(MESSAGE)
        assert upcall.header == encode_header(wire.CALL, FLOW, 1, options=options)
        bare.datapath.inject("caller", upcall.header, upcall.body)
        ends.provider.expect(wire.CALL, 1)
        ends.answer(1)

    def test_it_goes_to_no_other_provider(self, bare: Bare, ends: Ends) -> None:
        ends.call(1)
        other = bare.add("other")
        ends.install(2, "other")
        ends.caller.say(wire.CALL, FLOW, 1, options={"again": True})
        ends.settle()
        assert other.fence() == []
        bare.counted("bad-request-number")


class TestStreams:
    def chunk(self, ends: Ends, request: int = 1) -> None:
        ends.provider.say(wire.CHUNK, FLOW, request, body=encode("part"))

    def credit(self, ends: Ends, body: bytes, target: Any = FLOW) -> None:
        ends.caller.say(wire.CREDIT, target, 1, body=body)

    def test_chunks_pass_while_there_is_credit(self, bare: Bare, ends: Ends) -> None:
        ends.call(1, options={"stream": 2})
        self.chunk(ends)
        self.chunk(ends)
        ends.caller.expect(wire.CHUNK, 1)
        ends.caller.expect(wire.CHUNK, 1)
        self.credit(ends, encode(1), "some.name/1")
        head, more = ends.provider.expect(wire.CREDIT, 1)
        assert (head.target, more) == (FLOW, 1)
        self.chunk(ends)
        assert ends.caller.expect(wire.CHUNK, 1)[1] == "part"
        ends.answer(1)

    @pytest.mark.parametrize("options", [None, {"stream": 0}, {"stream": 1}])
    def test_a_chunk_without_credit_ends_the_call(
        self, bare: Bare, ends: Ends, options: dict[str, Any] | None
    ) -> None:
        ends.call(1, options=options)
        for _ in range((options or {}).get("stream", 0)):
            self.chunk(ends)
            ends.caller.expect(wire.CHUNK, 1)
        self.chunk(ends)
        assert ends.error(1) == {
            "code": "protocol",
            "message": "a chunk without credit",
            "fault": "provider",
        }
        assert ends.provider.expect(wire.CANCEL, 1)[0].target == FLOW
        assert bare.peer("provider").owed == 1
        self.chunk(ends)
        ends.provider.say(wire.RESULT, FLOW, 1)
        ends.settle()
        assert (bare.count("stray-answer"), bare.count("late-answer")) == (1, 1)

    @pytest.mark.parametrize(
        "body", [encode(0), encode(-1), encode(1_024), encode(True), encode(1.0), b"", b"\xc1"]
    )
    def test_a_wrong_amount_of_credit_is_dropped(self, bare: Bare, ends: Ends, body: bytes) -> None:
        ends.call(1, options={"stream": 1})
        self.credit(ends, body)
        ends.settle()
        bare.counted("bad-credit")
        self.credit(ends, encode(1_023))  # all that there is room for
        ends.provider.expect(wire.CREDIT, 1)

    def test_credit_for_what_takes_none_is_dropped(self, bare: Bare, ends: Ends) -> None:
        self.credit(ends, encode(1))
        ends.call(1)
        self.credit(ends, encode(1))
        ends.settle()
        bare.counted("stray-credit", 2)

    def test_more_than_the_bound_cannot_be_asked_for(self, bare: Bare, ends: Ends) -> None:
        ends.call(1, options={"stream": wire.MAX_CREDIT})
        self.credit(ends, encode(1))
        ends.settle()
        bare.counted("bad-credit")

    def test_a_caller_that_does_not_read_ends_its_stream(self, bare: Bare, ends: Ends) -> None:
        requests = range(1, 6)
        for request in requests:
            ends.call(request, options={"stream": wire.MAX_CREDIT})
        body = bytes(200_000)
        for _ in range(wire.MAX_QUEUED_BYTES // len(body) // 5 + 200):
            for request in requests:
                ends.provider.say(wire.CHUNK, FLOW, request, body=body)
            ends.provider.say(wire.HEARTBEAT)
            if ends.provider.receive()[0].kind == wire.CANCEL:
                break
        bare.until(lambda: bare.count("queue-full") > 0)
        seen: list[Header] = []
        while not seen or seen[-1].kind == wire.CHUNK:
            head, raw = ends.caller.receive()
            seen.append(head)
        error = decode(raw)
        assert (error["code"], error["where"]) == ("overloaded", "messages queued for the caller")
        assert "repeatable" not in error

    def test_chunks_and_credit_reach_the_kernel_as_deliveries(self, bare: Bare) -> None:
        peer = bare.add("peer")
        bare.datapath.install(Flow(FLOW, KERNEL, "peer", 1))
        bare.tick()
        bare.inject(wire.CALL, 1, options={"stream": 1})
        peer.expect(wire.CALL, 1)
        peer.say(wire.CHUNK, FLOW, 1, body=encode("part"))
        upcall = bare.upcall(DELIVERY)
        assert decode_header(upcall.header).kind == wire.CHUNK
        assert decode(upcall.body) == "part"
        bare.inject(wire.CREDIT, 1, encode(5))
        assert peer.expect(wire.CREDIT, 1)[1] == 5

    def test_the_kernel_serves_a_stream(self, bare: Bare) -> None:
        peer = bare.add("peer")
        bare.datapath.install(Flow(FLOW, "peer", KERNEL, 1))
        bare.tick()
        peer.say(wire.CALL, FLOW, 1, options={"stream": 1})
        assert decode_header(bare.upcall(DELIVERY).header).kind == wire.CALL
        peer.say(wire.CREDIT, FLOW, 1, body=encode(2))
        assert decode_header(bare.upcall(DELIVERY).header).kind == wire.CREDIT
        for _ in range(3):
            bare.inject(wire.CHUNK, 1, encode("part"))
            peer.expect(wire.CHUNK, 1)
        bare.inject(wire.CHUNK, 1, encode("too much"))
        assert peer.expect(wire.ERROR, 1)[1]["code"] == "protocol"
        assert decode_header(bare.upcall(DELIVERY).header).kind == wire.CANCEL


class TestOwedAnswers:
    def test_a_cancelled_call_that_is_not_answered_ends_and_is_reported(
        self, bare: Bare, ends: Ends
    ) -> None:
        ends.call(1)
        ends.caller.say(wire.CANCEL, FLOW, 1)
        ends.provider.expect(wire.CANCEL, 1)
        bare.advance(GRACE_S - 0.1)
        assert ends.caller.fence() == []
        bare.advance(0.7)
        assert ends.error(1) == {
            "code": "cancelled",
            "message": "the provider did not end the cancelled call",
            "fault": "caller",
            "where": "provider",
        }
        assert bare.upcall(OVERDUE) == Upcall(OVERDUE, "provider", b"", b"")
        assert bare.peer("provider").owed == 0
        bare.advance(3)
        bare.pump()
        assert not [upcall for upcall in bare.upcalls if upcall.event == OVERDUE]

    def test_many_owed_answers_are_one_report(self, bare: Bare, ends: Ends) -> None:
        for request in range(1, 6):
            ends.call(request)
        for request in range(1, 6):
            ends.caller.say(wire.CANCEL, FLOW, request)
        bare.until(lambda: bare.peer("provider").owed == 5)
        bare.advance(GRACE_S + 0.6)
        bare.upcall(OVERDUE)
        bare.pump()
        assert not [upcall for upcall in bare.upcalls if upcall.event == OVERDUE]

    def test_an_answer_in_time_settles_it(self, bare: Bare, ends: Ends) -> None:
        ends.call(1)
        ends.caller.say(wire.CANCEL, FLOW, 1)
        ends.provider.expect(wire.CANCEL, 1)
        ends.answer(1)
        assert bare.peer("provider").owed == 0
        bare.advance(GRACE_S + 1)
        ends.settle()
        bare.pump()
        assert not [upcall for upcall in bare.upcalls if upcall.event == OVERDUE]
        assert not bare.count("late-answer")

    def test_cancelling_over_and_over_gives_no_more_time(self, bare: Bare, ends: Ends) -> None:
        ends.call(1)
        for _ in range(4):
            ends.caller.say(wire.CANCEL, FLOW, 1)
            assert ends.caller.fence() == []
            bare.advance(0.4)
        bare.advance(GRACE_S - 4 * 0.4 + 0.6)
        assert ends.error(1)["code"] == "cancelled"

    def test_a_flood_of_cancels_reaches_the_provider_as_one(self, bare: Bare, ends: Ends) -> None:
        ends.call(1, ttl=700)
        for _ in range(1_000):
            ends.caller.say(wire.CANCEL, FLOW, 1)
        assert ends.caller.fence() == []
        assert [head.kind for head in ends.provider.fence()] == [wire.CANCEL]
        assert bare.count("repeated-cancel") == 999
        bare.advance(0.8)  # and its deadline cancels it no second time
        assert ends.error(1)["code"] == "deadline"
        assert ends.provider.fence() == []
        assert bare.count("repeated-cancel") == 999

    def test_a_number_that_is_used_again_can_be_cancelled_again(self, ends: Ends) -> None:
        for _ in range(2):
            ends.call(1)
            ends.caller.say(wire.CANCEL, FLOW, 1)
            ends.provider.expect(wire.CANCEL, 1)
            ends.answer(1)

    def test_the_kernel_hears_of_a_cancel_once_too(self, bare: Bare) -> None:
        peer = bare.add("peer")
        bare.datapath.install(Flow(FLOW, "peer", KERNEL, 1))
        bare.tick()
        peer.say(wire.CALL, FLOW, 1)
        for _ in range(3):
            peer.say(wire.CANCEL, FLOW, 1)
        peer.fence()
        bare.pump()
        kinds = [decode_header(upcall.header).kind for upcall in bare.upcalls]
        assert kinds == [wire.CALL, wire.CANCEL]

    @pytest.mark.parametrize("end", ["deadline", "caller"])
    def test_it_is_owed_although_nobody_waits(self, bare: Bare, ends: Ends, end: str) -> None:
        ends.call(1, ttl=300)
        if end == "deadline":
            bare.advance(0.4)
            assert ends.error(1)["code"] == "deadline"
        else:
            bare.datapath.expel("caller")
        ends.provider.expect(wire.CANCEL, 1)
        assert bare.peer("provider").owed == 1
        bare.advance(GRACE_S + 0.6)
        bare.upcall(OVERDUE)

    def test_a_late_answer_is_not_a_stray_one(self, bare: Bare, ends: Ends) -> None:
        ends.call(1, ttl=100)
        bare.advance(0.2)
        assert ends.error(1)["code"] == "deadline"
        ends.provider.expect(wire.CANCEL, 1)
        for _ in range(2):
            ends.provider.say(wire.RESULT, FLOW, 1)
        ends.settle()
        assert (bare.count("late-answer"), bare.count("stray-answer")) == (1, 1)

    def test_a_pause_of_the_hub_itself_is_nobodys_fault(self, bare: Bare, ends: Ends) -> None:
        ends.call(1)
        ends.caller.say(wire.CANCEL, FLOW, 1)
        ends.provider.expect(wire.CANCEL, 1)
        bare.clock.now += 2.3
        bare.tick()
        ends.answer(1)
        bare.pump()
        assert not [upcall for upcall in bare.upcalls if upcall.event == OVERDUE]

    def test_the_kernel_as_a_provider_owes_nothing(self, bare: Bare) -> None:
        peer = bare.add("peer")
        bare.datapath.install(Flow(FLOW, "peer", KERNEL, 1))
        bare.tick()
        peer.say(wire.CALL, FLOW, 1, ttl=100)
        peer.fence()
        bare.advance(0.2)
        assert peer.expect(wire.ERROR, 1)[1]["code"] == "deadline"
        bare.advance(GRACE_S + 1)
        peer.fence()
        bare.pump()
        assert not [upcall for upcall in bare.upcalls if upcall.event == OVERDUE]


class TestRepeatable:
    @pytest.mark.parametrize("safe", [True, False])
    @pytest.mark.parametrize("end", ["deadline", "crashed"])
    def test_a_call_that_was_sent_is_only_by_contract(
        self, bare: Bare, end: str, safe: bool
    ) -> None:
        ends = Ends(bare, safe=safe)
        ends.call(1, ttl=300)
        if end == "deadline":
            bare.advance(0.4)
        else:
            bare.datapath.expel("provider")
        error = ends.error(1)
        assert error["code"] == end
        assert error.get("repeatable") == (True if safe else None)

    def test_a_call_that_was_never_sent_is(self, bare: Bare, ends: Ends) -> None:
        ends.provider.close()
        sent = 0
        while not bare.peer("provider").queued:
            sent += 1
            ends.caller.say(wire.CALL, FLOW, sent)
            ends.caller.fence()
        bare.datapath.expel("provider")
        errors = {}
        for _ in range(sent):
            head, body = ends.caller.receive()
            errors[head.request] = decode(body)
        assert {error["code"] for error in errors.values()} == {"crashed"}
        assert errors[sent]["repeatable"] is True
        lost = bare.upcall(UNDELIVERED)
        assert (lost.peer, lost.header != b"") == ("provider", True)

    def test_one_that_may_have_been_sent_before_is_not(self, bare: Bare) -> None:
        ends = Ends(bare, credit=1)
        ends.call(1)
        ends.caller.say(wire.CALL, FLOW, 2)
        assert ends.error(2)["repeatable"] is True
        ends.caller.say(wire.CALL, FLOW, 3, options={"again": True})
        error = ends.error(3)
        assert (error["code"], "repeatable" in error) == ("overloaded", False)

    def test_nor_is_it_when_it_waits_for_a_provider_that_ends(self, bare: Bare, ends: Ends) -> None:
        ends.provider.close()
        sent = 0
        while not bare.peer("provider").queued:
            sent += 1
            ends.caller.say(wire.CALL, FLOW, sent, options={"again": True})
            ends.caller.fence()
        bare.datapath.expel("provider")
        for request in range(1, sent + 1):
            error = ends.error(request)
            assert (error["code"], "repeatable" in error) == ("crashed", False)


class TestKernelsFlows:
    def test_its_calls_are_answered_whatever_becomes_of_others(self, bare: Bare) -> None:
        provider, _ = bare.add("provider"), bare.add("other")
        bare.datapath.install(Flow(FLOW, KERNEL, "provider", 1))
        bare.inject(wire.CALL, 1)
        provider.expect(wire.CALL, 1)
        bare.datapath.revoke(2)
        bare.datapath.expel("other")
        bare.inject(wire.CALL, 2)
        provider.expect(wire.CALL, 2)
        for request in (1, 2):
            provider.say(wire.RESULT, FLOW, request)
            assert decode_header(bare.upcall(DELIVERY).header).request == request
        assert bare.stats()[:3] == (FLOW, 2, 2)

    def test_they_go_with_their_provider(self, bare: Bare) -> None:
        bare.add("provider")
        bare.datapath.install(Flow(FLOW, KERNEL, "provider", 1))
        bare.datapath.expel("provider")
        bare.tick()
        assert bare.datapath.flows() == []


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
        ends.caller.say(wire.CALL, FLOW, 1, options={"again": True})
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
        bare.counted("queue-full")
        assert bare.stats().open == 1

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
