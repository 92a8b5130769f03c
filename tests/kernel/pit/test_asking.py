"""What Arbitration is told of players that could be chosen, and who shares a process."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from symphony.kernel.kit import Installed, Origin
from symphony.kernel.manifest import Manifest, Permissions
from symphony.kernel.pit.candidates import Measured, candidates
from symphony.kernel.pit.sharing import Sharing


def installed(name: str, version: str, origin: Origin, cost: float = 0.0) -> Installed:
    provides = [{"capability": "x/1", "cost": {"per_call": cost}}]
    head = {"name": name, "version": version, "entry": {"python": "main.py"}}
    manifest = msgspec.convert({"extension": head, "provides": provides}, Manifest)
    return Installed(manifest, Path("/x"), origin, Permissions(), "strict")


def test_the_order_of_the_kit_and_what_was_measured_make_the_fit() -> None:
    players = [
        installed("ann", "2.0.0", "attached", cost=0.5),
        installed("bob", "1.0.0", "attached"),
        installed("cid", "1.0.0", "attached"),
        installed("dan", "3.0.0", "bundled"),
    ]
    measured = {"bob": Measured(15, 0, 0.25), "cid": Measured(0, 5), "dan": Measured(10, 5)}
    found = candidates(players, "x/1", measured)
    assert [(c.player, c.fit, c.cost, c.latency_ms) for c in found] == [
        ("ann", 1000, 500_001, 0),
        ("bob", 940, 1, 250),
        ("cid", 440, 1, 0),  # five of five failed, mixed with five of which nothing is known
        ("dan", 630, 1, 0),
    ]


@given(st.integers(1, 4), st.lists(st.booleans(), max_size=60))
def test_a_group_never_has_more_than_it_may(most: int, joins: list[bool]) -> None:
    sharing, members, ended = Sharing(), Counter[str](), set[str]()
    for join in joins:
        if join or not members:
            key = sharing.join("lab", "kind", most)
            assert key not in ended, "a key is never used again"
            members[key] += 1
            assert members[key] <= most
        else:
            key = next(iter(members))
            sharing.leave("lab", "kind", key)
            members[key] -= 1
            if not members[key]:
                ended.add(key)
            members += Counter()
    assert sharing.join("other", "kind", most) not in members
