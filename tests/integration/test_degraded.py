"""What works while a member of the Pit is away: the table of ARCHITECTURE, row by row."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest
from command_harness import PLAYERS, Symphony, of, wait_for_end_of
from interface_checks import check_errors
from paid_player import PAID, paid

MEMBERS = {
    "pool": ("symphony-pool-manager", "Pool Manager"),
    "arbitration": ("symphony-arbitration", "Arbitration"),
    "stale": ("symphony-stale-manager", "Stale Manager"),
}
PROGRAMS = ("symphony-dag-tracker", "symphony-artifact-store", *(p for p, _ in MEMBERS.values()))


def without(symphony: Symphony, *members: str) -> None:
    """All programs of the Pit but these."""
    real = Path(symphony.environment.get("SYMPHONY_PROGRAMS") or Path(sys.executable).parent)
    folder = symphony.folder / "programs"
    folder.mkdir()
    for program in PROGRAMS:
        if program not in {MEMBERS[member][0] for member in members}:
            (folder / program).symlink_to(real / program)
    symphony.environment = {**symphony.environment, "SYMPHONY_PROGRAMS": str(folder)}


def chain(symphony: Symphony, number: int, **more: Any) -> Path:
    steps: list[dict[str, Any]] = [
        {"id": f"s{n}", "inputs": {"plan": ["ok"]}, **more} for n in range(number)
    ]
    for n, step in enumerate(steps[1:]):
        step["after"] = [f"s{n}"]
    return symphony.melody(*steps)


def fan(symphony: Symphony, number: int) -> Path:
    return symphony.melody(*({"id": f"s{n}", "inputs": {"plan": ["ok"]}} for n in range(number)))


@pytest.mark.parametrize("member", MEMBERS)
def test_a_run_does_without_it_and_says_so(symphony: Symphony, member: str) -> None:
    without(symphony, member)
    melody = chain(symphony, 3)
    done = symphony.kernel("run", melody, "--extensions", PLAYERS, "--json", "events.jsonl")
    assert done.returncode == 0, done.stderr
    assert f"degraded: no {MEMBERS[member][1]}:" in done.stderr


def test_status_names_it_and_what_that_means(symphony: Symphony) -> None:
    without(symphony, "pool")
    symphony.serve()
    status = symphony.answer("status")
    assert status["state"] == "degraded"
    (row,) = status["degraded"]
    effect = "instances are spawned on demand, without warming"
    assert (row["member"], row["effect"]) == ("Pool Manager", effect)
    assert "symphony-pool-manager" in row["reason"]


def test_without_the_pool_nothing_is_kept_warm(symphony: Symphony) -> None:
    without(symphony, "pool")
    code, events = symphony.play(chain(symphony, 2, retry={"attempts": 1}))
    assert code == 0
    for event in of(events, "step.started"):
        assert not psutil.pid_exists(event["pid"])


def test_without_arbitration_it_is_first_come_first_served_within_fixed_limits(
    symphony: Symphony,
) -> None:
    without(symphony, "arbitration")
    (symphony.home / "pit.toml").write_text("resources = { cpu = 1 }\n")
    code, events = symphony.play(fan(symphony, 6))
    assert code == 0
    assert all(event["grant"] is None for event in of(events, "step.started"))
    running = most = 0
    for event in events:
        running += {"step.started": 1, "step.finished": -1}.get(event["event"], 0)
        most = max(most, running)
    assert most == 1, "one CPU, one step at a time"


def test_with_arbitration_every_step_has_a_grant_that_can_be_explained(
    symphony: Symphony,
) -> None:
    code, events = symphony.play(fan(symphony, 4))
    assert code == 0
    for grant in {event["grant"] for event in of(events, "step.started")}:
        why = symphony.answer("why", grant)
        assert why["grant"] == grant
        assert why["run"] == events[0]["run"]
        assert why["reason"]
    assert symphony.kernel("why", "g999999").returncode == 4


BUDGET = """
[[budgets]]
name = "each"
per = "run"
limit = 5.0
"""


@pytest.mark.parametrize("away", [False, True])
def test_a_spent_budget_stops_the_run(symphony: Symphony, away: bool) -> None:
    if away:
        without(symphony, "arbitration")
    (symphony.home / "pit.toml").write_text(BUDGET)
    step = {"capability": PAID, "retry": {"attempts": 1}}
    names = [f"s{n}" for n in range(4)]
    steps: list[dict[str, Any]] = [{"id": name, **step} for name in names]
    for one, before in zip(steps[1:], names, strict=False):
        one["after"] = [before]
    melody = symphony.melody(*steps)
    done = symphony.kernel("run", melody, "--extensions", paid(symphony), "--json", "events.jsonl")
    assert done.returncode == 1, done.stderr
    told = (symphony.folder / "events.jsonl").read_text()
    events = [json.loads(line) for line in told.splitlines()]
    # With its estimate a third call would go over the limit, whoever counts.
    assert len(of(events, "step.finished")) == 2
    (failed,) = of(events, "step.failed")
    assert failed["error"]["class"] == "refused"
    assert "budget" in failed["error"]["message"]
    assert failed["attempt"] == 0, "it never began"
    assert failed["step"] not in {event["step"] for event in of(events, "step.started")}
    warned = of(events, "budget.warning")
    assert [(event["spent"], event["state"]) for event in warned] == [(4_000_000, "warning")]
    assert all(event["budget"] == "each" and event["limit"] == 5_000_000 for event in warned)
    run = events[0]["run"]
    assert f"warning: the budget each of {run}: 4 of 5 money spent\n" in done.stderr
    if not away:
        (row,) = symphony.answer("budget")["budgets"]
        assert (row["name"], row["spent"], row["limit"]) == ("each", 4_000_000, 5_000_000)


@pytest.mark.parametrize("how", ["retry", "fallback", "optional"])
def test_a_budget_that_is_spent_between_two_attempts_ends_the_step_by_its_rules(
    symphony: Symphony, how: str
) -> None:
    (symphony.home / "pit.toml").write_text(BUDGET.replace("5.0", "2.0"))
    folder = paid(symphony)
    for file, before, after in (
        ("main.py", 'return {"answer": "done"}', "raise ValueError"),
        ("extension.toml", '"paid"', '"other"'),
    ):
        text = (folder / file).read_text().replace(before, after)
        symphony.write(f"other/{file}", text)
    more: dict[str, Any] = {
        "retry": {"player": "other"},
        "fallback": {"player": "other", "fallbacks": ["paid"], "retry": {"attempts": 1}},
        "optional": {"player": "other", "importance": "optional"},
    }[how]
    step = {"id": "a", "capability": PAID, "retry": {"backoff_s": 0.0}, **more}
    given = ("--extensions", folder, "--extensions", symphony.folder / "other")
    code, events = symphony.play(symphony.melody(step), *given)
    assert len(of(events, "step.started")) == 1, "then all was spent"
    (ended,) = of(events, "run.finished")
    if how == "optional":
        assert (code, ended["outcome"]) == (0, "succeeded")
        assert [event["step"] for event in of(events, "step.skipped")] == ["a"]
    else:
        assert (code, ended["outcome"]) == (1, "failed")
        assert of(events, "step.failed")[-1]["error"]["class"] == "refused"


def talkative(symphony: Symphony) -> Path:
    """The folder of a player that reports 3 tokens a call, and fails at its first."""
    manifest = """
