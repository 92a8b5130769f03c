"""Logs are cut under the programs that write to them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from symphony.kernel.logsize import cut_all

WRITER = """
import sys
for line in sys.stdin:
    sys.stdout.write(line * 1000)
    sys.stdout.flush()
    print("written", file=sys.stderr, flush=True)
"""


def test_a_flood_keeps_its_end_and_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    with (
        path.open("ab") as log,
        subprocess.Popen(
            [sys.executable, "-c", WRITER],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.PIPE,
            text=True,
        ) as writer,
    ):
        assert writer.stdin is not None
        assert writer.stderr is not None
        for word in ("first", "second"):
            writer.stdin.write(f"{word}\n")
            writer.stdin.flush()
            writer.stderr.readline()
        before = path.stat().st_size
        cut_all(tmp_path, largest=before - 1, kept=100)
        note, *lines = path.read_text().splitlines()
        assert note == f"[the first {before - 100} bytes of this log were cut off]"
        assert lines == ["second"] * 14
        writer.stdin.write("third\n")
        writer.stdin.close()
        writer.wait()
    assert path.read_text().splitlines()[1:] == [*lines, *["third"] * 1000]


def test_what_is_small_or_no_file_stays(tmp_path: Path) -> None:
    (tmp_path / "small.log").write_text("words\n")
    os.mkfifo(tmp_path / "pipe.log")
    (tmp_path / "link.log").symlink_to("/etc/passwd")
    cut_all(tmp_path, largest=6, kept=1)
    assert (tmp_path / "small.log").read_text() == "words\n"
    cut_all(tmp_path / "nowhere")
