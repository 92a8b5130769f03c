"""Restart rules: who is started again, when, and when no more."""

import pytest

from symphony.kernel.supervisor import (
    Child,
    Quarantine,
    Restart,
    Start,
    Stop,
    Strategy,
    Supervision,
    Supervisor,
)

THREE = (Child("a"), Child("b"), Child("c"))


def test_order_of_start_and_stop() -> None:
    supervisor = Supervisor(Supervision(THREE))
    assert supervisor.start_order() == ["a", "b", "c"]
    assert supervisor.stop_order() == ["c", "b", "a"]


@pytest.mark.parametrize(
    ("strategy", "stopped", "started"),
    [
        (Strategy.ONE_FOR_ONE, [], ["b"]),
        (Strategy.REST_FOR_ONE, ["c"], ["b", "c"]),
        (Strategy.ONE_FOR_ALL, ["c", "a"], ["b", "a", "c"]),
    ],
)
def test_strategies(strategy: Strategy, stopped: list[str], started: list[str]) -> None:
    supervisor = Supervisor(Supervision(THREE, strategy))
    actions = supervisor.exited("b", crashed=True, now=0)
    assert [a.name for a in actions if isinstance(a, Stop)] == stopped
    assert [a.name for a in actions if isinstance(a, Start)] == started


@pytest.mark.parametrize(
    ("restart", "crashed", "again"),
    [
        (Restart.PERMANENT, False, True),
        (Restart.PERMANENT, True, True),
        (Restart.TRANSIENT, False, False),
        (Restart.TRANSIENT, True, True),
        (Restart.TEMPORARY, True, False),
    ],
)
def test_restart_kinds(restart: Restart, crashed: bool, again: bool) -> None:
    supervisor = Supervisor(Supervision((Child("a", restart),)))
    assert bool(supervisor.exited("a", crashed=crashed, now=0)) is again


def test_backoff_grows_and_is_capped() -> None:
    spec = Supervision((Child("a"),), intensity=10, backoff_s=1, max_backoff_s=4)
    supervisor = Supervisor(spec)
    delays = [supervisor.exited("a", crashed=True, now=n)[0].delay_s for n in range(5)]  # type: ignore[union-attr]
    assert delays == [1, 2, 4, 4, 4]


def test_too_many_ends_within_the_period_quarantine_the_child() -> None:
    supervisor = Supervisor(Supervision((Child("a"),), intensity=2, period_s=10))
    assert isinstance(supervisor.exited("a", crashed=True, now=0)[0], Start)
    assert isinstance(supervisor.exited("a", crashed=True, now=1)[0], Start)
    assert isinstance(supervisor.exited("a", crashed=True, now=2)[0], Quarantine)


def test_old_ends_are_forgotten() -> None:
    supervisor = Supervisor(Supervision((Child("a"),), intensity=2, period_s=10))
    for now in (0, 5, 11, 16, 22, 27):
        assert isinstance(supervisor.exited("a", crashed=True, now=now)[0], Start)
