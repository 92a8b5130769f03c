"""PROTOCOL.md, sentence by sentence, over every datapath."""

import os
import random
from contextlib import suppress

import pytest

from symphony.bus import wire
from symphony.bus.codec import encode, encode_header
from symphony.bus.errors import BusError
from symphony.bus.grants import Grants
from symphony.bus.kernelcalls import KernelCall
from symphony.bus.messages import Activate

from .conftest import CAPABILITY, Connection, Plane, hello

Pair = tuple[Connection, Connection]
CALLS = Grants(calls=frozenset({CAPABILITY}))
PROVIDES = Grants(provides=frozenset({CAPABILITY}))


def open_flow(caller: Connection, provider: Connection, request: int = 1) -> int:
    """Makes one call by name and answers it; returns the flow's number."""
    caller.say(wire.CALL, CAPABILITY, request)
    head, _ = provider.expect(wire.CALL, request)
    provider.say(wire.RESULT, head.target, request, body=encode("ok"))
    answer, _ = caller.expect(wire.RESULT, request)
    assert answer.target == head.target
    return int(answer.target)  # type: ignore[arg-type]


class TestJoining:
    def test_hello_is_answered_by_welcome_with_the_limits(self, plane: Plane) -> None:
        peer = Connection(plane, *plane.admit("p", PROVIDES))
        peer.say(wire.HELLO, body=hello(CAPABILITY))
        _, welcome = peer.expect(wire.WELCOME)
        assert welcome == {
            "instance": "p",
            "heartbeat_ms": 1_000,
            "liveness": 5,
            "max_body": 2_097_152,
            "inline_max": 262_144,
            "epoch": 1,
            "grace_ms": 2_000,
        }
        assert plane.notices == [("registered", "p")]
        assert plane.control.providers(CAPABILITY) == ["p"]

    def test_before_welcome_everything_but_hello_and_bye_is_dropped(self, plane: Plane) -> None:
        peer = Connection(plane, *plane.admit("p", CALLS))
        peer.say(wire.CALL, CAPABILITY, 1)
        peer.say(wire.HEARTBEAT)
        plane.counted("before-welcome", 2)
        peer.say(wire.HELLO, body=hello())
        peer.expect(wire.WELCOME)
        assert peer.fence() == []

    def test_a_peer_may_leave_before_its_welcome(self, plane: Plane) -> None:
        peer = Connection(plane, *plane.admit("p", CALLS))
        peer.say(wire.BYE, body=encode({"reason": "stop"}))
        peer.expect(wire.BYE)
        assert plane.notices == [("left", "p", "stop")]

    @pytest.mark.parametrize(
        ("body", "reason"),
        [
            (hello(protocol=2), "protocol"),
            (encode({"protocol": 1}), "protocol"),
            (b"\xc1", "protocol"),
            (hello("other.thing/1"), "manifest"),
        ],
    )
    def test_a_wrong_hello_is_turned_away_with_its_reason(
        self, plane: Plane, body: bytes, reason: str
    ) -> None:
        peer = Connection(plane, *plane.admit("p", PROVIDES))
        peer.say(wire.HELLO, body=body)
        assert peer.expect(wire.BYE)[1] == {"reason": reason}
        assert plane.notices == [("rejected", "p", reason)]
        plane.tick()  # now it is forgotten
        peer.say(wire.HELLO, body=hello())
        plane.counted("unknown-identity")

    @pytest.mark.parametrize(
        "header",
        [
            encode([2, wire.HELLO, None, 0, 0, None]),
            encode([0, wire.HELLO, None, 0, 0, None]),
            encode([7, wire.HELLO, {"all": "new"}]),
        ],
    )
    def test_a_hello_of_another_version_is_turned_away_whatever_its_body(
        self, plane: Plane, header: bytes
    ) -> None:
        peer = Connection(plane, *plane.admit("p", PROVIDES))
        peer.send(header, hello(CAPABILITY))
        assert peer.expect(wire.BYE)[1] == {"reason": "protocol"}
        assert plane.notices == [("rejected", "p", "protocol")]
        assert plane.control.refusals["p", "hello", "protocol"] == 1
        assert plane.count("undecodable") == 0
        plane.tick()  # now it is forgotten
        peer.say(wire.HELLO, body=hello(CAPABILITY))
        plane.counted("unknown-identity")

    def test_nothing_else_of_another_version_is_answered(self, plane: Plane) -> None:
        peer = Connection(plane, *plane.admit("p"))
        for kind in (wire.CALL, wire.HEARTBEAT, wire.BYE):
            peer.send(encode([2, kind, None, 1, 0, None]), b"")
        plane.counted("undecodable", 3)
        peer.say(wire.HELLO, body=hello())
        peer.expect(wire.WELCOME)
        peer.send(encode([2, wire.HELLO, None, 0, 0, None]), hello())
        assert peer.fence() == []
        plane.counted("undecodable", 4)

    def test_a_second_hello_is_dropped(self, plane: Plane) -> None:
        peer = plane.join("p")
        peer.say(wire.HELLO, body=hello())
        assert peer.fence() == []
        plane.counted("repeated-hello")

    def test_an_unknown_routing_id_gets_nothing(self, plane: Plane) -> None:
        _, endpoint = plane.admit("p")
        stranger = Connection(plane, os.urandom(16), endpoint)
        stranger.say(wire.HELLO, body=hello())
        stranger.say(wire.HEARTBEAT)
        plane.counted("unknown-identity", 2)
        with pytest.raises(AssertionError, match="nothing came"):
            stranger.receive(0.05)

    def test_a_second_connection_with_a_known_routing_id_gets_and_does_nothing(
        self, plane: Plane, pair: Pair
    ) -> None:
        caller, provider = pair
        spoofer = Connection(plane, provider.identity, provider.endpoint)
        spoofer.say(wire.BYE, body=encode({"reason": "spoofed"}))
        open_flow(caller, provider)
        assert provider.fence() == []
        assert ("left", "provider", "spoofed") not in plane.notices
        with pytest.raises(AssertionError, match="nothing came"):
            spoofer.receive(0.05)

    def test_bye_ends_the_membership(self, plane: Plane, pair: Pair) -> None:
        caller, provider = pair
        provider.say(wire.BYE, body=encode({"reason": "unload"}))
        plane.until(lambda: ("left", "provider", "unload") in plane.notices)
        caller.say(wire.CALL, CAPABILITY, 1)
        assert caller.expect(wire.ERROR, 1)[1]["code"] == "unavailable"


