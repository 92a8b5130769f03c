"""What the members say of their stores: each has opened its own, or refused it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from typing import Final

from symphony.bus.errors import BusError

from .errors import SymphonyError
from .queries import DAG, STORE, Ask

SMALL: Final[dict[str, tuple[str, dict[str, object]]]] = {  # what a member answers cheaply
    DAG: ("runs", {"limit": 1}),
    STORE: ("list", {"limit": 1}),
}


async def refusals(ask: Ask, capabilities: Iterable[str]) -> AsyncIterator[tuple[str, str, str]]:
    """Of each member that does not work with its store: its capability, why, what to do about it
    if that is known."""
    for capability in capabilities:
        try:
            await ask(capability, *SMALL.get(capability, ("stats", {})))
        except (BusError, SymphonyError) as error:
            why = f"the member does not work with this store: {error}"
            yield capability, why, error.help or ""
