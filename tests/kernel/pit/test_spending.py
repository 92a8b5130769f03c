"""What was spent, while Arbitration is away: budgets still stop, and nothing is lost by a crash."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from symphony.kernel.pit.pending import Charge, PendingCharges
from symphony.kernel.pit.spending import LARGEST, Spender, Spending

TS = "2026-01-31T23:00:00.000Z"
TOMORROW = "2026-02-01T00:00:00.000Z"
BUDGETS = [
    {"name": "run", "per": "run", "resource": "tokens", "limit": 10},
    {"name": "lab", "per": "tenant", "resource": "tokens", "limit": 20, "tenant": "lab"},
    {"name": "day", "per": "day", "resource": "tokens", "limit": 25},
    {"name": "tokens", "per": "all", "resource": "tokens", "limit": 100},
]


@pytest.fixture
def spent(tmp_path: Path) -> Spending:
    return Spending(BUDGETS, tmp_path / "budgets.last")


def stopped(spent: Spending, run: str, tenant: str, ts: str = TS, estimate: int = 0) -> str | None:
    stop = spent.stop(Spender(run, tenant, ts), {"tokens": estimate})
    return stop and stop.budget


def test_a_run_stops_at_its_own_limit_and_others_do_not(spent: Spending) -> None:
    spent.add(Spender("r", "t", TS), {"tokens": 9})
    assert stopped(spent, "r", "t") is None
    spent.add(Spender("r", "t", TS), {"tokens": 1})
    assert stopped(spent, "r", "t") == "run"
    assert stopped(spent, "other", "t") is None


def test_a_tenants_budget_counts_its_runs_together(spent: Spending) -> None:
    for run in ("a", "b", "c"):
        spent.add(Spender(run, "lab", TS), {"tokens": 7})
    assert stopped(spent, "d", "lab") == "lab"
    assert stopped(spent, "d", "t") is None


def test_a_day_begins_anew(spent: Spending) -> None:
    for run in ("a", "b", "c"):
        spent.add(Spender(run, "t", TS), {"tokens": 9})
    assert stopped(spent, "d", "t") == "day"
    assert stopped(spent, "d", "t", TOMORROW) is None


def test_a_refusal_tells_of_the_day_and_the_one_that_it_is_about(spent: Spending) -> None:
    rows = [
        {"name": "day", "who": TS[:10], "spent": 25},
        {"name": "run", "who": "other", "spent": 9},
        {"name": "run", "who": "r", "spent": 10},
    ]

    def why(name: str, ts: str, more: int) -> str | None:
        return spent.refusal(Spender("r", "t", ts), name, rows, {"tokens": more})

    assert why("day", TS, 1) == "the budget day is spent: 25 of 25 tokens"
    rest = "grants that are out may spend the rest"
    tomorrows = f"6 tokens would exceed the budget day: 0 of 25 are spent, and {rest}"
    assert why("day", TOMORROW, 6) == tomorrows
    assert why("day", TOMORROW, 26) == "26 tokens would exceed the budget day: 0 of 25 are spent"
    assert why("run", TS, 0) == "the budget run is spent: 10 of 10 tokens"
    assert why("lab", TS, 0) is None, "it does not count for this tenant"


def test_other_resources_have_their_own_limit(spent: Spending) -> None:
    spent.add(Spender("r", "t", TS), {"tokens": 100})
    assert stopped(spent, "s", "u", TOMORROW) == "tokens"


def test_what_grants_that_are_out_may_spend_is_not_given_twice(spent: Spending) -> None:
    by = Spender("r", "t", TS)
    spent.add(by, {"tokens": 4})
    spent.promise(by, {"tokens": 5})
    assert stopped(spent, "r", "t", estimate=1) is None
    assert stopped(spent, "r", "t", estimate=2) == "run"
    why = "2 tokens would exceed the budget run: 4 of 10 are spent, and grants that are out"
    assert spent.stop(by, {"tokens": 2}) == ("run", f"{why} may spend the rest")
    spent.forgive(by, {"tokens": 5})
    assert stopped(spent, "r", "t", estimate=6) is None


def test_the_ledgers_figures_take_the_place_of_what_it_was_told(spent: Spending) -> None:
    by = Spender("r", "t", TS)
    spent.add(by, {"tokens": 3})
    spent.add(by, {"tokens": 2})
    spent.arrived(by, {"tokens": 3})
    spent.told([{"name": "run", "who": "r", "resource": "tokens", "spent": 7, "limit": 10}])
    assert stopped(spent, "r", "t", estimate=1) is None
    assert stopped(spent, "r", "t", estimate=2) == "run"


def charge(name: str, amount: int = 1) -> Charge:
    return Charge(id=name, run="r", tenant="t", amounts={"tokens": amount}, ts=TS, grant="g1")


def test_charges_survive_until_they_are_told(tmp_path: Path) -> None:
    path = tmp_path / "charges.pending"
    charges = [charge(f"c{at}", at) for at in range(3)]
    for one in charges:
        PendingCharges(path).keep(one)
    assert path.stat().st_mode & 0o777 == 0o600
    assert PendingCharges(path).all() == charges
    PendingCharges(path).forget({"c0", "c2"})
    assert PendingCharges(path).all() == charges[1:2]
    PendingCharges(path).forget({"c1"})
    assert list(tmp_path.iterdir()) == []
    PendingCharges(path).forget({"c1"})


def test_a_torn_last_charge_hides_no_other(tmp_path: Path) -> None:
    path = tmp_path / "charges.pending"
    pending = PendingCharges(path)
    pending.keep(charge("whole"))
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:30])
    pending.keep(charge("next"))
    assert pending.all() == [charge("whole"), charge("next")]


FORMER = b'{"id":"f","run":"r","tenant":"t","amounts":{"tokens":1},"ts":"' + TS.encode() + b'"}'


@pytest.mark.parametrize(
    "damage",
    [
        b"{}",
        b"\xff\x00 garbage",
        FORMER.replace(b"1}", b'"1"}'),
        FORMER.replace(b"1}", b"-1}"),
        FORMER.replace(b'"r"', b"7"),
        b'{"more":' + b"[" * 100_000,
        b"00000000 " + FORMER,
    ],
)
def test_what_is_no_charge_is_set_aside_and_said(
    tmp_path: Path, damage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "charges.pending"
    PendingCharges(path).keep(charge("a"))
    with path.open("ab") as file:
        file.write(damage + b"\n" + FORMER + b"\n")
    kept = [charge("a"), Charge(id="f", run="r", tenant="t", amounts={"tokens": 1}, ts=TS)]
    assert PendingCharges(path).all() == kept
    assert path.with_name("charges.pending.torn").read_bytes() == damage + b"\n"
    assert "set aside" in caplog.text
    caplog.clear()
    assert PendingCharges(path).all() == kept
    assert not caplog.text, "once"


def test_every_byte_of_a_charge_that_is_kept_is_checked(tmp_path: Path) -> None:
    path = tmp_path / "charges.pending"
    PendingCharges(path).keep(charge("a"))
    whole = path.read_bytes()
    for at in range(len(whole)):
        turned = bytearray(whole)
        turned[at] ^= 1 << at % 8
        path.write_bytes(turned)
        assert PendingCharges(path).all() in ([], [charge("a")]), turned


def test_charges_are_read_from_a_plain_file_alone(tmp_path: Path) -> None:
    path = tmp_path / "charges.pending"
    os.mkfifo(path)
    with pytest.raises(OSError, match="no plain file"):
        PendingCharges(path).all()


def test_the_last_figures_are_there_for_a_kernel_that_starts_without_the_ledger(
    tmp_path: Path, spent: Spending
) -> None:
    rows = [{"name": "run", "who": "r", "spent": 10}, {"name": "tokens", "who": None, "spent": 7}]
    spent.told(rows)
    spent.keep()
    assert stopped(Spending(BUDGETS, tmp_path / "budgets.last"), "r", "t") == "run"
    (tmp_path / "budgets.last").write_bytes(b"[[")
    assert stopped(Spending(BUDGETS, tmp_path / "budgets.last"), "r", "t") is None


@pytest.mark.parametrize("what", ["folder", "pipe", "link", "long"])
def test_whatever_else_stands_in_the_place_of_the_figures_is_no_figures(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, what: str
) -> None:
    path, figures = tmp_path / "budgets.last", b'[["run","r",10]]'
    match what:
        case "folder":
            path.mkdir()
        case "pipe":
            os.mkfifo(path)
        case "link":
            (tmp_path / "others").write_bytes(figures)
            path.symlink_to("others")
        case "long":
            path.write_bytes(b" " * LARGEST + figures)
    spent = Spending(BUDGETS, path)
    assert stopped(spent, "r", "t") is None
    assert "figures not read" in caplog.text
    spent.told([{"name": "run", "who": "r", "spent": 10}])
    if what == "folder":
        with pytest.raises(OSError, match="directory"):
            spent.keep()
    else:
        spent.keep()
        assert stopped(Spending(BUDGETS, path), "r", "t") == "run"


def test_figures_are_written_through_nothing_that_is_there_already(
    tmp_path: Path, spent: Spending
) -> None:
    spent.told([{"name": "run", "who": "r", "spent": 10}])
    draft = tmp_path / "budgets.last.new"
    os.mkfifo(draft)
    spent.keep()
    draft.symlink_to("others")
    spent.keep()
    assert stopped(Spending(BUDGETS, tmp_path / "budgets.last"), "r", "t") == "run"
    assert not (tmp_path / "others").exists()