class TestConsoles:
    def test_several_consoles_join_with_one_secret(self, plane: Plane) -> None:
        secret = os.urandom(16)
        plane.control.add_consoles("console", secret, CALLS)
        _, endpoint = plane.admit("unused")
        provider = plane.join("provider", PROVIDES)
        consoles = [Connection(plane, secret + os.urandom(16), endpoint) for _ in range(3)]
        for request, console in enumerate(consoles, 1):
            console.say(wire.HELLO, body=hello())
            console.expect(wire.WELCOME)
            open_flow(console, provider, request)
        old = Connection(plane, secret + os.urandom(16), endpoint)
        old.send(encode([2, wire.HELLO, None, 0, 0, None]), b"")
        assert old.expect(wire.BYE)[1] == {"reason": "protocol"}
        wrong = Connection(plane, os.urandom(32), endpoint)
        wrong.say(wire.HELLO, body=hello())
        plane.counted("unknown-identity")
        assert not [notice for notice in plane.notices if "console" in notice[1]]


class TestCalls:
    def test_the_first_call_by_name_reaches_the_provider_with_a_flow_and_its_meaning(
        self, pair: Pair
    ) -> None:
        caller, provider = pair
        caller.send(
            encode_header(wire.CALL, CAPABILITY, 7, 60_000, "put", {"trace": "t", "cap": "lie/1"}),
            encode({"a": 1}),
        )
        head, args = provider.expect(wire.CALL, 7)
        assert isinstance(head.target, int)
        assert (head.ttl, head.method, args) == (60_000, "put", {"a": 1})
        assert head.options == {"trace": "t", "cap": CAPABILITY}

    def test_later_calls_by_number_pass_as_the_very_bytes(self, pair: Pair) -> None:
        caller, provider = pair
        flow = open_flow(caller, provider)
        body = os.urandom(100_000)
        caller.send(encode_header(wire.CALL, flow, 2, 0, "m", {"x": 1}), body)
        head, received = provider.receive()
        assert (head.target, head.request, head.options, received) == (flow, 2, {"x": 1}, body)

    def test_a_caller_cannot_change_what_a_flow_means(self, pair: Pair) -> None:
        caller, provider = pair
        flow = open_flow(caller, provider)
        caller.send(encode_header(wire.CALL, flow, 2, 0, None, {"cap": "other/1"}), b"\x80")
        head, _ = provider.expect(wire.CALL, 2)
        assert head.options == {"cap": CAPABILITY}

    def test_progress_comes_before_the_result(self, pair: Pair) -> None:
        caller, provider = pair
        caller.say(wire.CALL, CAPABILITY, 1)
        head, _ = provider.expect(wire.CALL)
        done = {"done": 1, "total": None, "message": "m"}
        provider.say(wire.PROGRESS, head.target, 1, body=encode(done))
        provider.say(wire.ERROR, head.target, 1, body=encode({"code": "failed"}))
        assert caller.expect(wire.PROGRESS, 1)[1] == done
        assert caller.expect(wire.ERROR, 1)[1] == {"code": "failed"}

    def test_a_second_answer_is_dropped_and_counted(self, plane: Plane, pair: Pair) -> None:
        caller, provider = pair
        flow = open_flow(caller, provider)
        provider.say(wire.RESULT, flow, 1, body=encode("again"))
        provider.say(wire.PROGRESS, flow, 1, body=encode("again"))
        provider.say(wire.ERROR, flow + 99, 1, body=encode("again"))
        provider.fence()
        assert caller.fence() == []
        plane.counted("stray-answer", 3)

    def test_only_the_provider_of_a_call_can_answer_it(self, plane: Plane, pair: Pair) -> None:
        caller, provider = pair
        other = plane.join("other", PROVIDES)
        caller.say(wire.CALL, CAPABILITY, 1)
        ends = {"provider": provider, "other": other}
        plane.until(lambda: bool(plane.control.flow_rows()))
        (row,) = plane.control.flow_rows()  # whom the flow leads to
        number, name = row.stats.number, row.provider
        intruder = ends["other" if name == "provider" else "provider"]
        intruder.say(wire.RESULT, number, 1, body=encode("forged"))
        intruder.fence()
        ends[name].expect(wire.CALL, 1)
        ends[name].say(wire.RESULT, number, 1, body=encode("true"))
        assert caller.expect(wire.RESULT, 1)[1] == "true"

    def test_a_flow_of_another_caller_is_refused(self, plane: Plane, pair: Pair) -> None:
        caller, provider = pair
        flow = open_flow(caller, provider)
        thief = plane.join("thief", CALLS)
        thief.say(wire.CALL, flow, 5)
        assert thief.expect(wire.ERROR, 5)[1]["code"] == "refused"
        assert provider.fence() == []
        assert plane.control.refusals["thief", "flow", "not-yours"] == 1

    def test_a_capability_that_was_not_granted_is_refused_and_counted(self, plane: Plane) -> None:
        plane.join("provider", PROVIDES)
        peer = plane.join("p")
        peer.say(wire.CALL, CAPABILITY, 1)
        error = peer.expect(wire.ERROR, 1)[1]
        assert (error["code"], error["fault"]) == ("refused", "caller")
        assert plane.control.refusals["p", CAPABILITY, "calls"] == 1

    def test_without_a_provider_a_call_is_unavailable(self, plane: Plane) -> None:
        peer = plane.join("p", CALLS)
        peer.say(wire.CALL, CAPABILITY, 1)
        assert peer.expect(wire.ERROR, 1)[1]["code"] == "unavailable"

    def test_a_revoked_flow_is_looked_up_anew_silently(self, plane: Plane, pair: Pair) -> None:
        caller, provider = pair
        flow = open_flow(caller, provider)
        other = plane.join("other", PROVIDES)  # a new provider revokes every flow
        plane.control.remove("provider")
        assert caller.fence() == []  # from here on both are in force
        caller.say(wire.CALL, flow, 2, body=encode({}))
        head, _ = other.expect(wire.CALL, 2)
        assert head.options == {"cap": CAPABILITY}
        other.say(wire.RESULT, head.target, 2, body=encode("new"))
        assert caller.expect(wire.RESULT, 2)[1] == "new"

    def test_a_key_works_on_a_flow_that_leads_to_its_provider(
        self, plane: Plane, pair: Pair
    ) -> None:
        caller, provider = pair
        flow = open_flow(caller, provider)
        for request in (5, 6):
            caller.say(wire.CALL, flow, request, body=encode({}), options={"idem": "once"})
        head, _ = provider.expect(wire.CALL)
        provider.say(wire.RESULT, head.target, head.request, body=encode("done"))
        assert [caller.expect(wire.RESULT)[0].request for _ in range(2)] == [5, 6]
        assert provider.fence() == []

    def test_an_open_call_survives_the_revocation_of_its_flow(
        self, plane: Plane, pair: Pair
    ) -> None:
        caller, provider = pair
        caller.say(wire.CALL, CAPABILITY, 1)
        head, _ = provider.expect(wire.CALL, 1)
        plane.join("other", PROVIDES)
        provider.say(wire.RESULT, head.target, 1, body=encode("late"))
        assert caller.expect(wire.RESULT, 1)[1] == "late"

    def test_request_numbers_must_be_positive_and_unused(self, plane: Plane, pair: Pair) -> None:
        caller, provider = pair
        flow = open_flow(caller, provider)
        for request in (2, 2, 0):
            caller.say(wire.CALL, flow, request)
        assert caller.fence() == []
        plane.counted("bad-request-number", 2)

    def test_providers_share_the_callers(self, plane: Plane) -> None:
        providers = [plane.join(f"p{n}", PROVIDES) for n in range(2)]
        for n in range(4):
            plane.join(f"c{n}", CALLS).say(wire.CALL, CAPABILITY, 1)
        for provider in providers:
            provider.expect(wire.CALL, 1)
            provider.expect(wire.CALL, 1)


