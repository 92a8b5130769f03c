"""The import contract holds the arrows: what it allows passes, what it forbids is refused."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("bus", "fqg", "kernel", "sandboxes")


def lint(folder: Path, importer: str, imported: str) -> subprocess.CompletedProcess[str]:
    """Checks our contract on packages of which one imports another."""
    for package in PACKAGES:
        where = folder / "symphony" / package
        where.mkdir(parents=True)
        text = f"import symphony.{imported}\n" if package == importer else ""
        (where / "__init__.py").write_text(text)
    command = [Path(sys.executable).with_name("lint-imports"), "--no-cache"]
    return subprocess.run(
        [*command, "--config", ROOT / "pyproject.toml"],
        cwd=folder,
        env={"PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )


ALLOWED = [("kernel", other) for other in ("sandboxes", "fqg", "bus")] + [("sandboxes", "bus")]
EVERY = [(one, other) for one in PACKAGES for other in PACKAGES if one != other]


@pytest.mark.parametrize(("importer", "imported"), EVERY)
def test_only_the_arrows_of_the_design_are_allowed(
    importer: str, imported: str, tmp_path: Path
) -> None:
    done = lint(tmp_path, importer, imported)
    kept = "0 broken" in done.stdout and done.returncode == 0
    assert kept == ((importer, imported) in ALLOWED), done.stdout + done.stderr
