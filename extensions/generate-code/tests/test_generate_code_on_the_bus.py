"""The player behind the real switch and codec, over the datapath in memory."""

from pathlib import Path

import pytest

from symphony.bus.errors import BusError
from symphony.bus.testing import FakeConductor

HEAD = "id,feature,actor,verb,noun,fields,priority,acceptance,depends_on\n"


def generated(bus: FakeConductor, backlog: str) -> Path:
    (bus.inbox / "backlog.csv").write_text(backlog)
    told = bus.call("code.generate/1", backlog={"$file": "backlog.csv"})
    return bus.outbox / told["$folder"]


def test_a_backlog_becomes_a_package_in_the_outbox(bus: FakeConductor) -> None:
    folder = generated(bus, HEAD + "F1,Add a task,user,create,task,title:text,,,\n")
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
def test_a_broken_backlog_is_a_bad_request_that_says_where(
    bus: FakeConductor, text: str, says: str
) -> None:
    with pytest.raises(BusError) as caught:
        generated(bus, text)
    assert (caught.value.code, caught.value.where) == ("bad-request", "backlog")
    assert says in caught.value.message
    assert caught.value.help
