"""The baselines, the scorer, and the commands that make, solve and score levels."""

import gzip
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from symphony.fqg.baselines.bandit import Bandit
from symphony.fqg.baselines.best import Exact
from symphony.fqg.baselines.rule import Retries, Rule, failure_rate, ff, fixed
from symphony.fqg.baselines.simple import Greedy, Random
from symphony.fqg.evaluating.evaluate import Played, gap_closed, play, play_all, regret, score
from symphony.fqg.level import Level, load_levels
from symphony.fqg.making.failurelabels import dials, labelled_failures
from symphony.fqg.making.failures import RATES, Dials, make
from symphony.fqg.player import Player
from symphony.fqg.solving.hadd import greedy

OUTSIDE = Path(__file__).parents[3] / "shared/data/levels/pddlgym_dev.json.gz"
PLAYERS = (Random, Greedy, ff, fixed, Bandit, lambda: Exact(states=500))
TEST_SEEDS = range(1 << 32, (1 << 32) + 30)


def hidden() -> list[Level]:
    return [make(seed, dials(seed)) for seed in TEST_SEEDS]


def won(calls: int, optimum: int | None, **more: Any) -> Played:
    usual = {
        "level": f"level {calls}",
        "optimal_calls": optimum,
        "won": True,
        "calls": calls,
        "cost": float(calls),
        "limit": 25,
        "fails": False,
        "failed": False,
        "recoverable": True,
        "functions": 4,
        "rate": 0.0,
        "seconds": (1e-6, 2e-6),
    }
    return Played(**{**usual, **more})  # type: ignore[arg-type]


def test_a_score_is_of_solved_levels_with_a_known_optimum() -> None:
    lost = won(3, 2, won=False, limit=16, failed=True, level="lost")
    found = score([won(5, 5), won(6, 4), won(9, None, failed=True), lost])
    assert (found.levels, found.solved) == (4, 0.75)
    assert found.calls_ratio == pytest.approx((1 + 1.5) / 2)
    assert found.calls_ratio_all == pytest.approx((1 + 1.5 + 8) / 3)
    assert found.optimal_hits == pytest.approx(1 / 3)
    assert found.recovery == 0.5
    assert found.cost == pytest.approx((5 + 6 + 9 + 3) / 4)
    assert found.decision_us_p99 == pytest.approx(2)
    assert score([won(9, None)]).calls_ratio is None


def test_regret_and_gap_are_of_paired_games() -> None:
    rule, best, mine = ([won(at, 1) for at in calls] for calls in ((8, 6), (4, 4), (5, 6)))
    assert regret(mine, best) == 1.5
    assert gap_closed(mine, rule, best) == pytest.approx(0.5)
    assert gap_closed(mine, best, best) is None


@pytest.mark.parametrize("make_player", PLAYERS, ids=lambda make_player: make_player().name)
def test_a_player_plays_the_same_game_twice_and_only_legal_actions(make_player: Any) -> None:
    for level in hidden()[:8]:
        games = [play(make_player(), level, 5) for _ in range(2)]  # `play` refuses illegal ones
        assert games[0].calls == games[1].calls
        assert games[0].cost == games[1].cost


def test_the_greedy_player_is_the_greedy_of_the_solvers() -> None:
    for level in hidden()[:20]:
        sound = Level(level.id, level.facts, level.init, level.goal, tuple(
            type(f)(f.name, f.pre, f.add, f.delete, cost=f.cost) for f in level.functions
        ))  # fmt: skip
        calls = greedy(sound, 100)
        assert calls is not None
        assert play(Greedy(), sound, 0).calls == len(calls)


def test_the_ladder_of_players_on_hidden_failures() -> None:
    """Bayes-optimal play costs least, the tuned rule less than the usual one, random most."""
    exact = Exact(states=3_000)
    levels = []
    for seed in TEST_SEEDS:
        level = make(seed, Dials(works=(1, 2), misleads=(0.0, 0.3)))
        exact.begin(level)
        if exact.computed:
            levels.append(level)
    assert len(levels) > 10
    cost = {p.name: score(play_all(p, levels, 6)).cost for p in (Random(), ff(), fixed(), exact)}
    assert cost["exact"] < cost["fixed"] < cost["ff"] < cost["random"]


