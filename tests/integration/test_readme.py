"""The README's example, done as the README says."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from command_harness import Symphony
from interface_checks import REPOSITORY

README = (REPOSITORY / "README.md").read_text()
FILES = re.compile(r"<!-- example: (?P<path>\S+) -->\n```\w+\n(?P<content>.*?)```\n", re.DOTALL)
CALL = re.compile(r"symphony-ext call (\S+) --json '(\{.*?\})'\s+# (\{.*\})")


@pytest.fixture
def example(symphony: Symphony) -> Path:
    files = FILES.findall(README)
    assert [path for path, _ in files] == ["word-count/extension.toml", "word-count/main.py"]
    for path, content in files:
        symphony.write(path, content)
    return symphony.folder / "word-count"


def test_the_example_extension(symphony: Symphony, example: Path) -> None:
    for line in ("symphony-ext check word-count", "symphony-ext attach word-count --background"):
        assert line in README
    checked = symphony.ext("check", "word-count")
    assert checked.returncode == 0, checked.stderr
    symphony.serve()
    attached = symphony.ext("attach", "word-count", "--background")
    assert attached.returncode == 0, attached.stderr
    called = CALL.search(README)
    assert called is not None
    capability, arguments, answer = called.groups()
    done = symphony.ext("call", capability, "--json", arguments)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{answer}\n"
    assert json.loads(answer) == {"words": 6}


def test_every_command_that_the_readme_names_exists(symphony: Symphony) -> None:
    named = set(re.findall(r"^(?:symphony-(kernel|ext)) ([a-z]+)", README, re.MULTILINE))
    assert ("kernel", "run") in named
    for program, command in sorted(named):
        run = symphony.kernel if program == "kernel" else symphony.ext
        assert run(command, "--help").returncode == 0, command
