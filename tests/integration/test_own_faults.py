"""Wrong calls of a console, and a bug in the bus itself: an error, never a kernel that hangs."""

from __future__ import annotations

import json
import math
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from command_harness import PLAYERS, Symphony
from interface_checks import check_error_json, check_errors

from symphony.bus.client import Client
from symphony.bus.errors import BusError
from symphony.kernel.cli.session import console_client
from symphony.kernel.places import Places

CONSOLE = "kernel.console/1"
WRONG_LIMITS: tuple[object, ...] = (-5, 0, 1e300, math.nan, math.inf, "x")
ACT = {"capability": "test.act/1", "args": {"plan": ["ok"]}}


def console(symphony: Symphony) -> Client:
    return console_client(Places.find(symphony.home, symphony.environment))


@pytest.mark.parametrize(
    ("method", "args"),
    [
        *(
            ("call", ACT | {"timeout_s": wrong})
            for wrong in (-5, 0, 1e300, math.nan, math.inf, "x")
        ),
        ("call", ACT | {"level": "bogus"}),
        ("call", ACT | {"level": 7}),
        ("attach", {"folder": str(PLAYERS / "trouble"), "level": "bogus"}),
        ("attach", {"folder": str(PLAYERS / "trouble"), "grant": "all"}),
        ("attach", {"folder": "a\0b"}),
    ],
)
def test_a_wrong_call_is_refused_and_the_kernel_serves_on(
    symphony: Symphony, method: str, args: dict[str, Any]
) -> None:
    process = symphony.serve("--extensions", PLAYERS)
    with console(symphony) as client:
        with pytest.raises(BusError) as caught:
            client.call(CONSOLE, method, args, ttl_ms=10_000)
        assert caught.value.code == "bad-request", caught.value
        assert client.call(CONSOLE, "status", {}, ttl_ms=10_000)["pid"] == process.pid
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 143


@pytest.mark.parametrize("limit", ["nan", "inf", "1e300", "1e7", "0", "-1"])
def test_a_time_limit_out_of_range_is_refused_at_the_command_line(
    symphony: Symphony, limit: str
) -> None:
    done = symphony.ext("call", "test.act/1", "--timeout", limit)
    check_errors(done, 2, "--timeout")


def test_a_failed_attach_leaves_the_extension_that_works(symphony: Symphony) -> None:
    symphony.serve()
    symphony.ext("create", "shout")
    assert symphony.ext("attach", "shout", "--background").returncode == 0
    call = ("call", "example.shout/1", "--json", '{"text": "hello"}')
    assert symphony.ext(*call).returncode == 0
    symphony.ext("create", "shout", "--in", "other")
    symphony.write("other/shout/main.py", "raise SystemExit('not today')\n")
    again = symphony.ext("attach", "other/shout", "--background", "--json")
    check_errors(again, 1, "not today")
    check_error_json(again)
    done = symphony.ext(*call)
    assert done.returncode == 0, done.stderr
    (entry,) = [
        entry
        for entry in json.loads(symphony.ext("list", "--json").stdout)["extensions"]
        if entry["name"] == "shout"
    ]
    assert entry["folder"] == str(symphony.folder / "shout")


BREAK = """
import os
from symphony.bus.switch import Switch
from symphony.kernel.cli.entry import kernel

tick = Switch.tick

def breaking(self, now):
    if os.path.exists("broken"):
        raise ZeroDivisionError("broken for a test")
    tick(self, now)

Switch.tick = breaking
kernel()
"""


def breakable(symphony: Symphony, *arguments: str | Path) -> subprocess.Popen[str]:
    """A kernel whose bus, once there is a file `broken`, ends however often it is started anew."""
    process = subprocess.Popen(
        [sys.executable, "-c", BREAK, *map(str, arguments), "--datapath", "reference"],
        cwd=symphony.folder,
        env=symphony.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    symphony._started.append(process)
    return process


def test_a_kernel_whose_bus_ends_for_good_ends_with_a_report(symphony: Symphony) -> None:
    process = breakable(symphony, "serve", "--extensions", PLAYERS)
    assert process.stdout is not None
    process.stdout.readline()
    symphony.write("broken", "")
    out, said = process.communicate(timeout=30)
    done = subprocess.CompletedProcess([], process.returncode, out, said)
    check_errors(done, 70, "reports")
    (report,) = (symphony.home / "reports").iterdir()
    assert "ZeroDivisionError: broken for a test" in report.read_text()
    (symphony.folder / "broken").unlink()
    symphony.serve()


def test_a_run_whose_bus_ends_for_good_can_be_resumed(symphony: Symphony) -> None:
    hang = {"id": "a", "inputs": {"plan": ["hang", "ok"]}}
    melody = symphony.melody(hang)
    process = breakable(symphony, "run", melody, "--extensions", PLAYERS)
    assert process.stderr is not None
    said = ""
    while "a: running" not in said:
        said += process.stderr.readline()
    symphony.write("broken", "")
    out, rest = process.communicate(timeout=30)
    done = subprocess.CompletedProcess([], process.returncode, out, said + rest)
    check_errors(done, 70, "reports", "--resume")
    (symphony.folder / "broken").unlink()
    (run,) = json.loads(symphony.kernel("runs", "list", "--json").stdout)["runs"]
    assert run["state"] == "open"
    again = symphony.kernel("run", "--resume", run["run"], "--extensions", PLAYERS)
    assert again.returncode == 0, again.stderr
