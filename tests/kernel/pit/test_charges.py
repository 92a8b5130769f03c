"""Charges on their way to Arbitration, with what comes between; limits while it comes and goes."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any, ParamSpec

import pytest
from msgspec.structs import replace

from symphony.bus.errors import BusError
from symphony.kernel.errors import SymphonyError
from symphony.kernel.members import ARBITRATION, Member
from symphony.kernel.pit.arbiter import Arbiter, Wish
from symphony.kernel.pit.charges import Charges
from symphony.kernel.pit.ended import Ended
from symphony.kernel.pit.pending import Charge, PendingCharges
from symphony.kernel.pit.spending import Spender, Spending

Given = ParamSpec("Given")
TS = "2026-01-31T23:00:00.000Z"
BUDGETS = [{"name": "all", "per": "all", "resource": "tokens", "limit": 10, "warn": 80}]
BY = Spender("r", "t", TS)


def in_a_loop(test: Callable[Given, Coroutine[Any, Any, None]]) -> Callable[Given, None]:
    """A test that awaits."""

    @functools.wraps(test)
    def whole(*args: Given.args, **kwargs: Given.kwargs) -> None:
        asyncio.run(test(*args, **kwargs))

    return whole


def charge(name: str) -> Charge:
    return Charge(id=name, run="r", tenant="t", amounts={"tokens": 1}, ts=TS)


class Ledger:
    """A hub with Arbitration behind it: what it booked, and what comes before it answers."""

    def __init__(self) -> None:
        self.booked: dict[str, int] = {}
        self.charged: list[Mapping[str, int]] = []
        self.grants = 0
        self.released: list[str] = []
        self.before: Callable[[str], Awaitable[None]] | None = None  # it books
        self.after: Callable[[str], Awaitable[None]] | None = None  # and answers

    def providers(self, capability: str) -> tuple[str, ...]:
        return ()

    async def call(
        self,
        capability: str,
        method: str,
        args: Mapping[str, Any],
        ttl_ms: int = 0,
    ) -> Any:
        name = args.get("id", method)
        if self.before:
            await self.before(name)
        if method == "charge":
            self.charged.append(args["amounts"])
            self.booked[name] = args["amounts"]["tokens"]
        rows = [
            {
                "name": "all",
                "resource": "tokens",
                "spent": sum(self.booked.values()),
                "limit": 10,
                "state": "ok",
            }
        ]
        if method == "request":
            self.grants += 1
        if method == "release":
            self.released.append(args["grant"])
        if self.after:
            await self.after(name)
        return {"budgets": rows, "unknown": [], "grant": f"g{self.grants}", "reason": "it is free"}


class World:
    """One kernel's charges."""

    def __init__(self, folder: Path) -> None:
        self.ledger = Ledger()
        self.member = Member(ARBITRATION, self.ledger)  # type: ignore[arg-type]
        self.pending = PendingCharges(folder / "charges.pending")
        self.spending = Spending(BUDGETS, folder / "budgets.last")
        self.ended = Ended(folder / "epochs.ended")
        self.charges = Charges(self.member, self.pending, self.spending)
        self.member.greet = self.charges.catch_up

    def arbiter(self) -> Arbiter:
        settings = {"resources": {"cpu": {"capacity": 100}}, "budgets": BUDGETS}
        return Arbiter(self.member, settings, self.pending, self.spending, self.ended, "epoch")

    async def spend(self, name: str) -> None:
        self.charges.begin(charge(name))
        await self.charges.book(charge(name))

    @property
    def spent(self) -> int:
        (row,) = self.spending.standings(BY, {"tokens": 0})
        return int(row["spent"])


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.mark.parametrize("moment", ["a", "budgets"])
@pytest.mark.parametrize("side", ["before", "after"])
@in_a_loop
async def test_what_is_spent_while_arbitration_is_told_is_told_too(
    world: World, moment: str, side: str
) -> None:
    async def meanwhile(name: str) -> None:
        if name == moment:
            setattr(world.ledger, side, None)
            await world.spend("b")
            assert world.spent == 2

    await world.spend("a")
    setattr(world.ledger, side, meanwhile)
    await world.member.welcome()
    assert world.ledger.booked == {"a": 1, "b": 1}
    assert world.spent == 2
    assert world.pending.all() == []


