"""Questions to the members that decide, for consoles."""

from __future__ import annotations

import msgspec

from symphony.bus.errors import BusError

from ..errors import ExitCode, SymphonyError
from ..members import ARBITRATION, POOL_MANAGER
from ..queries import DAG, Ask, no_run
from ..syntax import hint
from . import answers

POOL = POOL_MANAGER.capability
ARBITER = ARBITRATION.capability


async def pool(ask: Ask) -> answers.Pool:
    """Every kind of player with its processes, and how often one was warm."""
    listed = await ask(POOL, "list", {})
    stats = await ask(POOL, "stats", {})
    return msgspec.convert({**listed, "stats": stats}, answers.Pool, strict=False)


async def drain(ask: Ask, name: str) -> answers.Drained:
    """Takes an instance, or all of a player's, out of service once it is free."""
    kinds = (await ask(POOL, "list", {}))["kinds"]
    wanted = [
        {"instance": instance["instance"]}
        for kind in kinds
        for instance in kind["instances"]
        if name in (instance["instance"], kind["player"])
    ]
    drained: list[str] = []
    for instance in wanted:
        try:
            drained += (await ask(POOL, "drain", instance))["instances"]
        except BusError as error:
            if error.code != "not-found":  # it ended just now
                raise
    if not drained:
        raise SymphonyError(
            ExitCode.NOT_FOUND,
            "there is no such instance, and no player of this name has one",
            where=name,
            help="see `symphony-kernel pool`",
        )
    return answers.Drained(instances=drained)


async def budget(ask: Ask, run: str | None, tenant: str | None) -> answers.Budget:
    """What was spent, who waits, who holds what, and how fair it was.

    Raises :class:`SymphonyError` for a run or tenant that is not there: nothing is spent by a slip.
    """
    fairness = await ask(ARBITER, "fairness", {})
    if tenant is not None and len(known := fairness["tenants"]) > 1 and tenant not in known:
        raise SymphonyError(
            ExitCode.NOT_FOUND,
            f'pit.toml has no tenant "{tenant}"',
            where="--tenant",
            help=hint(tenant, known, "tenants"),
        )
    if run is not None:
        try:
            await ask(DAG, "journal", {"run": run, "limit": 1})
        except BusError as error:
            raise no_run(run, error) from error
    given = {"run": run, "tenant": tenant}
    asked = {key: value for key, value in given.items() if value is not None}
    standing = await ask(ARBITER, "budgets", asked)
    queue = await ask(ARBITER, "queue", {})
    return msgspec.convert({**queue, **standing, "fairness": fairness}, answers.Budget)


async def why(ask: Ask, grant: str) -> answers.Why:
    """What the decision saw that led to a grant."""
    try:
        found = await ask(ARBITER, "explain", {"grant": grant})
    except BusError as error:
        if error.code not in ("not-found", "bad-request"):
            raise
        raise SymphonyError(
            ExitCode.NOT_FOUND,
            "there is no such grant, or it is too long ago",
            where=grant,
            help="a grant's name stands in the event step.started; the last 10,000 are explained",
        ) from error
    return msgspec.convert(found, answers.Why)
