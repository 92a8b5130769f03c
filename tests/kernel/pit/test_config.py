"""`pit.toml`: every fault at its line, and what the members are told."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from symphony.kernel.errors import Problems
from symphony.kernel.kit import load_kit
from symphony.kernel.pit.config import PitConfig, load_pit_config, shown_amount, whole_amount


def load(home: Path, text: str) -> PitConfig:
    (home / "pit.toml").write_text(text, encoding="utf-8")
    return load_pit_config(home)


def faults(home: Path, text: str) -> list[tuple[str, str]]:
    with pytest.raises(Problems) as caught:
        load(home, text)
    return [
        (str(problem.where).rpartition(":")[2], problem.message)
        for problem in caught.value.problems
    ]


def test_without_a_file_there_are_cpus_and_memory_and_nobody_has_a_limit(tmp_path: Path) -> None:
    config = load_pit_config(tmp_path)
    told = config.arbitration(slots=2)
    assert told["resources"]["cpu"] == {"capacity": 2000}
    assert told["resources"]["memory"]["capacity"] > 0
    assert (told["tenants"], told["budgets"]) == ({}, [])
    assert "bytes" not in config.curator()["pressure"]


def test_amounts_travel_in_smallest_units(tmp_path: Path) -> None:
    config = load(
        tmp_path,
        """
        resources = { cpu = 1.5, memory = "2GiB", gpu = 2 }
        [tenants.lab]
        weight = 3
        reserve = { memory = "512MiB" }
        [[budgets]]
        name = "daily"
        per = "day"
        limit = 2.5
        [players.coder]
        needs = { gpu = 1 }
        keep_s = 2.5
        [stale]
        bytes = "1GiB"
        high = 0.5
        low = 0.25
        """,
    )
    told = config.arbitration(slots=8)
    capacities = {name: row["capacity"] for name, row in told["resources"].items()}
    assert capacities == {"cpu": 1500, "memory": 2048, "gpu": 2}
    assert told["tenants"]["lab"] == {"weight": 3, "reserve": {"memory": 512}, "borrow": True}
    assert told["budgets"][0]["limit"] == 2_500_000
    pressure = {"high_ppm": 500_000, "low_ppm": 250_000, "bytes": 1 << 30}
    assert config.curator()["pressure"] == pressure
    assert whole_amount("memory", "1KiB") == 1


def test_every_fault_is_told_at_its_line(tmp_path: Path) -> None:
    found = faults(
        tmp_path,
        """resources = { cpu = 1 }
[tenants.lab]
reserve = { gpu = 1, cpu = 2 }
[[budgets]]
name = "b"
per = "day"
limit = 1
resource = "cpu"
[[budgets]]
name = "b"
per = "tenant"
limit = 1
tenant = "labs"
[stale]
high = 0.5
low = 0.6
""",
    )
    assert found == [
        ("1", "the tenants reserve more cpu than there is: 2 of 1"),
        ("3", 'there is no resource "gpu"'),
        ("8", '"cpu" is given back after use, so it has no budget'),
        ("10", 'the budget "b" is given twice'),
        ("13", 'there is no tenant "labs"'),
        ("16", "low is more than high"),
    ]


def test_what_is_no_key_is_refused(tmp_path: Path) -> None:
    assert faults(tmp_path, "[pool]\nmemroy = 3\n")[0][0] == "2"


def test_an_archive_is_a_member_where_one_is_asked_for(tmp_path: Path) -> None:
    archive = '[stale]\narchive = "pit.archive/1"\n'
    own = load(tmp_path, 'members = { "pit.archive/1" = "vault" }\n' + archive)
    assert own.kinds()[-1].extension == "vault"
    assert load(tmp_path, archive).kinds()[-1].extension == "archive-object"
    assert [kind.extension for kind in PitConfig().kinds()] == [
        f"pit-{name}" for name in ("dag", "artifacts", "pool", "arbitration", "stale")
    ]


def test_an_archive_that_nobody_would_use_is_a_fault(tmp_path: Path) -> None:
    unused = 'members = { "pit.archive/1" = "vault" }\n'
    assert faults(tmp_path, unused) == [("1", "this archive is not used")]
    other = '[stale]\narchive = "acme.archive/1"\n'
    assert faults(tmp_path, other) == [("2", "the Stale Manager archives to pit.archive/1 alone")]


def test_the_example_of_the_manual_is_valid(tmp_path: Path) -> None:
    manual = (Path(__file__).parents[3] / "OPERATING.md").read_text(encoding="utf-8")
    example = manual.partition("```toml\n")[2].partition("```")[0]
    assert example.startswith("members = ")
    config = load(tmp_path, example)
    assert config.budgets
    assert config.stale.archive == "pit.archive/1"


def test_what_nobody_could_count_or_keep_free_is_told_with_its_line(tmp_path: Path) -> None:
    found = faults(
        tmp_path,
        """[resources]
gpu = 1e11
[tenants.a]
reserve = { cpu = 10000, gpu = 1 }
[[budgets]]
name = "b"
per = "all"
limit = 1e12
""",
    )
    cpus = len(os.sched_getaffinity(0))
    assert found == [
        ("4", f"the tenants reserve more cpu than there is: 10000 of {cpus}"),
        ("8", "1000000000000.0 of money is more than can be counted: 9,007,199,254"),
    ]


def test_what_arbitration_would_refuse_is_told_beside_what_is_not_well_formed(
    tmp_path: Path,
) -> None:
    found = faults(
        tmp_path,
        """ageing_s = 0.001
