"""The scripts: clear refusals, one set-up at a time, nothing done twice, nothing left running."""

import fcntl
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = [ROOT / "scripts" / name for name in ("bench", "demo", "lock", "setup", "test")]
COMMANDS.append(ROOT / ".ci" / "run")
SHELL = [path for path in COMMANDS if path.name != "lock"]
# What a bare Debian has and the set-up uses.
BASICS = "bash cat cut dirname env find flock id mkdir sha256sum sort xargs"


def run(*command: str | Path, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload,no-any-return]


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, what
        os.sched_yield()


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A copy of the project without .venv, beside `bin`: the only folder of programs there is."""
    project = tmp_path / "project"
    for folder in ("scripts", "requirements"):
        shutil.copytree(ROOT / folder, project / folder)
    for name in ("bus", "extensions", "fqg", "kernel", "sandboxes", "pit-rs"):
        (project / name).mkdir()
    for name in ("pyproject.toml", "setup.cfg", "LICENSE"):
        shutil.copy(ROOT / name, project)
    (tmp_path / "bin").mkdir()
    for name in BASICS.split():
        (tmp_path / "bin" / name).symlink_to(shutil.which(name) or name)
    return project


def set_up(project: Path) -> subprocess.CompletedProcess[str]:
    return run(project / "scripts" / "setup", env={"PATH": str(project.parent / "bin")})


@pytest.mark.parametrize("path", COMMANDS, ids=lambda path: path.name)
def test_a_command_can_be_executed(path: Path) -> None:
    assert os.access(path, os.X_OK)
    assert path.read_text(encoding="utf-8").startswith("#!/usr/bin/env ")


def test_the_shell_scripts_are_clean() -> None:
    done = run(Path(sys.executable).with_name("shellcheck"), *SHELL, ROOT / "scripts" / "lib.sh")
    assert done.returncode == 0, done.stdout


@pytest.mark.skipif(
    Path(sys.prefix) != ROOT / ".venv", reason="not in the environment that scripts/test made"
)
def test_a_second_set_up_does_nothing() -> None:
    run(ROOT / "scripts" / "setup", "test")  # whatever was edited since scripts/test set up
    begun = time.monotonic()
    done = run(ROOT / "scripts" / "setup", "test")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert time.monotonic() - begun < 2  # about 0.05 s on an idle machine


def test_without_python_the_set_up_says_what_to_install(bare: Path) -> None:
    done = set_up(bare)
    assert done.returncode == 3
    assert done.stderr.startswith("error: no Python 3.11 or newer found\nhelp: apt-get install")


def test_all_missing_packages_are_named_at_once(bare: Path) -> None:
    crate = bare / "pit-rs" / "symphony-tool"
    crate.mkdir()
    (crate / "pyproject.toml").touch()
    (bare.parent / "bin" / "python3").symlink_to(Path(sys.executable).resolve())
    (bare.parent / "bin" / "cargo").symlink_to("/bin/true")
    done = set_up(bare)
    assert done.returncode == 3
    assert "help: run: sudo apt-get install bubblewrap gcc libc6-dev g++ make\n" in done.stderr
    assert not (bare / ".venv").exists()


def test_a_second_set_up_waits_for_the_first(bare: Path) -> None:
    (bare / "build").mkdir()
    with (bare / "build" / "setup.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        command = [bare / "scripts" / "setup"]
        env = {"PATH": str(bare.parent / "bin")}
        with subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True) as waiting:
            assert waiting.stderr is not None
            assert "waiting for it" in waiting.stderr.readline()
            assert waiting.poll() is None
            fcntl.flock(lock, fcntl.LOCK_UN)
            assert "error: no Python" in waiting.stderr.read()


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["demo", "--fast"], "unknown option --fast"),
        (["demo", "/nowhere/brief.md"], "no such brief: /nowhere/brief.md"),
        (["demo", "--out"], "--out needs a folder"),
        (["setup", "everything"], "no such profile: everything"),
        (["bench"], "which benchmark?"),
        (["bench", "speed"], "no such benchmark: speed"),
    ],
)
def test_bad_usage_is_refused_before_anything_is_done(
    command: list[str], said: str, bare: Path
) -> None:
    done = run(bare / "scripts" / command[0], *command[1:])
    assert (done.returncode, said in done.stderr, "help: " in done.stderr) == (2, True, True)
    assert not (bare / "build").exists()


@pytest.mark.parametrize(
    ("stubs", "said"),
    [
        ("- F2: Fly\n- F12: Sing\n", "2 of 3 features are stubs that fail by name"),
        ("Nothing: all was generated.\n", "all 3 features were generated: there are no stubs\n"),
    ],
)
def test_the_demo_tells_how_many_features_are_stubs(stubs: str, said: str, bare: Path) -> None:
    """A script in the kernel's place writes the artifacts: what is tested is the last line."""
    out = bare.parent / "out"
    (out / "source_files").mkdir(parents=True)
    (out / "source_files" / "UNRECOGNISED.md").write_text(stubs)
    (out / "backlog.csv").write_text('id,feature\nF1,Add\nF2,Fly\nF12,"Sing\nloud"\n')
    kernel = bare / ".venv" / "bin" / "symphony-kernel"
    kernel.parent.mkdir(parents=True)
    for script in (kernel, bare / "scripts" / "setup"):
        script.write_text("#!/bin/sh\necho played\n")
        script.chmod(0o755)
    brief = bare / "LICENSE"
    done = run(bare / "scripts" / "demo", brief, "--out", out)
    assert (done.returncode, done.stderr) == (0, "")
    assert said in done.stdout.splitlines(keepends=True)[-1]


def shell(code: str, **options: object) -> subprocess.CompletedProcess[str]:
    lines = f'set -euo pipefail; . scripts/lib.sh; state="$PWD/build"; {code}'
    return run("bash", "-c", lines, **options)


def test_a_failed_step_shows_its_output_and_ends_the_script(bare: Path) -> None:
    done = shell('must "do this" "make it" bash -c "echo broken >&2; exit 7"; echo on', cwd=bare)
    assert (done.returncode, done.stdout) == (6, "")
    assert "broken\nerror: failed to make it\nhelp: do this\n" in done.stderr
    assert not list((bare / "build").glob("step.*"))


def test_a_step_that_takes_long_is_not_silent(bare: Path) -> None:
    code = "progress_every=1; step working bash -c 'echo compiling; read -t 4 <> <(:) || true'"
    assert re.search(r"^   \d s  compiling$", shell(code, cwd=bare).stderr, re.MULTILINE)


def test_an_interrupted_step_leaves_no_process(bare: Path) -> None:
    pid_file = bare / "pid"
    long = f"echo $$ >{pid_file}.new; mv {pid_file}.new {pid_file}; sleep 600"
    code = f". scripts/lib.sh; step long bash -c '{long}'"
    with subprocess.Popen(["bash", "-c", code], cwd=bare, stderr=subprocess.DEVNULL) as script:
        until(pid_file.exists, "the step did not start")
        inner = psutil.Process(int(pid_file.read_text()))
        family = [inner, *inner.children(recursive=True)]
        script.send_signal(signal.SIGTERM)
        script.wait(timeout=20)
        _, alive = psutil.wait_procs(family, timeout=20)
        assert alive == []
