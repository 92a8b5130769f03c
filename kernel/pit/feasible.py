"""Whether a request could ever be met: only of another one may Arbitration say `bad-request`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

DEFAULT: Final = "default"  # the tenant of whoever is not configured


def could_be_met(settings: Mapping[str, Any], tenant: str, needs: Mapping[str, int]) -> bool:
    """By the rule of `pit.arbitration/1 request`: needs are within the capacities, and for a tenant
    that does not borrow within what others' reserves leave of them. ``settings``: the arguments of
    `configure`; ``needs`` in smallest units."""
    tenants = settings.get("tenants", {})
    name = tenant if tenant in tenants else DEFAULT
    reserved = [other["reserve"] for key, other in tenants.items() if key != name]
    borrows = tenants.get(name, {}).get("borrow", True)
    for resource, amount in needs.items():
        most = settings["resources"].get(resource, {}).get("capacity", -1)
        if not borrows:
            most -= sum(reserve.get(resource, 0) for reserve in reserved)
        if amount > most:
            return False
    return True
