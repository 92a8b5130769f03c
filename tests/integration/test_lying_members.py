"""Members of somebody's own that answer what their contract does not know: told as their fault,
never as a bug of ours, and no run waits for ever. The Artifact Store's are in
test_hostile_store.py."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from command_harness import PLAYERS, Symphony, of
from interface_checks import check_errors
from paid_player import PAID, paid

from symphony.kernel.grants import Grant, save_grant
from symphony.kernel.manifest import Permissions

LIAR = """
import json
from pathlib import Path
from typing import Any

from symphony.bus.errors import BusError
from symphony.bus.extension import Context, Extension

CAPABILITY = "@"
HERE = Path(__file__).parent
GOOD: dict[str, Any] = json.loads((HERE / "good.json").read_text())

ext = Extension()
index = 0


def serve(method: str) -> None:
    @ext.provides(CAPABILITY, method)
    def answer(ctx: Context, **args: Any) -> Any:
        global index
        lies = json.loads((HERE / "lies.json").read_text())
        with (HERE / "asked").open("a") as asked:
            asked.write(f"{method}\\n")
        match lies.get(method):
            case {"error": code}:
                raise BusError(code, "no\x1b[2J")
            case None if method not in lies:
                pass
            case lie:
                return lie
        index += 1
        if method == "acquire":
            spawn = {"id": args["id"], "kind": args["kind"]}
            found = ctx.call("kernel.instances/1", "spawn", **spawn)
            return {"lease": args["id"], "instance": found["instance"], "warm": False}
        return {key: index if value == "INDEX" else value for key, value in GOOD[method].items()}


for name in GOOD:
    serve(name)
