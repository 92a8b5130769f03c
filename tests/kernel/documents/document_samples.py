"""Manifests and Melodies for these tests, written to files as users write them."""

from __future__ import annotations

from pathlib import Path

from symphony.kernel.errors import Problems
from symphony.kernel.kit import Kit, load_kit

ECHO = """\
[extension]
name = "echo"
version = "1.2.0"
entry = { python = "main.py" }

[[provides]]
capability = "demo.echo/1"
[provides.inputs]
text = { type = "text" }
count = { type = "integer", optional = true }
[provides.outputs]
out = { type = "text" }
score = { type = "number", optional = true }
"""

IMAGE = """\
[extension]
name = "draw"
version = "1.0.0"
entry = { python = "main.py" }

[[provides]]
capability = "image.draw/1"
[provides.inputs]
scene = { type = "file", media = "text/markdown" }
size = { type = "integer", default = 64 }
[provides.outputs]
image = { type = "file", media = "image/png", file = "image.png" }
facts = { type = "json" }

[[provides]]
capability = "demo.count/1"
[provides.inputs]
source = { type = "folder" }
[provides.outputs]
total = { type = "integer" }
"""

MELODY = """\
[melody]
name = "two-steps"
version = "1.0.0"

[inputs]
brief = { type = "file", media = "text/markdown" }

[[steps]]
id = "first"
capability = "demo.echo/1"
inputs = { text = "$inputs.brief" }

[[steps]]
id = "second"
capability = "demo.echo/1"
inputs = { text = "$steps.first.out" }

[outputs]
result = "$steps.second.out"
"""


def write_extension(parent: Path, manifest: str, name: str = "ext") -> Path:
    """A folder with this manifest and an empty `main.py`."""
    folder = parent / name
    folder.mkdir(parents=True)
    (folder / "extension.toml").write_text(manifest)
    (folder / "main.py").touch()
    return folder


def write(folder: Path, text: str, name: str = "test.melody.toml") -> Path:
    """A file with this text."""
    path = folder / name
    path.write_text(text)
    return path


def kit_of(home: Path, *manifests: str) -> Kit:
    """A kit whose home holds these extensions, and nothing bundled."""
    for number, manifest in enumerate(manifests):
        write_extension(home / "extensions", manifest, f"ext{number}")
    return load_kit(home, bundled=home / "none")


def found(problems: Problems) -> list[tuple[int, str]]:
    """Line and message of each problem."""
    return [
        (int((problem.where or ":0").rpartition(":")[2]), problem.message)
        for problem in problems.problems
    ]


def line_of(text: str, fragment: str) -> int:
    """The first line (from 1) that holds `fragment`."""
    return next(number for number, line in enumerate(text.splitlines(), 1) if fragment in line)
