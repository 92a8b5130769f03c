"""What the control plane decides beyond plain calls: over the datapath in memory, in told time."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from symphony.bus import wire
from symphony.bus.codec import encode, encode_header
from symphony.bus.errors import BusError
from symphony.bus.grants import Grants, Limit
from symphony.bus.kernelcalls import KernelCall
from symphony.bus.memory import MemoryDatapath
from symphony.bus.messages import Activate

from .conftest import CAPABILITY, Clock, Connection, Plane, hello

CALLS = Grants(calls=frozenset({CAPABILITY}), owner="callers")
PROVIDES = Grants(provides=frozenset({CAPABILITY}))
SAFE = Grants(provides=frozenset({CAPABILITY}), safe=frozenset({CAPABILITY}))
TOPIC = "run.finished"
READS = Grants(subscribes=frozenset({TOPIC}))
WRITES = Grants(publishes=frozenset({TOPIC}))


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Plane]:
    clock = Clock()
    plane = Plane(tmp_path, MemoryDatapath(clock=clock), clock)
    yield plane
    plane.close()


def once(
    caller: Connection,
    request: int,
    key: str = "k",
    body: bytes = b"\x80",
    ttl: int = 0,
    **options: object,
) -> None:
    """A call with an idempotency key."""
    options = {"idem": key, **options}
    caller.send(encode_header(wire.CALL, CAPABILITY, request, ttl, None, options), body)


def ask(caller: Connection, request: int, target: int | str = CAPABILITY) -> None:
    """A plain call."""
    caller.say(wire.CALL, target, request, body=encode({}))


def answer(provider: Connection, value: object = "ok") -> int:
    """Answers the next call; returns its request number."""
    head, _ = provider.expect(wire.CALL)
    provider.say(wire.RESULT, head.target, head.request, body=encode(value))
    return head.request


def fail(provider: Connection, code: str = "failed") -> int:
    """Answers the next call with an error; returns its request number."""
    head, _ = provider.expect(wire.CALL)
    error = BusError(code, "no").to_body()
    provider.say(wire.ERROR, head.target, head.request, body=encode(error))
    return head.request


def kernel_call(instance: str = "") -> tuple[KernelCall, list[Any]]:
    ends: list[Any] = []
    return KernelCall(instance, None, ends.append, ends.append, on_chunk=ends.append), ends


class TestKeys:
    def test_the_same_key_gives_the_result_without_a_second_call(self, memory: Plane) -> None:
        provider, caller = memory.join("provider", PROVIDES), memory.join("caller", CALLS)
        once(caller, 1)
        answer(provider, 42)
        assert caller.expect(wire.RESULT, 1)[1] == 42
        once(caller, 2)
        assert caller.expect(wire.RESULT, 2)[1] == 42
        assert provider.fence() == []

    def test_while_the_first_runs_the_second_waits(self, memory: Plane) -> None:
        provider, caller = memory.join("provider", PROVIDES), memory.join("caller", CALLS)
        twin = memory.join("twin", CALLS)  # another instance of the same extension
        once(caller, 1)
        once(caller, 2)
        once(twin, 1)
        memory.pump()
        answer(provider, "x")
        assert caller.expect(wire.RESULT, 1)[1] == "x"
        assert caller.expect(wire.RESULT, 2)[1] == "x"
        assert twin.expect(wire.RESULT, 1)[1] == "x"
        assert provider.fence() == []

    def test_extensions_do_not_share_keys(self, memory: Plane) -> None:
        provider, caller = memory.join("provider", PROVIDES), memory.join("caller", CALLS)
        other = memory.join("other", Grants(calls=frozenset({CAPABILITY}), owner="others"))
        once(caller, 1)
        answer(provider, "mine")
        once(other, 1)
        answer(provider, "its")
        assert caller.expect(wire.RESULT, 1)[1] == "mine"
        assert other.expect(wire.RESULT, 1)[1] == "its"

    @pytest.mark.parametrize("answered", [True, False])
    def test_another_call_with_the_same_key_is_a_conflict(
        self, memory: Plane, answered: bool
    ) -> None:
        provider, caller = memory.join("provider", PROVIDES), memory.join("caller", CALLS)
        once(caller, 1)
        if answered:
            answer(provider)
            caller.expect(wire.RESULT, 1)
        once(caller, 2, body=encode({"other": 1}))
        assert caller.expect(wire.ERROR, 2)[1]["code"] == "conflict"

    def test_an_error_is_not_remembered(self, memory: Plane) -> None:
        provider, caller = memory.join("provider", PROVIDES), memory.join("caller", CALLS)
        once(caller, 1)
        fail(provider)
        assert caller.expect(wire.ERROR, 1)[1]["code"] == "failed"
        once(caller, 2)
        answer(provider)
        caller.expect(wire.RESULT, 2)

    def test_but_the_same_call_sent_again_gets_it_again(self, memory: Plane) -> None:
        """Its caller has not got the answer; the work was done."""
        provider, caller = memory.join("provider", PROVIDES), memory.join("caller", CALLS)
        once(caller, 1)
        fail(provider)
        told = caller.expect(wire.ERROR, 1)[1]
        once(caller, 2)
        answer(provider, "anew")
        caller.expect(wire.RESULT, 2)
        once(caller, 1, again=True)
        assert caller.expect(wire.ERROR, 1)[1] == told
        once(caller, 2, again=True)
        assert caller.expect(wire.RESULT, 2)[1] == "anew"
        assert provider.fence() == []

    @pytest.mark.parametrize("code", ["deadline", "cancelled"])
    def test_nor_is_a_call_done_twice_that_ended_before_its_answer(
        self, memory: Plane, code: str
    ) -> None:
        provider, caller = memory.join("provider", PROVIDES), memory.join("caller", CALLS)
        once(caller, 1, ttl=2_000 if code == "deadline" else 0)
        head, _ = provider.expect(wire.CALL)
        if code == "deadline":
            memory.clock.now += 2.0
            memory.control.tick()
        else:
            caller.say(wire.CANCEL, CAPABILITY, 1)
        assert caller.expect(wire.ERROR, 1)[1]["code"] == code
        provider.expect(wire.CANCEL)
        provider.say(wire.ERROR, head.target, head.request, body=b"\x80")
        once(caller, 1, again=True)
        assert caller.expect(wire.ERROR, 1)[1]["code"] == code
        assert provider.fence() == []

    def test_what_was_answered_long_ago_is_not_done_again(self, memory: Plane) -> None:
        provider, caller = memory.join("provider", PROVIDES), memory.join("caller", CALLS)
        for request in range(1, wire.MAX_ANSWERS + 2):
            once(caller, request)
            fail(provider)
            caller.expect(wire.ERROR, request)
        once(caller, 1, again=True)
        told = caller.expect(wire.ERROR, 1)[1]
        assert (told["code"], told["fault"]) == ("crashed", "kernel")
        assert provider.fence() == []

    def test_whoever_comes_back_is_somebody_else(self, memory: Plane) -> None:
        provider, caller = memory.join("provider", PROVIDES), memory.join("caller", CALLS)
        once(caller, 1)
        fail(provider)
        caller.expect(wire.ERROR, 1)
        memory.control.remove("caller")
        memory.datapath.unbind(caller.endpoint)
        caller = memory.join("caller", CALLS)
        once(caller, 1, again=True)
        answer(provider, "for the other")
        assert caller.expect(wire.RESULT, 1)[1] == "for the other"

    def test_a_crash_is_repeated_where_the_contract_allows_it(self, memory: Plane) -> None:
        first, caller = memory.join("first", SAFE), memory.join("caller", CALLS)
        once(caller, 1)
        first.expect(wire.CALL)
        second = memory.join("second", SAFE)
        memory.control.remove("first")
        answer(second, "repeated")
        assert caller.expect(wire.RESULT, 1)[1] == "repeated"

    def test_a_crash_is_not_repeated_where_it_does_not(self, memory: Plane) -> None:
        first, caller = memory.join("first", PROVIDES), memory.join("caller", CALLS)
        once(caller, 1)
        first.expect(wire.CALL)
        second = memory.join("second", PROVIDES)
        memory.control.remove("first")
        assert caller.expect(wire.ERROR, 1)[1]["code"] == "crashed"
        assert second.fence() == []

    def test_a_call_is_repeated_three_times_at_most(self, memory: Plane) -> None:
        caller = memory.join("caller", CALLS)
        providers = [memory.join(f"p{n}", SAFE) for n in range(6)]
        once(caller, 1)
        calls = 0
        for n in range(6):  # each that gets it ends; the turn goes by name
            memory.pump()
            memory.pump()  # the end of the former one, reported meanwhile
            seen = [head for head in providers[n].fence() if head.kind == wire.CALL]
            calls += len(seen)
            memory.control.remove(f"p{n}")
        assert caller.expect(wire.ERROR, 1)[1]["code"] == "crashed"
        assert calls == 4

    def test_the_deadline_of_each_who_waits_is_its_own(self, memory: Plane) -> None:
        provider, caller = memory.join("provider", PROVIDES), memory.join("caller", CALLS)
        once(caller, 1)
        once(caller, 2, ttl=500)
        memory.pump()
        assert memory.control.next_tick() == memory.clock.now + 0.5
        memory.clock.now += 0.6
        memory.control.tick()
        assert caller.expect(wire.ERROR, 2)[1]["code"] == "deadline"
        answer(provider)
        caller.expect(wire.RESULT, 1)

    def test_the_original_deadline_goes_to_the_provider(self, memory: Plane) -> None:
        provider, caller = memory.join("provider", PROVIDES), memory.join("caller", CALLS)
        once(caller, 1, ttl=5_000)
        head, _ = provider.expect(wire.CALL)
        assert head.ttl == 5_000
        memory.advance(5.2)
        memory.control.tick()
        assert provider.expect(wire.CANCEL)[0].request == head.request
        assert caller.expect(wire.ERROR, 1)[1]["code"] == "deadline"

    def test_who_came_later_gets_the_answer_that_is_late_for_the_first(self, memory: Plane) -> None:
        provider, caller = memory.join("provider", PROVIDES), memory.join("caller", CALLS)
        once(caller, 1, ttl=700)
        once(caller, 2, ttl=10_000)
        head, _ = provider.expect(wire.CALL)
        memory.advance(2)
        memory.control.tick()
        assert caller.expect(wire.ERROR, 1)[1]["code"] == "deadline"
        provider.say(wire.RESULT, head.target, head.request, body=encode("late"))
        assert caller.expect(wire.RESULT, 2)[1] == "late"
        assert provider.fence() == []

    def test_a_provider_that_kept_the_first_deadline_is_called_again(self, memory: Plane) -> None:
        provider, caller = memory.join("provider", PROVIDES), memory.join("caller", CALLS)
        once(caller, 1, ttl=700)
        once(caller, 2, ttl=10_000)
        head, _ = provider.expect(wire.CALL)
        memory.advance(0.8)
        memory.control.tick()
        assert caller.expect(wire.ERROR, 1)[1]["code"] == "deadline"
        late = BusError("deadline", "out of time").to_body()
        provider.say(wire.ERROR, head.target, head.request, body=encode(late))
        again, _ = provider.expect(wire.CALL)
        assert 9_000 < again.ttl < 9_300
        provider.say(wire.RESULT, again.target, again.request, body=encode("done"))
        assert caller.expect(wire.RESULT, 2)[1] == "done"

    def test_who_asks_while_a_call_is_being_ended_gets_one_of_its_own(self, memory: Plane) -> None:
        provider, caller = memory.join("provider", PROVIDES), memory.join("caller", CALLS)
        once(caller, 1)
        head, _ = provider.expect(wire.CALL)
        caller.say(wire.CANCEL, CAPABILITY, 1)
        assert caller.expect(wire.ERROR, 1)[1]["code"] == "cancelled"
        provider.expect(wire.CANCEL, head.request)
        once(caller, 2, ttl=10_000)
        memory.pump()
        assert provider.fence() == []  # not before the first has ended
        ended = BusError("cancelled", "ended").to_body()
        provider.say(wire.ERROR, head.target, head.request, body=encode(ended))
        answer(provider, "second")
        assert caller.expect(wire.RESULT, 2)[1] == "second"

    @pytest.mark.parametrize("safe", [False, True])
    def test_a_call_that_could_not_be_ended_is_done_again_only_if_that_is_safe(
        self, memory: Plane, safe: bool
    ) -> None:
        provider = memory.join("provider", SAFE if safe else PROVIDES)
        caller = memory.join("caller", CALLS)
        once(caller, 1)
        head, _ = provider.expect(wire.CALL)
        caller.say(wire.CANCEL, CAPABILITY, 1)
        caller.expect(wire.ERROR, 1)
        provider.expect(wire.CANCEL, head.request)
        once(caller, 2)
        memory.pump()
        memory.advance(wire.GRACE_MS / 1000 + 1)
        memory.pump()
        if safe:
            answer(provider, "again")
            assert caller.expect(wire.RESULT, 2)[1] == "again"
        else:
            _, error = caller.expect(wire.ERROR, 2)
            assert error["code"] == "crashed"
            assert "repeatable" not in error
            assert provider.fence() == []

    def test_after_a_new_start_of_the_hub_the_latest_deadline_counts(self, memory: Plane) -> None:
        provider, caller = memory.join("provider", PROVIDES), memory.join("caller", CALLS)
        once(caller, 1, ttl=700)
        once(caller, 2, ttl=10_000)
        memory.pump()
        head, _ = provider.expect(wire.CALL)
        memory.advance(0.8)
        memory.control.tick()
        TestStartingAnew().rejoin(memory, provider, caller)
        repeated, _ = provider.expect(wire.CALL)
        assert (repeated.request, repeated.options["again"]) == (head.request, True)
        assert 9_000 < repeated.ttl < 9_300

    def test_open_calls_of_one_extension_leave_room_for_others(self, memory: Plane) -> None:
        memory.join("provider", PROVIDES)
        for owner in range(wire.MAX_OPEN_CALLS // wire.MAX_IDEM_OPEN + 1):
            grants = Grants(calls=CALLS.calls, owner=f"o{owner}")
            caller = memory.join(f"c{owner}", grants)
            for request in range(1, wire.MAX_IDEM_OPEN + 2):
                once(caller, request, key=str(request))
            _, error = caller.expect(wire.ERROR, wire.MAX_IDEM_OPEN + 1)
            assert (error["code"], error["where"]) == ("overloaded", "idem")
            assert caller.fence() == []

    def test_the_last_who_cancels_ends_the_call(self, memory: Plane) -> None:
        provider, caller = memory.join("provider", PROVIDES), memory.join("caller", CALLS)
        once(caller, 1)
        once(caller, 2)
        head, _ = provider.expect(wire.CALL)
        caller.say(wire.CANCEL, CAPABILITY, 1)
        assert caller.expect(wire.ERROR, 1)[1]["code"] == "cancelled"
        assert provider.fence() == []
        caller.say(wire.CANCEL, CAPABILITY, 2)
        assert caller.expect(wire.ERROR, 2)[1]["code"] == "cancelled"
        provider.expect(wire.CANCEL, head.request)
        provider.say(wire.RESULT, head.target, head.request, body=encode("ready before"))
        once(caller, 3)
        assert caller.expect(wire.RESULT, 3)[1] == "ready before"

    def test_a_key_cannot_stream_and_is_not_empty(self, memory: Plane) -> None:
        caller = memory.join("caller", CALLS)
        options = {"idem": "k", "stream": 4}
        caller.send(encode_header(wire.CALL, CAPABILITY, 1, options=options), b"\x80")
        assert caller.expect(wire.ERROR, 1)[1]["where"] == "stream"
        once(caller, 2, key="")
        assert caller.expect(wire.ERROR, 2)[1]["where"] == "idem"

    def test_what_makes_a_header_too_long_is_refused_not_lost(self, memory: Plane) -> None:
        """The kernel adds the capability; a provider drops what is too long, and nobody answers."""
        caller, provider = memory.join("caller", CALLS), memory.join("provider", PROVIDES)

        def head(method: str) -> bytes:
            return encode_header(wire.CALL, CAPABILITY, 1, method=method, options={"idem": "k"})

        method = "m" * 300
        method += "m" * (wire.MAX_HEADER - len(head(method)))
        assert len(head(method)) == wire.MAX_HEADER
        caller.send(head(method), b"\x80")
        error = caller.expect(wire.ERROR, 1)[1]
        assert (error["code"], error["where"]) == ("bad-request", "header")
        with pytest.raises(BusError) as refused:
            memory.control.call(CAPABILITY, method + "m" * 20, b"\x80", 0, kernel_call()[0])
        assert (refused.value.code, refused.value.where) == ("bad-request", "header")
        once(caller, 2)
        assert answer(provider) > 0

    def test_progress_reaches_all_who_wait(self, memory: Plane) -> None:
        provider, caller = memory.join("provider", PROVIDES), memory.join("caller", CALLS)
        once(caller, 1)
        once(caller, 2)
        head, _ = provider.expect(wire.CALL)
        body = encode({"done": 1, "total": 2, "message": ""})
        provider.say(wire.PROGRESS, head.target, head.request, body=body)
        assert caller.expect(wire.PROGRESS, 1)[1]["done"] == 1
        assert caller.expect(wire.PROGRESS, 2)[1]["done"] == 1

    def test_the_limits_of_the_caller_hold(self, memory: Plane) -> None:
        limited = Grants(
            calls=frozenset({CAPABILITY}), owner="limited", limits={CAPABILITY: Limit(credit=1)}
        )
        memory.join("provider", PROVIDES)
        caller = memory.join("caller", limited)
        once(caller, 1, key="a")
        once(caller, 2, key="b")
        _, error = caller.expect(wire.ERROR, 2)
        assert (error["code"], error["repeatable"]) == ("overloaded", True)


class TestLimits:
    def test_a_rate_of_the_manifest_sheds(self, memory: Plane) -> None:
        limits = {CAPABILITY: Limit(rate=2.0, burst=1)}
        provider = memory.join("provider", PROVIDES)
        caller = memory.join("caller", Grants(calls=frozenset({CAPABILITY}), limits=limits))
        caller.say(wire.CALL, CAPABILITY, 1)
        caller.say(wire.CALL, CAPABILITY, 2)
        memory.pump()
        provider.expect(wire.CALL, 1)
        _, error = caller.expect(wire.ERROR, 2)
        assert (error["code"], error["retry_after_ms"]) == ("overloaded", 500)


class TestFigures:
    def test_a_flow_keeps_the_name_of_who_served_it_last(self, memory: Plane) -> None:
        memory.join("provider", PROVIDES)
        caller = memory.join("caller", CALLS)
        caller.say(wire.CALL, CAPABILITY, 1)
        memory.pump()
        memory.control.remove("provider")
        (row,) = memory.control.flow_rows()
        assert (row.caller, row.provider) == ("caller", "provider")
        memory.join("another", PROVIDES)
        caller.say(wire.CALL, CAPABILITY, 2)
        memory.pump()
        (row,) = memory.control.flow_rows()
        assert row.provider == "another"


class TestEvents:
    def subscribe(self, peer: Connection, begin: bool = True) -> None:
        peer.say(wire.SUBSCRIBE, TOPIC, 9, body=encode(begin))
        assert peer.expect(wire.RESULT, 9)[1] is None

    def test_events_are_numbered_and_go_to_those_who_subscribed(self, memory: Plane) -> None:
        reader, other = memory.join("reader", READS), memory.join("other", READS)
        writer = memory.join("writer", WRITES)
        self.subscribe(reader)
        for value in range(2):
            writer.say(wire.EVENT, TOPIC, body=encode(value))
        heads = [reader.expect(wire.EVENT) for _ in range(2)]
        assert [(head.request, value) for head, value in heads] == [(1, 0), (2, 1)]
        assert other.fence() == []
        self.subscribe(reader, begin=False)
        writer.say(wire.EVENT, TOPIC, body=encode(3))
        assert reader.fence() == []

    def test_a_late_subscriber_gets_what_was_kept(self, memory: Plane) -> None:
        writer = memory.join("writer", WRITES)
        writer.send(encode_header(wire.EVENT, TOPIC, options={"keep": True}), encode("kept"))
        writer.say(wire.EVENT, TOPIC, body=encode("not kept"))
        memory.pump()
        reader = memory.join("reader", READS)
        self.subscribe(reader)
        head, value = reader.expect(wire.EVENT)
        assert (head.request, value, head.options) == (1, "kept", {"snapshot": True})

    def test_what_is_no_topic_is_refused(self, memory: Plane) -> None:
        peer = memory.join("p", Grants(publishes=frozenset({"*"}), subscribes=frozenset({"*"})))
        for begin in (True, False):
            peer.say(wire.SUBSCRIBE, "No Topic", 1, body=encode(begin))
            assert peer.expect(wire.ERROR, 1)[1]["code"] == "bad-request"
        peer.say(wire.SUBSCRIBE, TOPIC, 2, body=encode("true"))
        assert peer.expect(wire.ERROR, 2)[1]["code"] == "bad-request"
        peer.say(wire.EVENT, "No Topic", body=encode(1))
        peer.fence()
        assert memory.control.refusals["p", "No Topic", "topic"] == 1
        with pytest.raises(BusError) as caught:
            memory.control.publish("no_topic", encode(1))
        assert caught.value.code == "bad-request"


class TestDeadLetters:
    def test_a_call_without_a_provider_is_one(self, memory: Plane) -> None:
        caller = memory.join("caller", CALLS)
        caller.send(encode_header(wire.CALL, CAPABILITY, 1, method="m"), encode({"a": 1}))
        assert caller.expect(wire.ERROR, 1)[1]["code"] == "unavailable"
        (letter,) = memory.letters
        assert (letter.kind, letter.sender, letter.addressee) == (wire.CALL, "caller", "")
        assert (letter.name, letter.method, letter.code) == (CAPABILITY, "m", "unavailable")
        assert letter.body == encode({"a": 1})

    def test_events_for_one_who_left_are(self, memory: Plane) -> None:
        reader, writer = memory.join("reader", READS), memory.join("writer", WRITES)
        reader.say(wire.SUBSCRIBE, TOPIC, 1, body=encode(True))
        reader.expect(wire.RESULT, 1)
        reader.close()
        writer.say(wire.EVENT, TOPIC, body=encode("unread"))
        writer.fence()
        memory.control.remove("reader")
        memory.pump()
        (letter,) = memory.letters
        assert (letter.kind, letter.sender, letter.addressee) == (wire.EVENT, "writer", "reader")
        assert (letter.name, letter.code, letter.body) == (TOPIC, "crashed", encode("unread"))


class TestKernelStreams:
    def test_the_kernel_takes_chunks_and_gives_credit(self, memory: Plane) -> None:
        provider = memory.join("provider", PROVIDES)
        call, seen = kernel_call()
        request = memory.control.call(CAPABILITY, None, b"\x80", 0, call, stream=1, trace="t")
        head, _ = provider.expect(wire.CALL)
        assert head.options == {"stream": 1, "cap": CAPABILITY, "trace": "t"}
        provider.say(wire.CHUNK, head.target, request, body=encode("a"))
        memory.pump()
        memory.control.credit(request, 1)
        assert provider.expect(wire.CREDIT, request)[1] == 1
        provider.say(wire.CHUNK, head.target, request, body=encode("b"))
        provider.say(wire.RESULT, head.target, request, body=encode("end"))
        memory.pump()
        assert seen == ["a", "b", "end"]

    def test_the_kernel_streams_to_a_caller(self, memory: Plane) -> None:
        memory.control.serve(CAPABILITY)
        caller = memory.join("caller", CALLS)
        options = {"stream": 2, "trace": "t"}
        caller.send(encode_header(wire.CALL, CAPABILITY, 1, options=options), b"\x80")
        memory.until(lambda: bool(memory.local_calls))
        (call,) = memory.local_calls
        assert (call.credit, call.trace, call.again) == (2, "t", False)
        memory.control.answer(call, wire.CHUNK, encode("a"))
        assert caller.expect(wire.CHUNK, 1)[1] == "a"
        caller.say(wire.CREDIT, call.number, 1, body=encode(1))
        memory.pump()
        assert memory.local_credits == [(call.number, 1, 1)]


class TestLongHeaders:
    def test_one_that_has_no_room_for_what_is_added_is_refused(self, memory: Plane) -> None:
        """Or the provider would drop it, and owe an answer to what it never got."""
        provider, caller = memory.join("provider", PROVIDES), memory.join("caller", CALLS)

        def header(request: int, length: int) -> bytes:
            return encode_header(wire.CALL, CAPABILITY, request, 0, None, {"other": "x" * length})

        most = wire.MAX_HEADER - len(header(1, 300)) + 300
        assert len(header(1, most)) == wire.MAX_HEADER
        caller.send(header(1, most), b"\x80")
        error = caller.expect(wire.ERROR, 1)[1]
        assert (error["code"], error["where"]) == ("bad-request", "header")
        caller.send(header(2, most - 100), b"\x80")
        provider.expect(wire.CALL, 2)


class TestHello:
    def test_one_that_is_said_again_before_its_welcome_counts_once(self, memory: Plane) -> None:
        peer = Connection(memory, *memory.admit("hasty", PROVIDES))
        for _ in range(5):
            peer.say(wire.HELLO, body=hello(CAPABILITY))
        memory.pump()
        assert memory.notices == [("registered", "hasty")]
        assert peer.expect(wire.WELCOME)[1]["instance"] == "hasty"
        assert peer.fence() == []


class TestOverdue:
    def test_who_does_not_end_a_cancelled_call_is_reported(self, memory: Plane) -> None:
        provider, caller = memory.join("provider", PROVIDES), memory.join("caller", CALLS)
        caller.say(wire.CALL, CAPABILITY, 1)
        provider.expect(wire.CALL, 1)
        caller.say(wire.CANCEL, CAPABILITY, 1)
        provider.expect(wire.CANCEL, 1)
        for _ in range(8):
            memory.advance(0.4)
            provider.fence()
            caller.fence()
        memory.pump()
        assert ("overdue", "provider") in memory.notices


class Deserted(MemoryDatapath):
    """Everybody has left it again."""

    def admit(self, peer: str, identity: bytes, *, console: bool = False) -> None:
        del peer, identity, console


def anew(plane: Plane, kind: type[MemoryDatapath] = MemoryDatapath) -> MemoryDatapath:
    """The hub goes on over a new datapath; returns it."""
    datapath = kind(clock=plane.clock)
    datapath.start(lambda: None, heartbeat_ms=1_000, liveness=5, grace_ms=2_000)
    plane.control.rejoin(datapath)
    plane.datapath = datapath
    return datapath


class TestStartingAnew:
    def rejoin(self, plane: Plane, *peers: Connection) -> None:
        datapath = anew(plane)
        for peer in peers:
            datapath.bind(peer.endpoint)
            peer._send, peer._receive, peer._close, peer._socket = plane.open(
                peer.identity, peer.endpoint
            )
            assert peer.expect(wire.WELCOME)[1]["epoch"] == plane.control.epoch

    def again(self, caller: Connection, request: int) -> None:
        header = encode_header(wire.CALL, CAPABILITY, request, options={"again": True})
        caller.send(header, b"\x80")

    def test_a_call_is_repeated_to_the_provider_that_has_it(self, memory: Plane) -> None:
        provider, caller = memory.join("provider", PROVIDES), memory.join("caller", CALLS)
        caller.say(wire.CALL, CAPABILITY, 1)
        head, _ = provider.expect(wire.CALL, 1)
        other = memory.join("another", PROVIDES)  # it would be chosen for a new call
        self.rejoin(memory, provider, caller, other)
        self.again(caller, 1)
        repeated, _ = provider.expect(wire.CALL, 1)
        assert repeated.target == head.target
        assert repeated.options == {"again": True, "cap": CAPABILITY}
        assert other.fence() == []
        provider.say(wire.RESULT, head.target, 1, body=encode("once"))
        assert caller.expect(wire.RESULT, 1)[1] == "once"

    def test_what_is_sent_again_does_not_overtake_what_was_sent(self, memory: Plane) -> None:
        """Else its provider would take the late one for a new call."""
        provider, caller = memory.join("provider", PROVIDES), memory.join("caller", CALLS)
        caller.say(wire.CALL, CAPABILITY, 1)
        number = int(provider.expect(wire.CALL, 1)[0].target)
        self.rejoin(memory, provider, caller)
        caller.say(wire.CALL, number, 2)  # for the old hub; the new one knows no flow
        caller.say(wire.CALL, number, 3)
        one, *others = memory.datapath.poll()
        memory.control.handle(one)  # installs the flow
        caller.say(wire.CALL, number, 3, options={"again": True})
        for upcall in others:
            memory.control.handle(upcall)
        calls = [provider.expect(wire.CALL)[0] for _ in range(3)]
        assert [call.request for call in calls] == [2, 3, 3]
        assert "again" not in calls[1].options

    @pytest.mark.parametrize("safe", [False, True])
    def test_a_call_from_before_its_flow_moved_is_not_done_by_another(
        self, memory: Plane, safe: bool
    ) -> None:
        """Its answer went missing with the hub, and who gave it no longer serves the flow."""
        contract = Grants(provides=PROVIDES.provides, safe=PROVIDES.provides if safe else ())
        provider = memory.join("provider", contract)
        callers = [memory.join(f"c{n}", CALLS) for n in range(4)]
        number = 0
        for caller in callers:
            caller.say(wire.CALL, CAPABILITY, 1)
            number = int(provider.expect(wire.CALL, 1)[0].target)
            provider.say(wire.RESULT, number, 1, body=encode(1))  # the caller may not get it
        other = memory.join("another", contract)
        caller = callers[-1]
        caller.say(wire.CALL, CAPABILITY, 2)
        other.expect(wire.CALL, 2)  # the flow has moved
        self.rejoin(memory, provider, other, *callers)
        caller.say(wire.CALL, number, 3)  # installs the flow anew
        other.expect(wire.CALL, 3)
        self.again(caller, 1)
        if safe:
            other.expect(wire.CALL, 1)
        else:
            assert caller.expect(wire.ERROR, 1)[1]["code"] == "crashed"
        self.again(caller, 2)
        other.expect(wire.CALL, 2)
        assert provider.fence() == []

    def test_a_busy_flow_stays_with_its_provider_for_that_reason(self, memory: Plane) -> None:
        provider = memory.join("provider", PROVIDES)
        callers = [memory.join(f"c{n}", CALLS) for n in range(4)]
        for caller in callers:
            caller.say(wire.CALL, CAPABILITY, 1)
            provider.expect(wire.CALL, 1)
        other = memory.join("another", PROVIDES)
        callers[0].say(wire.CALL, CAPABILITY, 2)
        provider.expect(wire.CALL, 2)  # although the other one has nothing to do
        head = memory.control.flow_rows()[1].stats.number
        provider.say(wire.RESULT, head, 1, body=encode(1))
        callers[1].expect(wire.RESULT, 1)
        callers[1].say(wire.CALL, CAPABILITY, 2)
        other.expect(wire.CALL, 2)  # an idle flow moves

    def test_a_call_whose_provider_is_gone_has_crashed(self, memory: Plane) -> None:
        provider, caller = memory.join("provider", PROVIDES), memory.join("caller", CALLS)
        caller.say(wire.CALL, CAPABILITY, 1)
        provider.expect(wire.CALL, 1)
        other = memory.join("another", PROVIDES)
        self.rejoin(memory, caller, other)
        memory.control.remove("provider")
        self.again(caller, 1)
        assert caller.expect(wire.ERROR, 1)[1]["code"] == "crashed"
        caller.say(wire.CALL, CAPABILITY, 2)
        other.expect(wire.CALL, 2)

    def test_what_the_kernel_waits_for_is_asked_again(self, memory: Plane) -> None:
        provider = memory.join("provider", PROVIDES)
        (call, ends), (activation, others) = kernel_call(), kernel_call("provider")
        request = memory.control.call(CAPABILITY, None, b"\x80", 9_000, call)
        number = memory.control.activate(Activate({}, {}), 0, activation)
        provider.expect(wire.CALL, request)
        provider.expect(wire.ACTIVATE, number)
        memory.clock.now += 1
        self.rejoin(memory, provider)
        head, _ = provider.expect(wire.CALL, request)
        assert (head.ttl, head.options) == (8_000, {"again": True, "cap": CAPABILITY})
        assert provider.expect(wire.ACTIVATE, number)[0].options == {"again": True}
        provider.say(wire.RESULT, head.target, request, body=encode("once"))
        provider.say(wire.RESULT, None, number, body=encode(None))
        memory.pump()
        assert (ends, others) == (["once"], [None])

    @pytest.mark.parametrize("kind", [MemoryDatapath, Deserted])
    def test_what_a_provider_may_have_done_is_not_repeatable_when_it_is_gone(
        self, memory: Plane, kind: type[MemoryDatapath]
    ) -> None:
        provider = memory.join("provider", PROVIDES)
        call, ends = kernel_call()
        request = memory.control.call(CAPABILITY, None, b"\x80", 0, call)
        provider.expect(wire.CALL, request)
        anew(memory, kind)
        memory.control.remove("provider")
        memory.pump()
        assert [(end.code, end.repeatable) for end in ends] == [("crashed", False)]

    def test_streams_of_the_kernel_end(self, memory: Plane) -> None:
        provider = memory.join("provider", PROVIDES)
        call, ends = kernel_call()
        request = memory.control.call(CAPABILITY, None, b"\x80", 0, call, stream=4)
        provider.expect(wire.CALL, request)
        self.rejoin(memory, provider)
        provider.expect(wire.CANCEL, request)
        assert [end.code for end in ends] == ["unavailable"]

    def test_keys_subscriptions_and_kept_events_are_remembered(self, memory: Plane) -> None:
        provider, caller = memory.join("provider", PROVIDES), memory.join("caller", CALLS)
        reader = memory.join("reader", READS)
        reader.say(wire.SUBSCRIBE, TOPIC, 1, body=encode(True))
        reader.expect(wire.RESULT, 1)
        once(caller, 1)
        once(caller, 2, key="open")
        answer(provider, "done")
        caller.expect(wire.RESULT, 1)
        provider.expect(wire.CALL)
        self.rejoin(memory, provider, caller, reader)
        head, _ = provider.expect(wire.CALL)
        for request, key in ((2, "open"), (3, "k")):
            options = {"idem": key, "again": True}
            caller.send(encode_header(wire.CALL, CAPABILITY, request, options=options), b"\x80")
        assert caller.expect(wire.RESULT, 3)[1] == "done"
        provider.say(wire.RESULT, head.target, head.request, body=encode("opened"))
        assert caller.expect(wire.RESULT, 2)[1] == "opened"
        memory.control.publish(TOPIC, encode(1))
        assert reader.expect(wire.EVENT)[0].request == 1

    def test_a_key_s_open_call_is_repeated_and_its_answers_are_known(self, memory: Plane) -> None:
        provider, caller = memory.join("provider", PROVIDES), memory.join("caller", CALLS)
        once(caller, 1)
        fail(provider)
        caller.expect(wire.ERROR, 1)  # as if it had gone with the hub
        once(caller, 2)
        first, _ = provider.expect(wire.CALL)
        self.rejoin(memory, provider, caller)
        repeated, _ = provider.expect(wire.CALL)
        assert (repeated.target, repeated.request) == (first.target, first.request)
        assert repeated.again
        once(caller, 1, again=True)
        once(caller, 2, again=True)
        assert caller.expect(wire.ERROR, 1)[1]["code"] == "failed"
        assert provider.fence() == []
        provider.say(wire.RESULT, repeated.target, repeated.request, body=encode("once"))
        assert caller.expect(wire.RESULT, 2)[1] == "once"

    def test_so_is_the_wish_to_end_it(self, memory: Plane) -> None:
        provider, caller = memory.join("provider", PROVIDES), memory.join("caller", CALLS)
        once(caller, 1)
        provider.expect(wire.CALL)
        caller.say(wire.CANCEL, CAPABILITY, 1)
        assert caller.expect(wire.ERROR, 1)[1]["code"] == "cancelled"
        provider.expect(wire.CANCEL)
        self.rejoin(memory, provider, caller)
        head, _ = provider.expect(wire.CALL)
        provider.expect(wire.CANCEL, head.request)

    def test_consoles_are_known_and_their_calls_go_on(self, memory: Plane) -> None:
        provider = memory.join("provider", PROVIDES)
        secret, own = bytes(range(16)), bytes(16)
        memory.control.add_consoles("console", secret, CALLS)
        console = Connection(memory, secret + own, provider.endpoint)
        console.say(wire.HELLO, body=encode({"protocol": 1, "sdk": "", "pid": 1, "provides": []}))
        console.expect(wire.WELCOME)
        console.say(wire.CALL, CAPABILITY, 1)
        head, _ = provider.expect(wire.CALL, 1)
        self.rejoin(memory, provider)
        console = Connection(memory, secret + own, provider.endpoint)
        welcome = console.expect(wire.WELCOME)[1]
        assert (welcome["instance"], welcome["epoch"]) == ("console/1", 2)
        other = Connection(memory, secret + bytes([1] * 16), provider.endpoint)
        other.say(wire.HELLO, body=encode({"protocol": 1, "sdk": "", "pid": 1, "provides": []}))
        assert other.expect(wire.WELCOME)[1]["instance"] == "console/2"
        self.again(console, 1)
        assert provider.expect(wire.CALL, 1)[0].target == head.target
        provider.say(wire.RESULT, head.target, 1, body=encode("once"))
        assert console.expect(wire.RESULT, 1)[1] == "once"


def test_answers_of_the_kernel_outlive_the_departure_of_others(memory: Plane) -> None:
    provider = memory.join("provider", PROVIDES)
    call, ends = kernel_call()
    request = memory.control.call(CAPABILITY, None, b"\x80", 0, call)
    head, _ = provider.expect(wire.CALL, request)
    for name in ("b", "c"):
        memory.join(name, Grants(provides=frozenset({f"other.{name}/1"})))
    for name in ("b", "c"):
        memory.control.remove(name)
    provider.say(wire.RESULT, head.target, request, body=encode("kept"))
    memory.pump()
    assert ends == ["kept"]


class TestOneProviderForOpenCalls:
    """A flow's calls may be repeated after a new start of the hub, each to whom it went before."""

    def crowd(self, memory: Plane) -> tuple[Connection, Connection, Connection]:
        """A caller with an open call at a provider of three flows, and one that has none."""
        old = memory.join("old", PROVIDES)
        caller = memory.join("caller", CALLS)
        for other in (memory.join("second", CALLS), memory.join("third", CALLS)):
            ask(other, 1)
            answer(old)
        ask(caller, 1)
        assert old.expect(wire.CALL)[0].request == 1
        return caller, old, memory.join("new", PROVIDES)

    def test_a_call_that_waited_goes_where_younger_ones_went(self, memory: Plane) -> None:
        caller, old, new = self.crowd(memory)
        ask(caller, 2)
        ask(caller, 3)
        first, waited = memory.datapath.poll()
        memory.control.handle(first)
        head, _ = old.expect(wire.CALL)
        assert head.request == 2
        ask(caller, 4, head.target)
        for request in (1, 2, 4):
            old.say(wire.RESULT, head.target, request, body=encode("ok"))
        memory.control.handle(waited)
        assert [told.request for told in old.fence()] == [4, 3]
        assert new.fence() == []

    def test_what_a_datapath_that_ended_had_open_stays_with_its_provider(
        self, memory: Plane, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        caller, old, new = self.crowd(memory)
        ask(caller, 2)
        (waited,) = memory.datapath.poll()
        with monkeypatch.context() as ended:
            ended.setattr(memory.datapath, "flows", list)
            memory.control.handle(waited)
        assert [told.request for told in old.fence()] == [2]
        assert new.fence() == []
