"""A kernel that serves: ready, asked, given extensions, called, stopped."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest
from command_harness import PLAYERS, Symphony
from interface_checks import check_answer, check_error_json, check_errors


def test_status_counts_the_ends_of_each_member(symphony: Symphony) -> None:
    symphony.serve()
    before = check_answer("status", symphony.kernel("status", "--json"))
    assert before["member_ends"] == {}
    (store,) = (row for row in before["extensions"] if row["name"] == "pit-artifacts")
    os.kill(store["pid"], signal.SIGKILL)
    symphony.answer("artifacts", "list")  # answered by its successor
    after = symphony.answer("status")
    assert after["member_ends"] == {"Artifact Store": 1}
    assert "ended and started again: Artifact Store (1 time)" in symphony.kernel("status").stdout


def test_create_check_attach_list_call(symphony: Symphony) -> None:
    symphony.serve()
    assert symphony.ext("create", "shout").returncode == 0
    assert symphony.ext("check", "shout").returncode == 0
    attached = symphony.attach("shout")
    assert attached["sandbox"] == "strict"
    listed = json.loads(symphony.ext("list", "--json").stdout)["extensions"]
    assert "shout" in {entry["name"] for entry in listed}
    called = symphony.ext("call", "example.shout/1", "--json", '{"text": "hello"}')
    assert called.returncode == 0, called.stderr
    assert json.loads(called.stdout) == {"answer": "HELLO"}


def test_the_new_extension_comes_with_a_test_that_passes(symphony: Symphony) -> None:
    symphony.ext("create", "shout")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "shout"],
        cwd=symphony.folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_it_in_peace(symphony: Symphony, number: signal.Signals, code: int) -> None:
    process = symphony.serve()
    pid = symphony.attach(PLAYERS / "trouble")["pid"]
    process.send_signal(number)
    _, said = process.communicate(timeout=30)
    assert process.returncode == code, said
    assert "resumable" in said.splitlines()[-1]
    assert "error" not in said
    assert "Traceback" not in said
    assert not psutil.pid_exists(pid)
    check_errors(symphony.kernel("status"), 5)


def test_stop_returns_when_it_has_ended(symphony: Symphony) -> None:
    process = symphony.serve()
    done = symphony.kernel("stop", "--json")
    assert json.loads(done.stdout) == {"stopped": True, "pid": process.pid}
    assert process.wait(10) == 0
    symphony.serve()


def test_a_killed_kernel_is_no_kernel_and_makes_room(symphony: Symphony) -> None:
    process = symphony.serve()
    pid = symphony.attach(PLAYERS / "trouble")["pid"]
    process.kill()
    process.wait()
    check_errors(symphony.kernel("status"), 5)
    symphony.serve()
    assert not psutil.pid_exists(pid)


def test_it_says_where_it_is_for_people_too(symphony: Symphony) -> None:
    process = symphony.start("serve")
    assert process.stdout is not None
    assert process.stdout.readline().startswith(f"ready: home {symphony.home}, pid {process.pid}")
    shown = symphony.kernel("status").stdout
    assert f"pid {process.pid}" in shown
    assert "degraded" not in shown


def test_attach_in_the_foreground_shows_the_log_until_ctrl_c(symphony: Symphony) -> None:
    symphony.serve()
    process = symphony.start("attach", PLAYERS / "trouble", program="ext")
    assert process.stdout is not None
    first = process.stdout.readline()
    assert "attached (sandbox strict): test.act/1" in first
    assert symphony.ext("call", "test.act/1", "--json", '{"plan": ["ok"]}').returncode == 0
    assert '"word": "ok"' in process.stdout.readline().replace('":"', '": "')
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 0, said
    assert "detached" in said
    check_errors(symphony.ext("call", "test.act/1", "--json", '{"plan": ["ok"]}'), 5)


def test_attach_with_json_keeps_stdout_to_one_value(symphony: Symphony) -> None:
    symphony.serve()
    process = symphony.start("attach", PLAYERS / "trouble", "--json", program="ext")
    assert process.stdout is not None
    attached = json.loads(process.stdout.readline())
    symphony.ext("call", "test.act/1", "--json", '{"plan": ["ok"]}')
    process.send_signal(signal.SIGINT)
    rest, said = process.communicate(timeout=30)
    assert rest == ""
    assert "acting" in said
    assert attached["name"] == "trouble"


def test_attach_says_when_the_extension_ends(symphony: Symphony) -> None:
    symphony.serve()
    process = symphony.start("attach", PLAYERS / "trouble", "--json", program="ext")
    assert process.stdout is not None
    os.kill(json.loads(process.stdout.readline())["pid"], signal.SIGKILL)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "error: trouble-" in said
    assert "help: " in said
    assert "Traceback" not in said


def test_attach_tells_every_fault_of_a_manifest(symphony: Symphony) -> None:
    symphony.serve()
    symphony.write("bad/extension.toml", '[extension]\nname = "X"\n')
    done = symphony.ext("attach", "bad", "--background", "--json")
    said = check_errors(done, 2, "bad/extension.toml:2")
    assert said.count("error: ") >= 3
    check_error_json(done)


def test_attach_of_a_program_that_fails_names_its_log(symphony: Symphony) -> None:
    symphony.serve()
    symphony.ext("create", "shout")
    symphony.write("shout/main.py", "raise SystemExit('not today')\n")
    done = symphony.ext("attach", "shout", "--background", "--json")
    check_errors(done, 1)
    error = check_error_json(done)
    assert "not today" in Path(error["where"]).read_text()
    assert symphony.kernel("status").returncode == 0


def test_no_sandbox_is_asked_for_and_shown(symphony: Symphony) -> None:
    symphony.environment = {**symphony.environment, "PATH": str(symphony.folder)}
    symphony.serve()
    done = symphony.ext("attach", PLAYERS / "trouble", "--background", "--json")
    check_errors(done, 3, "bubblewrap", "--sandbox none")
    assert symphony.attach(PLAYERS / "trouble", "--sandbox", "none")["sandbox"] == "none"
    status = json.loads(symphony.kernel("status", "--json").stdout)
    assert [e["sandbox"] for e in status["extensions"] if e["name"] == "trouble"] == ["none"]
    assert "none" in symphony.ext("list").stdout


@pytest.mark.parametrize(
    ("arguments", "code", "name", "fault", "where"),
    [
        ({"plan": ["raise"]}, 1, "failed", "provider", "main.py"),
        ({"plan": ["crash"]}, 1, "crashed", "provider", "trouble"),
        ({"plan": ["wrong"]}, 1, "wrong-output", "provider", "answer"),
        ({"plan": ["hang"]}, 1, "deadline", "provider", "test.act/1"),
        ({}, 2, "bad-request", "caller", "plan"),
        ({"plan": 3}, 2, "bad-request", "caller", "plan"),
    ],
    ids=["raise", "crash", "wrong", "hang", "missing", "mistyped"],
)
def test_a_call_that_fails_says_whose_fault_it_is(
    symphony: Symphony, arguments: dict[str, Any], code: int, name: str, fault: str, where: str
) -> None:
    symphony.serve("--extensions", str(PLAYERS))
    given = ("--json", json.dumps(arguments), "--player", "trouble", "--timeout", "2")
    done = symphony.ext("call", "test.act/1", *given)
    check_errors(done, code)
    error = check_error_json(done)
    assert error["code"] == name
    assert error["fault"] == fault
    assert where in error["where"]
    assert symphony.kernel("status").returncode == 0
