"""The player behind the real switch and codec: real pytest runs on small packages."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from symphony.bus.errors import BusError
from symphony.bus.testing import FakeConductor

MAIN = Path(__file__).resolve().parents[1] / "main.py"


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("run_tests_main", MAIN)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def package(bus: FakeConductor, test: str) -> dict[str, str]:
    folder = bus.inbox / "package"
    (folder / "tests").mkdir(parents=True)
    (folder / "tests" / "test_it.py").write_text(test)
    return {"$folder": "package"}


def refusal(test: str, ttl_ms: int = 0) -> BusError:
    with FakeConductor(load().ext) as bus, pytest.raises(BusError) as caught:
        bus.call("tests.run/1", source_files=package(bus, test), ttl_ms=ttl_ms)
    assert caught.value.where == "source_files"
    assert caught.value.help
    return caught.value


def test_a_package_gets_a_report_a_score_and_a_sentence() -> None:
    text = "def test_a(): pass\ndef test_b(): assert 0\n"
    with FakeConductor(load().ext) as bus:
        told = bus.call("tests.run/1", source_files=package(bus, text))
        assert "<testcase" in (bus.outbox / told["test_report"]["$file"]).read_text()
    assert told["score"] == 0.5
    assert told["summary"].startswith("1 of 2 tests passed")


def test_a_package_of_stubs_alone_is_refused_with_the_reason() -> None:
    error = refusal(
        "import pytest\n@pytest.mark.xfail(raises=NotImplementedError, strict=True)\n"
        "def test_f1(): raise NotImplementedError\n"
    )
    assert error.code == "bad-request"
    assert "none of the 1 features could be generated" in error.message


def test_a_folder_that_is_no_package_is_a_bad_request() -> None:
    with FakeConductor(load().ext) as bus:
        (bus.inbox / "empty").mkdir()
        with pytest.raises(BusError) as caught:
            bus.call("tests.run/1", source_files={"$folder": "empty"})
    assert (caught.value.code, caught.value.where) == ("bad-request", "source_files")


def test_tests_that_hang_end_at_the_deadline() -> None:
    error = refusal("import threading\ndef test_a(): threading.Event().wait()\n", ttl_ms=2500)
    assert error.code == "deadline"
