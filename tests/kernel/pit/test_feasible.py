"""What could be granted at all, as Arbitration's contract has it."""

from __future__ import annotations

import pytest

from symphony.kernel.pit.feasible import could_be_met

SETTINGS = {
    "resources": {"cpu": {"capacity": 8}},
    "tenants": {
        "a": {"weight": 1, "reserve": {"cpu": 2}, "borrow": False},
        "b": {"weight": 1, "reserve": {"cpu": 3}, "borrow": True},
    },
}


@pytest.mark.parametrize(
    ("tenant", "resource", "most"),
    [("a", "cpu", 5), ("b", "cpu", 8), ("whoever", "cpu", 8), ("b", "gpu", -1)],
)
def test_most_that_a_tenant_can_have(tenant: str, resource: str, most: int) -> None:
    assert could_be_met(SETTINGS, tenant, {resource: most})
    assert not could_be_met(SETTINGS, tenant, {resource: most + 1})
    assert could_be_met(SETTINGS, tenant, {})
