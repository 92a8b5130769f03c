"""The Artifact Store's bars, beside a plain loop, cp, git, restic and borg on the same disk.

`put/1GiB`: a file of 1 GiB that does not compress, taken from an outbox until it is durable;
`get/1GiB`: the same staged as a file again, checked, not synced, from a disk whose pages are not in
memory. `put/text`: 256 MiB of lines. `put/1KiB`: 10,000 files, of which 100 share one flush. What
each takes on the disk is told as CASE/stored (MiB; a ratio below 1 is less than theirs).

What durable means: ours: files, folders and index are synced. blake3-write, the floor: it reads,
hashes, writes and syncs each file. cp: the file system is synced afterwards. git add:
core.fsync=all. restic backup, borg create (no encryption): they sync their files. Nothing is synced
by `get`. git, restic and borg are timed with the start of their programs; restic encrypts.
They take turns, each round with other bytes, in another order, and at an empty store. Medians.
What was kept is emptied after its turn, and deleted at the end: ext4 looks past files deleted
within the last minute, so whoever makes many next would pay for what others deleted.
"""

import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

from benchlib import PROJECT, BenchError, Result, compared, parser, play, rounded, say
from busprograms import rust_example
from storepeers import Borg, Cp, Git, Kept, Loop, Ours, Peer, Restic, forget, hollow, told

EXAMPLES = """
--json
--only 'put/*' --quick"""


@dataclass(frozen=True)
class Case:
    verb: str
    kind: str
    """noise, text, or many small files."""
    amount: int
    """MiB, or how many files."""
    unit: str


def cases(quick: bool) -> dict[str, Case]:
    """With `quick` smaller ones by the same names."""
    gib, text, many = (64, 16, 1_000) if quick else (1024, 256, 10_000)
    return {
        "put/1GiB": Case("put", "noise", gib, "MiB/s"),
        "get/1GiB": Case("get", "noise", gib, "MiB/s"),
        "put/text": Case("put", "text", text, "MiB/s"),
        "put/1KiB": Case("put", "many", many, "objects/s"),
    }


class Bench:
    """One case: what is put and got in each round, and by whom."""

    def __init__(self, folder: Path, case: Case, program: Path) -> None:
        self.folder, self.case, self.program = folder, case, program
        self.seed = 0
        self.source = folder / "outbox" / "bytes"

    def begin(self) -> None:
        """Makes the bytes of a round."""
        self.seed += 1
        shutil.rmtree(self.source.parent, ignore_errors=True)
        self.source.parent.mkdir()
        case, seed = self.case, str(self.seed)
        if case.kind == "many":
            self.source.mkdir()
            told(self.program, "scatter", str(case.amount), seed, self.source)
        else:
            told(self.program, "make", case.kind, str(case.amount), seed, self.source)

    def once(self, peer: Peer) -> tuple[float, float]:
        """What one does in a round: amount a second, and MiB on the disk."""
        place = self.folder / f"{peer.name}-{self.seed}"
        try:
            kept = peer.keep(place, self.source)
            took = self.got(kept) if self.case.verb == "get" else kept.took
            return self.case.amount / took, kept.stored()
        finally:
            hollow(place)

    def got(self, kept: Kept) -> float:
        inbox = self.folder / "inbox"
        inbox.mkdir()
        try:
            forget(kept.place)
            took = kept.peer.get(kept, inbox / "bytes")
            if (inbox / "bytes").stat().st_size != self.source.stat().st_size:
                raise BenchError(f"{kept.peer.name} gave back something else")
            return took
        finally:
            shutil.rmtree(inbox)


def measure(folder: Path, name: str, case: Case, rounds: int) -> Iterator[Result]:
    program = rust_example("symphony-artifacts", "artifacts_bench")
    everybody: list[Peer] = [Ours(program), Loop(program), Cp(), Git(), Restic(), Borg()]
    there = [peer for peer in everybody if peer.missing() is None]
    for peer in everybody:
        if peer not in there:
            say(f"{peer.missing()} is not installed and left out: apt-get install {peer.missing()}")
    with tempfile.TemporaryDirectory(dir=folder, ignore_cleanup_errors=True) as place:
        bench = Bench(Path(place), case, program)
        taken: dict[str, list[tuple[float, float]]] = {peer.name: [] for peer in there}
        for number in range(rounds):
            bench.begin()
            for peer in there if number % 2 == 0 else reversed(there):
                taken[peer.name].append(bench.once(peer))
    (pace, stored), *others = [
        (median(one[0] for one in round_), median(one[1] for one in round_))
        for round_ in taken.values()
    ]
    for peer, (their_pace, _) in zip(there[1:], others, strict=True):
        yield compared("artifacts", name, case.unit, pace, peer.name, their_pace)
    if case.verb == "put":
        yield Result("artifacts", f"{name}/stored", "MiB", rounded(stored))
        for peer, (_, theirs) in zip(there[1:], others, strict=True):
            yield compared("artifacts", f"{name}/stored", "MiB", stored, peer.name, theirs)


def main() -> int:
    arguments = parser("artifacts", __doc__ or "", EXAMPLES)
    arguments.add_argument("--rounds", type=int, default=3, help="the median of so many (3)")
    arguments.add_argument("--quick", action="store_true", help="one round of smaller contents")
    options = arguments.parse_args()
    build = PROJECT / "build"
    build.mkdir(exist_ok=True)
    rounds = 1 if options.quick else options.rounds
    with tempfile.TemporaryDirectory(dir=build, ignore_cleanup_errors=True) as folder:
        plan = {
            name: partial(measure, Path(folder), name, case, rounds)
            for name, case in cases(options.quick).items()
        }
        return play(plan, options)


if __name__ == "__main__":
    sys.exit(main())