[extension]
name = "talkative"
version = "1.0.0"
entry = { python = "main.py" }

[[provides]]
capability = "test.talk/1"
cost = { per_token = 0.0000005 }
outputs = { answer = { type = "text" } }
"""
    program = """
from symphony.bus.errors import BusError
from symphony.bus.extension import Context, Extension

ext = Extension()


@ext.provides("test.talk/1")
def talk(ctx: Context) -> dict[str, str]:
    ctx.spend(tokens=1)
    ctx.spend(tokens=2)
    if ctx.step == "s0" and ctx.attempt == 1:
        raise BusError("failed", "it cost all the same")
    return {"answer": "done"}


ext.run()
"""
    symphony.write("talkative/extension.toml", manifest)
    return symphony.write("talkative/main.py", program).parent


TOKENS = """
[[budgets]]
name = "words"
per = "all"
resource = "tokens"
limit = 9

[[budgets]]
name = "bill"
per = "all"
limit = 1
"""


@pytest.mark.parametrize("away", [False, True])
def test_what_players_report_is_charged_and_stops_the_run(symphony: Symphony, away: bool) -> None:
    if away:
        without(symphony, "arbitration", "pool")
    (symphony.home / "pit.toml").write_text(TOKENS)
    step = {"capability": "test.talk/1", "retry": {"attempts": 2, "backoff_s": 0.0}}
    names = [f"s{n}" for n in range(4)]
    steps: list[dict[str, Any]] = [{"id": name, **step} for name in names]
    for one, before in zip(steps[1:], names, strict=False):
        one["after"] = [before]
    code, events = symphony.play(symphony.melody(*steps), "--extensions", talkative(symphony))
    assert code == 1
    assert [event["step"] for event in of(events, "step.finished")] == ["s0", "s1"]
    assert not of(events, "step.progress"), "nothing was told but what was spent"
    failed = of(events, "step.failed")[-1]
    assert failed["error"]["message"] == "the budget words is spent: 9 of 9 tokens"
    if not away:
        rows = {row["name"]: row["spent"] for row in symphony.answer("budget")["budgets"]}
        assert rows == {"words": 9, "bill": 3 * 2}, "of half a millionth each, rounded up by call"


def test_what_is_not_granted_goes_to_the_fallback_and_never_began(symphony: Symphony) -> None:
    (symphony.home / "pit.toml").write_text(BUDGET.replace("5.0", "1.0"))
    free = symphony.folder / "free"
    shutil.copytree(paid(symphony), free)
    manifest = (free / "extension.toml").read_text().replace('"paid"', '"free"')
    (free / "extension.toml").write_text(manifest.replace("cost = { per_call = 2.0 }\n", ""))
    step = {"id": "a", "capability": PAID, "fallbacks": ["free"]}
    melody = symphony.melody(step)
    text = melody.read_text().replace('"fallbacks"', '"player": "paid", "fallbacks"')
    melody.write_text(text)
    folders = ("--extensions", symphony.folder / "paid", "--extensions", free)
    code, events = symphony.play(melody, *folders)
    assert code == 0
    (started,) = of(events, "step.started")
    assert (started["player"], started["attempt"]) == ("free", 1)
    assert of(events, "step.failed") == []
    (fallback,) = of(events, "decision", action="fallback")
    assert "budget each" in fallback["reason"]


def test_a_budget_warns_once_in_the_life_of_a_run(symphony: Symphony) -> None:
    (symphony.home / "pit.toml").write_text(BUDGET.replace("5.0", "10.0\nwarn = 10"))
    melody = symphony.melody(
        {"id": "a", "capability": PAID},
        {"id": "b", "inputs": {"plan": ["hang", "ok"]}, "after": ["a"]},
        {"id": "c", "capability": PAID, "after": ["b"]},
    )
    kit = ("--extensions", PLAYERS, "--extensions", paid(symphony), "--json", "-")
    process = symphony.start("run", melody, *kit)
    assert process.stdout is not None
    events = []
    for line in process.stdout:
        events.append(json.loads(line))
        if of(events[-1:], "step.started", step="b"):
            break
    process.kill()
    process.wait()
    assert wait_for_end_of(symphony.home)
    done = symphony.kernel("run", "--resume", events[0]["run"], *kit)
    assert done.returncode == 0, done.stderr
    events += [json.loads(line) for line in done.stdout.splitlines()]
    (warned,) = of(events, "budget.warning")
    assert (warned["spent"], warned["state"]) == (2_000_000, "warning")


def test_what_was_spent_while_arbitration_was_away_is_told_to_it(symphony: Symphony) -> None:
    before = symphony.environment
    without(symphony, "arbitration")
    (symphony.home / "pit.toml").write_text(BUDGET.replace('"run"', '"all"'))
    melody = symphony.melody({"id": "a", "capability": PAID})
    given = ("run", melody, "--extensions", paid(symphony))
    assert symphony.kernel(*given).returncode == 0
    symphony.environment = before
    assert symphony.answer("budget")["budgets"][0]["spent"] == 2_000_000
    assert symphony.kernel(*given).returncode == 0
    assert symphony.answer("budget")["budgets"][0]["spent"] == 4_000_000


def test_budgets_hold_where_the_ledger_cannot_be_opened(symphony: Symphony) -> None:
    limit = BUDGET.replace('"run"', '"all"').replace("5.0", "4.0")
    (symphony.home / "pit.toml").write_text(limit)
    melody = symphony.melody({"id": "a", "capability": PAID, "retry": {"attempts": 1}})
    given = ("run", melody, "--extensions", paid(symphony))
    for _ in range(2):
        assert symphony.kernel(*given).returncode == 0
    (symphony.home / "arbitration" / "format").write_text("symphony-arbitration 99\n")
    done = symphony.kernel(*given)
    assert done.returncode == 1
    assert "degraded: no Arbitration:" in done.stderr
    assert "the budget each is spent" in done.stderr


def test_a_member_that_is_killed_comes_back_and_is_told_what_is_held(symphony: Symphony) -> None:
    process = symphony.start(
        "run",
        symphony.melody({"id": "a", "inputs": {"plan": ["hang", "ok"]}, "timeout_s": 3.0}),
        *("--extensions", PLAYERS, "--json", "-"),
    )
    assert process.stdout is not None
    lines = (json.loads(line) for line in process.stdout)
    started = next(event for event in lines if event["event"] == "step.started")
    for member in ("pool", "arbitration"):
        store = str(symphony.home / member)
        (pid,) = (
            found.pid
            for found in psutil.process_iter(["cmdline"])
            if store in (found.info["cmdline"] or [])
        )
        os.kill(pid, signal.SIGKILL)
    rest = list(lines)
    assert process.wait(timeout=60) == 0
    assert not psutil.pid_exists(started["pid"])
    assert of(rest, "run.finished")[0]["outcome"] == "succeeded"
    assert symphony.answer("budget")["held"] == []
    assert all(not kind["instances"] for kind in symphony.answer("pool")["kinds"])


def test_what_a_killed_kernel_left_goes_when_the_stale_manager_says_so(symphony: Symphony) -> None:
    process = symphony.start(
        "run",
        symphony.melody({"id": "a", "inputs": {"plan": ["hang"]}}),
        "--extensions",
        PLAYERS,
        "--json",
        "-",
    )
    assert process.stdout is not None
    assert any('"step.started"' in line for line in process.stdout)
    process.kill()
    process.communicate()
    assert wait_for_end_of(symphony.home)
    left = {path.name for path in (symphony.home / "instances").iterdir()}
    assert left

    environment = symphony.environment
    without(symphony, "stale")
    symphony.play(chain(symphony, 1))
    dead = {path.name.partition("-")[2] for path in (symphony.home / "dead").iterdir()}
    assert dead == left

    symphony.environment = environment
    assert symphony.play(chain(symphony, 1))[0] == 0
    assert list((symphony.home / "dead").iterdir()) == []


FUSSY = """
from symphony.bus.errors import BusError
from symphony.bus.extension import Context, Extension

