"""Everything that the Rust binaries are built from may be shipped with them."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

WORKSPACE = Path(__file__).parents[2] / "pit-rs"
PERMISSIVE = {
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-1-Clause",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "ISC",
    "MIT",
    "MIT-0",
    "MPL-2.0",  # file by file: the build crate that carries libzmq and libzmq itself
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
}


def allowed(expression: str) -> bool:
    """Whether an SPDX expression (`/` is the older `OR`) can be met with these licences alone."""

    def met(choice: str) -> bool:
        return set(choice.strip("() ").split(" AND ")) <= PERMISSIVE

    required = re.split(r" AND (?![^(]*\))", expression)
    return all(any(map(met, re.split(r" OR |/", part))) for part in required)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("MIT", True),
        ("GPL-3.0 OR MIT", True),
        ("MIT/Apache-2.0", True),
        ("(GPL-3.0 AND MIT) OR ISC", True),
        ("GPL-3.0", False),
        ("MIT AND GPL-3.0", False),
        ("(MIT OR ISC) AND GPL-3.0", False),
    ],
)
def test_an_expression_is_read(expression: str, expected: bool) -> None:
    assert allowed(expression) is expected


def test_every_crate_has_a_permissive_licence() -> None:
    metadata = subprocess.run(
        ["cargo", "metadata", "--format-version", "1", "--locked", "--offline"],
        cwd=WORKSPACE,
        check=True,
        capture_output=True,
    )
    packages = json.loads(metadata.stdout)["packages"]
    assert len(packages) > 20
    assert [
        f"{package['name']}: {package['license']}"
        for package in packages
        if not allowed(package["license"] or "none")
    ] == []
