"""Round trips through the hub, each case beside the same hub in C.

`ipc/BYTES/IN_FLIGHT` is our hub alone: the ends are the same C programs for both hubs, linked with
the very libzmq that pyzmq bundles. A chain has our clients on both ends of a whole hub: `chain`
the blocking Python client and a Python extension, `chain-async` the asyncio client and the same
extension, `chain-rust` both ends in Rust. Runs of ours and theirs alternate; medians.
"""

import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from benchlib import Result, alternate, compared, parser, play
from busload import Load, c_program, python, rust_programs, through_chain, through_hub

SIZES = (64, 1024, 65536)
IN_FLIGHT = (100, 1)
CHAINS = ("chain", "chain-async", "chain-rust")
EXAMPLES = """
--json
--only 'ipc/*/100'
--only 'chain*/64/100' --quick"""


def ours(kind: str, ends: Path, load: Load) -> float:
    """One run of the case."""
    if kind == "ipc":
        return through_hub(python("hub"), ends, load)
    if kind == "chain-rust":
        folder = rust_programs()
        return through_chain([folder / "bench-caller"], [folder / "bench-echo"], load)
    caller = "caller" if kind == "chain" else "caller_async"
    return through_chain(python(caller), python("echo"), load)


def measure(folder: Path, kind: str, load: Load, rounds: int) -> Iterator[Result]:
    hub, ends = c_program("hub", folder), c_program("load", folder)
    if kind == "chain-rust":
        rust_programs()  # before the clock runs
    our, their = alternate(
        rounds, partial(ours, kind, ends, load), partial(through_hub, [hub], ends, load)
    )
    yield compared("bus", f"{kind}/{load}", "rt/s", our, "c-hub", their)


def main() -> int:
    arguments = parser("bus", __doc__ or "", EXAMPLES)
    arguments.add_argument("--quick", action="store_true", help="one short run of each")
    options = arguments.parse_args()
    rounds, seconds = (1, 0.2) if options.quick else (5, 0.6)
    with tempfile.TemporaryDirectory() as folder:
        loads = [Load(size, flight, seconds) for size in SIZES for flight in IN_FLIGHT]
        plan = {
            f"{kind}/{load}": partial(measure, Path(folder), kind, load, rounds)
            for kind in ("ipc", *CHAINS)
            for load in loads
        }
        return play(plan, options)


if __name__ == "__main__":
    sys.exit(main())
