"""`symphony-kernel serve --background`: a kernel in a session of its own, until it serves."""

from __future__ import annotations

import io
import subprocess
import sys
import tempfile
from collections.abc import Sequence

import msgspec

from ..errors import ExitCode
from . import signals


def serve_in_background(options: Sequence[str], as_json: bool) -> int:
    """Starts `serve` with these options and waits until it accepts consoles.

    One that does not come so far says here why, and this is its exit code. It outlives this
    command and its terminal; what it has to say later is in its log.
    """
    command = [sys.executable, "-m", "symphony.kernel.cli.kernel", "serve", "--json", *options]
    with tempfile.TemporaryFile() as said:
        kernel = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=said,
            start_new_session=True,
        )
        out = kernel.stdout or io.BytesIO()  # it is a pipe
        try:
            with signals.answered_by(signals.interrupt):
                line = out.readline()
        except KeyboardInterrupt:
            kernel.terminate()
            raise
        ready = _is_ready(line)
        if not ready:
            line += out.read()
            kernel.wait()
        said.seek(0)
        sys.stderr.write(said.read().decode(errors="replace"))
    if as_json:
        print(line.decode().rstrip("\n"), flush=True)
    elif ready:
        found = msgspec.json.decode(line)
        print(f"ready: home {found['home']}, pid {found['pid']}", flush=True)
    return ExitCode.DONE if ready else kernel.returncode


def _is_ready(line: bytes) -> bool:
    try:
        found = msgspec.json.decode(line)
    except msgspec.DecodeError:
        return False
    return isinstance(found, dict) and found.get("ready") is True