class TestEndsOfCalls:
    def test_the_deadline_ends_a_call_and_cancels_the_provider(
        self, plane: Plane, pair: Pair
    ) -> None:
        caller, provider = pair
        flow = open_flow(caller, provider)
        caller.send(encode_header(wire.CALL, flow, 2, 300), b"")
        provider.expect(wire.CALL, 2)
        plane.advance(0.2)
        assert caller.fence() == []
        plane.advance(0.2)
        assert caller.expect(wire.ERROR, 2)[1]["code"] == "deadline"
        assert provider.expect(wire.CANCEL, 2)[0].target == flow
        provider.say(wire.RESULT, flow, 2)
        plane.counted("late-answer")

    @pytest.mark.parametrize("by_name", [True, False])
    def test_cancel_reaches_the_provider_whose_answer_ends_the_call(
        self, pair: Pair, by_name: bool
    ) -> None:
        caller, provider = pair
        flow = open_flow(caller, provider)
        caller.say(wire.CALL, flow, 2)
        caller.say(wire.CANCEL, CAPABILITY if by_name else flow, 2)
        provider.expect(wire.CALL, 2)
        assert provider.expect(wire.CANCEL, 2)[0].target == flow
        provider.say(wire.ERROR, flow, 2, body=encode({"code": "cancelled"}))
        assert caller.expect(wire.ERROR, 2)[1] == {"code": "cancelled"}

    def test_cancel_right_behind_the_first_call_is_not_lost(self, pair: Pair) -> None:
        caller, provider = pair
        caller.say(wire.CALL, CAPABILITY, 1)
        caller.say(wire.CANCEL, CAPABILITY, 1)
        provider.expect(wire.CALL, 1)
        provider.expect(wire.CANCEL, 1)

    @pytest.mark.parametrize("revoked", [False, True])
    def test_nor_is_credit(self, plane: Plane, pair: Pair, revoked: bool) -> None:
        caller, provider = pair
        target: int | str = CAPABILITY
        if revoked:
            target = open_flow(caller, provider)
            plane.join("another", Grants(provides=frozenset({"test.other/1"})))
        caller.say(wire.CALL, target, 9, options={"stream": 1})
        caller.say(wire.CREDIT, target, 9, body=encode(2))
        flow = provider.expect(wire.CALL, 9)[0].target
        head, more = provider.expect(wire.CREDIT, 9)
        assert (head.target, more) == (flow, 2)
        for part in range(3):
            provider.say(wire.CHUNK, flow, 9, body=encode(part))
            assert caller.expect(wire.CHUNK, 9)[1] == part

    def test_calls_to_a_provider_that_ended_are_crashed(self, plane: Plane, pair: Pair) -> None:
        caller, provider = pair
        caller.say(wire.CALL, CAPABILITY, 1)
        provider.expect(wire.CALL, 1)
        provider.close()
        plane.control.remove("provider")
        error = caller.expect(wire.ERROR, 1)[1]
        assert (error["code"], error["where"]) == ("crashed", "provider")

    def test_calls_of_a_caller_that_ended_are_cancelled(self, plane: Plane, pair: Pair) -> None:
        caller, provider = pair
        caller.say(wire.CALL, CAPABILITY, 1)
        provider.expect(wire.CALL, 1)
        plane.control.remove("caller")
        provider.expect(wire.CANCEL, 1)

    def test_what_is_sent_to_a_disconnected_peer_waits_for_it(
        self, plane: Plane, pair: Pair
    ) -> None:
        caller, provider = pair
        flow = open_flow(caller, provider)
        provider.close()
        sent = 1
        while not plane.queued("provider"):  # until the transport has noticed
            sent += 1
            caller.say(wire.CALL, flow, sent)
            caller.fence()
        back = Connection(plane, provider.identity, provider.endpoint)
        assert back.receive()[0].request >= sent - 1
        plane.until(lambda: not plane.queued("provider"))
        back.say(wire.RESULT, flow, sent, body=encode("back"))
        assert caller.expect(wire.RESULT, sent)[1] == "back"

    def test_too_many_open_calls_are_overloaded(self, pair: Pair) -> None:
        caller, provider = pair
        flow = open_flow(caller, provider)
        for request in range(2, wire.MAX_OPEN_CALLS + 3):
            caller.say(wire.CALL, flow, request)
        _, error = caller.expect(wire.ERROR, wire.MAX_OPEN_CALLS + 2)
        assert error["code"] == "overloaded"
        assert error["retry_after_ms"] > 0


