"""When a member of the Pit is taken for hung."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from symphony.bus.errors import BusError
from symphony.bus.hub import Hub
from symphony.kernel import health
from symphony.kernel.health import PATIENCE, USUAL_S, Health
from symphony.kernel.members import ARBITRATION, AwayError, Member

STORE = "pit.artifacts/1"
LIMIT_S = 10.0


def beats(subject: Health, most: int) -> int:
    """How many passed until it was taken for hung; one more than `most`: it was not."""
    return next((n for n in range(1, most + 1) if subject.beat() is not None), most + 1)


def test_no_answer_to_anything_for_as_long_as_a_call_may_take() -> None:
    subject = Health(STORE)
    job = subject.asked("put_many")
    assert beats(subject, 100) == USUAL_S
    assert job.hung


def test_whoever_answers_others_works_but_not_for_ever_without_one_of_them() -> None:
    subject = Health(STORE)
    stuck = subject.asked("put_many")
    for beat in range(1, USUAL_S * PATIENCE):
        other = subject.asked("stat")
        assert subject.beat() is None, beat
        subject.over(other, answered=True)
    assert not stuck.hung
    assert subject.beat() is not None
    assert stuck.hung


def test_what_takes_long_lets_others_wait_behind_it() -> None:
    subject = Health(STORE)
    long = subject.asked("backup")
    subject.asked("stat")
    assert beats(subject, USUAL_S * 10) > USUAL_S * 10
    subject.over(long, answered=True)
    assert beats(subject, 100) == USUAL_S


def test_progress_is_work() -> None:
    subject = Health("pit.stale/1")
    subject.asked("run")
    assert beats(subject, 3599) == 3600
    subject.worked()
    assert beats(subject, 3599) == 3600


def test_a_call_that_was_cut_off_is_no_answer() -> None:
    subject = Health(STORE)
    subject.asked("get")
    other = subject.asked("get")
    assert beats(subject, USUAL_S - 1) == USUAL_S
    subject.over(other, answered=False)
    assert subject.beat() is not None


class Waiting:
    """A hub whose provider lets requests wait, and answers `stats` or does not."""

    def __init__(self, *, answers: bool) -> None:
        self.answers = answers
        self.probes = 0
        self.enough = asyncio.Event()
        self.end = asyncio.get_running_loop().create_future()

    async def call(self, _capability: str, method: str, *_: object, **__: object) -> Any:
        if method == "stats":
            self.probes += 1
            if self.probes == 3:
                self.enough.set()
            if self.answers:
                return {}
        await asyncio.shield(self.end)
        raise BusError("crashed", "it was ended")

    def providers(self, _: str) -> list[str]:
        return []


@pytest.mark.parametrize("answers", [True, False])
def test_one_that_lets_wait_is_asked_how_it_is(
    monkeypatch: pytest.MonkeyPatch, answers: bool
) -> None:
    monkeypatch.setattr(health, "BEAT_S", 0.001)

    async def main() -> None:
        hub = Waiting(answers=answers)
        subject = Member(ARBITRATION, cast(Hub, hub))
        await subject.welcome()
        whys: list[str] = []
        hung = asyncio.Event()

        def taken(why: str) -> None:
            whys.append(why)
            hung.set()
            hub.end.set_result(None)

        subject.on_hung = taken
        request = asyncio.create_task(subject.ask("request", {}))
        async with asyncio.timeout(LIMIT_S):
            if answers:
                await hub.enough.wait()
                assert (whys, request.done()) == ([], False)
                hub.end.set_result(None)
            else:
                await hung.wait()
                assert "over `stats`" in whys[0]
            with pytest.raises(AwayError):
                await request

    asyncio.run(main())