@in_a_loop
async def test_what_was_booked_before_it_ended_counts_once(world: World) -> None:
    async def ends(name: str) -> None:
        if name == "a":
            raise BusError("crashed", "Arbitration ended")

    await world.member.welcome()
    world.ledger.after = ends
    await world.spend("a")
    assert not world.member.up
    assert (world.ledger.booked, world.spent) == ({"a": 1}, 1)
    with pytest.raises(BusError, match="ended"):
        await world.member.welcome()
    assert world.spent == 1
    world.ledger.after = None
    await world.member.welcome()
    assert (world.ledger.booked, world.spent) == ({"a": 1}, 1)
    assert world.pending.all() == []


@in_a_loop
async def test_what_was_told_while_it_was_being_kept_is_not_told_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep = PendingCharges.keep
    loop, told = asyncio.get_running_loop(), asyncio.Event()

    def late(pending: PendingCharges, one: Charge) -> None:
        asyncio.run_coroutine_threadsafe(world.member.welcome(), loop).result()
        keep(pending, one)
        loop.call_soon_threadsafe(told.set)

    monkeypatch.setattr(PendingCharges, "keep", late)
    await world.spend("a")
    assert told.is_set()
    assert world.ledger.booked == {"a": 1}
    assert world.pending.all() == []


@pytest.mark.parametrize("code", ["conflict", "bad-request", "internal", "unheard-of"])
@in_a_loop
async def test_whoever_refuses_what_was_spent_breaks_the_contract(world: World, code: str) -> None:
    async def refuses(name: str) -> None:
        if name == "a":
            raise BusError(code, "not this one")

    told: list[SymphonyError] = []
    world.member.on_broken = told.append
    await world.member.welcome()
    world.ledger.before = refuses
    await world.spend("a")
    assert ["refuses what was spent" in error.message for error in told] == [True]
    with pytest.raises(SymphonyError, match="refuses what was spent"):
        await world.member.welcome()
    assert [one.id for one in world.pending.all()] == ["a"]
    assert world.spent == 1


@in_a_loop
async def test_no_charge_that_cannot_be_told_keeps_the_others_from_being_told(
    tmp_path: Path,
) -> None:
    good, path = charge("good"), tmp_path / "charges.pending"
    bad = [
        charge("x" * 200),
        replace(good, id="late", ts="2026-02-30T00:00:00.000Z"),
        replace(good, id="a\nb"),
        replace(good, amounts={"tokens": 2}),
    ]
    for one in (good, good, *bad):
        PendingCharges(path).keep(one)
    world = World(tmp_path)
    assert world.spent == 1
    await world.member.welcome()
    assert world.ledger.booked == {"good": 1}
    assert world.pending.all() == []
    assert len(path.with_name("charges.pending.torn").read_text().splitlines()) == len(bad)


@in_a_loop
async def test_only_what_could_never_be_granted_is_a_bad_request(world: World) -> None:
    async def refuses(name: str) -> None:
        if "/q/" in name:
            raise BusError("bad-request", "no")

    told: list[SymphonyError] = []
    world.member.on_broken = told.append
    arbiter = world.arbiter()
    await world.member.welcome()
    world.ledger.before = refuses
    with pytest.raises(BusError, match="no"):
        await arbiter.request(wish("a", 0, cpu=101))
    assert not told
    assert (await arbiter.request(wish("b", 0, cpu=100))).name is None
    assert "refuses what could be granted" in told[0].message
    await arbiter.close()


@in_a_loop
async def test_ids_are_told_apart_and_fit_the_contract_however_long_names_are(
    world: World,
) -> None:
    asked: list[str] = []

    async def seen(name: str) -> None:
        if "/" in name:
            asked.append(name)

    world.ledger.before = seen
    arbiter = world.arbiter()
    await world.member.welcome()
    for attempt in (1, 2):
        grant = await arbiter.request(Wish("r" * 56, "s" * 64, attempt, "t", {"cpu": 1}))
        await arbiter.charge(grant, {"tokens": 1})
    assert len(set(asked)) == 4
    assert all(len(name) <= 128 for name in asked)
    assert len(world.ledger.booked) == 2
    await arbiter.close()


