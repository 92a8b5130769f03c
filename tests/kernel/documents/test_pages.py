"""The pages for authors: every example in them is valid, and every key is explained."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from document_samples import found

from symphony.kernel.errors import Problems
from symphony.kernel.expressions import compile_expression
from symphony.kernel.gates import judge
from symphony.kernel.kit import Kit, load_kit
from symphony.kernel.manifest import load_manifest
from symphony.kernel.melody import GateRule, load_melody
from symphony.kernel.schemas import schema
from symphony.kernel.valuetypes import ValueType

ROOT = Path(__file__).parents[3]
MELODY = (ROOT / "MELODY.md").read_text()
EXTENSION = (ROOT / "EXTENSION.md").read_text()
BLOCKS = re.compile(r"<!-- (\w+)(?:: ([^>]+))? -->\n```(\w*)\n(.*?)```\n", re.DOTALL)

VALUES: dict[str, Any] = {
    "inputs": {"language": "en", "letter": {"$artifact": "", "name": "l.md", "bytes": 10}},
    "steps": {"count": {"words": 2000, "quality": 0.9}, "again": {}},
    "outputs": {"words": 3, "findings": [{"severity": "low"}]},
}


def blocks(page: str, kind: str) -> dict[str, str]:
    found = [block for block in BLOCKS.findall(page) if block[0] == kind]
    return {name or str(number): text for number, (_, name, _, text) in enumerate(found)}


EXAMPLES = blocks(MELODY, "example")
PARTS = blocks(MELODY, "part")
EXPRESSIONS = [
    (names, line)
    for names, text in blocks(MELODY, "expressions").items()
    for line in text.splitlines()
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in blocks(EXTENSION, "example").items():
        path = tmp_path / "extensions" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "extensions" / "word-count"


@pytest.fixture
def kit(tmp_path: Path, folder: Path) -> Kit:
    """The extension of the page, and a second player of its capability."""
    manifest = (folder / "extension.toml").read_text()
    other = tmp_path / "extensions" / "careful-count"
    other.mkdir()
    (other / "extension.toml").write_text(manifest.replace('"word-count"', '"careful-count"'))
    (other / "main.py").touch()
    return load_kit(tmp_path, bundled=tmp_path / "none")


def test_every_toml_block_is_an_example_that_is_checked() -> None:
    for page, checked in ((MELODY, len(EXAMPLES) + len(PARTS)), (EXTENSION, 1)):
        assert page.count("```toml\n") == checked
    assert MELODY.count("```cel\n") == len(blocks(MELODY, "expressions"))


@pytest.mark.parametrize("part", ["", *PARTS.values()])
def test_the_melodies_of_the_page_are_valid(tmp_path: Path, kit: Kit, part: str) -> None:
    text = EXAMPLES["count.melody.toml"]
    head, step, tail = re.split(r"(?=^\[\[steps|^\[outputs)", text, flags=re.MULTILINE)
    path = tmp_path / "page.melody.toml"
    path.write_text(head + (part or step) + tail)
    assert load_melody(path, kit).plan()


@pytest.mark.parametrize(("names", "line"), EXPRESSIONS)
def test_the_expressions_of_the_page_can_be_decided(names: str, line: str) -> None:
    expression = compile_expression(line, tuple(names.split()))
    assert expression.evaluate({name: VALUES[name] for name in names.split()}) is True


def test_a_mean_of_whole_and_other_numbers_is_refused_as_the_page_says() -> None:
    rule = GateRule(expression="outputs.words / 2.0 > 1.0")
    verdict = judge({"words": ValueType("integer")}, {"words": 3}, rule=rule)
    assert verdict.fault == "caller"


def test_the_errors_of_the_page_are_those_that_are_said(tmp_path: Path, kit: Kit) -> None:
    path = tmp_path / "wrong.melody.toml"
    path.write_text(EXAMPLES["wrong.melody.toml"])
    with pytest.raises(Problems) as caught:
        load_melody(path, kit)
    said = caught.value.render().replace(f"{tmp_path}/", "")
    (shown,) = blocks(MELODY, "said").values()
    assert said + "\n" == shown
    assert all(problem.help for problem in caught.value.problems)
    marks = ["text.cuont", "[[steps]]", 'id = "first"', '"$inputs.size"', 'id = "last"']
    lines = path.read_text().splitlines()
    for mark, (line, message) in zip(marks, found(caught.value), strict=True):
        assert mark in lines[line - 1], message


def test_the_manifest_of_the_page_is_valid_and_its_program_passes_its_test(folder: Path) -> None:
    assert load_manifest(folder).name == "word-count"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_count.py"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout


def test_the_program_that_uses_the_bus_passes_its_test(tmp_path: Path) -> None:
    programs = blocks(EXTENSION, "program")
    assert {name.partition("/")[0] for name in programs} == {"word-report"}
    for name, text in programs.items():
        (tmp_path / Path(name).name).write_text(text)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_report.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout
    assert "1 passed" in done.stdout


def keys(node: object) -> set[str]:
    if isinstance(node, list):
        return set().union(*map(keys, node))
    if not isinstance(node, dict):
        return set()
    return set(node.get("properties", {})).union(*map(keys, node.values()))


@pytest.mark.parametrize(("name", "page"), [("melody", MELODY), ("manifest", EXTENSION)])
def test_every_key_is_explained(name: str, page: str) -> None:
    tables = {"melody", "inputs", "steps", "outputs"} | {"extension", "provides"}
    tables |= {"needs", "permissions", "probe"}
    named = keys(schema(name)) - tables
    assert {key for key in named if f"`{key}`" not in page} == set()