class TestBrokenMessages:
    @pytest.mark.parametrize(
        ("frames", "reason"),
        [
            ((b"",), "frames"),
            ((b"x",), "frames"),
            ((encode_header(wire.HEARTBEAT), b"", b""), "frames"),
            ((encode_header(wire.HEARTBEAT), *(b"" for _ in range(50))), "frames"),
            ((b"", b""), "undecodable"),
            ((b"\xc1garbage", b""), "undecodable"),
            ((encode([1, 16, None, 0, 0, None]), b""), "undecodable"),
            ((encode([2, 3, None, 0, 0, None]), b""), "undecodable"),
            ((encode([1, wire.CALL, CAPABILITY, 1, 0, "Open"]), b""), "undecodable"),
            ((b"x" * (wire.MAX_HEADER + 1), b""), "oversize"),
            ((encode_header(wire.WELCOME), b""), "wrong-side"),
            ((encode_header(wire.ACTIVATE, None, 1), b""), "wrong-side"),
            ((encode_header(wire.UNLOAD), b""), "wrong-side"),
        ],
    )
    def test_they_are_dropped_and_counted_and_hurt_nobody(
        self, plane: Plane, pair: Pair, frames: tuple[bytes, ...], reason: str
    ) -> None:
        caller, provider = pair
        flow = open_flow(caller, provider)
        attacker = plane.join("attacker")
        for request in range(2, 12):
            attacker.send(*frames)
            caller.say(wire.CALL, flow, request)
        for request in range(2, 12):
            provider.expect(wire.CALL, request)
        assert attacker.fence() == []
        plane.counted(reason, 10)

    def test_options_of_a_wrong_type_are_dropped(self, plane: Plane, pair: Pair) -> None:
        caller, provider = pair
        flow = open_flow(caller, provider)
        wrong: list[dict[str, object]] = [{"idem": "k" * 129}, {"idem": 1}, {"trace": b"t"}]
        for request, options in enumerate([*wrong, {"cap": "No Name"}], 2):
            caller.send(encode_header(wire.CALL, flow, request, 0, None, options), b"")
        assert caller.fence() == provider.fence() == []
        plane.counted("undecodable", 4)

    def test_one_that_sends_too_many_frames_in_one_message_is_cut_off(
        self, plane: Plane, pair: Pair
    ) -> None:
        caller, provider = pair
        flow = open_flow(caller, provider)
        provider.send(*[b""] * wire.MAX_FRAMES)
        assert provider.fence() == []
        caller.say(wire.CALL, flow, 2)
        provider.expect(wire.CALL, 2)
        provider.send(*[b""] * (wire.MAX_FRAMES + 1))
        assert caller.expect(wire.ERROR, 2)[1]["code"] == "crashed"
        assert ("rejected", "provider", "violation") in plane.notices
        assert plane.control.refusals["provider", "message", "violation"] == 1
        assert provider.expect(wire.BYE)[1] == {"reason": "violation"}
        provider.say(wire.RESULT, flow, 2)
        plane.counted("unknown-identity")
        plane.counted("frames", 2)

    def test_messages_of_any_number_of_frames_never_cost_others_theirs(
        self, plane: Plane, pair: Pair
    ) -> None:
        caller, provider = pair
        flow = open_flow(caller, provider)
        attacker = plane.join("attacker")
        known = attacker.identity
        chance = random.Random(7)  # noqa: S311 - repeatable, not secret
        pieces = [
            known,
            b"",
            b"\xc1",
            encode_header(wire.HEARTBEAT),
            encode([1, 4, flow, 9, 0, None]),
        ]
        for request in range(2, 300):
            for _ in range(chance.randrange(4)):
                attacker.send(*chance.choices(pieces, k=chance.choice([1, 1, 3, 4, 5, 6])))
            caller.say(wire.CALL, flow, request, body=encode(request))
        for request in range(2, 300):
            assert provider.expect(wire.CALL, request)[1] == request
            provider.say(wire.RESULT, flow, request, body=encode(request))
        for request in range(2, 300):
            assert caller.expect(wire.RESULT, request)[1] == request

    def test_a_body_over_the_limit_costs_its_sender_the_connection_only(
        self, plane: Plane, pair: Pair
    ) -> None:
        caller, provider = pair
        flow = open_flow(caller, provider)
        attacker = plane.join("attacker")
        attacker.say(wire.HEARTBEAT, body=bytes(wire.MAX_BODY + 1))
        caller.say(wire.CALL, flow, 2, body=bytes(wire.MAX_BODY))
        assert len(provider.receive()[1]) == wire.MAX_BODY


