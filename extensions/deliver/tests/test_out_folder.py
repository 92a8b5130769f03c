"""Deliveries are whole or not there, at whatever point the process ends, and can be taken back."""

import multiprocessing
import os
from pathlib import Path

import out_folder
import pytest


def sources(tmp_path: Path, word: str) -> dict[str, Path]:
    folder = tmp_path / f"source-{word}"
    (folder / "package" / "src").mkdir(parents=True)
    (folder / "package" / "src" / "a.py").write_text(word)
    (folder / "package" / f"only-{word}").write_text(word)
    (folder / "report.xml").write_text(word)
    return {"package": folder / "package", "report.xml": folder / "report.xml"}


def seen(out: Path) -> dict[str, str]:
    """Relative path → content of everything that the user sees."""
    files = (p for p in out.rglob("*") if p.is_file() and ".symphony" not in p.parts)
    return {str(p.relative_to(out)): p.read_text() for p in files}


def version(word: str) -> dict[str, str]:
    return {"package/src/a.py": word, f"package/only-{word}": word, "report.xml": word}


@pytest.fixture
def out(tmp_path: Path) -> Path:
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


def test_a_delivery_replaces_what_was_there_and_undo_brings_it_back(
    tmp_path: Path, out: Path
) -> None:
    (out / "mine.txt").write_text("mine")
    told = out_folder.deliver(out, sources(tmp_path, "old"))
    assert told == {"package": "package", "report.xml": "report.xml"}
    out_folder.deliver(out, sources(tmp_path, "new"))
    assert seen(out) == {**version("new"), "mine.txt": "mine"}
    assert out_folder.undo(out) == {"package": "restored", "report.xml": "restored"}
    assert seen(out) == {**version("old"), "mine.txt": "mine"}
    assert out_folder.undo(out) == {"package": "removed", "report.xml": "removed"}
    assert seen(out) == {"mine.txt": "mine"}
    with pytest.raises(out_folder.NothingToUndo):
        out_folder.undo(out)


def test_the_same_delivery_again_changes_nothing(tmp_path: Path, out: Path) -> None:
    entries = sources(tmp_path, "old")
    out_folder.deliver(out, entries)
    before = (out / "report.xml").stat().st_ino
    out_folder.deliver(out, entries)
    assert (out / "report.xml").stat().st_ino == before
    assert out_folder.Layout(out).numbers() == [1]


@pytest.fixture(params=[True, False], ids=["exchange", "no-exchange"])
def exchange(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether the file system can swap two paths in one step; some network ones cannot."""
    if not request.param:
        monkeypatch.setattr(out_folder, "_exchange", lambda *_: False)
    return bool(request.param)


def _crash(out: Path, entries: dict[str, Path] | None, at: int) -> None:
    count = 0

    def checkpoint(_: str) -> None:
        nonlocal count
        count += 1
        if count > at:
            os._exit(9)

    if entries is None:
        out_folder.undo(out, checkpoint)
    else:
        out_folder.deliver(out, entries, checkpoint=checkpoint)
    os._exit(0)


def crashes(out: Path, entries: dict[str, Path] | None, at: int) -> bool:
    process = multiprocessing.get_context("fork").Process(target=_crash, args=(out, entries, at))
    process.start()
    process.join(30)
    assert process.exitcode in (0, 9)
    return process.exitcode == 9


def test_a_crash_at_any_point_leaves_each_entry_whole_and_a_repeat_completes_it(
    tmp_path: Path, exchange: bool
) -> None:
    old, new = sources(tmp_path, "old"), sources(tmp_path, "new")
    point = 0
    while True:
        out = tmp_path / f"out-{point}"
        out.mkdir()
        out_folder.deliver(out, old)
        crashed = crashes(out, new, point)
        now = seen(out)
        if not exchange and crashed:  # an entry may be missing, until the delivery is completed
            out_folder.recover(out)
            now = seen(out)
        assert now["report.xml"] in ("old", "new")
        word = now["package/src/a.py"]
        assert {k: v for k, v in now.items() if k != "report.xml"} == {
            k: v for k, v in version(word).items() if k != "report.xml"
        }
        out_folder.deliver(out, new)
        assert seen(out) == version("new")
        out_folder.undo(out)
        assert seen(out) == version("old")
        if not crashed:
            break
        point += 1
    assert point >= 6


@pytest.mark.usefixtures("exchange")
def test_a_crash_while_undoing_can_be_completed(tmp_path: Path) -> None:
    old, new = sources(tmp_path, "old"), sources(tmp_path, "new")
    point, crashed = 0, True
    while crashed:
        out = tmp_path / f"out-{point}"
        out.mkdir()
        out_folder.deliver(out, old)
        out_folder.deliver(out, new)
        crashed = crashes(out, None, point)
        out_folder.recover(out)
        assert seen(out) == version("old")
        assert out_folder.Layout(out).numbers() == [1]
        point += 1
    assert point >= 3


@pytest.mark.parametrize("name", ["../evil", ".symphony", "", "a/b"])
def test_a_name_that_leads_elsewhere_is_refused(tmp_path: Path, out: Path, name: str) -> None:
    with pytest.raises(out_folder.Refused):
        out_folder.deliver(out, {name: sources(tmp_path, "old")["report.xml"]})


def test_a_symlink_is_neither_followed_nor_delivered(tmp_path: Path, out: Path) -> None:
    entries = sources(tmp_path, "old")
    (entries["package"] / "link").symlink_to("/etc/passwd")
    with pytest.raises(out_folder.Refused, match="link"):
        out_folder.deliver(out, entries)
    assert seen(out) == {}
