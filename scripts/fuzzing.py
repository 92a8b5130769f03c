"""Fuzzing of the bus: so many inputs in all, shared among targets, and a report.

Live hubs get whole messages of every sort while others call each other; atheris looks for new paths
through the codec and a hub in memory; hypothesis and proptest try what they try in the tests, more
often. See `scripts/fuzz --help`.
"""

import argparse
import asyncio
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from benchlib import BAD_USAGE, FAILED, INTERRUPTED, PROJECT, BenchError, fail, say
from soakhub import PROGRAMS, Peers, StressedHub, start
from soakledger import judge

from symphony.bus.datapaths import NATIVE, REFERENCE
from symphony.bus.native import available

ATHERIS = ("atheris==3.0.0", "msgspec>=0.19", "pyzmq>=26")
TICKETS = {"caller": 1, "console": 7}  # a caller that was turned away once is nobody for ever
WITNESS_RATE = 100.0  # calls per second beside the inputs
REPORT = b"{"  # how the fuzzer's last line begins; those before it are numbers
GROWTH_KIB = 8 * 1024  # of a hub's memory in the second half of its inputs
PROPERTIES = {  # those that are made of hostile input, by crate and file
    "symphony-wire/properties": (
        "a_header_is_read_back",
        "random_bytes_never_panic",
        "a_damaged_header_never_panics",
    ),
    "symphony-switch/switch": ("any_sequence",),
}


@dataclass
class Outcome:
    """What one target made of its inputs."""

    target: str
    inputs: int = 0
    crashes: list[str] = field(default_factory=list)
    seconds: float = 0.0
    sorts: dict[str, int] = field(default_factory=dict)  # inputs by sort
    rss_kib: list[int] = field(default_factory=list)  # before, half way, after
    counters: dict[str, int] = field(default_factory=dict)  # of the hub
    witness: dict[str, float] = field(default_factory=dict)  # calls of others meanwhile
    skipped: str = ""

    def line(self) -> str:
        return json.dumps({name: value for name, value in asdict(self).items() if value})


# -- live hubs --------------------------------------------------------------------------------


def live_hub(datapath: str) -> Callable[[int, int], Outcome]:
    def target(inputs: int, seed: int) -> Outcome:
        return asyncio.run(_live_hub(datapath, inputs, seed))

    return target


