"""Manifests: a valid one as data, and every fault of a bad one at its line."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from document_samples import ECHO, IMAGE, found, line_of, write_extension
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from symphony.kernel.errors import Problems
from symphony.kernel.manifest import CallLimit, Manifest, Permissions, load_manifest

FULL = (
    ECHO
    + """
[needs]
memory = "256MiB"
processes = 32
open_files = 256
file_size = 1024
cpu_seconds = 60

[permissions]
calls = ["pit.artifacts/1"]
publishes = ["quality.scores"]
out = true
environment = ["LANG"]

[probe]
capability = "demo.echo/1"
inputs = { text = "hello" }
"""
)


def test_a_valid_manifest_is_read(tmp_path: Path) -> None:
    folder = write_extension(tmp_path, FULL)
    manifest = load_manifest(folder)
    assert manifest == load_manifest(folder / "extension.toml")
    assert (manifest.name, manifest.version) == ("echo", "1.2.0")
    assert manifest.needs.memory_bytes == 256 << 20
    assert manifest.needs.file_bytes == 1024
    assert manifest.extension.sandbox == "strict"
    provides = manifest.provided("demo.echo/1")
    assert provides is not None
    assert provides.inputs["text"].required
    assert not provides.inputs["count"].required
    assert manifest.provided("demo.echo/2") is None


def test_an_empty_permissions_table_allows_nothing(tmp_path: Path) -> None:
    manifest = load_manifest(write_extension(tmp_path, ECHO))
    assert manifest.permissions.words() == []
    assert manifest.needs.memory_bytes is None


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ('name = "echo"', 'name = "Echo"', '"extension.name" is not well formed'),
        ('name = "echo"', 'name = "echo\\n"', '"extension.name" is not well formed'),
        ('name = "echo"', "name = 3", '"extension.name" must be text, not 3'),
        ('name = "echo"', 'nome = "echo"', '"extension.name" is missing'),
        ('version = "1.2.0"', 'version = "1.2"', '"extension.version" is not well formed'),
        ('version = "1.2.0"', 'version = "01.2.0"', '"extension.version" is not well formed'),
        ('version = "1.2.0"', 'version = "1.2.0"\nicon = 1', 'unknown key "extension.icon"'),
        ('python = "main.py"', 'python = "none.py"', "is not a file"),
        ('python = "main.py"', 'python = "/etc/passwd"', "not inside the extension's folder"),
        ('python = "main.py"', 'python = "../ext/main.py"', "not inside the extension's folder"),
        ('python = "main.py"', 'python = "link.py"', "not inside the extension's folder"),
        ('python = "main.py"', 'command = ["main.py"]', "is not executable"),
        ('python = "main.py"', "command = []", "at least 1 entries"),
        ('python = "main.py"', 'python = "main.py", program = "x"', "must be one of python"),
        ('python = "main.py"', "", "must be one of python"),
        ("demo.echo/1", "demo.echo", '"provides[0].capability" is not well formed'),
        ("demo.echo/1", "Demo.echo/1", '"provides[0].capability" is not well formed'),
        ("demo.echo/1", "demo.echo/0", '"provides[0].capability" is not well formed'),
        ('text = { type = "text" }', 'text = { type = "texd" }', "must be one of"),
        ('text = { type = "text" }', 'text = { kind = "text" }', 'unknown key "provides[0].'),
        ('text = { type = "text" }', 'Text = { type = "text" }', 'the name "Text"'),
        ('text = { type = "text" }', 'text = { type = "text", media = "x" }', "not well formed"),
        (
            'text = { type = "text" }',
            'text = { type = "text", default = 3 }',
            "must be text, not 3",
        ),
        ('text = { type = "text" }', 'text = { type = "text", schema = {} }', "has no schema"),
        (
            'text = { type = "text" }',
            'text = { type = "json", schema = { type = "objekt" } }',
            "not a valid JSON Schema",
        ),
        (
            'text = { type = "text" }',
            'text = { type = "json", schema = { "$ref" = "https://example.org/s" } }',
            "leads nowhere",
        ),
        ('out = { type = "text" }', 'out = { type = "text", default = "x" }', "have a default"),
        ('out = { type = "text" }', 'out = { type = "file", file = "../x" }', "inside the outbox"),
        ('"256MiB"', '"256MB"', '"needs.memory" is not well formed'),
        ("processes = 32", "processes = 0", "must be at least 1"),
        ("cpu_seconds = 60", "cpu_seconds = 1.5", "must be a whole number, not 1.5"),
        ("out = true", "network = true", 'unknown key "permissions.network"'),
        ('["pit.artifacts/1"]', '["pit.artifacts"]', "not well formed"),
        ('["quality.scores"]', '["quality scores"]', "not well formed"),
        ('[probe]\ncapability = "demo.echo/1"', '[probe]\ncapability = "a.b/1"', "not provide"),
        ('inputs = { text = "hello" }', "inputs = { text = 3 }", "must be text, not 3"),
        ('inputs = { text = "hello" }', 'inputs = { txt = "hello" }', 'no input "txt"'),
        ('inputs = { text = "hello" }', "inputs = {}", 'input "text" is missing'),
    ],
)
def test_each_fault_is_named_with_its_line(tmp_path: Path, old: str, new: str, what: str) -> None:
    text = FULL.replace(old, new)
    assert text != FULL
    folder = write_extension(tmp_path, text)
    (folder / "link.py").symlink_to("/etc/passwd")
    with pytest.raises(Problems) as caught:
        load_manifest(folder)
    matching = [line for line, message in found(caught.value) if what in message]
    assert matching, caught.value.render()
    changed = line_of(text, new.splitlines()[-1]) if new else line_of(text, "entry")
    at_container = "missing" in what
    assert at_container or matching[0] == changed, caught.value.render()


def test_a_capability_provided_twice_is_refused(tmp_path: Path) -> None:
    text = ECHO + '\n[[provides]]\ncapability = "demo.echo/1"\n'
    with pytest.raises(Problems) as caught:
        load_manifest(write_extension(tmp_path, text))
    assert found(caught.value) == [
        (len(text.splitlines()), 'the capability "demo.echo/1" is provided twice')
    ]


def test_all_faults_are_reported_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    text = (
        FULL.replace('name = "echo"', 'name = "ECHO"')
        .replace("main.py", "gone.py")
        .replace("out = true", "owt = true")
        .replace('text = "hello"', "text = 3")
    )
    with pytest.raises(Problems) as caught:
        load_manifest(write_extension(tmp_path, text))
    lines = [line for line, _ in found(caught.value)]
    wanted = [line_of(text, part) for part in ('"ECHO"', "gone.py", "owt", "text = 3")]
    assert lines == wanted, caught.value.render()


def test_a_slip_of_the_pen_gets_the_nearest_known_key(tmp_path: Path) -> None:
    with pytest.raises(Problems) as caught:
        load_manifest(write_extension(tmp_path, FULL.replace("environment", "enviroment")))
    assert caught.value.problems[0].help == 'did you mean "environment"?'


def test_a_program_beside_the_kernel_needs_no_file(tmp_path: Path) -> None:
    text = IMAGE.replace('python = "main.py"', 'program = "pit-dag-tracker"')
    manifest = load_manifest(write_extension(tmp_path, text))
    assert manifest.extension.entry.program == "pit-dag-tracker"


def test_permissions_meet() -> None:
    asked = Permissions(calls=("a/1", "b/1"), out=True, environment=("LANG",))
    given = Permissions(calls=("b/1", "c/1"), out=False, environment=("LANG",))
    assert (asked & given).words() == ["calls b/1", "environment LANG"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(line=st.integers(0, FULL.count("\n")), junk=st.text(max_size=30))
def test_a_damaged_manifest_is_read_or_refused(tmp_path: Path, line: int, junk: str) -> None:
    folder = tmp_path / "ext"
    folder.mkdir(exist_ok=True)
    (folder / "main.py").touch()
    lines = FULL.splitlines()
    lines[line : line + 1] = [junk]
    (folder / "extension.toml").write_bytes("\n".join(lines).encode())
    with contextlib.suppress(Problems):
        assert isinstance(load_manifest(folder), Manifest)


LIMITS = (
    ECHO
    + """
