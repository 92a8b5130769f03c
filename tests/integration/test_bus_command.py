"""The bus as commands show it: datapath, flows, limits, traces, and who is ended for what."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
from command_harness import PEERS, PLAYERS, Symphony, of
from interface_checks import check_error_json, check_errors, schema

from symphony.bus.native import available


def without_native(symphony: Symphony, folder: Path) -> None:
    """As in an environment without the wheel: what is found first cannot be loaded."""
    module = folder / "without" / "symphony_native.py"
    module.parent.mkdir()
    module.write_text("raise ModuleNotFoundError('not installed', name='symphony_native')\n")
    symphony.environment = {**symphony.environment, "PYTHONPATH": str(module.parent)}


def test_the_datapath_is_chosen_and_shown(symphony: Symphony) -> None:
    symphony.serve("--datapath", "reference")
    assert symphony.answer("status")["datapath"] == "reference"
    assert "bus: reference datapath" in symphony.kernel("status").stdout
    assert symphony.answer("bus")["datapath"] == "reference"


def test_the_native_datapath_is_the_default_where_it_is_installed(symphony: Symphony) -> None:
    symphony.serve()
    expected = "native" if available() else "reference"
    assert symphony.answer("status")["datapath"] == expected


def test_without_the_wheel_the_reference_datapath_serves(
    symphony: Symphony, tmp_path: Path
) -> None:
    without_native(symphony, tmp_path)
    symphony.serve()
    assert symphony.answer("status")["datapath"] == "reference"


def test_a_datapath_that_cannot_be_had_is_refused(symphony: Symphony, tmp_path: Path) -> None:
    without_native(symphony, tmp_path)
    done = symphony.kernel("serve", "--datapath", "native", "--json")
    check_errors(done, 5, "symphony-native", "reference")
    assert check_error_json(done)["code"] == "unavailable"
    melody = symphony.melody({"id": "a", "inputs": {"plan": ["ok"]}})
    given = ("--extensions", PLAYERS, "--datapath", "native")
    check_errors(symphony.kernel("run", melody, *given), 5, "symphony-native")


def test_an_unknown_datapath_is_bad_usage(symphony: Symphony) -> None:
    check_errors(symphony.kernel("serve", "--datapath", "other"), 2, "native", "reference")


def test_flows_peers_and_counters_are_told(symphony: Symphony) -> None:
    symphony.serve()
    asker = symphony.attach(PEERS / "asker")["instance"]
    counter = symphony.attach(PEERS / "counter")["instance"]
    symphony.ask("one", "two")
    answer = symphony.answer("bus")
    jsonschema.validate(answer, schema("bus"))
    assert (answer["epoch"], answer["restarts"], answer["letters_lost"]) == (1, 0, 0)
    assert answer["counters"]["forwarded"] > 0
    (flow,) = [flow for flow in answer["flows"] if flow["caller"] == asker]
    assert (flow["capability"], flow["provider"]) == ("test.count/1", counter)
    assert (flow["calls"], flow["results"], flow["errors"], flow["open"]) == (2, 2, 0, 0)
    assert 0 < flow["p50_ms"] <= flow["p99_ms"] < 10_000
    assert sum(flow["latency"]) == 2
    slowest = max(i for i, answers in enumerate(flow["latency"]) if answers)
    assert flow["p99_ms"] == 2**slowest / 1000
    assert {asker, counter} <= {peer["peer"] for peer in answer["peers"]}
    shown = symphony.kernel("bus").stdout
    for word in (asker, counter, "test.count/1", "flows", "peers", "counters"):
        assert word in shown


def test_limits_of_the_manifest_are_kept_and_say_when_to_try_again(symphony: Symphony) -> None:
    symphony.serve()
    asker = symphony.attach(PEERS / "asker")["instance"]
    counter = symphony.attach(PEERS / "counter")["instance"]
    found = symphony.ask("one", "two", "three")["found"]
    assert [entry.get("word") for entry in found[:2]] == ["one", "two"]
    assert found[2]["code"] == "overloaded"
    assert 90_000 < found[2]["retry_after_ms"] <= 100_000  # one call in 100 s
    assert len(symphony.logged(counter, "counted")) == 2
    (flow,) = [flow for flow in symphony.answer("bus")["flows"] if flow["caller"] == asker]
    assert flow["shed"] == 1


def test_a_trace_goes_through_all_calls_and_into_the_logs(symphony: Symphony) -> None:
    symphony.serve()
    symphony.attach(PEERS / "asker")
    counter = symphony.attach(PEERS / "counter")["instance"]
    answer = symphony.ask("one")
    (found,) = answer["found"]
    assert found["trace"][3:35] == answer["trace"][3:35]
    assert found["trace"][36:52] != answer["trace"][36:52]
    assert [line["trace"] for line in symphony.logged(counter, "counted")] == [found["trace"]]


def test_a_run_is_one_trace_over_its_attempts(symphony: Symphony) -> None:
    code, events = symphony.play(
        symphony.melody({"id": "a", "inputs": {"plan": ["raise", "ok"]}, "retry": {"attempts": 2}})
    )
    assert code == 0
    run = events[0]["run"]
    shown = symphony.answer("runs", "show", run)
    jsonschema.validate(shown, schema("run"))
    traces = [
        line["trace"]
        for event in of(events, "step.started")
        for line in symphony.logged(event["instance"], "acting")
    ]
    assert len(traces) == 2
    assert {trace[3:35] for trace in traces} == {shown["trace"]}
    assert len({trace[36:52] for trace in traces}) == 2
    assert shown["trace"] in symphony.kernel("runs", "show", run).stdout


def test_one_that_does_not_end_a_cancelled_call_is_killed_for_that(symphony: Symphony) -> None:
    symphony.serve()
    symphony.attach(PEERS / "asker")
    process = symphony.start("attach", PEERS / "counter", "--json", program="ext")
    assert process.stdout is not None
    assert json.loads(process.stdout.readline())["name"] == "counter"
    wanted = json.dumps({"capability": "test.count/1", "words": ["hang"]})
    symphony.ext("call", "test.ask/1", "--json", wanted, "--timeout", "1")
    _, said = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "did not end a cancelled call in time" in said
    assert '"overdue"' in (symphony.home / "logs" / "kernel.log").read_text()


def test_a_step_says_that_its_player_fell_silent(symphony: Symphony) -> None:
    step = {"id": "a", "inputs": {"plan": ["stop", "ok"]}, "retry": {"attempts": 2}}
    code, events = symphony.play(symphony.melody(step))
    assert code == 0
    (failed,) = of(events, "step.failed")
    assert failed["error"]["class"] == "crashed"
    assert "silent on the bus for too long" in failed["exit"]


@pytest.mark.parametrize("name", ["bus", "keys"])
def test_the_answers_have_schemas(symphony: Symphony, name: str) -> None:
    assert name in symphony.kernel("schema").stdout.split()
