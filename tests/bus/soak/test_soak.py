"""The soak in a short form, and the judge of its ledgers."""

import importlib.util
import json
import signal
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from ..conftest import NEEDS_NATIVE

SCRIPTS = Path(__file__).resolve().parents[3] / "scripts"
COMMAND = [sys.executable, str(SCRIPTS / "soaking.py"), "--json"]
NOISE_KIB = 16_384  # too short to judge memory by shares


@pytest.mark.slow
@pytest.mark.parametrize("datapath", ["reference", pytest.param("native", marks=NEEDS_NATIVE)])
def test_kills_under_load_lose_and_double_nothing(datapath: str) -> None:
    done = subprocess.run(
        [*COMMAND, "--minutes", "0.33", "--datapath", datapath],
        capture_output=True,
        text=True,
        check=False,
    )
    report = json.loads(done.stdout)
    assert report["faults"] == [], done.stderr
    assert done.returncode == 0
    assert (report["lost"], report["doubled"]) == (0, 0)
    assert report["answered"] > 1_000
    assert report["kills"] > 2
    assert report["crashes"] > 0
    series = report["rss_kib"]
    assert max(series) - series[len(series) // 4] < NOISE_KIB


def test_an_interrupted_soak_says_what_it_has_and_goes_on_later(tmp_path: Path) -> None:
    keep = tmp_path / "soak.jsonl"
    command = [*COMMAND, "--minutes", "0.15", "--datapath", "reference", "--keep", str(keep)]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1
    )
    assert process.stderr is not None
    while "min left" not in process.stderr.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    out, err = process.communicate()
    assert process.returncode == 130, err
    assert "Traceback" not in err
    first = json.loads(out)
    assert first["faults"] == []
    assert first["minutes"] < 0.15
    again = subprocess.run(command, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    total = sum(json.loads(line)["minutes"] for line in keep.read_text().splitlines())
    assert total == pytest.approx(0.15, abs=0.04)


@pytest.fixture
def ledgers() -> ModuleType:
    spec = importlib.util.spec_from_file_location("soakledger", SCRIPTS / "soakledger.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["soakledger"] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("providers", "callers", "lost", "doubled"),
    [
        ("-a p/1\n", "-a p/1 5\n", [], []),
        ("-a p/1\n-b p/2\n", "-a p/1 5\n-b !crashed\n", [], []),  # done, and nobody knows
        ("", "-a p/1 5\n", ["-a"], []),
        ("-a p/1\n", "-a p/2 5\n", ["-a"], []),  # another answer than that of what was done
        ("-a p/1\n-a q/1\n", "-a q/1 5\n", [], ["-a"]),
        ("-a p/1\n-a q/1\n", "-a !crashed\n", [], ["-a"]),
        ("-a p/1\n", "-a p/1 5\n-a p/1 5\n", [], ["-a"]),
        ("=a p/1\n", "=a p/1 5\n=a p/1 6\n", [], []),  # made twice with a key, done once
        ("=a p/1\n=a p/2\n", "=a p/1 5\n=a p/2 6\n", [], ["=a", "=a"]),
        ("=a p/1\n=a q/1\n", "=a !crashed\n=a q/1 6\n", [], []),  # an error is not remembered
        ("-a p/1\n-b p", "-a p/1 5\n-b p/", [], []),  # cut short by a kill
    ],
)
def test_the_judge_sees_what_is_lost_and_doubled(
    ledgers: ModuleType,
    tmp_path: Path,
    providers: str,
    callers: str,
    lost: list[str],
    doubled: list[str],
) -> None:
    (tmp_path / "p").write_text(providers)
    (tmp_path / "c").write_text(callers)
    verdict = ledgers.judge([tmp_path / "p"], [tmp_path / "c"])
    assert (verdict.lost, verdict.doubled) == (lost, doubled)
