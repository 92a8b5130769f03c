"""The player behind the real switch and codec: real pytest runs on small packages."""

import pytest

from symphony.bus.errors import BusError
from symphony.bus.testing import FakeConductor


def package(bus: FakeConductor, test: str) -> dict[str, str]:
    folder = bus.inbox / "package"
    (folder / "tests").mkdir(parents=True)
    (folder / "tests" / "test_it.py").write_text(test)
    return {"$folder": "package"}


def refusal(bus: FakeConductor, test: str, ttl_ms: int = 0) -> BusError:
    with pytest.raises(BusError) as caught:
        bus.call("tests.run/1", source_files=package(bus, test), ttl_ms=ttl_ms)
    assert caught.value.where == "source_files"
    assert caught.value.help
    return caught.value


def test_a_package_gets_a_report_a_score_and_a_sentence(bus: FakeConductor) -> None:
    text = "def test_a(): pass\ndef test_b(): assert 0\n"
    told = bus.call("tests.run/1", source_files=package(bus, text))
    assert "<testcase" in (bus.outbox / told["test_report"]["$file"]).read_text()
    assert told["score"] == 0.5
    assert told["summary"].startswith("1 of 2 tests passed")


def test_a_package_of_stubs_alone_is_refused_with_the_reason(bus: FakeConductor) -> None:
    error = refusal(
        bus,
        "import pytest\n@pytest.mark.xfail(raises=NotImplementedError, strict=True)\n"
        "def test_f1(): raise NotImplementedError\n",
    )
    assert error.code == "bad-request"
    assert "none of the 1 features could be generated" in error.message


def test_a_folder_that_is_no_package_is_a_bad_request(bus: FakeConductor) -> None:
    (bus.inbox / "empty").mkdir()
    with pytest.raises(BusError) as caught:
        bus.call("tests.run/1", source_files={"$folder": "empty"})
    assert (caught.value.code, caught.value.where) == ("bad-request", "source_files")


def test_tests_that_hang_end_at_the_deadline(bus: FakeConductor) -> None:
    error = refusal(bus, "import threading\ndef test_a(): threading.Event().wait()\n", ttl_ms=2500)
    assert error.code == "deadline"