[resources]
cpu = 0
[tenants.idle]
weight = 0
reserve = { gpu = 1, memory = "1MiB" }
[[budgets]]
name = "b"
per = "week"
limit = 0
[players.coder]
needs = { cpu = 1000, gpu = 2 }
""",
    )
    assert [line for line, _ in found] == ["1", "3", "6", "6", "9", "12", "12"]
    assert "must be at least 0.01" in found[0][1]
    assert found[1][1] == "there is no cpu, so no step could begin"
    assert "each call of coder needs more cpu than there is: 1000 of 0" in [
        words for _, words in found
    ]


def test_more_than_the_pool_could_keep_is_a_fault(tmp_path: Path) -> None:
    text = "[pool]\ninstances = 3\n[players.a]\nleast = 3\nmost = 2\n[players.b]\nleast = 1\n"
    assert faults(tmp_path, text) == [
        ("2", "4 processes are kept ready, of 3 at most"),
        ("4", "3 processes of a are kept ready, of 2 at most"),
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "[resources]\n" + "".join(f"r{n} = 1\n" for n in range(31)),
            "33 resources, cpu and memory included, and 32 at most are possible",
        ),
        (
            "".join(f'[[budgets]]\nname = "b{n}"\nper = "all"\nlimit = 1\n' for n in range(33)),
            "33 budgets that count one tenant's spending, and 32 at most are possible",
        ),
        (
            "".join(f"[tenants.t{n}]\n" for n in range(1001)),
            "1001 tenants, and 1000 at most are possible",
        ),
    ],
)
def test_more_than_arbitration_takes_is_a_fault(tmp_path: Path, text: str, told: str) -> None:
    assert [message for _, message in faults(tmp_path, text)] == [told]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[resources]\ngpu = 0.5\n", "0.5 of gpu is no multiple of 1"),
        (
            '[[budgets]]\nname = "b"\nper = "all"\nresource = "tokens"\nlimit = 12.5\n',
            "12.5 of tokens is no multiple of 1",
        ),
        (
            '[[budgets]]\nname = "b"\nper = "all"\nlimit = 0.0000001\n',
            "1e-7 of money is no multiple of 0.000001",
        ),
        (
            '[[budgets]]\nname = "b"\nper = "all"\nlimit = 1e-13\n',
            "1e-13 of money is no multiple of 0.000001",
        ),
        (
            '[[budgets]]\nname = "b"\nper = "all"\nresource = "tokens"\nlimit = 2000000.5\n',
            "2000000.5 of tokens is no multiple of 1",
        ),
        ('[resources]\nmemory = "1KiB"\n', '"1KiB" of memory is no multiple of 1 MiB'),
        ('[resources]\nmemory = "1500KiB"\n', '"1500KiB" of memory is no multiple of 1 MiB'),
        ("[resources]\nmemory = 1e9\n", "1000000000.0 of memory is no multiple of 1 MiB"),
        (
            '[resources]\nvideo = "2GiB"\n[players.a]\nneeds = { video = "10B" }\n',
            '"10B" of video is no multiple of 1 MiB',
        ),
        (
            '[tenants.a]\nreserve = { memory = "1025KiB" }\n',
            '"1025KiB" of memory is no multiple of 1 MiB',
        ),
        ('[pool]\nmemory = "1KiB"\n', '"1KiB" of memory is no multiple of 1 MiB'),
        (
            "[pool]\nmoney_per_hour = 0.0000001\n",
            "1e-7 of money is no multiple of 0.000001",
        ),
    ],
)
def test_an_amount_that_would_be_rounded_is_a_fault(tmp_path: Path, text: str, told: str) -> None:
    assert [message for _, message in faults(tmp_path, text)] == [told]


def test_an_amount_that_no_float_holds_exactly_is_not_taken_for_rounded(tmp_path: Path) -> None:
    limits = {"0.1": 100_000, "0.000003": 3, "1234567.891011": 1_234_567_891_011, "4.35": 4_350_000}
    for limit, told in limits.items():
        config = load(tmp_path, f'[[budgets]]\nname = "b"\nper = "all"\nlimit = {limit}\n')
        assert config.arbitration(slots=1)["budgets"][0]["limit"] == told
    pool = load(tmp_path, "[pool]\nmemory = 67108864\n").pool  # bytes
    assert whole_amount("memory", pool.memory or 0) == 64


@pytest.mark.parametrize(
    ("resource", "amount", "told"),
    [
        ("money", 123_456_789_000, "123456.789"),
        ("money", 499_999, "0.499999"),
        ("money", 20_000_000, "20"),
        ("money", 1, "0.000001"),
        ("tokens", 12_345_678, "12345678"),
        ("cpu", 1_500, "1.5"),
        ("memory", 512, "512 MiB"),
    ],
)
def test_amounts_are_shown_exactly(resource: str, amount: int, told: str) -> None:
    assert shown_amount(resource, amount) == told


def test_nothing_may_be_spent_of_a_budget_of_none(tmp_path: Path) -> None:
    config = load(tmp_path, '[[budgets]]\nname = "b"\nper = "all"\nlimit = 0\n')
    assert config.arbitration(slots=1)["budgets"][0]["limit"] == 0


def test_a_member_that_is_installed_and_provides_something_else_is_a_fault(tmp_path: Path) -> None:
    text = '\nmembers = { "pit.dag/1" = "pit-stale", "pit.pool/1" = "nowhere" }\n'
    load(tmp_path, text)  # who asks nobody learns nothing
    with pytest.raises(Problems) as caught:
        load_pit_config(tmp_path, load_kit(tmp_path))
    (problem,) = caught.value.problems
    assert str(problem.where).endswith("pit.toml:2")
    assert problem.message == "the extension pit-stale does not provide pit.dag/1, but pit.stale/1"
