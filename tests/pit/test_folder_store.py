"""The example of another Artifact Store: what its folders hold, and when it does not open them."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "folder-store"
sys.path.insert(0, str(EXAMPLE))

from store import Store  # noqa: E402 - from the example's folder
from store_contents import Contents  # noqa: E402
from store_disk import UnusableError  # noqa: E402
from store_known import Known  # noqa: E402
from store_names import About, reference_of  # noqa: E402

from symphony.bus.errors import BusError  # noqa: E402

TS = "2026-01-01T00:00:00.000Z"


def put(store: Store, data: bytes, name: str | None = None) -> str:
    ref: str = Contents(store).put([(data, About(TS, name))])[0]["ref"]
    return ref


def reopened(place: Path, store: Store) -> Store:
    store.close()
    return Store(place)


def test_an_object_lies_by_its_hash_and_a_document_says_what_it_is(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    digits = put(store, b"hello", "greeting").removeprefix("blake3:")
    place = tmp_path / "store" / "objects" / digits[:2] / digits[2:]
    assert place.read_bytes() == b"hello"
    (document,) = (tmp_path / "store" / "documents").iterdir()
    assert document.name == "000000000001.json"
    assert '"greeting"' in document.read_text("utf-8")


def test_what_no_document_names_is_removed_at_start(tmp_path: Path) -> None:
    place = tmp_path / "store"
    store = Store(place)
    ref = put(store, b"kept")
    digits = reference_of(b"orphan").removeprefix("blake3:")
    orphan = place / "objects" / digits[:2] / digits[2:]
    orphan.write_bytes(b"orphan")
    (place / "tmp" / "7").write_bytes(b"half")
    store = reopened(place, store)
    assert not orphan.exists()
    assert list((place / "tmp").iterdir()) == []
    assert Contents(store).get(ref, 0, 9)["data"] == b"kept"
    store.close()


def test_a_repeated_put_writes_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    for _ in range(3):
        put(store, b"hello", "greeting")
    assert len(list((tmp_path / "store" / "documents").iterdir())) == 1
    store.close()


@pytest.mark.parametrize("nth", range(6))
def test_a_disk_that_is_full_leaves_nothing_half_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nth: int
) -> None:
    """The fsync of object, folder, document or folder fails: each in turn, then none."""
    place = tmp_path / "store"
    store = Store(place)
    calls = iter(range(100))
    real: Callable[[int], None] = os.fsync

    def full(descriptor: int) -> None:
        if next(calls) == nth:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        try:
            put(store, b"hello", "greeting")
        except OSError:
            with pytest.raises(BusError, match="not-found"):
                Known(store).stat([reference_of(b"hello")])
        else:
            assert nth >= 4
    store = reopened(place, store)
    assert [info["name"] for info in Known(store).listed({}, 9, None)["artifacts"]] in (
        [],
        ["greeting"],
    )
    ref = put(store, b"hello", "greeting")
    assert Contents(store).get(ref, 0, 9)["data"] == b"hello"
    assert Known(store).verify(None, None)["bad"] == []
    store.close()


def test_damage_is_healed_by_putting_the_same_bytes_again(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    ref = put(store, b"hello")
    place = store.disk.place_of(ref)
    place.chmod(0o600)
    place.write_bytes(b"hullo")
    with pytest.raises(BusError, match="corrupt"):
        Contents(store).get(ref, 0, 9)
    assert Known(store).verify(None, None)["bad"] == [ref]
    assert put(store, b"hello") == ref
    assert Contents(store).get(ref, 0, 9)["data"] == b"hello"
    store.close()


def test_a_store_that_cannot_be_understood_is_not_opened(tmp_path: Path) -> None:
    place = tmp_path / "store"
    store = Store(place)
    put(store, b"hello", "greeting")
    with pytest.raises(UnusableError, match="another process"):
        Store(place)
    store.close()
    document = place / "documents" / "000000000001.json"
    whole = document.read_bytes()
    document.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UnusableError, match="document 1"):
        Store(place)
    document.write_bytes(whole)
    (place / "format").write_text("folder-store 2\n", "utf-8")
    with pytest.raises(UnusableError, match="'folder-store 2'"):
        Store(place)


def test_its_process_says_why_it_cannot_open_the_store_and_what_helps(tmp_path: Path) -> None:
    (tmp_path / "format").write_text("folder-store 2\n", "utf-8")
    done = subprocess.run(
        [sys.executable, EXAMPLE / "main.py", "--store", tmp_path],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 6
    what, remedy = done.stderr.splitlines()
    assert what.startswith("error: ")
    assert remedy == "help: use the version that wrote it"
