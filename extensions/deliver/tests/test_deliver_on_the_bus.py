"""The player behind the real switch and codec; its /out is a temporary folder."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from symphony.bus.errors import BusError
from symphony.bus.testing import FakeConductor


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


@pytest.fixture
def bus(player: ModuleType, out: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeConductor]:
    monkeypatch.setattr(player, "OUT", out)
    with FakeConductor(player.ext) as conductor:
        yield conductor


def deliver(bus: FakeConductor, word: str) -> object:
    (bus.inbox / "prompt.txt").write_text(word)
    return bus.call("output.deliver/1", enhanced_prompt={"$file": "prompt.txt"})


def test_undo_puts_back_what_the_last_delivery_replaced(bus: FakeConductor, out: Path) -> None:
    out.mkdir()
    told = deliver(bus, "old")
    assert told == {"delivered": {"enhanced_prompt": "enhanced_prompt.txt"}}
    deliver(bus, "new")
    assert bus.call("output.deliver/1", "undo") == {"enhanced_prompt.txt": "restored"}
    assert (out / "enhanced_prompt.txt").read_text() == "old"
    assert bus.call("output.deliver/1", "undo") == {"enhanced_prompt.txt": "removed"}
    assert not (out / "enhanced_prompt.txt").exists()
    with pytest.raises(BusError) as caught:
        bus.call("output.deliver/1", "undo")
    assert (caught.value.code, caught.value.where) == ("not-found", "out")


def test_without_a_folder_to_write_to_it_is_a_bad_request(bus: FakeConductor) -> None:
    with pytest.raises(BusError) as caught:
        deliver(bus, "x")
    assert (caught.value.code, caught.value.where) == ("bad-request", "out")
    assert caught.value.help


def test_a_folder_that_cannot_be_written_is_told_and_left_alone(
    bus: FakeConductor, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out.mkdir()
    (out / "mine.txt").write_text("mine")
    (out / ".symphony").write_text("in the way")
    with pytest.raises(BusError) as caught:
        deliver(bus, "x")
    assert (caught.value.code, caught.value.where) == ("bad-request", "out")
    (out / ".symphony").unlink()
    out.chmod(0o500)  # root may write all the same: then only a read-only file system refuses
    if os.access(out, os.W_OK):
        import out_folder

        def refuse(*_: object) -> None:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))

        monkeypatch.setattr(out_folder, "_prepare", refuse)
    with pytest.raises(BusError) as caught:
        deliver(bus, "x")
    assert (caught.value.code, caught.value.where) == ("io", "out")
    assert [p.name for p in out.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize(
    "intent",
    [
        "{",
        "\ud800",
        "[]",
        '{"number": 2}',
        '{"entries": {}}',
        '{"number": "2", "entries": {}}',
        '{"number": 2, "run": "", "entries": {"../mine": 7}}',
        '{"number": 2, "run": "", "entries": {"x": "7"}}',
        '{"number": 2, "run": "", "entries": {"x": 7}}',
        '{"undo": 1, "entries": {"enhanced_prompt.txt": 7}}',
    ],
)
@pytest.mark.parametrize("method", ["undo", None])
def test_a_damaged_record_of_an_interrupted_delivery_is_told_and_changes_nothing(
    bus: FakeConductor, out: Path, intent: str, method: str | None
) -> None:
    out.mkdir()
    deliver(bus, "old")
    deliver(bus, "new")
    (out / ".symphony/intent.json").write_bytes(intent.encode(errors="surrogatepass"))
    with pytest.raises(BusError) as caught:
        bus.call("output.deliver/1", "undo") if method else deliver(bus, "newest")
    error = caught.value
    assert (error.code, error.fault) == ("corrupt", "environment")
    assert error.where == "out: .symphony/intent.json"
    assert "damaged" in error.message
    assert (out / "enhanced_prompt.txt").read_text() == "new"
    (out / ".symphony/intent.json").unlink()
    assert bus.call("output.deliver/1", "undo") == {"enhanced_prompt.txt": "restored"}


@pytest.mark.parametrize("damage", ["record", "content"])
def test_a_damaged_former_version_is_told_and_changes_nothing(
    bus: FakeConductor, out: Path, damage: str
) -> None:
    out.mkdir()
    deliver(bus, "old")
    deliver(bus, "new")
    former = out / ".symphony/previous/2"
    if damage == "record":
        (former / "manifest.json").write_text("not JSON")
    else:
        (former / "enhanced_prompt.txt").unlink()
    with pytest.raises(BusError) as caught:
        bus.call("output.deliver/1", "undo")
    assert caught.value.code == "corrupt"
    assert caught.value.where == "out: .symphony/previous/2/manifest.json"
    assert (out / "enhanced_prompt.txt").read_text() == "new"