@in_a_loop
async def test_a_charge_that_could_not_be_written_is_kept(world: World) -> None:
    async def full(name: str) -> None:
        if name == "a":
            raise BusError("io", "no space left on device")

    await world.member.welcome()
    world.ledger.before = full
    await world.spend("a")
    assert [one.id for one in world.pending.all()] == ["a"]
    assert world.spent == 1


def wish(step: str, cost: int, cpu: int = 1) -> Wish:
    return Wish("r", step, 1, "t", {"cpu": cpu}, estimate={"tokens": cost})


@in_a_loop
async def test_grants_that_arbitration_does_not_know_count_beside_it(world: World) -> None:
    arbiter = world.arbiter()
    blind = await arbiter.request(wish("a", 6))
    assert blind.name is None
    with pytest.raises(BusError, match="grants that are out may spend the rest"):
        await arbiter.request(wish("b", 5))
    await world.member.welcome()
    known = await arbiter.request(wish("c", 4))
    assert known.name == "g1"
    with pytest.raises(BusError, match="grants that are out may spend the rest") as refused:
        await arbiter.request(wish("d", 1))
    assert (refused.value.code, refused.value.where) == ("refused", "all")
    await arbiter.charge(blind, {"tokens": 2})
    with pytest.raises(BusError, match=r"2 of 10 are spent, and .* may spend the rest"):
        await arbiter.request(wish("e", 1))
    arbiter.release(blind, "ok")
    assert (await arbiter.request(wish("f", 9))).name == "g4", "Arbitration's own word counts now"
    await arbiter.close()
    assert world.ledger.released == ["g2", "g3"]


@in_a_loop
async def test_no_capacity_is_passed_when_arbitration_comes_back(world: World) -> None:
    arbiter, granted = world.arbiter(), asyncio.Event()

    async def noticed(name: str) -> None:
        if world.ledger.grants == 3:
            granted.set()

    world.ledger.after = noticed
    blind = await arbiter.request(wish("a", 0, cpu=60))
    await world.member.welcome()
    assert (await arbiter.request(wish("b", 0, cpu=40))).name == "g1"
    third, fourth = (asyncio.create_task(arbiter.request(wish(n, 0, cpu=60))) for n in "cd")
    await granted.wait()
    fourth.cancel()
    await asyncio.wait({fourth})
    assert not third.done(), "Arbitration granted it, without knowing of the first"
    arbiter.release(blind, "ok")
    assert (await third).name == "g2"
    await arbiter.close()
    assert world.ledger.released == ["g3"], "who was cancelled gave it back"


@in_a_loop
async def test_what_no_budget_counts_is_not_charged(world: World) -> None:
    arbiter = world.arbiter()
    await world.member.welcome()
    grant = await arbiter.request(wish("a", 3))
    assert await arbiter.charge(grant, {"tokens": 0, "x" * 200: 7}) == []
    await arbiter.charge(grant, {"tokens": 1 << 60, "nonsense": 1})
    assert world.ledger.charged == [{"tokens": 1 << 53}]
    await arbiter.close()


@in_a_loop
async def test_whoever_is_cancelled_while_it_pays_has_paid(world: World) -> None:
    arbiter, asked = world.arbiter(), asyncio.Event()
    answered = asyncio.Event()

    async def slow(name: str) -> None:
        if "/c/" in name:
            asked.set()
            await answered.wait()

    await world.member.welcome()
    grant = await arbiter.request(wish("a", 3))
    world.ledger.before = slow
    paying = asyncio.create_task(arbiter.charge(grant, {"tokens": 3}))
    await asked.wait()
    paying.cancel()
    with pytest.raises(asyncio.CancelledError):
        await paying
    answered.set()
    await arbiter.close()
    assert sum(world.ledger.booked.values()) == world.spent == 3
