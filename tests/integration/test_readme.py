"""The README's example, done as the README says."""

from __future__ import annotations

import json
import re

import pytest
from command_harness import Symphony
from interface_checks import REPOSITORY

README = (REPOSITORY / "README.md").read_text()
FILES = re.compile(r"<!-- example: (?P<path>\S+) -->\n```\w+\n(?P<content>.*?)```\n", re.DOTALL)
COMMANDS = re.compile(r"```sh\n(symphony-ext check word-count\n.*?)```", re.DOTALL)


@pytest.fixture
def example(symphony: Symphony) -> None:
    files = FILES.findall(README)
    assert [path for path, _ in files] == ["word-count/extension.toml", "word-count/main.py"]
    for path, content in files:
        symphony.write(path, content)


@pytest.mark.usefixtures("example")
def test_the_example_extension(symphony: Symphony) -> None:
    """The block as it is pasted into a shell, one line after the other."""
    block = COMMANDS.search(README)
    assert block is not None
    promised = block[1].splitlines()[-1].partition("# ")[2]
    assert json.loads(promised) == {"words": 6}
    try:
        done = symphony.shell("set -e\n" + block[1])
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines()[-1] == promised
    finally:
        stopped = symphony.kernel("stop")
    assert stopped.returncode == 0, stopped.stderr


def test_every_command_that_the_readme_names_exists(symphony: Symphony) -> None:
    named = set(re.findall(r"^(?:symphony-(kernel|ext)) ([a-z]+)", README, re.MULTILINE))
    assert ("kernel", "run") in named
    for program, command in sorted(named):
        run = symphony.kernel if program == "kernel" else symphony.ext
        assert run(command, "--help").returncode == 0, command
