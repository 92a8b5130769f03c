"""The ledgers of a soak: what callers say was answered against what providers say they did."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import quantiles

KEYED = "="


@dataclass
class Verdict:
    """What the ledgers prove. `lost`: answered calls that no provider did, or not with this
    answer. `doubled`: calls that were done or answered more than once."""

    answered: int = 0
    done: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    p50_us: float = 0.0
    p99_us: float = 0.0

    @property
    def holds(self) -> bool:
        """Whether every answered call was done exactly once, and no other one twice."""
        return not self.lost and not self.doubled


def judge(providers: Iterable[Path], callers: Iterable[Path]) -> Verdict:
    """Compares all ledgers. A last line that was cut short by a kill counts as not written.

    A call with an idempotency key is made twice and answered twice, alike. It may be done again
    only after it failed, because errors are not remembered.
    """
    verdict = Verdict()
    did: dict[str, list[str]] = {}
    for line in _lines(providers):
        key, answer = line.split()
        did.setdefault(key, []).append(answer)
        verdict.done += 1
    answers: dict[str, list[str]] = {}
    failed: set[str] = set()
    latencies: list[int] = []
    for line in _lines(callers):
        key, answer, *latency = line.split()
        if answer.startswith("!"):
            verdict.errors[answer[1:]] += 1
            failed.add(key)
            continue
        answers.setdefault(key, []).append(answer)
        latencies.append(int(latency[0]))
        verdict.answered += 1
    for key, given in answers.items():
        keyed = key.startswith(KEYED)
        if not set(given) <= set(did.get(key, ())):
            verdict.lost.append(key)
        if len(set(given)) > 1 or len(given) > (2 if keyed else 1):
            verdict.doubled.append(key)
    for key, times in did.items():
        again = key.startswith(KEYED) and key in failed
        if len(times) > 1 and not again:
            verdict.doubled.append(key)
    if len(latencies) > 1:
        cuts = quantiles(latencies, n=100)
        verdict.p50_us, verdict.p99_us = cuts[49], cuts[98]
    return verdict


def _lines(ledgers: Iterable[Path]) -> Iterable[str]:
    for path in ledgers:
        with path.open(encoding="ascii") as lines:
            yield from (line for line in lines if line.endswith("\n"))