def test_the_rule_retries_as_often_as_it_is_told() -> None:
    level = make(3, Dials(rate=RATES["high"], sure=0.0, optional=0.0, alternatives=(1, 0, 0)))
    eager = play_all(Rule("eager", Retries(9, 9, 9, 9, patience=9)), [level], 20)
    shy = play_all(Rule("shy", Retries(0, 0, 0, 0, patience=0)), [level], 20)
    assert sum(game.calls for game in shy) < sum(game.calls for game in eager)
    assert failure_rate(level) > 0.2


@pytest.mark.skipif(not OUTSIDE.is_file(), reason="the outside levels are not here")
def test_the_baselines_are_as_strong_on_outside_problems_as_they_should_be() -> None:
    levels = load_levels(OUTSIDE)
    players: tuple[Player, ...] = (Random(), Greedy(), ff())
    scores = {player.name: score(play_all(player, levels)) for player in players}
    assert scores["random"].solved < 0.5
    assert scores["greedy"].solved >= 0.9
    assert scores["ff"].solved == 1
    assert scores["ff"].calls_ratio is not None
    assert scores["ff"].calls_ratio < 1.15


def test_labels_of_failure_levels_are_the_same_every_time() -> None:
    first, again = (list(labelled_failures(range(6), Counter())) for _ in range(2))
    assert [item.hash for item in first] == [item.hash for item in again]
    assert first
    for one, other in zip(first, again, strict=True):
        assert (one.states, one.waived, one.tallies) == (other.states, other.waived, other.tallies)
        assert all((a == b).all() or (a != a).any() for a, b in zip(one.q, other.q, strict=True))


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "symphony.fqg.cli.entry", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)


def test_levels_are_made_solved_and_scored_at_the_command_line(tmp_path: Path) -> None:
    file = tmp_path / "levels.json.gz"
    made = run("generate", "--out", file, "--count", "5", "--seed", "4", "--json")
    assert made.returncode == 0, made.stderr
    assert json.loads(made.stdout)["levels"] == 5
    solved = run("solve", "--levels", file, "--json")
    costs = [level["cost"] for level in json.loads(solved.stdout)]
    assert costs == [
        level["optimal_cost"] for level in json.loads(gzip.decompress(file.read_bytes()))
    ]
    scored = run("evaluate", "--levels", file, "--policy", "exact", "--json")
    result = json.loads(scored.stdout)
    assert (result["levels"], result["solved"]) == (5, 1)
    assert {"calls_ratio", "optimal_hits", "cost", "decision_us_p99"} <= set(result)


def test_the_same_seed_makes_the_same_file_with_failures(tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("one.json", "other.json")]
    for file in files:
        made = run("generate", "-o", file, "--kind", "failures", "--count", "4", "--rate", "high")
        assert made.returncode == 0, made.stderr
    assert files[0].read_bytes() == files[1].read_bytes()
    scored = run("evaluate", "--levels", files[0], "--policy", "bandit", "--games", "3", "--json")
    assert {"recovery", "regret"} <= set(json.loads(scored.stdout))


def test_a_bad_file_is_refused_with_every_place(tmp_path: Path) -> None:
    file = tmp_path / "levels.json"
    file.write_text('[{"id": "a", "facts": ["f"], "init": [1], "goal": [2], "functions": []}]')
    done = run("evaluate", "--levels", file, "--policy", "greedy", "--json")
    assert done.returncode == 2
    assert done.stderr.splitlines()[:2] == [
        f"error: 1 is out of range: there are 1 ({file}: [0].init[0])",
        f"error: 2 is out of range: there are 1 ({file}: [0].goal[0])",
    ]
    error = json.loads(done.stdout)["error"]
    assert (error["code"], len(error["problems"])) == ("bad-request", 2)


@pytest.mark.parametrize(
    "arguments",
    [
        ("evaluate", "--levels", "/nowhere", "--policy", "greedy"),
        ("evaluate", "--levels", __file__, "--policy", "nobody"),
        ("generate", "--out", "/nowhere/file", "--kind", "odd"),
        ("solve",),
        ("bogus",),
    ],
    ids=["no file", "no player", "no kind", "no option", "no command"],
)
def test_bad_usage_has_a_remedy(arguments: tuple[str, ...]) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert "\nhelp: " in done.stderr
    assert "Traceback" not in done.stderr
