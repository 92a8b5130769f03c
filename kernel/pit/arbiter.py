"""Who gets scarce things: Arbitration's grants, and first come, first served while it is away.

A grant is held by the kernel until it is released. After a restart of either side Arbitration is
told what is held (`resync`), so none is lost and none is given twice; what a kernel that was killed
may have spent counts as spent. Grants that were given while it was away it does not know: as long
as one is out, the kernel checks budgets beside it.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections import Counter
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, TypeVar

from symphony.bus.errors import BusError

from ..clock import timestamp
from ..members import AwayError, Member
from ..plaintext import short
from ..replies import LONGEST_NAME, broken
from .candidates import Candidate
from .charges import LATER, Charges
from .config import MOST
from .ended import Ended
from .feasible import could_be_met
from .pending import Charge, PendingCharges
from .sharing import Sharing
from .spending import Spender, Spending
from .static import FirstCome

log = logging.getLogger(__name__)

T = TypeVar("T")
Outcome = Literal["ok", "failed", "lost"]


@dataclass(frozen=True)
class Wish:
    """What one attempt of a step asks for; `needs` and `estimate` in smallest units."""

    run: str
    step: str
    attempt: int
    tenant: str
    needs: Mapping[str, int]
    priority: int = 50
    deadline_s: float | None = None
    estimate: Mapping[str, int] = field(default_factory=dict)
    players: Sequence[Candidate] = ()  # to choose from; none: who plays is settled
    model: str | None = None  # the kind of player whose process serves several calls at once
    most: int = 1  # how many

    @property
    def name(self) -> str:
        """It among all of this kernel's."""
        return f"{self.run}/{self.step}/{self.attempt}"


@dataclass(frozen=True, eq=False)
class Grant:
    """What was granted. `name` is Arbitration's, None if it was given without it."""

    wish: Wish
    name: str | None
    reason: str
    player: str | None = None  # that was chosen, where there was a choice
    share: str | None = None  # the key of those that use one process together


class Promise(NamedTuple):
    """What a grant that is out may still spend."""

    by: Spender
    left: Mapping[str, int]


