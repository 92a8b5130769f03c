"""What steps spend is booked once, and no limit is passed, however often Arbitration is killed."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
from pathlib import Path
from typing import Any

from command_harness import Symphony, of, wait_for_end_of
from paid_player import PAID, paid

MONEY = 1_000_000  # in smallest units
LIMIT = 24
COST = 1.0
TS = "2026-01-31T23:00:00.000Z"


def budget(symphony: Symphony, limit: float) -> None:
    text = f'[resources]\ncpu = 8\n[[budgets]]\nname = "all"\nper = "all"\nlimit = {limit}\n'
    (symphony.home / "pit.toml").write_text(text)


def spent(symphony: Symphony) -> float:
    (row,) = symphony.answer("budget")["budgets"]
    return float(row["spent"] / MONEY)


def test_a_hard_stop_holds_to_the_last_unit_although_arbitration_is_killed(
    symphony: Symphony,
) -> None:
    budget(symphony, LIMIT)
    steps = ({"id": f"s{n}", "capability": PAID} for n in range(2 * LIMIT))
    given = ("--extensions", paid(symphony, COST, takes_s=0.1), "--json", "-")
    process = symphony.start("run", symphony.melody(*steps), *given)
    assert process.stdout is not None
    finished = 0
    for line in process.stdout:
        if json.loads(line)["event"] == "step.finished":
            finished += 1
            if finished % 6 == 1:
                with contextlib.suppress(OSError, ValueError):  # it is away from the last time
                    pid = int((symphony.home / "arbitration" / "pid").read_text())
                    os.kill(pid, signal.SIGKILL)
    assert process.wait() == 1, "the budget is spent"
    assert finished == LIMIT
    assert spent(symphony) == LIMIT
    assert not (symphony.home / "charges.pending").exists()


def test_no_limit_is_passed_although_the_kernel_itself_is_killed(symphony: Symphony) -> None:
    budget(symphony, 2)
    folder = paid(symphony, COST, takes_s=3600)
    command: list[str | Path] = [symphony.melody({"id": "a", "capability": PAID})]
    grants = []
    for _ in range(2):
        process = symphony.start("run", *command, "--extensions", folder, "--json", "-")
        assert process.stdout is not None
        for line in process.stdout:
            event = json.loads(line)
            if event["event"] == "step.started":
                break
        command = ["--resume", event["run"]]
        grants.append(event["grant"])
        process.kill()
        process.communicate()
        assert wait_for_end_of(symphony.home)
    done = symphony.kernel("run", *command, "--extensions", folder)
    assert done.returncode == 1, done.stderr
    assert "the budget all is spent: 2 of 2" in done.stdout + done.stderr
    assert spent(symphony) == 2
    # What was spent indeed takes the place of what was assumed.
    told = {"id": "late", "run": event["run"], "tenant": "default", "ts": TS, "grant": grants[0]}
    pending = symphony.home / "charges.pending"
    pending.write_text(json.dumps({**told, "amounts": {"money": MONEY // 4}}))
    assert spent(symphony) == 1.25


def test_a_charge_that_was_booked_but_not_answered_is_told_again_in_peace(
    symphony: Symphony,
) -> None:
    budget(symphony, 1000)
    folder = paid(symphony, COST, takes_s=0.1)
    melody = symphony.melody({"id": "a", "capability": PAID})
    code, events = symphony.play(melody, "--extensions", folder)
    assert code == 0
    (started,) = of(events, "step.started")
    ledger = (symphony.home / "arbitration" / "ledger.journal").read_bytes()
    found = re.search(rb"[0-9a-f]{12}/c/[ -~]+?/a/\d", ledger)
    assert found is not None
    booked: dict[str, Any] = {
        "id": found[0].decode(),
        "run": events[0]["run"],
        "tenant": "default",
        "amounts": {"money": MONEY},
        "ts": TS,
        "grant": started["grant"],
    }
    kept = [
        booked,
        {**booked, "amounts": {"money": 7}},  # it was booked: what is told is not
        {**booked, "id": "x" * 200},  # which Arbitration takes from nobody
        {**booked, "id": "new"},
    ]
    pending = symphony.home / "charges.pending"
    pending.write_text("\n{}\n".join(map(json.dumps, kept)))
    done = symphony.kernel("run", melody, "--extensions", folder)
    assert done.returncode == 0, done.stderr
    assert "degraded" not in done.stderr
    assert spent(symphony) == 3
    assert not pending.exists()
    aside = pending.with_name("charges.pending.torn").read_text()
    assert aside.count("{}\n") == 3
    assert aside.count("x" * 200) == 1
