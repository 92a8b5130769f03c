"""Processes with a ticket that is not theirs: a copy, a forgery, one of an instance that is gone.

Each is our own client, which would say so if it got a single message.
"""

from pathlib import Path

import msgspec

from symphony.bus.ticket import Ticket

from .ground import CALLS, Ground, play


async def nobody_answers(ground: Ground, ticket: Ticket) -> None:
    stranger = await ground.spawn("caller", ticket)
    assert await stranger.hear() == {"error": "unavailable"}  # not refused: it heard nothing


def test_a_copied_ticket_is_of_no_use_while_its_owner_is_there(
    datapath: str, tmp_path: Path
) -> None:
    async def test(ground: Ground) -> None:
        await ground.provider("p")
        ticket = ground.ticket("c", CALLS)
        owner = await ground.spawn("caller", ticket)
        assert await owner.hear() == {"joined": True}
        await nobody_answers(ground, ticket)
        assert await owner.call("1") == {"id": "1", "result": "1"}
        assert ground.ledger() == {"1": 1}

    play(datapath, tmp_path, test)


def test_a_forged_routing_id_is_of_no_use(datapath: str, tmp_path: Path) -> None:
    async def test(ground: Ground) -> None:
        ticket = ground.ticket("c", CALLS)
        forged = msgspec.structs.replace(ticket, identity="00" * 16)
        await nobody_answers(ground, forged)
        assert ground.notices == []
        assert ground.hub.counters()["unknown-identity"] >= 1

    play(datapath, tmp_path, test)


def test_a_secret_is_worth_nothing_after_its_instance(datapath: str, tmp_path: Path) -> None:
    """Neither at the endpoint of another one nor when the name is given again."""

    async def test(ground: Ground) -> None:
        old = ground.ticket("c", CALLS)
        first = await ground.spawn("caller", old)
        assert await first.hear() == {"joined": True}
        await first.end()
        ground.hub.remove_peer("c")
        new = ground.ticket("c", CALLS)
        assert new.endpoint == old.endpoint
        await nobody_answers(ground, old)
        second = await ground.spawn("caller", new)
        assert await second.hear() == {"joined": True}
        assert ground.hub.counters()["unknown-identity"] >= 1

    play(datapath, tmp_path, test)
