"""Questions to the Stale Manager, for consoles."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from symphony.bus.errors import BusError

from ..archived import CURATOR, proofs
from ..clock import timestamp
from ..errors import ExitCode, SymphonyError
from ..queries import DAG, PAGE, REFERENCE, STORE, Ask, no_run, user, whole_reference
from . import staleanswers as answers

TRIES: Final = 3  # of a run, while those whom the Stale Manager needs come back


async def plan(ask: Ask) -> answers.StalePlan:
    """What would happen to every artifact; nothing is changed."""
    first = page = await ask(CURATOR, "plan", {"ts": timestamp()})
    items = list(page["items"])
    while page.get("next"):
        page = await ask(CURATOR, "plan", {"after": page["next"], "ts": timestamp()})
        items += page["items"]
    help_ = await _repair(ask) if first.get("stopped") else None
    return msgspec.convert({**first, "items": items, "help": help_}, answers.StalePlan)


async def run(ask: Ask, actions: Sequence[str]) -> answers.StaleRun:
    """Does what a fresh plan says; what stopped because somebody was away goes on."""
    wanted = {"actions": list(actions)} if actions else {}
    done: dict[str, answers.Total] = {}
    for _ in range(TRIES):
        args = {"id": _id("run"), "ts": timestamp(), **wanted}
        found = msgspec.convert(await ask(CURATOR, "run", args), answers.StaleRun)
        for action, more in found.done.items():
            had = done.get(action, answers.Total(items=0, bytes=0))
            sum_ = answers.Total(items=had.items + more.items, bytes=had.bytes + more.bytes)
            done[action] = sum_
        if not found.waited_for:
            break
        for whom, method in ((STORE, "list"), (DAG, "runs")):  # answered by one that is back
            await ask(whom, method, {"limit": 1})
    help_ = await _repair(ask) if found.stopped and not found.waited_for else None
    return msgspec.structs.replace(found, done=done, help=help_)


async def _repair(ask: Ask) -> str | None:
    """What to do about a run that cannot be read: as long as there is one, nothing is freed."""
    before: dict[str, object] = {}
    while rows := (await ask(DAG, "runs", {"limit": PAGE, **before}))["runs"]:
        for row in rows:
            if row["state"] == "corrupt":
                try:
                    await ask(DAG, "journal", {"run": row["run"], "limit": 1})
                except BusError as error:
                    return f"{error.where}: {error.help}; then ask again"
        before = {"before": rows[-1]["run"]}
    return None


async def restore(ask: Ask, subject: str) -> answers.StaleRestored:
    """Brings an artifact, or a run's, back from the archive."""
    args = {**await _subject(ask, subject), "id": _id("restore"), "ts": timestamp()}
    return msgspec.convert(await ask(CURATOR, "restore", args), answers.StaleRestored)


async def pin(ask: Ask, subject: str, reason: str, *, pinned: bool) -> answers.StalePinned:
    """Keeps an artifact, or a run's, from being moved; or no longer."""
    named = await _subject(ask, subject)
    args = {**named, **_word(reason)}
    return msgspec.convert(
        await ask(CURATOR, "pin" if pinned else "unpin", args), answers.StalePinned
    )


async def hold(ask: Ask, name: str, subjects: Sequence[str], reason: str) -> answers.StaleHeld:
    """Puts artifacts and runs under a legal hold; one of that name grows by them."""
    args = {"name": name, **await _subjects(ask, subjects), **_word(reason)}
    return msgspec.convert(await ask(CURATOR, "hold", args), answers.StaleHeld)


async def release(ask: Ask, name: str, subjects: Sequence[str], reason: str) -> answers.StaleHeld:
    """Ends a legal hold, or takes some out of it."""
    args = {"name": name, **await _subjects(ask, subjects), **_word(reason)}
    try:
        return msgspec.convert(await ask(CURATOR, "release_hold", args), answers.StaleHeld)
    except BusError as error:
        if error.code != "not-found":
            raise
        raise SymphonyError(
            ExitCode.NOT_FOUND,
            error.message,
            where=name,
            help="see `symphony-kernel stale report`",
        ) from error


async def report(ask: Ask, events: int) -> answers.StaleReport:
    """What lies where, what was done, what is held, and the newest events."""
    await ask(CURATOR, "plan", {"ts": timestamp(), "limit": 1})  # it looks at every artifact
    told = await ask(CURATOR, "events", {"newest": True, "limit": events})
    held: list[Any] = []
    after: dict[str, object] = {}
    while True:
        page = await ask(CURATOR, "holds", {"limit": PAGE, **after})
        held += page["holds"]
        if page.get("next") is None:
            break
        after = {"after": page["next"]}
    found = {**await ask(CURATOR, "report", {}), "hold_list": held, "event_list": told["events"]}
    return msgspec.convert(found, answers.StaleReport)


async def _subject(ask: Ask, name: str) -> dict[str, str]:
    """An artifact by its reference or the beginning of one, an archived one too, or a run.

    Raises :class:`SymphonyError` where there is none: a slip must not pass for a pin.
    """
    if not name.startswith("blake3:"):
        try:
            await ask(DAG, "journal", {"run": name, "limit": 1})
        except BusError as error:
            raise no_run(name, error) from error
        return {"run": name}
    begun = name.removesuffix("…")
    if len(begun) >= REFERENCE:
        return {"ref": begun}
    archived = {proof["ref"] async for proof in proofs(ask, begins=begun)}
    return {"ref": await whole_reference(ask, name, archived)}


async def _subjects(ask: Ask, names: Sequence[str]) -> dict[str, list[str]]:
    """The artifacts and the runs among them."""
    found: dict[str, list[str]] = {"refs": [], "runs": []}
    for name in names:
        for kind, subject in (await _subject(ask, name)).items():
            found[f"{kind}s"].append(subject)
    return found


def _word(reason: str) -> dict[str, str]:
    return {"who": user() or "console", "why": reason, "ts": timestamp()}


def _id(what: str) -> str:
    return f"{what}-{secrets.token_hex(8)}"
