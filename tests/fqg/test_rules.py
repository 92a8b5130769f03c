"""The rules on bit masks agree with the plainest possible interpreter, which works on sets."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from symphony.fqg.level import Function, Level
from symphony.fqg.rules import IllegalCallError, Rules, bits


@st.composite
def levels(draw: st.DrawFn) -> Level:
    size = draw(st.integers(1, 70))  # past one machine word
    facts = st.frozensets(st.integers(0, size - 1), max_size=4)
    functions = st.builds(
        Function,
        name=st.sampled_from(["call", "load", "send"]),
        pre=facts,
        add=facts,
        delete=facts,
        cost=st.sampled_from([0.0, 1.0, 2.5]),
    )
    return Level(
        id="generated",
        facts=tuple(f"fact {at}" for at in range(size)),
        init=draw(st.frozensets(st.integers(0, size - 1))),
        goal=draw(facts),
        functions=tuple(draw(st.lists(functions, max_size=8))),
    )


@given(levels(), st.data())
def test_masks_agree_with_sets(level: Level, data: st.DataObject) -> None:
    rules, state, truths = Rules(level), Rules(level).start, set(level.init)
    calls, cost = [], 0.0
    for _ in range(12):
        legal = [at for at, function in enumerate(level.functions) if function.pre <= truths]
        assert rules.legal(state) == legal
        assert rules.won(state) == (level.goal <= truths)
        assert rules.facts(state) == truths
        for at in set(range(len(level.functions))) - set(legal):
            with pytest.raises(IllegalCallError):
                rules.step(state, at)
        if not legal:
            return
        call = data.draw(st.sampled_from(legal))
        state = rules.step(state, call)
        truths = (truths - level.functions[call].delete) | level.functions[call].add
        calls.append(call)
        cost += level.functions[call].cost
        assert rules.cost(calls) == cost


def test_a_fact_both_deleted_and_added_is_true_afterwards() -> None:
    call = Function("swap", pre=frozenset({0}), add=frozenset({0, 1}), delete=frozenset({0}))
    rules = Rules(Level("swap", ("a", "b"), frozenset({0}), frozenset({0, 1}), (call,)))
    assert rules.won(rules.step(rules.start, 0))


def test_an_illegal_call_names_the_function_and_a_missing_fact() -> None:
    call = Function("open_door", pre=frozenset({1}), add=frozenset(), delete=frozenset())
    rules = Rules(Level("door", ("key", "unlocked"), frozenset({0}), frozenset(), (call,)))
    with pytest.raises(IllegalCallError, match="'open_door' needs 'unlocked'"):
        rules.step(rules.start, 0)
    with pytest.raises(IndexError, match="no function -1"):
        rules.step(rules.start, -1)


def test_bits_are_the_facts() -> None:
    assert bits([0, 3, 70]) == 0b1001 | 1 << 70