async def _live_hub(datapath: str, inputs: int, seed: int) -> Outcome:
    outcome = Outcome(f"hub-{datapath}")

    def noticed(notice: list[str]) -> None:
        if notice[0] in ("ended", "bug"):
            outcome.crashes.append(" ".join(notice))

    with tempfile.TemporaryDirectory(prefix="fuzz-") as name:
        folder = Path(name)
        hub = await StressedHub.start(datapath, folder, noticed)
        providers, callers = Peers("provider", hub, folder), Peers("caller", hub, folder)
        try:
            await providers.add()
            await callers.add(str(WITNESS_RATE))
            tickets = []
            for kind, many in TICKETS.items():
                for number in range(many):
                    ticket = folder / f"fuzz-{kind}-{number}.ticket"
                    made = await hub.ask(kind, ticket.stem)
                    ticket.write_text(made, encoding="ascii")
                    tickets.append(str(ticket))
            outcome.rss_kib.append(hub.rss_kib())
            for half in range(2):
                await _send(outcome, inputs // 2, seed + half, tickets)
                outcome.rss_kib.append(hub.rss_kib())
            await callers.finish()
            verdict = judge(providers.ledgers(), callers.ledgers())
            outcome.witness = {
                "answered": verdict.answered,
                "errors": verdict.errors.total(),
                "p99_us": round(verdict.p99_us),
            }
            outcome.counters = without_names(await hub.counters())
            if not verdict.holds or verdict.errors or not verdict.answered:
                outcome.crashes.append(f"calls of others: {verdict}")
            if outcome.counters["restarts"]:
                outcome.crashes.append("the hub's thread ended")
            if outcome.rss_kib[2] - outcome.rss_kib[1] > GROWTH_KIB:
                outcome.crashes.append("the hub's memory grows")
        except (BenchError, TimeoutError) as error:
            outcome.crashes.append(str(error) or "callers do not end")
        finally:
            await callers.end()
            await providers.end()
            await hub.end()
    return outcome


def without_names(counters: dict[str, int]) -> dict[str, int]:
    """All refusals of one rule as one: who was refused what can be anything."""
    whole: dict[str, int] = {}
    for name, times in counters.items():
        short = f"refused {name.split()[-1]}" if name.startswith("refused ") else name
        whole[short] = whole.get(short, 0) + times
    return whole


async def _send(outcome: Outcome, inputs: int, seed: int, tickets: list[str]) -> None:
    process = await start("fuzzer", str(inputs), str(seed), *tickets)
    assert process.stdout is not None
    sent = b""
    try:
        while line := await process.stdout.readline():
            sent = line
            if not line.startswith(REPORT):
                say(f"{outcome.target}: {outcome.inputs + int(line)} inputs")
    finally:
        if process.returncode is None and not sent.startswith(REPORT):
            process.kill()
        code = await process.wait()
    if code != 0:
        raise BenchError(f"the fuzzer ended with {code}")
    for sort, times in json.loads(sent).items():
        outcome.sorts[sort] = outcome.sorts.get(sort, 0) + times
        outcome.inputs += times


# -- atheris ----------------------------------------------------------------------------------


def atheris(name: str) -> Callable[[int, int], Outcome]:
    def target(inputs: int, seed: int) -> Outcome:
        outcome = Outcome(f"atheris-{name}")
        try:
            python = _atheris_environment()
        except BenchError as error:
            outcome.skipped = str(error)
            return outcome
        with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
            package = Path(folder, "symphony")
            package.mkdir()
            (package / "bus").symlink_to(PROJECT / "bus")
            corpus = Path(folder, "corpus")
            corpus.mkdir()
            for number, data in enumerate(_vectors()):
                (corpus / str(number)).write_bytes(data)
            options = [f"-runs={inputs}", f"-seed={seed}", "-max_len=512", "-rss_limit_mb=2048"]
            done = subprocess.run(
                [python, PROGRAMS / f"atheris_{name}.py", *options, corpus],
                env=os.environ | {"PYTHONPATH": folder},
                cwd=folder,
                capture_output=True,
                text=True,
                errors="replace",
                check=False,
            )
        ran = re.search(r"^Done (\d+) runs", done.stderr, re.MULTILINE)
        outcome.inputs = int(ran[1]) if ran else 0
        if done.returncode != 0 or not ran:
            outcome.crashes.append(done.stderr[-4_000:])
        return outcome

    return target


def _atheris_environment() -> Path:
    """An environment of its own: atheris is no dependency of ours."""
    place = PROJECT / "build" / "fuzz-env"
    python = place / "bin" / "python"
    ready = place / "ready"
    if not ready.exists():
        say("installing atheris")
        venv.create(place, clear=True, with_pip=True)
        command = [str(python), "-m", "pip", "install", "--quiet", *ATHERIS]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise BenchError(f"atheris cannot be installed: {done.stderr.strip()[-300:]}")
        ready.touch()
    return python


def _vectors() -> Iterator[bytes]:
    """The golden bytes, as something to begin with."""
    for path in sorted((PROJECT / "bus" / "vectors").glob("*.json")):
        for hexadecimal in re.findall(r'"((?:[0-9a-f]{2})+)"', path.read_text("utf-8")):
            yield bytes.fromhex(hexadecimal)


# -- hypothesis and proptest --------------------------------------------------------------------


def hypothesis(inputs: int, seed: int) -> Outcome:
    """The tests in tests/bus/fuzz, which write down how many examples they saw."""
    outcome = Outcome("hypothesis")
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        tally = Path(folder, "tally")
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
        command += ["--timeout=0", f"--hypothesis-seed={seed}", "tests/bus/fuzz/test_hypothesis.py"]
        done = subprocess.run(
            command,
            cwd=PROJECT,
            env=os.environ | {"FUZZ_INPUTS": str(inputs), "FUZZ_TALLY": str(tally)},
            capture_output=True,
            text=True,
            check=False,
        )
        if tally.exists():
            outcome.sorts = json.loads(tally.read_text("ascii"))
            outcome.inputs = sum(outcome.sorts.values())
    if done.returncode != 0:
        outcome.crashes.append(done.stdout[-4_000:])
    return outcome


def proptest(inputs: int, seed: int) -> Outcome:
    """The properties of the Rust codec and switch that are fed hostile input."""
    outcome = Outcome("proptest")
    cases = max(1, inputs // sum(map(len, PROPERTIES.values())))
    for place, names in PROPERTIES.items():
        crate, test = place.split("/")
        manifest = str(PROJECT / "pit-rs" / "Cargo.toml")
        command = ["cargo", "test", "--release", "--locked", "--manifest-path", manifest]
        command += ["-p", crate, "--test", test, "--", "--exact", *names]
        environment = {"PROPTEST_CASES": str(cases), "PROPTEST_RNG_SEED": str(seed)}
        try:
            done = subprocess.run(
                command, env=os.environ | environment, capture_output=True, text=True, check=False
            )
        except OSError as error:
            outcome.skipped = f"cargo cannot be started: {error.strerror}"
            return outcome
        passed = re.search(r"test result: ok\. (\d+) passed", done.stdout)
        if done.returncode != 0 or not passed or int(passed[1]) != len(names):
            outcome.crashes.append((done.stdout + done.stderr)[-4_000:])
            continue
        outcome.sorts[place] = cases * len(names)
        outcome.inputs += cases * len(names)
    return outcome


# Each target's share of the inputs.
SHARES = {
    "hub-native": 0.25,
    "hub-reference": 0.25,
    "atheris-codec": 0.30,
    "atheris-hub": 0.08,
    "proptest": 0.12,
    "hypothesis": 0.01,
}
TARGETS: dict[str, Callable[[int, int], Outcome]] = {
    "hub-native": live_hub(NATIVE),
    "hub-reference": live_hub(REFERENCE),
    "atheris-codec": atheris("codec"),
    "atheris-hub": atheris("hub"),
    "proptest": proptest,
    "hypothesis": hypothesis,
}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/fuzz",
        description="Sends the bus what no peer should send: live hubs over each datapath while"
        " others call each other, the codec and a hub in memory guided by coverage (atheris, in an"
        " environment of its own), and the properties of the tests in Python and Rust.",
        epilog=f"targets: {' '.join(TARGETS)}\n\nexamples:\n  scripts/fuzz\n"
        "  scripts/fuzz --inputs 20000 --only 'hub-*' --json",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--inputs", type=int, default=1_000_000, help="in all (1000000)")
    parser.add_argument("--only", action="append", metavar="GLOB", help="targets that match")
    parser.add_argument("--seed", type=int, default=1, help="of all that is random (1)")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    options = parser.parse_args()
    if options.inputs < 1:
        parser.error("inputs are at least 1")
    return options


def chosen(options: argparse.Namespace) -> dict[str, float]:
    """The targets that are asked for and can be had, with shares that make one."""
    globs = options.only or ["*"]
    shares = {
        name: share
        for name, share in SHARES.items()
        if any(fnmatchcase(name, glob) for glob in globs)
    }
    if not shares:
        fail(BAD_USAGE, f"no target matches {' '.join(globs)}", f"targets: {' '.join(TARGETS)}")
    if not available():
        shares.pop("hub-native", None)
    whole = sum(shares.values())
    return {name: share / whole for name, share in shares.items()}


def show(outcome: Outcome) -> None:
    """For people."""
    for name, value in asdict(outcome).items():
        if value:
            print(f"{name:>9}  {value}")
    print()


def main() -> int:
    options = arguments()
    outcomes: list[Outcome] = []
    with ExitStack() as stack:
        stack.callback(say, "")
        for name, share in chosen(options).items():
            say(name)
            begun = time.monotonic()
            try:
                outcome = TARGETS[name](-(-int(options.inputs * share) // 2) * 2 + 2, options.seed)
            except KeyboardInterrupt:
                print("\nerror: interrupted", file=sys.stderr)
                return INTERRUPTED
            outcome.seconds = round(time.monotonic() - begun, 1)
            outcomes.append(outcome)
            if options.json:
                print(outcome.line(), flush=True)
            else:
                show(outcome)
    inputs, crashes = sum(one.inputs for one in outcomes), sum(len(one.crashes) for one in outcomes)
    print(
        json.dumps({"inputs": inputs, "crashes": crashes})
        if options.json
        else f"{inputs:,} inputs, {crashes} crashes"
    )
    return FAILED if crashes or inputs < options.inputs else 0


if __name__ == "__main__":
    sys.exit(main())
