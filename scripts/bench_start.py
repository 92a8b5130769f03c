"""How long the kernel takes from spawn to accepting, and what it holds when idle.

`cold`: until `serve --json` says that it is ready, beside a bare interpreter that prints a line.
`idle-rss`: resident memory of the kernel process alone two seconds later, beside the same.
"""

import argparse
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import psutil
from benchlib import Result, alternate, compared, show

KERNEL = Path(sys.executable).with_name("symphony-kernel")
SETTLE_S = 2.0
READY_S = 30.0
BARE = [sys.executable, "-I", "-c", "print('ready', flush=True); input()"]


@contextmanager
def started(command: list[str]) -> Iterator[tuple[subprocess.Popen[str], float]]:
    """The process once it has written its first line, and the milliseconds until then."""
    begun = time.perf_counter()
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        heard, _, _ = select.select([process.stdout], [], [], READY_S)
        line = process.stdout.readline() if heard else ""
        spent = (time.perf_counter() - begun) * 1000
        if "ready" not in line:
            process.kill()
            sys.exit(f"error: {' '.join(command)} did not get ready\n{process.communicate()[1]}")
        yield process, spent
    finally:
        process.terminate()
        process.wait(timeout=READY_S)


def serve(home: Path) -> list[str]:
    return [str(KERNEL), "serve", "--home", str(home), "--json"]


def cold(command: list[str]) -> float:
    with started(command) as (_, spent):
        return spent


def idle_rss(command: list[str]) -> float:
    with started(command) as (process, _):
        time.sleep(SETTLE_S)
        return float(psutil.Process(process.pid).memory_info().rss) / 2**20


def measure(home: Path, rounds: int) -> list[Result]:
    cold(serve(home))  # makes the home, and fills the disk's cache
    ours, bare = alternate(rounds, partial(cold, serve(home)), partial(cold, BARE))
    memory, bare_memory = alternate(1, partial(idle_rss, serve(home)), partial(idle_rss, BARE))
    return [
        compared("start", "cold", "ms", ours, "python", bare),
        compared("start", "idle-rss", "MiB", memory, "python", bare_memory),
    ]


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    parser.add_argument("--rounds", type=int, default=7, help="the median of so many (7)")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        show(measure(Path(folder, "home"), args.rounds), as_json=args.json)


if __name__ == "__main__":
    main(sys.argv[1:])
