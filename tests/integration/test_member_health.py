"""Members of the Pit that die as they start, or that live and do no work."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from command_harness import PLAYERS, Symphony
from test_degraded import PROGRAMS

STORE = Path(__file__).resolve().parents[2] / "examples" / "folder-store"
QUICK = """
import sys
from symphony.kernel import health
from symphony.kernel.cli.kernel import main

health.BEAT_S = 0.05
sys.argv = ["symphony-kernel", *sys.argv[1:]]
main()
"""  # a kernel whose seconds of patience are shorter


def one(symphony: Symphony) -> Path:
    return symphony.melody({"id": "a", "inputs": {"plan": ["ok"]}})


@pytest.mark.parametrize("program", PROGRAMS)
def test_one_that_dies_once_while_the_kernel_starts_is_started_again(
    symphony: Symphony, program: str
) -> None:
    real = Path(symphony.environment.get("SYMPHONY_PROGRAMS") or Path(sys.executable).parent)
    once = symphony.folder / "once"
    for name in PROGRAMS:
        text = f'#!/bin/sh\nexec "{real / name}" "$@"\n'
        if name == program:
            text = text.replace("exec", f'mkdir "{once}" 2>/dev/null && kill -9 $$\nexec')
        symphony.write(f"programs/{name}", text).chmod(0o755)
    folder = str(symphony.folder / "programs")
    symphony.environment = {**symphony.environment, "SYMPHONY_PROGRAMS": folder}
    done = symphony.kernel("run", one(symphony), "--extensions", PLAYERS)
    assert once.is_dir()
    assert done.returncode == 0, done.stderr
    assert "degraded" not in done.stderr


def hang(symphony: Symphony, method: str, times: int) -> None:
    """A store that beats and, so many times, does nothing in that method."""
    folder = symphony.home / "extensions" / "folder-store"
    shutil.copytree(STORE, folder, ignore=shutil.ignore_patterns("tests", "__pycache__"))
    program = (folder / "main.py").read_text()
    returned = "                return target(ctx, **args)"
    assert program.count(returned) == 1
    stop = f'''                if name == "{method}":
                    import os, time
                    for n in range({times}):
                        try:
                            os.mkdir(Path(__file__).parent / f"hung-{{n}}")
                        except FileExistsError:
                            continue
                        time.sleep(1000)
'''
    (folder / "main.py").write_text(program.replace(returned, stop + returned))
    (symphony.home / "pit.toml").write_text('members = { "pit.artifacts/1" = "folder-store" }\n')


def quick_run(symphony: Symphony) -> subprocess.CompletedProcess[str]:
    asked = ("run", one(symphony), "--extensions", PLAYERS, "--json", "events.jsonl")
    return subprocess.run(
        [sys.executable, "-c", QUICK, *map(str, asked)],
        cwd=symphony.folder,
        env=symphony.environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_a_store_that_lives_and_does_no_work_is_ended_and_the_call_repeated(
    symphony: Symphony,
) -> None:
    hang(symphony, "put_many", 1)
    done = quick_run(symphony)
    assert done.returncode == 0, done.stderr
    assert "degraded: no Artifact Store: new work waits" in done.stderr
    assert "it did no work for 30 s over `put_many`: taken for hung" in done.stderr
    assert '"step.failed"' not in (symphony.folder / "events.jsonl").read_text()


def test_one_that_never_does_its_work_is_given_up_and_the_run_is_kept(symphony: Symphony) -> None:
    hang(symphony, "put_many", 9)
    done = quick_run(symphony)
    assert done.returncode == 5, done.stderr
    assert "taken for hung" in done.stderr
    assert "run --resume" in done.stderr
