"""Decisions of one run: critical path first, then retry, fallback, skip, fail."""

from hypothesis import given
from hypothesis import strategies as st

from symphony.kernel.conductor import Conductor, StepRules
from symphony.kernel.policy import Decision, Failure, RetryRule, RulePolicy

FAILED = Failure("failed", "it raised")


def conductor(
    players: tuple[str, ...] = ("p",), *, optional: bool = False, attempts: int = 2
) -> Conductor:
    rules = StepRules(
        players, optional, RetryRule(attempts, backoff_s=1, factor=2, max_backoff_s=3)
    )
    return Conductor(dict.fromkeys("abc", rules), RulePolicy())


def test_ready_steps_go_by_rank() -> None:
    subject = conductor()
    subject.add_ready([("a", 10), ("b", 30), ("c", 20)])
    order = [subject.next(0), subject.next(0), subject.next(0)]
    assert [d.step for d in order if d] == ["b", "c", "a"]
    assert subject.next(0) is None


def test_a_failed_attempt_is_retried_after_its_backoff() -> None:
    subject = conductor()
    decision = subject.attempt_failed("a", "p", FAILED, now=100)
    assert (decision.action, decision.player, decision.not_before) == ("retry", "p", 101)
    assert subject.next(100.9) is None
    assert subject.wakeup() == 101
    assert subject.next(101) == decision


def test_then_the_fallback_then_the_run_fails() -> None:
    subject = conductor(("p", "q"), attempts=1)
    assert subject.attempt_failed("a", "p", FAILED, 0).player == "q"
    decision = subject.attempt_failed("a", "q", FAILED, 0)
    assert decision.action == "fail"
    assert "q failed 1 of 1" in decision.reason
    assert subject.failed is decision


def test_after_a_failure_nothing_new_is_started() -> None:
    subject = conductor(attempts=1)
    subject.add_ready([("b", 1)])
    subject.attempt_failed("a", "p", FAILED, 0)
    assert subject.next(1000) is None
    assert subject.wakeup() is None


def test_an_optional_step_is_skipped_instead() -> None:
    subject = conductor(optional=True, attempts=1)
    assert subject.attempt_failed("a", "p", FAILED, 0).action == "skip"
    assert subject.failed is None


def test_what_would_fail_again_is_not_retried() -> None:
    subject = conductor(("p", "q"))
    refused = Failure("bad-request", "no such field")
    assert subject.attempt_failed("a", "p", refused, 0).action == "fallback"


def test_no_player_is_tried_for_a_fault_of_the_melody() -> None:
    undecidable = Failure("gate-undecidable", "division by zero")
    decision = conductor(("p", "q")).attempt_failed("a", "p", undecidable, 0)
    assert decision.action == "fail"
    assert "division by zero" in decision.reason
    assert conductor(optional=True).attempt_failed("a", "p", undecidable, 0).action == "skip"


def test_a_resumed_run_remembers_failures() -> None:
    subject = conductor(("p", "q"))
    subject.restore([("a", "p"), ("a", "p")])
    subject.add_ready([("a", 1)])
    decision = subject.next(0)
    assert decision is not None
    assert decision.player == "q"


@given(st.integers(1, 5), st.integers(1, 3), st.booleans())
def test_attempts_are_bounded(attempts: int, players: int, optional: bool) -> None:
    names = tuple(f"p{n}" for n in range(players))
    subject = conductor(names, optional=optional, attempts=attempts)
    subject.add_ready([("a", 1)])
    now, played = 0.0, 0
    while decision := subject.next(now):
        played += 1
        assert decision.player is not None
        last: Decision = subject.attempt_failed("a", decision.player, FAILED, now)
        now += 10
    assert played == attempts * players
    assert last.action == ("skip" if optional else "fail")


def test_who_was_chosen_is_tried_again_and_then_the_fallbacks() -> None:
    subject = conductor(("p", "q"), attempts=2)
    assert subject.fresh("a")
    subject.cast("a", "x")
    assert subject.attempt_failed("a", "x", FAILED, 0).player == "x"
    assert not subject.fresh("a")
    assert subject.attempt_failed("a", "x", FAILED, 0).player == "q"


def test_one_that_failed_under_an_earlier_kernel_is_the_one_that_was_chosen() -> None:
    subject = conductor(("p", "q"), attempts=1)
    subject.restore([("a", "x")])
    subject.add_ready([("a", 5)])
    assert subject.rank("a") == 5
    decision = subject.next(0)
    assert decision is not None
    assert decision.player == "q", "x has no attempt left"