ext = Extension()


@ext.provides("pit.arbitration/1", "configure")
def configure(ctx: Context, **settings: object) -> None:
    raise BusError("bad-request", "I take no cpu", where="resources.cpu")


ext.run()
"""


def test_a_member_that_refuses_its_configuration_is_not_started_again(symphony: Symphony) -> None:
    folder = symphony.home / "extensions" / "fussy"
    folder.mkdir(parents=True)
    (folder / "main.py").write_text(FUSSY)
    (folder / "extension.toml").write_text(
        '[extension]\nname = "fussy"\nversion = "1.0.0"\nentry = { python = "main.py" }\n'
        '[[provides]]\ncapability = "pit.arbitration/1"\n'
    )
    line = 'members = { "pit.arbitration/1" = "fussy" }\n'
    (symphony.home / "pit.toml").write_text(line)
    done = symphony.kernel("run", chain(symphony, 2), "--extensions", PLAYERS)
    assert done.returncode == 0, done.stderr
    assert "degraded: no Arbitration:" in done.stderr
    assert "refuses what it is told to begin with: I take no cpu (resources.cpu)" in done.stderr
    logs = [path.name for path in (symphony.home / "logs").glob("fussy-*.log")]
    assert len(logs) == 1
    symphony.serve()
    (row,) = symphony.answer("status")["degraded"]
    assert "I take no cpu" in row["reason"]


def test_a_member_that_provides_something_else_is_a_fault_in_its_line(symphony: Symphony) -> None:
    (symphony.home / "pit.toml").write_text('\nmembers = { "pit.pool/1" = "trouble" }\n')
    done = symphony.kernel("run", chain(symphony, 1), "--extensions", PLAYERS)
    check_errors(done, 2, "trouble does not provide pit.pool/1", "pit.toml:2")


def test_a_tenant_to_whom_nothing_is_granted_is_told_before_the_run(symphony: Symphony) -> None:
    (symphony.home / "pit.toml").write_text("[tenants.idle]\nweight = 0\n")
    done = symphony.kernel(
        "run", chain(symphony, 1), "--extensions", PLAYERS, "--tenant", "idle", "--json", "-"
    )
    assert done.returncode == 2
    assert "run.opened" not in done.stdout
    assert 'nothing is granted to the tenant "idle": its weight is 0 (--tenant)' in done.stderr


def test_a_tenant_that_is_not_there_is_a_slip(symphony: Symphony) -> None:
    (symphony.home / "pit.toml").write_text("[tenants.research]\nweight = 2\n")
    melody = chain(symphony, 1)
    done = symphony.kernel("run", melody, "--extensions", PLAYERS, "--tenant", "reserch")
    assert done.returncode == 2
    assert 'no tenant "reserch"' in done.stderr
    assert "research" in done.stderr
