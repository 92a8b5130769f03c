"""What the hub remembers is bounded, and what is to take effect once does so once."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from symphony.bus import wire
from symphony.bus.admission import Admission, Rule
from symphony.bus.answers import FORGOTTEN, Answers
from symphony.bus.denials import MAX_ROWS, Denials
from symphony.bus.errors import BusError
from symphony.bus.idempotency import Idempotency, Scoped, fingerprint
from symphony.bus.topics import MAX_IDLE, MAX_SUBSCRIPTIONS, Topics

KEYS = st.builds(Scoped, st.sampled_from(["a", "b"]), st.sampled_from(["1", "2", "3"]))
PRINT = fingerprint("x.y/1", None, b"")


class OnceOnly(RuleBasedStateMachine):
    """Calls with keys, answered or failed at any time, in any order, as time passes."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.memory: Idempotency[int] = Idempotency(lambda: self.now)
        self.running: dict[Scoped, list[int]] = {}
        self.done: dict[Scoped, tuple[bytes, float]] = {}
        self.asked = 0

    @rule(key=KEYS)
    def call(self, key: Scoped) -> None:
        self.asked += 1
        known = self.done.get(key)
        result = self.memory.result(key, PRINT)
        if known is not None and self.now - known[1] < wire.IDEM_S:
            assert result == known[0]
            return
        assert result is None
        self.done.pop(key, None)
        starts = self.memory.wait(key, PRINT, self.asked)
        assert starts == (key not in self.running)  # never two calls for one key
        self.running.setdefault(key, []).append(self.asked)

    @precondition(lambda self: self.running)
    @rule(data=st.data(), size=st.integers(0, 3), good=st.booleans())
    def end(self, data: st.DataObject, size: int, good: bool) -> None:
        key = data.draw(st.sampled_from(sorted(self.running)))
        waiters = self.running.pop(key)
        if good:
            result = bytes(size)
            assert self.memory.succeed(key, result) == waiters
            self.done[key] = (result, self.now)
        else:
            assert self.memory.fail(key) == waiters

    @rule(key=KEYS)
    def other(self, key: Scoped) -> None:
        known = self.done.get(key)
        fresh = known is not None and self.now - known[1] < wire.IDEM_S
        if key in self.running or fresh:
            with pytest.raises(BusError, match="conflict"):
                self.memory.result(key, fingerprint("x.y/1", "other", b""))

    @rule(seconds=st.sampled_from([1.0, 300.0, 700.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @invariant()
    def bounded(self) -> None:
        assert len(self.memory) <= wire.MAX_IDEM_KEYS


TestOnceOnly = OnceOnly.TestCase


def test_keys_and_their_results_are_bounded() -> None:
    memory: Idempotency[int] = Idempotency(lambda: 0.0)
    for number in range(3_000):
        key = Scoped("a", str(number))
        assert memory.wait(key, PRINT, 1)
        memory.succeed(key, bytes(100_000))
        assert len(memory) <= wire.MAX_IDEM_KEYS
        assert memory.result_bytes <= wire.MAX_IDEM_BYTES
    assert memory.result(Scoped("a", "2999"), PRINT) is not None
    assert memory.result(Scoped("a", "0"), PRINT) is None


def test_too_many_running_calls_are_overloaded() -> None:
    memory: Idempotency[int] = Idempotency(lambda: 0.0)
    for number in range(wire.MAX_IDEM_KEYS):
        memory.wait(Scoped("a", str(number)), PRINT, 1)
    with pytest.raises(BusError) as caught:
        memory.wait(Scoped("a", "more"), PRINT, 1)
    assert (caught.value.code, caught.value.retry_after_ms) == ("overloaded", wire.RETRY_MS)


TOPICS = st.integers(0, 2_000).map(lambda n: f"t.n{n}")
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["publish", "keep", "subscribe", "unsubscribe", "forget"]),
        st.sampled_from(["p", "q"]),
        TOPICS,
    ),
    max_size=300,
)


@given(STEPS)
@settings(deadline=None)
def test_topics_say_what_a_plain_model_says(steps: list[tuple[str, str, str]]) -> None:
    topics = Topics()
    readers: dict[str, list[str]] = {}
    sequences: Counter[str] = Counter()
    kept: dict[str, int] = {}
    for what, peer, topic in steps:
        mine = readers.setdefault(topic, [])
        if what in ("publish", "keep"):
            sequences[topic] += 1
            sequence, found = topics.publish(topic, peer, b"x", keep=what == "keep")
            assert (sequence, found) == (sequences[topic], mine)
            assert topics.publisher(topic, sequence) == peer
            if what == "keep":
                kept[topic] = sequence
        elif what == "subscribe":
            snapshot = topics.subscribe(peer, topic)
            assert (snapshot.sequence if snapshot else None) == kept.get(topic)
            if peer not in mine:
                mine.append(peer)
        elif what == "unsubscribe":
            topics.unsubscribe(peer, topic)
            if peer in mine:
                mine.remove(peer)
        else:
            topics.forget(peer)
            for others in readers.values():
                if peer in others:
                    others.remove(peer)


