"""What a store staged is looked at, and held to its reference."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from blake3 import blake3

from symphony.kernel.errors import SymphonyError
from symphony.kernel.staged import reference, require_contents, require_staged

ONE = f"blake3:{blake3(b'one').hexdigest()}".encode()
LISTING = b"symphony-folder 1" + b"\x91\x94\xa7one.txt\xcd\x01\xa4\xd9\x47" + ONE + b"\x03"
PAGES = f"blake3:{blake3(LISTING).hexdigest()}"
CHANGES: dict[str, Callable[[Path], object]] = {
    "other bytes": lambda pages: (pages / "one.txt").write_bytes(b"neo"),
    "one more": lambda pages: (pages / "two.txt").touch(),
    "one less": lambda pages: (pages / "one.txt").unlink(),
    "another name": lambda pages: (pages / "one.txt").rename(pages / "two.txt"),
    "another mode": lambda pages: (pages / "one.txt").chmod(0o755),
    "no text": lambda pages: os.open(os.fsencode(pages) + b"/\xff", os.O_CREAT),
}
FAULTS: dict[str, Callable[[Path], object]] = {
    "is not there": lambda place: place.unlink(),
    "is no plain file or folder": lambda place: (place.unlink(), os.mkfifo(place)),
    "mode 4755": lambda place: place.chmod(0o4755),
}


@pytest.fixture
def pages(tmp_path: Path) -> Path:
    folder = tmp_path / "pages"
    folder.mkdir()
    (folder / "one.txt").write_bytes(b"one")
    return folder


def test_a_folder_has_the_reference_that_its_contract_says(pages: Path) -> None:
    assert reference(pages, threading.Event()) == PAGES
    require_contents(pages.parent, [(PAGES, "pages")])


@pytest.mark.parametrize("change", CHANGES)
def test_a_folder_that_is_another_is_refused(pages: Path, change: str) -> None:
    CHANGES[change](pages)
    with pytest.raises(SymphonyError, match="Artifact Store is not available"):
        require_contents(pages.parent, [(PAGES, "pages")])


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("at", ["pages/one.txt", "single"])
def test_only_plain_files_and_folders_are_taken(pages: Path, fault: str, at: str) -> None:
    (pages.parent / "single").touch()
    asked = ["pages", "single"]
    require_staged(pages.parent, asked)
    FAULTS[fault](pages.parent / at)
    if (fault, at) == ("is not there", "pages/one.txt"):
        return  # which contents tell
    with pytest.raises(SymphonyError, match=fault) as caught:
        require_staged(pages.parent, asked)
    assert caught.value.code == 5


def test_a_link_above_leads_elsewhere(pages: Path, tmp_path: Path) -> None:
    (tmp_path / "inbox").symlink_to(pages)
    with pytest.raises(SymphonyError, match="is no plain file or folder"):
        require_staged(tmp_path, ["inbox/one.txt"])
