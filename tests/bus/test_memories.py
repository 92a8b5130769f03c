"""What the hub remembers is bounded, and what is to take effect once does so once."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from symphony.bus import refusals, wire
from symphony.bus.admission import Admission, Rule
from symphony.bus.answers import FORGOTTEN, Answers
from symphony.bus.askers import SLACK, Asker, Askers
from symphony.bus.codec import decode, encode
from symphony.bus.denials import MAX_ROWS, Denials
from symphony.bus.errors import BusError
from symphony.bus.idempotency import Idempotency, Scoped, fingerprint
from symphony.bus.mediation import Mediated, Mediator
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


TestOnceOnly = OnceOnly.TestCase


def remember(memory: Idempotency[int], owner: str, key: str, result: bytes = b"") -> None:
    assert memory.wait(Scoped(owner, key), PRINT, 1)
    memory.succeed(Scoped(owner, key), result)


def test_keys_and_their_results_are_bounded() -> None:
    memory: Idempotency[int] = Idempotency(lambda: 0.0)
    for number in range(3_000):
        remember(memory, "a", str(number), bytes(100_000 * (number % 2)))
        keys, held = memory.size("a")
        assert keys <= wire.MAX_IDEM_KEYS
        assert held <= wire.MAX_IDEM_BYTES
    assert memory.result(Scoped("a", "2999"), PRINT) is not None
    assert memory.result(Scoped("a", "0"), PRINT) is None


def test_many_small_results_are_bounded_by_their_number() -> None:
    memory: Idempotency[int] = Idempotency(lambda: 0.0)
    for number in range(wire.MAX_IDEM_KEYS + 1):
        remember(memory, "a", str(number))
    assert memory.size("a") == (wire.MAX_IDEM_KEYS, 0)
    assert memory.result(Scoped("a", "0"), PRINT) is None
    assert memory.result(Scoped("a", "1"), PRINT) == b""


def test_no_owner_pushes_out_the_keys_of_another() -> None:
    memory: Idempotency[int] = Idempotency(lambda: 0.0)
    remember(memory, "a", "pay", b"paid")
    for number in range(3_000):
        remember(memory, "b", str(number), bytes(100_000))
    assert memory.result(Scoped("a", "pay"), PRINT) == b"paid"


def test_too_many_running_calls_are_overloaded_for_their_owner_only() -> None:
    memory: Idempotency[int] = Idempotency(lambda: 0.0)
    for number in range(wire.MAX_IDEM_OPEN):
        memory.wait(Scoped("a", str(number)), PRINT, 1)
    with pytest.raises(BusError) as caught:
        memory.wait(Scoped("a", "more"), PRINT, 1)
    assert (caught.value.code, caught.value.retry_after_ms) == ("overloaded", wire.RETRY_MS)
    assert not memory.wait(Scoped("a", "0"), PRINT, 2)  # who joins needs no place
    assert memory.wait(Scoped("b", "more"), PRINT, 1)
    memory.fail(Scoped("a", "0"))
    assert memory.wait(Scoped("a", "more"), PRINT, 1)


def test_the_arguments_of_running_calls_are_bounded() -> None:
    memory: Idempotency[int] = Idempotency(lambda: 0.0)
    for number in range(wire.MAX_IDEM_BYTES // wire.MAX_BODY):
        memory.wait(Scoped("a", str(number)), PRINT, 1, wire.MAX_BODY)
    with pytest.raises(BusError, match="too many open calls"):
        memory.wait(Scoped("a", "more"), PRINT, 1, 1)
    assert memory.wait(Scoped("b", "more"), PRINT, 1, wire.MAX_BODY)
    memory.succeed(Scoped("a", "0"), b"")
    assert memory.wait(Scoped("a", "more"), PRINT, 1, wire.MAX_BODY)


def test_owners_are_bounded_and_forgotten_with_their_last_key() -> None:
    now = 0.0
    memory: Idempotency[int] = Idempotency(lambda: now)
    for number in range(wire.MAX_IDEM_OWNERS):
        remember(memory, f"o{number}", "k")
    with pytest.raises(BusError) as caught:
        memory.wait(Scoped("more", "k"), PRINT, 1)
    assert caught.value.code == "overloaded"
    remember(memory, "o0", "another")
    now = wire.IDEM_S
    assert memory.wait(Scoped("more", "k"), PRINT, 1)


CALLERS = ["p", "q", "r"]
CRASHED = BusError("crashed", "the provider ended before it answered")
REPEATABLE = BusError("crashed", "the provider ended before it answered", repeatable=True)
ENDS = {
    "cancelled": BusError("cancelled", "the call was cancelled"),
    "deadline": BusError("deadline", "the call was not answered in time"),
    "failed": BusError("failed", "no"),
    "crashed": CRASHED,
    "repeatable": REPEATABLE,
    "unanswered": refusals.unanswered("provider"),
}


class OneForAll(RuleBasedStateMachine):
    """Callers that ask for one key, leave, and run out of time, before a provider that ends what it
    is asked in every way. `asking` is the model: who waits, and until when."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.mediator = Mediator(self, lambda: self.now)
        self.asking: dict[tuple[str, int], float | None] = {}
        self.answers: list[tuple[tuple[str, int], int, str]] = []  # since they were looked at
        self.newcomer = ""  # who asks now
        self.open: Mediated | None = None
        self.until: float | None = None  # the time that the open call has
        self.withdrawn = False
        self.made = 0
        self.unsure = False  # a call may have been done, and nobody knows
        self.done = False
        self.requests = 0

    # what the mediator sends by
    def mediate(self, call: Mediated) -> None:
        assert self.open is None  # never two at once
        assert not self.done
        assert not self.unsure
        assert call.caller in {peer for peer, _ in self.asking} | {self.newcomer}
        self.open, self.until, self.withdrawn = call, call.deadline, False
        call.provider = "provider"
        self.made += 1

    def prolong(self, call: Mediated, deadline: float | None) -> None:
        assert call is self.open
        self.until = deadline

    def withdraw(self, call: Mediated) -> None:
        assert call is self.open
        assert not self.withdrawn  # once
        self.withdrawn = True

    def reply(self, call: Mediated, asker: Asker, kind: int, body: bytes) -> None:
        said = "" if kind == wire.RESULT else BusError.from_body(decode(body)).code
        self.answers.append(((asker.peer, asker.request), kind, said))

    @precondition(lambda self: not self.unsure)
    @rule(peer=st.sampled_from(CALLERS), ttl=st.sampled_from([None, 1.0, 2.0, 5.0]))
    def ask(self, peer: str, ttl: float | None) -> None:
        self.requests += 1
        self.newcomer = peer
        deadline = None if ttl is None else self.now + ttl
        call = Mediated(self.mediator, Scoped("o", "k"), "x.y/1", None, b"")
        asker = Asker(peer, self.requests, deadline)
        self.mediator.begin(call, asker)
        self.newcomer = ""
        if self.done:
            assert self.answers == [((peer, self.requests), wire.RESULT, "")]
            self.answers.clear()
        else:
            self.asking[peer, self.requests] = deadline
            assert self.open is not None
            assert self.until == self.latest()

    @precondition(lambda self: self.asking)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        asked = data.draw(st.sampled_from(sorted(self.asking)))
        assert self.mediator.cancel(*asked)
        self.gone([asked], "cancelled")

    @rule(peer=st.sampled_from(CALLERS))
    def leave(self, peer: str) -> None:
        self.mediator.forget(peer)
        for asked in [asked for asked in self.asking if asked[0] == peer]:
            del self.asking[asked]
        assert self.answers == []

    @rule(seconds=st.sampled_from([0.5, 1.0, 3.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.mediator.expire(self.now)
        late = [asked for asked, due in self.asking.items() if due is not None and due <= self.now]
        self.gone(late, "deadline")

    @precondition(lambda self: self.open)
    @rule()
    def succeed(self) -> None:
        self.done = True
        self.end(wire.RESULT, b"r")
        self.gone(list(self.asking), "")

    @precondition(lambda self: self.open)
    @rule(how=st.sampled_from(sorted(ENDS)), safe=st.booleans())
    def fail(self, how: str, safe: bool) -> None:
        call = self.open
        assert call is not None
        call.safe = safe
        withdrawn, told, made = self.withdrawn, call.deadline, self.made
        if how == "unanswered" and not withdrawn:
            return  # it is what a call ends by that was withdrawn
        if how == "crashed" or (how == "unanswered" and not safe):
            self.unsure = True
        tried = call.repeats
        self.end(wire.ERROR, encode(ENDS[how].to_body()))
        latest = self.latest()
        if how in ("repeatable", "unanswered"):
            again = safe and tried < 3
        elif how == "crashed":
            again = False
        else:
            early = told is not None and (latest is None or latest > told)
            again = withdrawn or (how == "deadline" and early)
        if self.asking and again:
            assert (self.made, self.until) == (made + 1, latest)
            assert self.answers == []
        else:
            assert self.made == made
            codes = {"repeatable": "crashed", "unanswered": "crashed"}
            self.gone(list(self.asking), codes.get(how, how))
        self.unsure = False  # from here on whoever asks again answers for it

    @invariant()
    def somebody_works_for_those_who_wait(self) -> None:
        assert not self.asking or self.open is not None
        assert self.withdrawn or self.open is None or self.asking

    def end(self, kind: int, body: bytes) -> None:
        call, self.open = self.open, None
        assert call is not None
        call.answered(kind, body)

    def gone(self, expected: list[tuple[str, int]], code: str) -> None:
        """Each of these is answered once, by this error or, without one, by the result."""
        kind = wire.ERROR if code else wire.RESULT
        assert sorted(self.answers) == sorted((asked, kind, code) for asked in expected)
        self.answers.clear()
        for asked in expected:
            del self.asking[asked]

    def latest(self) -> float | None:
        dues = list(self.asking.values())
        return None if None in dues else max((due for due in dues if due is not None), default=None)


TestOneForAll = OneForAll.TestCase


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


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["add", "pop", "late"]),
            st.sampled_from(CALLERS),
            st.integers(1, 5),
            st.sampled_from([None, 1.0, 2.0, 3.0]),
        )
    )
)
def test_who_waits_is_what_a_plain_list_says(
    steps: list[tuple[str, str, int, float | None]],
) -> None:
    askers: Askers[int] = Askers()
    model: dict[tuple[str, int], float | None] = {}
    now = 0.0
    for number, (what, peer, request, after) in enumerate(steps):
        asked = peer, request
        assert askers.waits(*asked) == (asked in model)
        if what == "add" and asked not in model:
            model[asked] = None if after is None else now + after
            askers.add(Asker(peer, request, model[asked]), number)
        elif what == "pop":
            found = askers.pop(*asked)
            assert (found[0].deadline if found else 0.0) == model.pop(asked, 0.0)
        elif what == "late":
            now += after or 0.0
            late = [one for one, due in model.items() if due is not None and due <= now]
            assert sorted(askers.late(now)) == sorted(late)
            for one in late:
                askers.pop(*one)
                del model[one]
        assert askers.count(peer) == len(askers.of(peer)) == sum(who == peer for who, _ in model)
        due = min((due for due in model.values() if due is not None), default=None)
        assert askers.next_deadline() == due


def test_deadlines_of_those_who_left_are_forgotten() -> None:
    askers: Askers[None] = Askers()
    for request in range(10_000):
        askers.add(Asker("p", request, 1_000.0 + request), None)
        askers.pop("p", request)
        assert len(askers._due) <= SLACK + 2


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("a\0b", "c", b"x"), ("a", "b\0c", b"x")),
        (("a", "b", b"\0c"), ("a", "b\0", b"c")),
        (("ab", "c", b""), ("a", "bc", b"")),
    ],
)
def test_calls_that_differ_anywhere_are_different(
    one: tuple[str, str, bytes], other: tuple[str, str, bytes]
) -> None:
    assert fingerprint(*one) != fingerprint(*other)


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
    assert topics.subscribe("q", "kept.n4999") is None, "what was kept is out of date"
    kept = topics.subscribe("q", "kept.n4998")
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
