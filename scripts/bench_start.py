"""How long the kernel takes from spawn to accepting, what it holds when idle, how soon it resumes.

`cold`: until `serve --json` says that it is ready, beside a bare interpreter that prints a line.
`idle-rss`: resident memory of the kernel process alone two seconds later, beside the same.
`resume`: from kill -9 of the kernel in the middle of a run to the next step running in the kernel
that `run --resume` starts at once, beside the same.
"""

import json
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import psutil
from bench_steps import PLAYERS, melody
from benchlib import KERNEL, BenchError, Result, alternate, compared, parser, play
from benchproc import Process, hear, running

SETTLE_S = 2.0
BARE = [sys.executable, "-I", "-c", "print('ready', flush=True); input()"]
RUN_STEPS, KILLED_AFTER = 200, 10
EXAMPLES = """
--json
--only resume --rounds 3"""


def cold(command: list[str]) -> float:
    """Milliseconds until the first line."""
    begun = time.perf_counter()
    with running(command) as process:
        line = hear(process)
        spent = (time.perf_counter() - begun) * 1000
    if b"ready" not in line:
        raise BenchError(f"{' '.join(command)} did not get ready: {line.decode(errors='replace')}")
    return spent


def idle_rss(command: list[str]) -> float:
    """MiB."""
    with running(command) as process:
        hear(process)
        time.sleep(SETTLE_S)
        return float(psutil.Process(process.pid).memory_info().rss) / 2**20


def resume(folder: Path) -> float:
    """Milliseconds from the kill to the first step of the resumed run."""
    with tempfile.TemporaryDirectory(dir=folder, ignore_cleanup_errors=True) as place:
        file = Path(place, "bench.melody.json")
        file.write_text(json.dumps(melody("chain", RUN_STEPS)), encoding="utf-8")
        shared = ["--home", str(Path(place, "home")), "--extensions", str(PLAYERS)]
        shared += ["--headless", "--json", "-"]
        with running([*KERNEL, "run", str(file), *shared]) as process:
            finished = 0
            while finished < KILLED_AFTER:
                event = told(process)
                finished += event["event"] == "step.finished"
            begun = time.perf_counter()
            process.kill()
            with running([*KERNEL, "run", "--resume", event["run"], *shared]) as resumed:
                # It tells first what the killed kernel had not told of its own steps.
                events: list[str] = []
                while events[-1:] != ["step.started"] or "run.resumed" not in events:
                    events.append(told(resumed)["event"])
                return (time.perf_counter() - begun) * 1000


def told(process: Process) -> dict[str, str]:
    """The next event of a run; raises BenchError if it is over before its time."""
    event: dict[str, str] = json.loads(hear(process))
    if event.get("event") in (None, "step.failed", "run.finished"):
        raise BenchError(f"the run did not go on: {json.dumps(event)}")
    return event


def measure(folder: Path, case: str, rounds: int) -> Iterator[Result]:
    serve = [*KERNEL, "serve", "--home", str(folder / "home"), "--json"]
    if case == "resume":
        ours, bare = alternate(rounds, partial(resume, folder), partial(cold, BARE))
        yield compared("start", case, "ms", ours, "python", bare)
        return
    cold(serve)  # makes the home, and fills the disk's cache
    if case == "cold":
        ours, bare = alternate(rounds, partial(cold, serve), partial(cold, BARE))
        yield compared("start", case, "ms", ours, "python", bare)
    else:
        ours, bare = alternate(1, partial(idle_rss, serve), partial(idle_rss, BARE))
        yield compared("start", case, "MiB", ours, "python", bare)


def main() -> int:
    arguments = parser("start", __doc__ or "", EXAMPLES)
    arguments.add_argument("--rounds", type=int, default=7, help="the median of so many (7)")
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        cases = ("cold", "idle-rss", "resume")
        plan = {case: partial(measure, Path(folder), case, options.rounds) for case in cases}
        return play(plan, options)


if __name__ == "__main__":
    sys.exit(main())
