"""What the store has no more: whether it was archived, when, and how it comes back."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, Final

from msgspec.structs import replace

from symphony.bus.errors import BusError

from .answers import ArchivedArtifact, ArchivedArtifacts
from .errors import ExitCode, SymphonyError
from .members import ARTIFACT_STORE, STALE_MANAGER
from .replies import WRONG

if TYPE_CHECKING:
    from .queries import Ask

CURATOR = STALE_MANAGER.capability
STORE = ARTIFACT_STORE.capability
PAGE: Final = 1000


class GoneError(SymphonyError):
    """An artifact that is known and not here: archived, or deleted."""

    def __init__(self, name: str, ref: str, message: str, help_: str, code: str) -> None:
        super().__init__(ExitCode.NOT_FOUND, message, where=name, help=help_, name=code)
        self.ref = ref


async def proofs(ask: Ask, **wanted: object) -> AsyncIterator[dict[str, Any]]:
    """The proofs that artifacts were archived, those that fit (as `pit.stale/1 proofs`)."""
    after: dict[str, object] = {}
    while True:
        page = await ask(CURATOR, "proofs", {"limit": PAGE, **wanted, **after})
        for proof in page["proofs"]:
            yield proof
        if page.get("next") is None:
            return
        after = {"after": page["next"]}


async def missing(ask: Ask, name: str) -> SymphonyError:
    """Why there is no such artifact: :class:`GoneError` where it was once there."""
    try:
        if name.startswith("blake3:"):
            begun = name.removesuffix("…")
            refs = {proof["ref"] async for proof in proofs(ask, begins=begun, away=True)}
            return await _gone(ask, name, refs.pop()) if len(refs) == 1 else nowhere(name)
        version = await version_of(ask, name)
        if version is None or version["there"]:
            return nowhere(name)
        return await _gone(ask, name, version["ref"], await _older(ask, name))
    except (BusError, SymphonyError) as error:
        if getattr(error, "name", "") == WRONG:
            raise
        remedy = "see `symphony-kernel artifacts list`; the Stale Manager does not answer, so "
        return nowhere(name, remedy + "whether it was archived cannot be told")


def nowhere(
    name: str, remedy: str = "see `symphony-kernel artifacts list`, also with --archived"
) -> SymphonyError:
    """There is no artifact of this name, and none is known."""
    return SymphonyError(ExitCode.NOT_FOUND, "there is no such artifact", where=name, help=remedy)


async def version_of(ask: Ask, name: str) -> dict[str, Any] | None:
    """The newest version of a name, here or not; of NAME@NUMBER, where no name is so, that one."""
    reply = await ask(STORE, "versions", {"name": name, "limit": 1})
    plain, at, number = name.rpartition("@")
    by_number = at and plain and number.isascii() and number.isdigit()
    if not reply["versions"] and by_number:
        args = {"name": plain, "before": int(number[-9:]) + 1, "limit": 1}
        reply = await ask(STORE, "versions", args)
        reply["versions"] = [v for v in reply["versions"] if v["version"] == int(number)]
    return next(iter(reply["versions"]), None)


async def since(ask: Ask, ref: str) -> str | None:
    """When something that is not here was archived, if it was and somebody can tell."""
    try:
        found = [proof["archived"] async for proof in proofs(ask, begins=ref, away=True)]
    except (BusError, SymphonyError):
        return None
    return str(found[0]) if found else None


async def count(ask: Ask) -> int | None:
    """How many contents are archived and not here; None where nobody can tell."""
    try:
        cold = (await ask(CURATOR, "report", {}))["tiers"].get("cold")
    except (BusError, SymphonyError):
        return None
    return int(cold["items"]) if cold else 0


async def archived(ask: Ask, limit: int, run: str | None, name: str | None) -> ArchivedArtifacts:
    """What is archived and not here, the newest proof first."""
    wanted: dict[str, object] = {"away": True, "newest": True}
    if run is not None:
        wanted["run"] = run
    rows: list[ArchivedArtifact] = []
    folders: dict[str, int] = {}  # the bytes of their files, which were archived right before them
    more = False
    async for proof in proofs(ask, **wanted):
        if (whole := proof.get("whole")) is not None:
            folders[whole] = folders.get(whole, 0) + proof["bytes"]
        known = await _name(ask, proof["ref"])
        if (name is not None and known != name) or (whole is not None and known is None):
            continue  # the files of a folder come with it
        if more := len(rows) == limit:
            break
        row = {key: proof[key] for key in ("ref", "bytes", "place", "archived", "freed", "runs")}
        rows.append(ArchivedArtifact(name=known, **row))
    sized = (replace(row, bytes=folders.get(row.ref, row.bytes)) for row in rows)
    return ArchivedArtifacts(archived=list(sized), more=more)


async def _name(ask: Ask, ref: str) -> str | None:
    """Under which name the store knew it: its place in the lineage is kept."""
    try:
        reply = await ask(STORE, "lineage", {"ref": ref, "depth": 0})
    except BusError as error:
        if error.code != "not-found":
            raise
        return None
    return next((node.get("name") for node in reply["nodes"] if node["ref"] == ref), None)


async def _older(ask: Ask, name: str) -> str:
    """That an older version is here, if one is: nobody is given it unasked."""
    versions = (await ask(STORE, "versions", {"name": name, "limit": PAGE}))["versions"]
    here = (row["version"] for row in versions if row["there"])
    return "" if (number := next(here, None)) is None else f", or take {name}@{number}"


async def _gone(ask: Ask, name: str, ref: str, instead: str = "") -> SymphonyError:
    proof = [proof async for proof in proofs(ask, begins=ref, away=True)]
    if proof:
        day = proof[0]["archived"][:10]
        if lost := proof[0].get("lost"):
            remedy = (
                "put its file back into the archive from a backup, then bring it back with "
                f"`symphony-kernel stale restore {ref}`{instead}"
            )
            message = (
                f"this artifact was archived on {day}, but on {lost[:10]} the archive did not "
                "give it back, and it is not here"
            )
            return GoneError(name, ref, message, remedy, "archived")
        remedy = f"bring it back with `symphony-kernel stale restore {ref}`{instead}"
        message = f"this artifact was archived on {day} and is not here"
        return GoneError(name, ref, message, remedy, "archived")
    remedy = f"`symphony-kernel artifacts lineage {ref}` shows what it was made from{instead}"
    return GoneError(name, ref, "this artifact was deleted to make room", remedy, "not-found")
