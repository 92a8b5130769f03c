"""Kernels that ended in peace: the newest are remembered until Arbitration has heard of them."""

from __future__ import annotations

import os
from pathlib import Path

from symphony.kernel.pit.ended import MOST, Ended


def test_the_newest_are_remembered_until_arbitration_has_heard(tmp_path: Path) -> None:
    ended = Ended(tmp_path / "epochs.ended")
    ended.forget()
    assert ended.all() == []
    for number in range(MOST + 2):
        ended.keep(f"e{number}")
    assert ended.all() == [f"e{number}" for number in range(2, MOST + 2)]
    ended.forget()
    assert ended.all() == []


def test_what_is_no_such_file_names_nobody(tmp_path: Path) -> None:
    path = tmp_path / "epochs.ended"
    path.write_text('["e1", 7]')
    assert Ended(path).all() == []
    path.unlink()
    os.mkfifo(path)
    assert Ended(path).all() == []
