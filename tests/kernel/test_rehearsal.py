"""The order of play is chosen by rehearsing it in numbers: never worse than a simpler one."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from symphony.kernel.conductor import Conductor, StepRules
from symphony.kernel.policy import RetryRule, RulePolicy
from symphony.kernel.rehearsal import BY_RANK, Order, best_order

RULES = StepRules(("p",), optional=False, retry=RetryRule())


def played(
    waits: dict[str, list[str]], seconds: dict[str, float], slots: int, order: Order
) -> float:
    """The makespan by the Conductor's own decisions, with true upward ranks."""
    after: dict[str, list[str]] = {step: [] for step in waits}
    for step, before in waits.items():
        for on in before:
            after[on].append(step)
    ranks: dict[str, float] = {}
    for step in reversed(waits):  # parents stand before their children
        ranks[step] = seconds[step] + max((ranks[later] for later in after[step]), default=0.0)
    conductor = Conductor(dict.fromkeys(waits, RULES), RulePolicy(), order)
    left = {step: set(before) for step, before in waits.items()}
    conductor.add_ready((step, ranks[step]) for step in waits if not left[step])
    running: list[tuple[float, int, str]] = []
    places = list(waits)
    now = 0.0
    while True:
        while len(running) < slots and (decision := conductor.next(now)) is not None:
            step = decision.step
            running.append((now + seconds[step], places.index(step), step))
        if not running:
            return now
        running.sort(reverse=True)
        now, _, ended = running.pop()
        for step in after[ended]:
            left[step].discard(ended)
            if not left[step]:
                conductor.add_ready([(step, ranks[step])])


@st.composite
def works(draw: st.DrawFn) -> tuple[dict[str, list[str]], dict[str, float], int]:
    size = draw(st.integers(1, 14))
    waits = {
        f"s{at}": [f"s{on}" for on in sorted(draw(st.sets(st.integers(0, at - 1), max_size=3)))]
        if at
        else []
        for at in range(size)
    }
    seconds = {step: float(draw(st.integers(0, 9))) for step in waits}
    return waits, seconds, draw(st.integers(1, 4))


@given(works())
def test_no_simpler_order_ends_earlier(
    work: tuple[dict[str, list[str]], dict[str, float], int],
) -> None:
    waits, seconds, slots = work
    ours = played(*work, best_order(waits, seconds, slots))
    in_the_file = {step: float(at) for at, step in enumerate(waits)}
    for other in (BY_RANK, Order("file", in_the_file), Order("came"), Order("short", seconds)):
        assert ours <= played(*work, other) + 1e-9, other.why


def test_a_better_order_is_taken_and_told() -> None:
    waits: dict[str, list[str]] = {"a": [], "b": ["a"], "c": [], "d": ["c"], "e": ["c"], "f": ["b"]}
    seconds = {"a": 3.0, "b": 5.0, "c": 6.0, "d": 3.0, "e": 6.0, "f": 4.0}
    order = best_order(waits, seconds, 2)
    by_rank = played(waits, seconds, 2, BY_RANK)
    assert order.why
    assert played(waits, seconds, 2, order) < by_rank
    conductor = Conductor(dict.fromkeys(waits, RULES), RulePolicy(), order)
    conductor.add_ready([("a", 12.0)])
    decision = conductor.next(0)
    assert decision is not None
    assert decision.reason == (
        "ready, critical path 12 ms; in the order of the Melody: "
        "by what is known of all steps, that ends the run 6.7 % earlier"
    )


def test_what_has_ended_is_not_rehearsed() -> None:
    assert best_order({"b": ["a"]}, {"b": 1.0}, 1) is BY_RANK
    assert best_order({}, {}, 1) is BY_RANK


def test_a_chain_stays_with_its_rank() -> None:
    waits = {"a": [], "b": ["a"], "c": ["b"]}
    assert best_order(waits, dict.fromkeys(waits, 1.0), 8) is BY_RANK