class TestSlowReaders:
    def test_one_that_does_not_read_never_blocks_the_others(self, plane: Plane, pair: Pair) -> None:
        caller, provider = pair
        flow = open_flow(caller, provider)
        slow = plane.join("slow", Grants(provides=frozenset({"slow.thing/1"})))
        flooder = plane.join("flooder", Grants(calls=frozenset({"slow.thing/1"})))
        body = bytes(200_000)
        flooder.say(wire.CALL, "slow.thing/1", 1, body=body)
        flooder.fence()
        plane.until(lambda: [row.calls for row in plane.datapath.flows()] == [1, 1])
        (number,) = {row.stats.number for row in plane.control.flow_rows()} - {flow}
        for request in range(2, 900):
            flooder.say(wire.CALL, number, request, body=body)
        caller.say(wire.CALL, flow, 2)
        provider.expect(wire.CALL, 2)
        for request in range(900, 1000):
            flooder.say(wire.CALL, number, request, body=body)
        _, error = flooder.expect(wire.ERROR)
        assert error["code"] == "overloaded"
        assert plane.count("queue-full") >= 1
        first, _ = slow.receive()
        assert first.request == 1
        second, _ = slow.receive()
        assert second.request == 2


class TestEvents:
    def test_they_need_a_permission_on_both_sides(self, plane: Plane) -> None:
        topic = "run.finished"
        publisher = plane.join("publisher", Grants(publishes=frozenset({topic})))
        mute = plane.join("mute")
        subscriber = plane.join("subscriber", Grants(subscribes=frozenset({topic})))
        deaf = plane.join("deaf")
        subscriber.say(wire.SUBSCRIBE, topic, 1, body=encode(True))
        subscriber.expect(wire.RESULT, 1)
        deaf.say(wire.SUBSCRIBE, topic, 1, body=encode(True))
        assert deaf.expect(wire.ERROR, 1)[1]["code"] == "refused"
        mute.say(wire.EVENT, topic, body=encode("forged"))
        mute.fence()
        publisher.say(wire.EVENT, topic, body=encode("true"))
        head, value = subscriber.expect(wire.EVENT)
        assert (head.target, value) == (topic, "true")
        assert deaf.fence() == []
        assert plane.control.refusals["mute", topic, "publishes"] == 1


