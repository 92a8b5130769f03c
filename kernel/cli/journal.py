"""`symphony-kernel runs journal`: the records of one run."""

from __future__ import annotations

import sys

import msgspec

from symphony.bus.errors import BusError

from .. import queries
from . import render


async def show(ask: queries.Ask, run: str, *, as_json: bool) -> None:
    """Writes every record: JSON lines, or one line of text each."""
    try:
        async for record in queries.journal(ask, run):
            if as_json:
                sys.stdout.buffer.write(msgspec.json.encode(record) + b"\n")
                continue
            told = msgspec.json.encode(record.get("data") or {}).decode()
            step = str(record.get("step") or "")
            render.say(f"{record['index']:>6}  {record['ts']}  {record['kind']:<10} {step}  {told}")
    except BusError as error:
        raise queries.no_run(run, error) from error
    sys.stdout.flush()
