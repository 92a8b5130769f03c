"""What the wheel and the sdist hold, how their packages import, and what the lock files pin."""

import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from configparser import ConfigParser
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from symphony.bus.session import SDK
from symphony.kernel import VERSION

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PACKAGES = ("bus", "fqg", "kernel", "sandboxes")


def build(tree: Path, kind: str) -> Path:
    """The wheel or sdist that the build backend makes of a tree, as pip would call it."""
    out = tree.parent / f"{tree.name}-{kind}"
    out.mkdir()
    backend = f"import setuptools.build_meta as b, sys; b.build_{kind}(sys.argv[1])"
    command = [sys.executable, "-c", backend, str(out)]
    done = subprocess.run(command, cwd=tree, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return next(out.iterdir())


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sources alone, so that building leaves nothing in the working tree."""
    tree = tmp_path_factory.mktemp("build") / "tree"
    ignored = shutil.ignore_patterns("__pycache__", ".*")
    for folder in (*PACKAGES, "extensions"):
        shutil.copytree(ROOT / folder, tree / folder, ignore=ignored)
    for file in ("pyproject.toml", "setup.cfg", "LICENSE", "README.md"):
        shutil.copy(ROOT / file, tree)
    return tree


@pytest.fixture(scope="module")
def wheel(tree: Path) -> set[str]:
    return set(zipfile.ZipFile(build(tree, "wheel")).namelist())


def sources(folder: str) -> set[str]:
    """Names, in the wheel, of the files of one top-level folder that belong there."""
    return {
        f"symphony/{path.relative_to(ROOT)}"
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and not {"tests", "__pycache__"} & set(path.parts)
    }


def test_all_that_is_released_together_has_one_version() -> None:
    version = PROJECT["project"]["version"]
    workspace = tomllib.loads((ROOT / "pit-rs" / "Cargo.toml").read_text(encoding="utf-8"))
    assert workspace["workspace"]["package"]["version"] == version
    for wheel in sorted((ROOT / "pit-rs").glob("*/pyproject.toml")):
        named = tomllib.loads(wheel.read_text(encoding="utf-8"))["project"]["version"]
        assert (wheel.parent.name, named) == (wheel.parent.name, version)
    for member in sorted((ROOT / "extensions").glob("pit-*/extension.toml")):
        named = tomllib.loads(member.read_text(encoding="utf-8"))["extension"]["version"]
        assert (member.parent.name, named) == (member.parent.name, version)
    assert version == VERSION
    assert SDK.endswith(f"/{version}")


def test_the_wheel_has_every_module_under_its_import_name(wheel: set[str]) -> None:
    modules = {name for folder in PACKAGES for name in sources(folder) if name.endswith(".py")}
    assert modules <= wheel
    assert {f"symphony/{package}/py.typed" for package in PACKAGES} <= wheel


def test_the_wheel_has_the_players_whole_without_their_tests(wheel: set[str]) -> None:
    assert {name for name in wheel if name.startswith("symphony/extensions/")} == {
        name for name in sources("extensions") if "/." not in name
    }


def test_the_wheel_has_nothing_else(wheel: set[str]) -> None:
    tops = {name.split("/")[0] for name in wheel}
    assert tops == {"symphony", f"symphony_conductor-{PROJECT['project']['version']}.dist-info"}
    assert "symphony/__init__.py" not in wheel
    assert not [name for name in wheel if "__pycache__" in name or "/tests/" in name]


def test_the_sdist_builds_the_same_wheel(tree: Path, wheel: set[str], tmp_path: Path) -> None:
    with tarfile.open(build(tree, "sdist")) as archive:
        archive.extractall(tmp_path, filter="data")
    (unpacked,) = tmp_path.iterdir()
    assert set(zipfile.ZipFile(build(unpacked, "wheel")).namelist()) == wheel


def test_every_package_of_the_tree_is_listed() -> None:
    config = ConfigParser()
    config.read(ROOT / "setup.cfg")
    listed = config["options"]["packages"].split()
    mapped = dict(
        line.split(" = ") for line in config["options"]["package_dir"].strip().splitlines()
    )
    there = {
        str(path.parent.relative_to(ROOT)).replace("/", ".")
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
    }
    assert {f"symphony.{name}" for name in (*there, "extensions")} == set(listed) == set(mapped)
    for name, folder in mapped.items():
        assert name == f"symphony.{folder.replace('/', '.')}"


@pytest.mark.parametrize("name", [*PACKAGES, "extensions"])
def test_a_plain_name_is_not_importable(name: str, tmp_path: Path) -> None:
    code = "import importlib.util as u, sys; sys.exit(u.find_spec(sys.argv[1]) is not None)"
    done = subprocess.run([sys.executable, "-I", "-c", code, name], cwd=tmp_path, check=False)
    assert done.returncode == 0, f"{name} is importable without its namespace"


def pins(file: str) -> dict[str, str]:
    lines = (ROOT / "requirements" / file).read_text(encoding="utf-8").splitlines()
    return dict(line.split("==") for line in lines if "==" in line)


def test_the_lock_files_pin_what_the_project_asks_for() -> None:
    extras = PROJECT["project"]["optional-dependencies"]
    run, every = pins("run.txt"), pins("run.txt") | pins("test.txt")
    asked = {
        "run.txt": (run, [*PROJECT["project"]["dependencies"], *extras["players"]]),
        "test.txt": (
            every,
            [*extras["test"], *extras["dev"], *PROJECT["build-system"]["requires"]],
        ),
    }
    for file, (pinned, requirements) in asked.items():
        for requirement in map(Requirement, requirements):
            version = pinned.get(requirement.name.lower().replace("_", "-"))
            assert version, f"{requirement} is not in requirements/{file}: run scripts/lock"
            assert version in requirement.specifier, f"{requirement}: run scripts/lock"


def test_the_core_environment_has_no_pydantic() -> None:
    assert not [name for name in pins("run.txt") | pins("test.txt") if "pydantic" in name]