class TestLiveness:
    def test_a_heartbeat_is_answered_with_one(self, plane: Plane) -> None:
        peer = plane.join("p")
        peer.say(wire.HEARTBEAT)
        peer.expect(wire.HEARTBEAT)

    def test_silence_for_the_whole_window_is_reported_once(self, plane: Plane) -> None:
        plane.join("quiet")
        loud = plane.join("loud")
        for _ in range(8):
            plane.advance(0.8)
            loud.fence()
        plane.until(lambda: ("silent", "quiet") in plane.notices)
        plane.advance(3)
        plane.pump()
        assert plane.notices.count(("silent", "quiet")) == 1
        assert ("silent", "loud") not in plane.notices

    def test_a_pause_of_the_hub_itself_kills_nobody(self, plane: Plane) -> None:
        peer = plane.join("p")
        plane.clock.now += 3_600
        plane.tick()
        peer.fence()
        plane.pump()
        assert ("silent", "p") not in plane.notices


class TestCuttingOff:
    def test_unbinding_an_endpoint_cuts_its_connection(self, plane: Plane) -> None:
        peer = plane.join("p")
        other = plane.join("other")
        with peer.cut():
            plane.datapath.unbind(peer.endpoint)
        other.fence()
        peer.say(wire.HEARTBEAT)  # may slip through while the transport cuts the connection
        with suppress(AssertionError):
            peer.receive(0.05)
        before = plane.datapath.counters()
        peer.say(wire.HEARTBEAT)
        with pytest.raises(AssertionError, match="nothing came"):
            peer.receive(0.05)
        assert plane.datapath.counters() == before

    def test_an_expelled_peer_is_unknown(self, plane: Plane) -> None:
        peer = plane.join("p")
        plane.control.remove("p")
        plane.tick()  # the datapath has taken the command when this returns
        peer.say(wire.HEARTBEAT)
        plane.counted("unknown-identity")

    def test_an_endpoint_that_cannot_be_had_is_an_error(self, plane: Plane) -> None:
        peer = plane.join("p")
        there = peer.endpoint if peer.endpoint.startswith("memory://") else "ipc:///none/such"
        with pytest.raises(BusError) as caught:
            plane.datapath.bind(there)
        assert caught.value.code == "io"
        peer.fence()