[permissions]
calls = ["demo.other/1"]
limits."demo.other/1" = { credit = 8, rate = 20.0, burst = 40 }
"""
)


def test_limits_of_calls_are_read_and_the_stricter_ones_hold(tmp_path: Path) -> None:
    asked = load_manifest(write_extension(tmp_path, LIMITS)).permissions
    assert asked.limits == {"demo.other/1": CallLimit(credit=8, rate=20.0, burst=40)}
    granted = Permissions(calls=("demo.other/1",), limits={"demo.other/1": CallLimit(rate=5.0)})
    assert (asked & granted).limits == {"demo.other/1": CallLimit(credit=8, rate=5.0, burst=40)}
    assert (asked & Permissions(calls=("demo.other/1",))).limits == asked.limits
    assert (asked & Permissions()).limits == {}


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ('limits."demo.more/1" = { credit = 8 }', "has limits and is not among the calls"),
        ('limits."demo.other/1" = { burst = 8 }', "a burst needs a rate"),
        ('limits."demo.other/1" = { credit = 0 }', "1"),
        ('limits."demo.other/1" = { rate = -1.0 }', "0"),
        ('limits."demo.other/1" = { pace = 1 }', "pace"),
    ],
)
def test_a_wrong_limit_is_named_with_its_line(tmp_path: Path, wrong: str, said: str) -> None:
    right = 'limits."demo.other/1" = { credit = 8, rate = 20.0, burst = 40 }'
    text = LIMITS.replace(right, wrong)
    with pytest.raises(Problems) as faults:
        load_manifest(write_extension(tmp_path, text))
    assert said in str(faults.value)
    assert f"extension.toml:{text.splitlines().index(wrong) + 1}" in str(faults.value)