def test_topics_never_grow() -> None:
    topics = Topics()
    for number in range(5_000):
        topics.publish(f"idle.n{number}", "p", b"x", keep=False)
        topics.publish(f"kept.n{number}", "p", b"x", keep=True)
    assert len(topics) <= MAX_IDLE + wire.MAX_KEPT_TOPICS
    taken = 0
    for number in range(1_000):
        try:
            topics.subscribe("p", f"read.n{number}")
            taken += 1
        except BusError as error:
            assert error.code == "overloaded"  # noqa: PT017 - the others are taken
    assert taken == MAX_SUBSCRIPTIONS
    topics.publish("kept.n4999", "p", bytes(wire.MAX_KEPT_BYTES + 1), keep=True)
    kept = topics.subscribe("q", "kept.n4999")
    assert kept is not None
    assert len(kept.body) == 1
    topics.forget("p")
    topics.forget("q")
    assert len(topics) <= MAX_IDLE + wire.MAX_KEPT_TOPICS


@given(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 2 * 1024 * 1024)), max_size=40))
@settings(deadline=None)
def test_answers_are_bounded_and_the_last_one_is_there(steps: list[tuple[int, int]]) -> None:
    answers = Answers()
    kept: dict[int, bytes] = {}
    for request, size in steps:
        kept[request] = body = bytes(size)
        answers.remember((1, request), wire.RESULT, body)
        assert answers.recall((1, request)) == (wire.RESULT, body)
        recalled = [answers.recall((1, n)) for n in kept]
        held = [answer for answer in recalled if answer not in (None, FORGOTTEN)]
        assert len(held) <= wire.MAX_ANSWERS
        assert sum(len(answer[1]) for answer in held if answer) <= wire.MAX_ANSWER_BYTES


def test_refusals_are_counted_in_a_bounded_number_of_rows() -> None:
    denials = Denials()
    for number in range(5_000):
        denials.count(f"peer-{number}", f"what-{number}", "calls")
    assert len(denials.rows) <= 2 * MAX_ROWS + 1
    assert denials.rows.total() == 5_000


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("No Topic", "No Topic"),
        ("x" * 128, "x" * 128),
        ("x" * 129, "x" * 127 + "…"),
        ("\x1b[2J\n\u202e", r"\x1b[2J\n\u202e"),
        ("\0" * 4_000, (r"\x00" * 32)[:127] + "…"),
    ],
)
def test_a_name_that_a_peer_chose_is_kept_short_and_harmless(name: str, shown: str) -> None:
    denials = Denials()
    denials.count("p", name, "calls")
    assert denials.rows == {("p", shown, "calls"): 1}


def test_connections_that_wait_are_bounded() -> None:
    admission = Admission(Denials(), lambda pid, ancestor: pid == ancestor)
    admission.guard("p", Rule(uids=frozenset({0}), process=True))
    refused = []
    for number in range(40):
        refused += admission.connecting("p", b"localhost:0:0:7", number.to_bytes(8, "big"))
    assert len(refused) == 24
    assert not any(allowed for _, allowed in refused)
    let_in = admission.expect("p", 7)
    assert [allowed for _, allowed in let_in] == [True] * 16


def test_an_address_that_says_nothing_is_refused() -> None:
    admission = Admission(Denials(), lambda pid, ancestor: True)
    admission.guard("p", Rule(uids=frozenset({0}), process=True))
    admission.guard("k", Rule(key=lambda key: key == b"good"))
    token = bytes(8)
    for address in (b"", b"localhost", b"a:b:c:d", b"\xff:0:0:7", b"localhost:1:0:7"):
        assert admission.connecting("p", address, token) == [(token, False)]
    assert admission.connecting("k", b"1.2.3.4", token + b"good") == [(token, True)]
    assert admission.connecting("k", b"1.2.3.4", token + b"bad") == [(token, False)]
    assert admission.connecting("unknown", b"localhost:0:0:7", token) == [(token, False)]


@given(st.lists(st.tuples(st.integers(0, 40), st.booleans()), max_size=60))
@settings(deadline=None)
def test_answers_are_those_of_a_plain_list(steps: list[tuple[int, bool]]) -> None:
    """Numbers may be used again; eight bodies fill the memory."""
    body = bytes(wire.MAX_ANSWER_BYTES // 8)
    answers = Answers()
    answered: set[int] = set()
    whole: list[int] = []  # the oldest first
    for request, again in steps:
        answered.discard(request)
        whole = [known for known in whole if known != request]
        if again:
            answers.forget((1, request))
        else:
            answers.remember((1, request), wire.RESULT, body)
            answered.add(request)
            whole = [*whole, request][-8:]
        for known in range(41):
            expected = FORGOTTEN if known in answered else None
            if known in whole:
                expected = (wire.RESULT, body)
            assert answers.recall((1, known)) == expected
