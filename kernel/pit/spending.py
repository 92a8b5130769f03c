"""What was spent of each budget, as far as the kernel knows: for the time without Arbitration.

Arbitration's ledger is the truth; its figures are taken over with every answer and kept in a file,
for a kernel that starts without it. What is spent while it is away is added here and told to it
when it is back.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
from msgspec import Struct

from ..wholefiles import read_plain, replace_private
from .config import shown_amount

log = logging.getLogger(__name__)

DAY = len("2026-01-01")  # of a time in RFC 3339
MOST: Final = 10_000  # figures that are kept, the newest
LARGEST: Final = 16 << 20  # bytes of the file: more is damage


class Figure(Struct, array_like=True, frozen=True):
    """So much was spent of a budget by one whom it counts for."""

    budget: str
    who: str
    spent: int


class Spender(NamedTuple):
    """Who spends, and when: what the accounts of budgets are named by."""

    run: str
    tenant: str
    ts: str


class Stop(NamedTuple):
    """A budget that stops, and why."""

    budget: str
    why: str


class Spending:
    """A fold over what was charged; amounts in smallest units.

    What Arbitration said last, what it has not heard of, and what grants that are out may still
    spend are counted apart: so each is exact whatever it heard before it ended.
    """

    def __init__(self, budgets: Iterable[Mapping[str, Any]], path: Path) -> None:
        self._budgets = list(budgets)  # as in `pit.arbitration/1 configure`
        self._path = path
        self._ledger = {(row.budget, row.who): row.spent for row in _read(path)}
        self._untold: Counter[tuple[str, str]] = Counter()
        self._promised: Counter[tuple[str, str]] = Counter()

    def told(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Takes over Arbitration's figures."""
        for row in rows:
            key = row["name"], row.get("who") or ""
            self._ledger.pop(key, None)
            self._ledger[key] = row["spent"]

    def keep(self) -> None:
        """Writes Arbitration's figures down. Raises OSError."""
        newest = list(self._ledger.items())[-MOST:]
        figures = [Figure(budget, who, spent) for (budget, who), spent in newest]
        replace_private(self._path, msgspec.json.encode(figures))

    def add(self, by: Spender, amounts: Mapping[str, int]) -> None:
        """So much was spent; Arbitration has not said that it knows."""
        self._untold.update(self._counted(by, amounts))

    def arrived(self, by: Spender, amounts: Mapping[str, int]) -> None:
        """What was added is in Arbitration's figures from now on."""
        self._untold.subtract(self._counted(by, amounts))
        self._untold += Counter()  # forgets those at zero

    def promise(self, by: Spender, estimate: Mapping[str, int]) -> None:
        """A grant that is out may spend this."""
        self._promised.update(self._counted(by, estimate))

    def forgive(self, by: Spender, estimate: Mapping[str, int]) -> None:
        """It will not any more, or has."""
        self._promised.subtract(self._counted(by, estimate))
        self._promised += Counter()

    def standings(self, by: Spender, amounts: Mapping[str, int]) -> list[dict[str, Any]]:
        """The budgets that these amounts count in, as `pit.arbitration/1 charge` tells them."""
        rows: list[dict[str, Any]] = []
        for budget, who in self._touched(by):
            if budget["resource"] in amounts:
                limit, spent = budget["limit"], self._spent(budget, who)
                near = spent * 100 >= limit * budget["warn"]
                state = "spent" if spent >= limit else "warning" if near else "ok"
                row = {"name": budget["name"], "resource": budget["resource"], "spent": spent}
                row |= {"limit": limit, "state": state}
                rows.append(row | ({"who": who} if who else {}))
        return rows

    def stop(self, by: Spender, estimate: Mapping[str, int]) -> Stop | None:
        """The budget that leaves nothing for this any more, by Arbitration's own rule; or None."""
        for budget, who in self._touched(by):
            name, spent = budget["name"], self._spent(budget, who)
            promised, more = self._promised[name, who], estimate.get(budget["resource"], 0)
            if spent >= budget["limit"] or spent + promised + more > budget["limit"]:
                return Stop(name, _refusal(budget, spent, more))
        return None

    def refusal(
        self, by: Spender, name: str, rows: Iterable[Mapping[str, Any]], estimate: Mapping[str, int]
    ) -> str | None:
        """Why this budget gives no more, in units for people, by its figures of
        `pit.arbitration/1 budgets`; None for one that is not known here."""
        for budget, who in self._touched(by):
            if budget["name"] == name:
                spent = (
                    row["spent"]
                    for row in rows
                    if row["name"] == name and (row.get("who") or "") == who
                )
                return _refusal(budget, next(spent, 0), estimate.get(budget["resource"], 0))
        return None

    def _spent(self, budget: Mapping[str, Any], who: str) -> int:
        key = budget["name"], who
        return self._ledger.get(key, 0) + self._untold[key]

    def _counted(self, by: Spender, amounts: Mapping[str, int]) -> dict[tuple[str, str], int]:
        return {
            (budget["name"], who): amount
            for budget, who in self._touched(by)
            if (amount := amounts.get(budget["resource"], 0))
        }

    def _touched(self, by: Spender) -> Iterable[tuple[Mapping[str, Any], str]]:
        counts_for = {"run": by.run, "tenant": by.tenant, "day": by.ts[:DAY], "all": ""}
        for budget in self._budgets:
            if budget.get("tenant") in (None, by.tenant):
                yield budget, counts_for[budget["per"]]


def _refusal(budget: Mapping[str, Any], spent: int, more: int) -> str:
    name, resource, limit = budget["name"], budget["resource"], budget["limit"]
    shown = partial(shown_amount, resource)
    if spent >= limit:
        return f"the budget {name} is spent: {shown(spent)} of {shown(limit)} {resource}"
    what = f"{shown(more)} {resource} would exceed the budget {name}: {shown(spent)} of"
    rest = ", and grants that are out may spend the rest" if spent + more <= limit else ""
    return f"{what} {shown(limit)} are spent{rest}"


def _read(path: Path) -> list[Figure]:
    """None if there is no such file, or a damaged one: then only the ledger knows."""
    try:
        return msgspec.json.decode(read_plain(path, LARGEST), type=list[Figure])
    except FileNotFoundError:
        return []
    except (OSError, msgspec.DecodeError) as error:
        log.warning("figures not read", extra={"where": str(path), "reason": str(error)})
        return []
