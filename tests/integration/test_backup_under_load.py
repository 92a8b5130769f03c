"""Backups taken while a run is played, whose kernel is then killed: each is sound, and the run goes
on from it to its end."""

from __future__ import annotations

import json
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest
from command_harness import PLAYERS, Symphony
from interface_checks import check_answer
from test_verify import later

STEPS = 240
BACKUPS = 2
PAUSE_S = 0.6  # after the failure that a third of the steps begin with


class Following:
    """Reads a run's events as they come, and tells when so many steps have finished."""

    def __init__(self, process: subprocess.Popen[str], each: int) -> None:
        self.finished = 0
        self.run = ""
        self._each = each
        self._more = threading.Condition()
        self._process = process
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            event = json.loads(line)
            with self._more:
                self.run = event["run"]
                self.finished += event["event"] == "step.finished"
                self._more.notify_all()

    def wait(self, finished: int) -> None:
        """Until so many steps have finished."""
        with self._more:
            assert self._more.wait_for(lambda: self.finished >= finished, 60)

    def close(self) -> None:
        self._thread.join(60)


def melody(symphony: Symphony) -> Path:
    """Chains beside each other; every step makes an artifact of its own, of some a file and a
    folder too."""
    steps: list[dict[str, Any]] = []
    for number in range(STEPS):
        name = f"s{number}"
        if number % 8 == 7:
            given = {"source": f"$steps.s{number - 1}.answer"}
            steps.append({"id": name, "capability": "test.shout/1", "inputs": given})
        else:
            after = [f"s{number - 8}"] if number >= 8 else []
            plan = [f"line {number}\n" * (number + 1)]
            step = {"id": name, "inputs": {"plan": plan}, "after": after}
            if number % 24 < 8:  # so that the run lasts longer than the backups
                step |= {"inputs": {"plan": ["raise", *plan]}, "retry": {"backoff_s": PAUSE_S}}
            steps.append(step)
    return symphony.melody(*steps)


@pytest.mark.slow
def test_a_backup_taken_under_load_is_sound_and_its_run_goes_on(symphony: Symphony) -> None:
    process = symphony.start(
        "run", melody(symphony), "--extensions", PLAYERS, "--json", "-", "--headless"
    )
    following = Following(process, STEPS)
    counts = []
    for number in range(BACKUPS):
        following.wait(10 + number * 20)
        before = following.finished
        manifest = check_answer("backup", symphony.kernel("backup", f"copy-{number}", "--json"))
        assert manifest["damaged"] == []
        counts.append(before)
    assert process.poll() is None
    process.kill()
    following.close()
    assert following.finished < STEPS, "the last backup was taken while it was played"

    for number, before in enumerate(counts):
        new = symphony.folder / f"home-{number}"
        assert symphony.kernel("restore", f"copy-{number}", "--home", new).returncode == 0
        sound = check_answer("sound", symphony.kernel("verify", "--home", new, "--json"))
        assert sound["runs"] == 1
        shown = symphony.kernel("runs", "show", following.run, "--home", new, "--json")
        done = [s for s in json.loads(shown.stdout)["step_list"] if s["state"] == "succeeded"]
        assert len(done) >= before, "what was told before the backup began is in it"
        again = ("run", "--resume", following.run, "--extensions", PLAYERS, "--home", new)
        resumed = symphony.kernel(*again, "--json", "-", "--headless")
        events = [json.loads(line) for line in resumed.stdout.splitlines()]
        assert resumed.returncode == 0, resumed.stderr
        assert events[-1]["outcome"] == "succeeded"
        finished = {e["step"] for e in events if e["event"] == "step.finished"}
        assert not finished & {step["id"] for step in done}, "no step finishes twice"
        assert len(finished) + len(done) == STEPS
        assert symphony.kernel("verify", "--home", new).returncode == 0


@pytest.mark.slow
def test_a_backup_taken_while_artifacts_move_to_the_archive_has_each_of_them(
    symphony: Symphony,
) -> None:
    (symphony.home / "pit.toml").write_text("[stale]\nlocal_days = 0\nvaluable = 100\n")
    for turn in range(4):
        plan = [f"artifact {turn}"]
        steps = [{"id": f"s{n}", "inputs": {"plan": [f"{n} {plan}"]}} for n in range(25)]
        assert symphony.play(symphony.melody(*steps))[0] == 0
    symphony.serve()
    told: list[Any] = []

    def curate() -> None:
        for day in range(2, 12, 2):
            told.append(later(symphony, day, "stale", "run"))

    mover = threading.Thread(target=curate)
    mover.start()
    copies = 0
    while mover.is_alive():
        check_answer("backup", symphony.kernel("backup", f"copy-{copies}", "--json"))
        copies += 1
    mover.join()
    assert [row["stopped"] for row in told] == [None] * 5
    gone = set()
    for number in range(copies):
        new = symphony.folder / f"home-{number}"
        assert symphony.kernel("restore", f"copy-{number}", "--home", new).returncode == 0
        sound = check_answer("sound", symphony.kernel("verify", "--home", new, "--json"))
        assert sound["named"] >= 100
        gone.add(sound["gone"])
    assert len(gone) > 1, "some were taken before they moved, some after"
