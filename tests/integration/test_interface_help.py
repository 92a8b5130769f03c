"""`--help` of every command: it answers, and shows an example."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from command_harness import Symphony

KERNEL = (
    *("", "run", "serve", "status", "stop", "schema", "runs list", "runs show"),
    *("artifacts list", "artifacts show", "artifacts get", "bus", "runs journal"),
    *("artifacts diff", "artifacts lineage", "artifacts search", "artifacts verify"),
    *("artifacts audit", "pool", "pool drain", "budget", "why", "stale plan", "stale run"),
    *("stale restore", "stale pin", "stale hold", "stale release", "stale report"),
    *("backup", "restore", "verify"),
    *("deadletter list", "deadletter show", "deadletter redrive", "deadletter drop"),
    *("keys list", "keys new", "keys export", "keys revoke", "keys rotate"),
    "import",
)
EXT = ("", "create", "check", "test", "attach", "list", "call")


@pytest.mark.parametrize("command", KERNEL)
def test_help_of_the_kernel(symphony: Symphony, command: str) -> None:
    done = symphony.kernel(*command.split(), "--help")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    shown = " ".join(done.stdout.split())
    assert f"Usage: symphony-kernel {command}".rstrip() in shown
    assert (
        f"symphony-kernel {command or 'run'}" in shown.partition("xample" if command else "try")[2]
    )


@pytest.mark.parametrize("command", EXT)
def test_help_of_the_extensions_command(symphony: Symphony, command: str) -> None:
    done = symphony.ext(*command.split(), "--help")
    assert done.returncode == 0, done.stderr
    shown = " ".join(done.stdout.split())
    assert f"Usage: symphony-ext {command}".rstrip() in shown
    assert (
        f"symphony-ext {command or 'create'}" in shown.partition("xample" if command else "try")[2]
    )


@pytest.mark.parametrize("group", ["runs", "artifacts", "deadletter", "keys"])
def test_help_of_a_group_names_its_commands(symphony: Symphony, group: str) -> None:
    done = symphony.kernel(group, "--help")
    assert done.returncode == 0
    for command in KERNEL:
        if command.startswith(f"{group} "):
            assert f"  {command.removeprefix(f'{group} ')} " in done.stdout


COMMANDS = re.compile(r"^symphony-kernel ([^#\n]+)", re.MULTILINE)
OPERATING = (Path(__file__).parents[2] / "OPERATING.md").read_text()


@pytest.mark.parametrize("line", sorted(set(COMMANDS.findall(OPERATING))))
def test_the_page_for_operators_names_what_there_is(symphony: Symphony, line: str) -> None:
    words = line.split()
    command = next(name for name in KERNEL[::-1] if words[: len(name.split())] == name.split())
    assert command
    shown = symphony.kernel(*command.split(), "--help").stdout
    for option in (word for word in words if word.startswith("--")):
        assert f"{option} " in shown


def test_without_a_command_the_help_is_shown(symphony: Symphony) -> None:
    for done in (symphony.kernel(), symphony.ext()):
        assert done.returncode == 2
        assert "Usage: " in done.stdout
