"""A player that costs, for the tests of budgets and of what is booked."""

from __future__ import annotations

from pathlib import Path

from command_harness import Symphony

PAID = "test.paid/1"
MANIFEST = """
[extension]
name = "paid"
version = "1.0.0"
entry = { python = "main.py" }

[[provides]]
capability = "test.paid/1"
cost = { per_call = COST }
outputs = { answer = { type = "text" } }
"""
PROGRAM = """
import time

from symphony.bus.extension import Context, Extension

ext = Extension()


@ext.provides("test.paid/1")
def work(ctx: Context) -> dict[str, str]:
    time.sleep(TAKES_S)
    return {"answer": "done"}


ext.run()
"""


def paid(symphony: Symphony, cost: float = 2.0, takes_s: float = 0.0) -> Path:
    """The folder of a player that costs so much money for each call, and takes so long."""
    symphony.write("paid/extension.toml", MANIFEST.replace("COST", str(cost)))
    return symphony.write("paid/main.py", PROGRAM.replace("TAKES_S", str(takes_s))).parent