ext.run()
"""
STANDING = {"name": "all", "resource": "money", "spent": 2, "limit": 9, "state": "ok"}
ENDED = {"index": "INDEX", "ready": [], "left": 0}
GOOD: dict[str, dict[str, Any]] = {
    "pit.arbitration/1": {
        "configure": {},
        "resync": {"released": [], "unknown": []},
        "request": {"grant": "g1", "reason": "because"},
        "release": {},
        "charge": {"budgets": [STANDING]},
        "budgets": {"budgets": [STANDING]},
        "explain": {"grant": "g1"},
        "stats": {},
    },
    "pit.pool/1": {
        "configure": {},
        "resync": {"kill": [], "lost": []},
        "acquire": {},
        "release": {},
        "expect": {},
        "event": {},
        "stats": {},
    },
    "pit.dag/1": {
        "open": {"index": "INDEX", "ready": [["a", 1]], "steps": 1},
        "learned": {"pairs": []},
        "append": {"first": "INDEX", "last": "INDEX"},
        "complete": ENDED,
        "fail": ENDED,
        "skip": ENDED,
        "finish": {"index": "INDEX"},
        "state": {},
        "resume": {},
        "journal": {},
        "stats": {},
    },
}
BUDGET = '[[budgets]]\nname = "all"\nper = "all"\nlimit = 9.0\n'
MEMBERS = {"pit.arbitration/1": "Arbitration", "pit.pool/1": "Pool Manager"}


def liar(symphony: Symphony, capability: str, **lies: Any) -> Path:
    """A home with such a member. Its folder."""
    folder = symphony.home / "extensions" / "liar"
    folder.mkdir(parents=True)
    (folder / "main.py").write_text(LIAR.replace("@", capability, 1))
    (folder / "good.json").write_text(json.dumps(GOOD[capability]))
    (folder / "lies.json").write_text(json.dumps(lies))
    (folder / "extension.toml").write_text(
        '[extension]\nname = "liar"\nversion = "1.0.0"\nentry = { python = "main.py" }\n'
        f'[[provides]]\ncapability = "{capability}"\n'
        '[permissions]\ncalls = ["kernel.instances/1"]\n'
    )
    calls = Permissions(calls=("kernel.instances/1",))
    save_grant(symphony.home, "liar", Grant(calls))
    (symphony.home / "pit.toml").write_text(f'members = {{ "{capability}" = "liar" }}\n{BUDGET}')
    return folder


def paid_steps(symphony: Symphony) -> Path:
    """A Melody of two steps that cost, one after the other."""
    return symphony.melody(
        {"id": "a", "capability": PAID}, {"id": "b", "capability": PAID, "after": ["a"]}
    )


@pytest.mark.parametrize(
    ("capability", "method", "lie"),
    [
        ("pit.arbitration/1", "resync", {}),
        ("pit.arbitration/1", "budgets", {"budgets": [{}]}),
        ("pit.arbitration/1", "request", {}),
        ("pit.arbitration/1", "request", 7),
        ("pit.arbitration/1", "charge", {}),
        ("pit.arbitration/1", "charge", {"budgets": [{}]}),
        ("pit.arbitration/1", "charge", {"budgets": [{**STANDING, "name": []}]}),
        ("pit.arbitration/1", "charge", {"error": "conflict"}),
        ("pit.arbitration/1", "charge", {"error": "unheard-of"}),
        ("pit.arbitration/1", "request", {"error": "conflict"}),
        ("pit.arbitration/1", "request", {"error": "bad-request"}),
        ("pit.arbitration/1", "request", {"error": "failed"}),
        ("pit.arbitration/1", "request", {"grant": "g\x1b[2J", "reason": "because"}),
        ("pit.arbitration/1", "request", {"grant": "é" * 100, "reason": "because"}),
        ("pit.arbitration/1", "request", {"grant": "g1", "reason": "y" * 500_000}),
        ("pit.pool/1", "resync", {"kill": [1], "lost": []}),
        ("pit.pool/1", "acquire", {}),
        ("pit.pool/1", "acquire", 7),
        ("pit.pool/1", "acquire", {"lease": "l1", "instance": [], "warm": True}),
        ("pit.pool/1", "acquire", {"lease": "l1", "instance": "x", "warm": True}),
        ("pit.pool/1", "release", {"spend": {"money": -2_000_000}}),
        ("pit.pool/1", "release", 7),
        ("pit.pool/1", "configure", []),
    ],
)
def test_one_that_can_be_done_without_is_asked_no_more_and_that_is_said(
    symphony: Symphony, capability: str, method: str, lie: Any
) -> None:
    folder = liar(symphony, capability, **{method: lie})
    melody, player = paid_steps(symphony), paid(symphony)
    done = symphony.kernel("run", melody, "--extensions", player, "--json", "events.jsonl")
    assert done.returncode == 0, done.stderr
    assert f"degraded: no {MEMBERS[capability]}:" in done.stderr
    assert f"the result of `{method}` of {capability} is not what its contract says" in done.stderr
    asked = (folder / "asked").read_text().split()
    assert asked.count(method) <= 8
    events = map(json.loads, (symphony.folder / "events.jsonl").read_text().splitlines())
    assert len(of(list(events), "step.finished")) == 2


@pytest.mark.parametrize("code", ["conflict", "bad-request", "failed"])
def test_budgets_hold_beside_one_that_refuses_what_was_spent(symphony: Symphony, code: str) -> None:
    liar(symphony, "pit.arbitration/1", charge={"error": code})
    given = (paid_steps(symphony), "--extensions", paid(symphony))
    for _ in range(2):
        assert symphony.kernel("run", *given).returncode == 0
    done = symphony.kernel("run", *given)
    assert done.returncode == 1, done.stderr
    assert "would exceed the budget all: 8" in done.stderr
    (symphony.home / "pit.toml").write_text(BUDGET)
    assert symphony.answer("budget")["budgets"][0]["spent"] == 8_000_000
    assert not (symphony.home / "charges.pending").exists()


@pytest.mark.parametrize("capability", MEMBERS)
def test_one_that_keeps_to_its_contract_is_not_said_to_break_it(
    symphony: Symphony, capability: str
) -> None:
    folder = liar(symphony, capability)
    melody, player = paid_steps(symphony), paid(symphony)
    done = symphony.kernel("run", melody, "--extensions", player)
    assert done.returncode == 0, done.stderr
    assert "degraded" not in done.stderr
    asked = set((folder / "asked").read_text().split())
    assert asked >= {"resync", *(("request", "charge") if "arb" in capability else ("acquire",))}


@pytest.mark.parametrize(
    ("method", "lie"),
    [
        ("open", {}),
        ("open", 7),
        ("open", {"index": 0, "ready": []}),
        ("open", {"index": 1, "ready": [["nowhere", 1]]}),
        ("open", {"index": 1, "ready": []}),
        ("learned", {}),
        ("learned", {"pairs": [{"player": "x"}]}),
        ("append", {}),
        ("complete", {"index": 3, "ready": "a", "left": 0}),
        ("complete", {"index": 3, "ready": [["nowhere", 1]], "left": 0}),
        ("complete", {"index": 3, "ready": [], "left": 0, "cascade": [{}]}),
        ("finish", {"index": "last"}),
    ],
)
def test_no_run_goes_on_with_what_the_tracker_says(
    symphony: Symphony, method: str, lie: Any
) -> None:
    liar(symphony, "pit.dag/1", **{method: lie})
    melody = symphony.melody({"id": "a", "inputs": {"plan": ["ok"]}})
    done = symphony.kernel("run", melody, "--extensions", PLAYERS)
    check_errors(done, 5, f"`{method}` of pit.dag/1", "symphony-ext test")


STATE = {
    "melody": "m",
    "version": "1.0.0",
    "digest": "d",
    "state": "open",
    "last": 1,
    "opened": "2026-01-31T12:00:00.000Z",
    "steps": [],
    "document": {},
    "inputs": {},
    "ready": [],
}
RECORD = {"index": 1, "kind": "opened", "ts": "2026-01-31T12:00:00.000Z"}


@pytest.mark.parametrize(
    ("lies", "named"),
    [
        ({"state": {}}, "state"),
        ({"state": STATE, "resume": {"index": 2}}, "resume"),
        ({"state": STATE, "resume": {"index": 2, "run": STATE}}, "resume"),
        (
            {"state": {**STATE, "state": "failed"}, "journal": {"records": [], "more": True}},
            "journal",
        ),
        (
            {
                "state": {**STATE, "state": "failed"},
                "journal": {"records": [RECORD], "more": False},
            },
            "journal",
        ),
    ],
)
def test_no_run_is_taken_up_with_what_the_tracker_says(
    symphony: Symphony, lies: dict[str, Any], named: str
) -> None:
    liar(symphony, "pit.dag/1", **lies)
    done = symphony.kernel("run", "--resume", "r1", "--extensions", PLAYERS)
    check_errors(done, 5, f"`{named}` of pit.dag/1", "symphony-ext test")


@pytest.mark.parametrize(
    ("lies", "named"),
    [
        ({"state": {**STATE, "more": True}}, "state"),
        ({"state": {key: STATE[key] for key in STATE if key != "inputs"}}, "state"),
        ({"state": STATE, "journal": {"records": [RECORD], "more": True}}, "journal"),
    ],
)
def test_no_command_shows_for_ever_what_the_tracker_says(
    symphony: Symphony, lies: dict[str, Any], named: str
) -> None:
    liar(symphony, "pit.dag/1", **lies)
    check_errors(symphony.kernel("runs", "show", "r1"), 5, f"`{named}` of pit.dag/1")
