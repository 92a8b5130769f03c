"""The campaign: best play of every level costs what it names; and the terminal game."""

import os
import signal
import subprocess
import sys
from collections import Counter

import pytest

from symphony.fqg.campaign import DIFFICULTIES, Stage, stages
from symphony.fqg.campaign.session import Session
from symphony.fqg.solving import exact
from symphony.fqg.solving.belief import Solver

IDEAS = {
    "chain",
    "return value as argument",
    "shared sub-goal",
    "branch",
    "parallel join",
    "consumable",
    "distractor",
    "cheaper alternative",
    "missing early output rebuilt from a later one",
    "transient failure",
    "permanent failure and fallback",
    "misleading error",
    "optional step skipped",
    "poor quality retried",
    "budget",
    "deadline",
    "preference",
}
COMMAND = [sys.executable, "-m", "symphony.fqg.cli.entry", "play"]


def test_there_are_forty_levels_in_four_difficulties_that_teach_every_idea() -> None:
    campaign = stages()
    assert len(campaign) >= 40
    assert set(Counter(stage.difficulty for stage in campaign)) == set(DIFFICULTIES)
    assert {stage.idea for stage in campaign} == IDEAS
    assert len({stage.title for stage in campaign}) == len(campaign)
    assert all(stage.level.story for stage in campaign)


@pytest.mark.parametrize("stage", stages(), ids=lambda stage: stage.title)
def test_best_play_costs_what_the_level_names(stage: Stage) -> None:
    level = stage.level
    solver = Solver(level)
    value = solver.value(solver.start())
    assert value < solver.mechanics.prices.give_up
    if level.optimal_calls is not None:
        assert value == pytest.approx(level.optimal_cost)
        assert all(function.failure is None for function in level.functions)
        if level.budget is None and level.deadline is None:
            prices = solver.mechanics.prices.calls
            outcome = exact.solve(level, prices)
            assert outcome.cost == pytest.approx(level.optimal_cost)


@pytest.mark.parametrize("stage", stages(), ids=lambda stage: stage.title)
def test_a_level_can_be_won_by_its_hints(stage: Stage) -> None:
    for seed in range(20):
        session = Session(stage, seed)
        for _ in range(60):
            words = session.say("hint").lines[0].rstrip(".").split()
            if "hope" in words:
                break
            reply = session.say(f"skip {words[-1]}" if words[3] == "skip" else words[-1])
            if reply.over:
                break
        if reply.won:
            break
    assert reply.won
    assert any(stage.idea in line for line in reply.lines)
    assert "over" in session.say("1").lines[0]


def run(lines: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments], input=lines, capture_output=True, text=True, check=False, timeout=60
    )


def test_lines_on_stdin_play_a_level() -> None:
    done = run("open_door\nfind_key\n2\nopen_door()\nquit\n", "--seed", "1")
    assert done.returncode == 0, done.stderr
    assert "open_door needs: unlocked" in done.stdout
    assert "The door opens!" in done.stdout
    assert "Won with 3 calls (best 3)." in done.stdout


def test_what_is_not_understood_costs_nothing_and_the_end_of_input_ends_the_game() -> None:
    done = run("dance\n99\nskip 1\n\n\x00\n")
    assert done.returncode == 1  # not won
    assert done.stdout.count("There is no function") == 3
    assert "Traceback" not in done.stderr


def test_a_level_that_is_not_there_is_bad_usage() -> None:
    done = run("", "99")
    assert done.returncode == 2
    assert done.stderr == (
        f"error: there is no level 99 (LEVEL)\nhelp: give a number from 1 to {len(stages())}\n"
    )


def _heed_interrupts() -> None:
    """A shell's background jobs are born deaf to SIGINT; the tests may run in one."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_an_interrupt_leaves_cleanly() -> None:
    process = subprocess.Popen(
        COMMAND,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        preexec_fn=_heed_interrupts,
    )
    assert process.stdout is not None
    for line in process.stdout:
        if "open_door" in line:  # the last thing shown before it waits for a line
            break
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Left." in out
    assert err == ""
