"""Switch semantics over every datapath: flows, limits, streams, owed answers."""

from math import ceil
from typing import Any

import pytest

from symphony.bus import wire
from symphony.bus.codec import Header, decode, decode_header, encode, encode_header
from symphony.bus.datapath import (
    DELIVERY,
    KERNEL,
    MESSAGE,
    OVERDUE,
    UNDELIVERED,
    Flow,
    Upcall,
)

from .bare import FLOW, GRACE_S, Bare, Ends, bare, ends

__all__ = ["bare", "ends"]


class TestRepeated:
    def test_what_may_have_been_sent_before_is_an_upcall(self, bare: Bare) -> None:
        ends = Ends(bare)
        ends.caller.say(wire.CALL, FLOW, 4, options={"again": True})
        ends.settle()
        assert [upcall.event for upcall in bare.upcalls] == [MESSAGE]
        ends.call(5)

    def test_what_is_open_is_repeated_to_whom_it_was_sent(self, bare: Bare) -> None:
        ends = Ends(bare)
        ends.call(4)
        ends.caller.say(wire.CALL, FLOW, 4, options={"again": True})
        ends.provider.expect(wire.CALL, 4)

    def test_what_the_control_plane_has_decided_goes_its_way(self, bare: Bare) -> None:
        ends = Ends(bare)
        ends.repeat(4)
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
        bare.install(Flow(FLOW, KERNEL, "provider", 1))
        for request in range(1, wire.MAX_OPEN_CALLS + 3):
            bare.inject(wire.CALL, request)
            provider.expect(wire.CALL, request)
        bare.pump()
        assert bare.upcalls == []

    def test_a_call_with_a_key_is_ended_by_the_kernel(self, bare: Bare) -> None:
        provider = bare.add("provider")
        bare.install(Flow(FLOW, KERNEL, "provider", 1))
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
        ends.repeat(1)
        ends.provider.expect(wire.CALL, 1)
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
        ends.call(1)
        self.credit(ends, encode(1))
        ends.settle()
        bare.counted("stray-credit")

    @pytest.mark.parametrize("target", [FLOW, "some.name/1"])
    def test_credit_for_no_open_call_is_decided_by_the_kernel(
        self, bare: Bare, ends: Ends, target: Any
    ) -> None:
        """Its call may be there already; if it is nowhere, it is dropped."""
        self.credit(ends, encode(1), target)
        upcall = bare.upcall(MESSAGE)
        assert decode_header(upcall.header).kind == wire.CREDIT
        bare.datapath.inject("caller", upcall.header, upcall.body)
        ends.settle()
        bare.counted("stray-credit")

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
        bare.install(Flow(FLOW, KERNEL, "peer", 1))
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
        bare.install(Flow(FLOW, "peer", KERNEL, 1))
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
        bare.install(Flow(FLOW, "peer", KERNEL, 1))
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
        bare.install(Flow(FLOW, "peer", KERNEL, 1))
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
        ends.repeat(3)
        error = ends.error(3)
        assert (error["code"], "repeatable" in error) == ("overloaded", False)

    def test_nor_is_it_when_it_waits_for_a_provider_that_ends(self, bare: Bare, ends: Ends) -> None:
        ends.provider.close()
        sent = 0
        while not bare.peer("provider").queued:
            sent += 1
            ends.repeat(sent)
            ends.caller.fence()
        bare.datapath.expel("provider")
        for request in range(1, sent + 1):
            error = ends.error(request)
            assert (error["code"], "repeatable" in error) == ("crashed", False)


class TestKernelsFlows:
    def test_its_calls_are_answered_whatever_becomes_of_others(self, bare: Bare) -> None:
        provider, _ = bare.add("provider"), bare.add("other")
        bare.install(Flow(FLOW, KERNEL, "provider", 1))
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
        bare.install(Flow(FLOW, KERNEL, "provider", 1))
        bare.datapath.expel("provider")
        bare.tick()
        assert bare.datapath.flows() == []
