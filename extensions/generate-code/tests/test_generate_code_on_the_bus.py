"""The player behind the real switch and codec, over the datapath in memory."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from symphony.bus.errors import BusError
from symphony.bus.testing import FakeConductor

MAIN = Path(__file__).resolve().parents[1] / "main.py"


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate_code_main", MAIN)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


HEAD = "id,feature,actor,verb,noun,fields,priority,acceptance,depends_on\n"


def test_a_backlog_becomes_a_package_in_the_outbox() -> None:
    with FakeConductor(load().ext) as bus:
        (bus.inbox / "backlog.csv").write_text(
            HEAD + "F1,Add a task,user,create,task,title:text,,,\n"
        )
        told = bus.call("code.generate/1", backlog={"$file": "backlog.csv"})
        folder = bus.outbox / told["$folder"]
        assert (folder / "pyproject.toml").is_file()
        assert "create-task" in (folder / "src" / "generated_package" / "cli.py").read_text()
        assert bus.progress[-1].done == bus.progress[-1].total


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no column 'id'"),
        ("hello\nworld\n", "no column 'id'"),
        (HEAD + 'F1,"Add a task', "unexpected end of data"),
        (HEAD + ",Add a task,user,create,task,,,,\n", "row 1 has no id"),
        (HEAD + "F1,a,user,create,t,,,,\nF1,b,user,create,t,,,,\n", "row 2 has the id F1 again"),
    ],
)
def test_a_broken_backlog_is_a_bad_request_that_says_where(text: str, says: str) -> None:
    with FakeConductor(load().ext) as bus:
        (bus.inbox / "backlog.csv").write_text(text)
        with pytest.raises(BusError) as caught:
            bus.call("code.generate/1", backlog={"$file": "backlog.csv"})
    assert (caught.value.code, caught.value.where) == ("bad-request", "backlog")
    assert says in caught.value.message
    assert caught.value.help
