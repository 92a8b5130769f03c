"""The folder of a new extension: it works at once, or nothing is made and the reason is plain."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from symphony.kernel.errors import Problems
from symphony.kernel.manifest import load_manifest
from symphony.kernel.scaffold import create


def test_a_new_extension_is_valid_and_passes_its_own_test(tmp_path: Path) -> None:
    folder = create("shout", "example.shout/1", tmp_path)
    manifest = load_manifest(folder)
    assert (manifest.name, manifest.provides[0].capability) == ("shout", "example.shout/1")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", folder / "tests"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("name", "capability", "messages"),
    [
        ("Bad Name", "example.Bad Name/1", ['"Bad Name" cannot name an extension']),
        ("../up", "example.../up/1", ['"../up" cannot name an extension']),
        ("", "example./1", ['"" cannot name an extension']),
        ("shout", "shout", ['"shout" is no capability']),
        ("Bad", "worse", ['"Bad" cannot name an extension', '"worse" is no capability']),
    ],
)
def test_bad_names_are_refused_once_each_and_nothing_is_made(
    tmp_path: Path, name: str, capability: str, messages: list[str]
) -> None:
    with pytest.raises(Problems) as caught:
        create(name, capability, tmp_path / "in")
    problems = caught.value.problems
    assert [problem.message for problem in problems] == messages
    assert all(problem.where in ("NAME", "--capability") and problem.help for problem in problems)
    assert list(tmp_path.iterdir()) == []


def test_a_usable_name_is_proposed(tmp_path: Path) -> None:
    with pytest.raises(Problems) as caught:
        create("2 Bad Names!", "a/1", tmp_path)
    assert (caught.value.help or "").endswith("e.g. bad-names")


@given(st.text(max_size=60))
def test_a_proposed_name_is_a_good_one(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    try:
        create(name, "a/1", tmp_path_factory.mktemp("new"))
    except Problems as problems:
        _, found, proposed = (problems.help or "").partition("e.g. ")
        if found:
            create(proposed, "a/1", tmp_path_factory.mktemp("new"))
