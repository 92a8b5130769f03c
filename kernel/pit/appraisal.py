"""What a run shows of the quality of what it made; the Artifact Store is told when the run is over.

Structure: the output passed the gate's check of its type. Semantics: the quality that the gate gave
the step. Use: by the steps that took it, and by the run whose result it is, if that succeeded.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from symphony.bus.errors import BusError

from ..bindings import FromStep
from ..clock import timestamp
from ..melody import Melody
from ..members import AwayError, Member
from ..values import Value

log = logging.getLogger(__name__)

FULL: Final = 1_000
MOST: Final = 2_000  # artifacts of one run; more are not appraised
AT_ONCE: Final = 64  # calls, so that the store can make many durable together
LONGEST_BY: Final = 128  # bytes that the store takes of who uses something


@dataclass
class Appraisal:
    """What is known of one artifact: each part in thousandths."""

    semantics: int | None = None
    used_by: list[str] = field(default_factory=list)


def appraise(
    run: str,
    melody: Melody,
    outputs: Mapping[str, Mapping[str, Value]],
    qualities: Mapping[str, float],
    results: Mapping[str, Value],
) -> dict[str, Appraisal]:
    """By reference; `results` are those of a run that succeeded, else none."""
    found: dict[str, Appraisal] = {}
    for step, made in outputs.items():
        for value in made.values():
            if value.ref:
                appraisal = found.setdefault(value.ref, Appraisal())
                if step in qualities:
                    judged = round(qualities[step] * FULL)
                    appraisal.semantics = max(judged, appraisal.semantics or 0)
    for step, value in _taken(melody, outputs):
        if value.ref in found:
            found[value.ref].used_by.append(f"{run}/{step}"[:LONGEST_BY])
    for value in results.values():
        if value.ref in found:
            found[value.ref].used_by.append(run)
    return found


def _taken(
    melody: Melody, outputs: Mapping[str, Mapping[str, Value]]
) -> Iterator[tuple[str, Value]]:
    """Every output that a step took which ended well."""
    for step in melody.steps:
        if step.id in outputs:
            for source in step.bindings.values():
                if isinstance(source, FromStep):
                    value = outputs.get(source.step, {}).get(source.output)
                    if value is not None:
                        yield step.id, value


class Appraiser:
    """Tells the store, in the background. While it is away nothing is told: the run is not worse
    for it, and its lineage stays."""

    def __init__(self, store: Member) -> None:
        self._store = store
        self._room = asyncio.Semaphore(AT_ONCE)
        self._work: set[asyncio.Task[None]] = set()

    def tell(self, appraisals: Mapping[str, Appraisal]) -> None:
        """Begins to tell them."""
        for ref, appraisal in list(appraisals.items())[:MOST]:
            task = asyncio.create_task(self._tell(ref, appraisal))
            self._work.add(task)
            task.add_done_callback(self._work.discard)

    async def close(self) -> None:
        """What was begun comes to its end."""
        await asyncio.gather(*self._work, return_exceptions=True)

    async def _tell(self, ref: str, appraisal: Appraisal) -> None:
        known: dict[str, object] = {"ref": ref, "structure": FULL, "ts": timestamp()}
        if appraisal.semantics is not None:
            known["semantics"] = appraisal.semantics
        async with self._room:
            try:
                await self._store.ask("score", known)
                for by in appraisal.used_by:
                    await self._store.ask("use", {"ref": ref, "by": by, "ts": timestamp()})
            except (AwayError, BusError) as error:
                log.debug("not appraised", extra={"ref": ref, "reason": str(error)})