class Arbiter:
    """The kernel's way to Arbitration."""

    def __init__(
        self,
        member: Member,
        settings: Mapping[str, Any],
        pending: PendingCharges,
        spending: Spending,
        ended: Ended,
        epoch: str,
    ) -> None:
        self._member = member
        self._settings = settings
        self._ended = ended
        self._unheard = False  # whether Arbitration may not know of a grant that it is not held
        self._epoch = epoch  # of this kernel: the ids of its requests begin with it
        self._asked = 0
        self._held: dict[Grant, Promise] = {}
        self._resources = {"money", *(row["resource"] for row in settings["budgets"])}
        capacities = {name: row["capacity"] for name, row in settings["resources"].items()}
        self._static = FirstCome(capacities, self._out)
        self._spending = spending
        self._charges = Charges(member, pending, spending)
        self._sharing = Sharing()
        self._work: set[asyncio.Task[Any]] = set()
        member.greet = self._greet

    async def request(self, wish: Wish) -> Grant:
        """Waits for the grant. Raises BusError `refused` for a spent budget, `bad-request` for what
        could never be granted."""
        if wish.model is None:
            return await self._request(wish, None)
        key = self._sharing.join(wish.tenant, wish.model, wish.most)
        try:
            return await self._request(wish, key)
        except BaseException:
            self._sharing.leave(wish.tenant, wish.model, key)
            raise

    async def _request(self, wish: Wish, share: str | None) -> Grant:
        while True:
            try:
                grant = await self._asked_for(wish, share)
            except AwayError:
                self._unheard = True
                if not await self._static.wait(wish.needs):
                    continue  # Arbitration is back
                reason = "first come, first served: Arbitration is away"
                grant = Grant(wish, None, reason, share=share)
            else:
                await self._beside_unknown(grant)
            self._hold(grant)
            return grant

    async def _beside_unknown(self, grant: Grant) -> None:
        """Waits until there is room for it beside those that Arbitration does not know of."""
        try:
            while any(other.name is None for other in self._held):
                if await self._static.wait(grant.wish.needs):
                    return
        except asyncio.CancelledError:
            self._give_back(str(grant.name), "lost")
            raise

    def _hold(self, grant: Grant) -> None:
        """It is out, unless that would exceed a budget in a way that Arbitration cannot know of."""
        wish = grant.wish
        by = Spender(wish.run, wish.tenant, timestamp())
        blind = grant.name is None or any(other.name is None for other in self._held)
        if blind and (stop := self._spending.stop(by, wish.estimate)):
            self._static.look()
            if grant.name is not None:
                self._give_back(grant.name, "lost")
            help_ = "raise its limit in pit.toml, or wait until it counts anew"
            raise BusError("refused", stop.why, where=stop.budget, help=help_)
        self._held[grant] = Promise(by, wish.estimate)
        self._spending.promise(by, wish.estimate)

    def release(self, grant: Grant, outcome: Outcome) -> None:
        """Gives it back; Arbitration is told in the background."""
        if promise := self._held.pop(grant, None):
            self._spending.forgive(*promise)
        if grant.share is not None and grant.wish.model is not None:
            self._sharing.leave(grant.wish.tenant, grant.wish.model, grant.share)
        self._static.look()
        if grant.name is not None:
            self._give_back(grant.name, outcome)

    async def charge(self, grant: Grant, amounts: Mapping[str, int]) -> list[Mapping[str, Any]]:
        """Books what an attempt has spent; returns once that is on disk, with the budgets that it
        touched and of which most is spent now (rows of `pit.arbitration/1 charge`). Whoever is
        cancelled meanwhile has spent it all the same. Raises OSError."""
        wish = grant.wish
        amounts = self._counted(amounts)
        if not amounts:
            return []
        charge = Charge(
            id=self._new_id("c", wish),
            run=wish.run,
            tenant=wish.tenant,
            amounts=amounts,
            ts=timestamp(),
            grant=grant.name,
        )
        self._charges.begin(charge)
        if grant in self._held:
            self._held[grant] = self._lessened(self._held[grant], amounts)
        return low(await asyncio.shield(self._begin(self._charges.book(charge))))

    def _counted(self, amounts: Mapping[str, int]) -> dict[str, int]:
        """Without what no budget counts: of what players tell of, anything might be named."""
        return {
            name: min(amount, MOST)
            for name, amount in amounts.items()
            if amount and name in self._resources
        }

    def _lessened(self, promise: Promise, amounts: Mapping[str, int]) -> Promise:
        """So much of it is spent now."""
        spent = {name: min(left, amounts.get(name, 0)) for name, left in promise.left.items()}
        self._spending.forgive(promise.by, spent)
        return Promise(
            promise.by, {name: left - spent[name] for name, left in promise.left.items()}
        )

    async def close(self) -> None:
        """What was begun in the background comes to its end, if Arbitration still answers."""
        await asyncio.gather(*self._work, return_exceptions=True)
        if self._unheard and not self._held:
            try:
                self._ended.keep(self._epoch)
            except OSError as error:  # then it takes for spent what may have been
                log.warning("end not noted", extra={"reason": str(error)})

    async def _asked_for(self, wish: Wish, share: str | None) -> Grant:
        name = self._new_id("q", wish)
        args: dict[str, Any] = {
            "id": name,
            "run": wish.run,
            "step": wish.step,
            "tenant": wish.tenant,
            "needs": dict(wish.needs),
            "priority": wish.priority,
            "ts": timestamp(),
        }
        if wish.deadline_s is not None:
            args["deadline_ms"] = math.ceil(wish.deadline_s * 1000)
        if wish.estimate:
            args["estimate"] = dict(wish.estimate)
        if wish.players:
            args["players"] = [candidate.row() for candidate in wish.players]
        if share is not None:
            args["share"] = share
        try:
            reply = await self._member.ask("request", args)
        except asyncio.CancelledError:
            self._begin(self._undo(name))  # it may have been granted at the same moment
            raise
        except BusError as error:
            if error.code == "refused" and error.where is not None:
                raise await self._refusal(wish, error, error.where, args["ts"]) from error
            if not self._may_say(error, wish):
                why = f"it refuses what could be granted: {short(str(error))}"
                self._member.on_broken(broken(self._member.kind.capability, "request", why))
                raise AwayError(self._member.kind.title) from error
            raise
        return Grant(wish, reply["grant"], reply["reason"], reply.get("player"), share)

    def _new_id(self, what: str, wish: Wish) -> str:
        """One that nothing else has: its number makes it so, the name is for people."""
        self._asked += 1
        return f"{self._epoch}/{what}/{self._asked}/{wish.name}"[:LONGEST_NAME]

    def _may_say(self, error: BusError, wish: Wish) -> bool:
        """Whether its contract has such an answer to this wish."""
        if error.code == "bad-request":
            return not could_be_met(self._settings, wish.tenant, wish.needs)
        return error.code == "refused" or error.code in LATER

    async def _refusal(self, wish: Wish, error: BusError, budget: str, ts: str) -> BusError:
        """Its refusal in units for people, where the budget that it names can be looked up."""
        try:
            found = await self._member.ask("budgets", {"run": wish.run, "tenant": wish.tenant})
        except (AwayError, BusError):
            return error
        by = Spender(wish.run, wish.tenant, ts)
        why = self._spending.refusal(by, budget, found["budgets"], wish.estimate)
        if why is None:
            return error
        return BusError(error.code, why, fault=error.fault, where=error.where, help=error.help)

    async def _undo(self, name: str) -> None:
        try:
            found = await self._member.ask("explain", {"id": name})
        except (AwayError, BusError) as error:
            self._unheard |= isinstance(error, AwayError)
            return  # it was not granted, or the next `resync` releases it
        await self._tell("release", grant=found["grant"], outcome="lost", what="u")

    async def _tell(self, method: str, *, what: str, grant: str, outcome: Outcome) -> None:
        id_ = f"{self._epoch}/{what}/{grant}"
        args = {"id": id_, "grant": grant, "outcome": outcome, "ts": timestamp()}
        try:
            await self._member.ask(method, args)
        except AwayError:
            self._unheard = True
            return  # the next `resync` says it
        except BusError as error:
            log.warning("not released", extra={"grant": grant, "reason": str(error)})

    async def _greet(self) -> None:
        """Tells Arbitration what there is, what is held and what was spent without it."""
        tell = self._member.tell
        await tell("configure", self._settings)
        held = [grant.name for grant in self._held if grant.name is not None]
        # What these spent is known here; what those of others did, to nobody.
        own = [f"{epoch}/" for epoch in (*self._ended.all(), self._epoch)]
        self._unheard = False
        try:
            known = await tell("resync", {"held": held, "own": own, "ts": timestamp()})
            self._ended.forget()
        except BaseException:
            self._unheard = True
            raise
        if known["unknown"]:
            log.error("grants unknown to Arbitration", extra={"grants": known["unknown"]})
        await self._charges.catch_up()
        asyncio.get_running_loop().call_soon(self._static.close)

    def _out(self) -> Mapping[str, int]:
        held: Counter[str] = Counter()
        for grant in self._held:
            held.update(grant.wish.needs)
        return held

    def _give_back(self, grant: str, outcome: Outcome) -> None:
        self._begin(self._tell("release", grant=grant, outcome=outcome, what="r"))

    def _begin(self, work: Coroutine[None, None, T]) -> asyncio.Task[T]:
        task = asyncio.create_task(work)
        self._work.add(task)
        task.add_done_callback(self._work.discard)
        return task


def low(rows: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Those of which most is spent."""
    return [row for row in rows if row["state"] != "ok"]
