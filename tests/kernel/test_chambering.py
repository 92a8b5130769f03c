"""The life of an instance: the table is complete where it must be and refuses the rest."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from symphony.kernel.chambering import (
    ENDED,
    TABLE,
    Event,
    ImpossibleEventError,
    State,
    diagram,
    step,
)


def test_the_usual_life() -> None:
    state = State.REQUESTED
    for event in (
        Event.HELLO,
        Event.READY,
        Event.LEASE,
        Event.RELEASE,
        Event.UNLOAD,
        Event.EXIT,
    ):
        state = step(state, event)
    assert state is State.UNLOADED


@pytest.mark.parametrize("state", [s for s in State if s not in ENDED])
def test_a_process_may_end_in_any_living_state(state: State) -> None:
    assert step(state, Event.EXIT) in ENDED


@given(st.sampled_from(State), st.sampled_from(Event))
def test_what_is_not_in_the_table_is_an_error(state: State, event: Event) -> None:
    if event in TABLE[state]:
        assert step(state, event) is TABLE[state][event]
    else:
        with pytest.raises(ImpossibleEventError, match=str(event)):
            step(state, event)


def test_an_instance_in_use_cannot_be_leased_again() -> None:
    with pytest.raises(ImpossibleEventError):
        step(State.IN_USE, Event.LEASE)


def test_the_diagram_shows_every_transition() -> None:
    assert diagram().count("-->") == 1 + sum(len(row) for row in TABLE.values())


def test_the_document_shows_the_diagram_of_the_table() -> None:
    document = Path(__file__).parents[2] / "ARCHITECTURE.md"
    assert diagram() in document.read_text(), "paste `python -m symphony.kernel.chambering`"