class TestKernelAsPeer:
    def kernel_call(self, plane: Plane, instance: str = "") -> tuple[KernelCall, list[object]]:
        ends: list[object] = []
        return KernelCall(instance, None, ends.append, ends.append, ends.append), ends

    def test_the_kernel_calls_an_instance(self, plane: Plane) -> None:
        provider = plane.join("p", PROVIDES)
        call, ends = self.kernel_call(plane)
        plane.control.call(CAPABILITY, "m", encode({"a": 1}), 0, call)
        head, args = provider.expect(wire.CALL)
        assert (head.method, head.options, args) == ("m", {"cap": CAPABILITY}, {"a": 1})
        provider.say(wire.RESULT, head.target, head.request, body=encode(42))
        plane.until(lambda: ends == [42])

    def test_a_removed_instance_ends_calls_and_activations_of_the_kernel(
        self, plane: Plane
    ) -> None:
        plane.join("p", PROVIDES)
        (call, ends), (activation, others) = self.kernel_call(plane), self.kernel_call(plane, "p")
        plane.control.call(CAPABILITY, None, encode({}), 0, call)
        plane.control.activate(Activate({}, {}), 0, activation)
        plane.control.remove("p")
        plane.until(lambda: bool(ends and others))
        assert [error.code for error in (*ends, *others)] == ["crashed", "crashed"]  # type: ignore[attr-defined]

    def test_activate_is_answered_without_a_flow(self, plane: Plane) -> None:
        peer, other = plane.join("p"), plane.join("other")
        call, ends = self.kernel_call(plane, "p")
        plane.control.activate(Activate({"a": 1}, {}), 0, call)
        head, body = peer.expect(wire.ACTIVATE)
        assert body == {"config": {"a": 1}, "params": {}}
        other.say(wire.RESULT, None, head.request, body=encode("forged"))
        other.fence()
        peer.say(wire.RESULT, None, head.request, body=encode(None))
        plane.until(lambda: ends == [None])

    def test_the_kernel_serves_a_capability(self, plane: Plane) -> None:
        plane.control.serve("kernel.console/1")
        peer = plane.join("p", Grants(calls=frozenset({"*"})))
        peer.send(encode_header(wire.CALL, "kernel.console/1", 1, 5_000), encode({"x": 1}))
        plane.until(lambda: bool(plane.local_calls))
        call = plane.local_calls[0]
        assert (call.caller, call.capability, call.method) == ("p", "kernel.console/1", "call")
        plane.control.answer(call, wire.RESULT, encode("served"))
        assert peer.expect(wire.RESULT, 1)[1] == "served"

    def test_unload_is_passed_on(self, plane: Plane) -> None:
        peer = plane.join("p")
        plane.control.unload("p", 250)
        assert peer.expect(wire.UNLOAD)[1] == {"grace_ms": 250}
