"""Real pytest runs on small packages: what is counted, and what happens when they misbehave."""

from pathlib import Path

import package_tests
import pytest


def package(tmp_path: Path, text: str) -> tuple[Path, Path, Path]:
    folder, scratch = tmp_path / "package", tmp_path / "scratch"
    (folder / "tests").mkdir(parents=True)
    (folder / "src" / "thing").mkdir(parents=True)
    (folder / "src" / "thing" / "__init__.py").write_text("VALUE = 1\n")
    (folder / "tests" / "test_it.py").write_text(text)
    scratch.mkdir()
    return folder, tmp_path / "report.xml", scratch


def test_passing_failing_and_expected_failures_are_told_apart(tmp_path: Path) -> None:
    text = """import pytest, thing
def test_a(): assert thing.VALUE == 1
def test_b(): assert False
@pytest.mark.xfail(strict=True, raises=NotImplementedError)
def test_c(): raise NotImplementedError
"""
    folder, report, scratch = package(tmp_path, text)
    outcome = package_tests.run(folder, report, scratch, 60, lambda _: None)
    assert (outcome.passed, outcome.real, outcome.gaps, outcome.failed) == (1, 2, 1, ("test_b",))
    assert outcome.score == 0.5
    assert "test_b" in outcome.summary
    assert not list(folder.rglob("__pycache__"))


@pytest.mark.parametrize("text", ["", "this is no python (", "import does_not_exist\n"])
def test_a_package_without_a_test_that_runs_scores_nothing(tmp_path: Path, text: str) -> None:
    folder, report, scratch = package(tmp_path, text)
    assert package_tests.run(folder, report, scratch, 60, lambda _: None).score == 0.0
    assert report.exists()


def test_tests_that_hang_are_ended(tmp_path: Path) -> None:
    folder, report, scratch = package(
        tmp_path, "import threading\ndef test_a(): threading.Event().wait()\n"
    )
    with pytest.raises(package_tests.TooSlow):
        package_tests.run(folder, report, scratch, 1.0, lambda _: None)


def test_a_folder_without_tests_is_refused(tmp_path: Path) -> None:
    with pytest.raises(package_tests.NoTests):
        package_tests.run(tmp_path, tmp_path / "report.xml", tmp_path, 5, lambda _: None)
