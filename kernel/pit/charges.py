"""What was spent, until Arbitration has booked it: nothing is lost and nothing counts twice.

A charge stands in the file of those that are pending, or Arbitration has answered it. Its figures
are exact as of the answer: calls and replies to one member keep their order, so what it had not
answered by then is not in them. What it may have booked before it ended is told again, unchanged,
and its figures are taken over only once all of that was answered.

Only an answer settles a charge. What was spent is never refused, and a charge that is told again is
answered as the first time; those of the file that do not fit the contract were set aside when it
was read (pending.py). So whoever refuses one, with `conflict` or any other code, does not keep to
the contract: it counts as away, and the charge goes on counting here.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from symphony.bus.errors import BusError

from ..errors import SymphonyError
from ..members import AWAY, AwayError, Member
from ..plaintext import short
from ..replies import broken
from .pending import Charge, PendingCharges
from .spending import Spender, Spending

log = logging.getLogger(__name__)

Rows = Sequence[Mapping[str, Any]]
Call = Callable[[str, Mapping[str, object]], Awaitable[Any]]

LATER: Final = AWAY | {"io", "overloaded", "deadline", "cancelled"}  # the charge may yet be booked
AT_ONCE: Final = 256  # told together: one fsync may serve them all


class Charges:
    """Those of one kernel."""

    def __init__(self, member: Member, pending: PendingCharges, spending: Spending) -> None:
        self._member = member
        self._pending = pending
        self._spending = spending
        self._untold: dict[str, Charge] = {}
        self._keeping = asyncio.Lock()
        for charge in pending.all():
            self.begin(charge)

    def begin(self, charge: Charge) -> None:
        """It counts from now on."""
        self._untold[charge.id] = charge
        self._spending.add(_spender(charge), charge.amounts)

    async def book(self, charge: Charge) -> Rows:
        """Returns once one that has begun is on disk, with the budgets that it touched. Raises
        OSError."""
        try:
            rows = await self._tell(charge, self._member.ask)
        except (AwayError, BusError, SymphonyError) as error:
            if isinstance(error, SymphonyError):
                self._member.on_broken(error)
            elif isinstance(error, BusError):
                reason = {"run": charge.run, "reason": str(error)}
                log.warning("charge kept for later", extra=reason)
            await asyncio.to_thread(self._pending.keep, charge)
            if charge.id not in self._untold:  # it was told meanwhile
                await asyncio.to_thread(self._pending.forget, {charge.id})
            return self._spending.standings(_spender(charge), charge.amounts)
        await self._booked([charge], rows)
        return rows

    async def catch_up(self) -> None:
        """Arbitration, which is not asked for anything else yet, hears of all, and of what comes
        meanwhile. Raises BusError, `SymphonyError`, OSError."""
        tell = self._member.tell
        while True:
            batch = list(self._untold.values())
            rows: list[Mapping[str, Any]] = []
            for at in range(0, len(batch), AT_ONCE):
                some = batch[at : at + AT_ONCE]
                for answer in await asyncio.gather(*(self._tell(charge, tell) for charge in some)):
                    rows.extend(answer)
            rows.extend((await tell("budgets", {}))["budgets"])
            await self._booked(batch, rows)
            if batch:
                ids = {charge.id for charge in batch}
                await asyncio.to_thread(self._pending.forget, ids)
            if not self._untold:  # and nothing is awaited from here until the member serves
                return

    async def _tell(self, charge: Charge, call: Call) -> Rows:
        """The budgets that it touched. Raises AwayError, BusError where it may yet be booked,
        `SymphonyError` where it is refused."""
        try:
            rows: Rows = (await call("charge", charge.args()))["budgets"]
        except BusError as error:
            if error.code in LATER:
                raise
            why = f"it refuses what was spent: {short(str(error))}"
            raise broken(self._member.kind.capability, "charge", why) from error
        return rows

    async def _booked(self, charges: Iterable[Charge], rows: Rows) -> None:
        for charge in charges:
            if self._untold.pop(charge.id, None) is not None:
                self._spending.arrived(_spender(charge), charge.amounts)
        if not rows:
            return
        self._spending.told(rows)
        async with self._keeping:
            try:
                await asyncio.to_thread(self._spending.keep)
            except OSError as error:  # the ledger has them
                log.warning("figures not kept", extra={"reason": str(error)})


def _spender(charge: Charge) -> Spender:
    return Spender(charge.run, charge.tenant, charge.ts)
