"""The real commands on a home of their own, with players that misbehave on demand."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

PLAYERS = Path(__file__).parent / "players"
PEERS = Path(__file__).parent / "peers"  # that call one another
LIMIT_S = 120.0


@dataclass
class Symphony:
    """Runs `symphony-kernel` and `symphony-ext` and ends whatever they started."""

    home: Path
    folder: Path
    environment: Mapping[str, str]
    _started: list[subprocess.Popen[str]] = field(default_factory=list)

    def kernel(self, *arguments: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
        """`symphony-kernel ARGUMENTS --home HOME`, to its end."""
        return self._run("symphony.kernel.cli.kernel", arguments, **options)

    def ext(self, *arguments: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
        """`symphony-ext ARGUMENTS`, to its end."""
        return self._run("symphony.kernel.cli.ext", arguments, **options)

    def shell(self, script: str) -> subprocess.CompletedProcess[str]:
        """A shell that finds the two commands on its PATH, to its end."""
        programs = self.folder / "programs"
        for name in ("kernel", "ext"):
            module = f"symphony.kernel.cli.{name}"
            text = f'#!/bin/sh\nexec "{sys.executable}" -m {module} "$@"\n'
            self.write(f"programs/symphony-{name}", text).chmod(0o755)
        path = f"{programs}:{self.environment['PATH']}"
        return subprocess.run(
            ["/bin/sh", "-c", script],
            cwd=self.folder,
            env={**self.environment, "PATH": path},
            timeout=LIMIT_S,
            capture_output=True,
            text=True,
            check=False,
        )

    def start(
        self,
        *arguments: str | Path,
        program: str = "kernel",
        stderr_to: int = subprocess.PIPE,
        **options: Any,
    ) -> subprocess.Popen[str]:
        """`symphony-kernel ARGUMENTS` (or `ext` for `symphony-ext`) in the background."""
        command = [sys.executable, "-m", f"symphony.kernel.cli.{program}", *map(str, arguments)]
        process = subprocess.Popen(
            command,
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=stderr_to,
            text=True,
            **options,
        )
        self._started.append(process)
        return process

    def serve(self, *arguments: str | Path, **options: Any) -> subprocess.Popen[str]:
        """`symphony-kernel serve`, ready."""
        process = self.start("serve", "--json", *arguments, **options)
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, process.communicate()[1]
        assert json.loads(line)["ready"] is True
        return process

    def attach(self, folder: Path | str, *more: str) -> dict[str, Any]:
        """Attaches an extension in the background; what `symphony-ext` answers."""
        done = self.ext("attach", folder, "--background", "--json", *more)
        assert done.returncode == 0, done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def ask(self, *words: str, capability: str = "test.count/1", timeout_s: int = 20) -> Any:
        """Lets the peer `asker` call a capability once for each word; what came of it."""
        wanted = json.dumps({"capability": capability, "words": words})
        done = self.ext("call", "test.ask/1", "--json", wanted, "--timeout", str(timeout_s))
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)["answer"]

    def answer(self, *arguments: str | Path) -> Any:
        """The JSON answer of a `symphony-kernel` command that succeeds."""
        done = self.kernel(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def logged(self, instance: str, event: str) -> list[dict[str, Any]]:
        """The lines of an instance's log with this event."""
        lines = (self.home / "logs" / f"{instance}.log").read_text().splitlines()
        found = [json.loads(line) for line in lines if line.startswith("{")]
        return [line for line in found if line.get("event") == event]

    def write(self, name: str, content: str) -> Path:
        """A file in the test's folder."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        return path

    def melody(self, *steps: Mapping[str, Any], **more: Any) -> Path:
        """A Melody as JSON; each step of `test.act/1` unless it says otherwise."""
        whole = [
            {"capability": "test.act/1", "player": "trouble", "retry": {"backoff_s": 0.0}, **step}
            for step in steps
        ]
        for step in whole:
            if step["capability"] != "test.act/1":
                del step["player"]
        data = {"melody": {"name": "test", "version": "1.0.0"}, "steps": whole, **more}
        return self.write("test.melody.json", json.dumps(data))

    def play(self, melody: Path, *arguments: str | Path) -> tuple[int, list[dict[str, Any]]]:
        """Plays a Melody; the exit code and the events."""
        done = self.kernel("run", melody, "--extensions", PLAYERS, "--json", "-", *arguments)
        events = [json.loads(line) for line in done.stdout.splitlines()]
        assert "Traceback" not in done.stderr
        return done.returncode, events

    def close(self) -> None:
        for process in self._started:
            if process.poll() is None:
                process.kill()
            process.communicate()
        assert wait_for_end_of(self.home), f"left over: {processes_of(self.home)}"

    def _run(
        self, module: str, arguments: Sequence[str | Path], **options: Any
    ) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", module, *map(str, arguments)]
        settings = {"cwd": self.folder, "env": self.environment, "timeout": LIMIT_S, **options}
        return subprocess.run(command, capture_output=True, text=True, check=False, **settings)


@contextlib.contextmanager
def symphony_in(folder: Path) -> Iterator[Symphony]:
    """The commands with ``folder`` to work in and a new home; ends all that they started."""
    home = Path(tempfile.mkdtemp(prefix="symphony-home-"))
    environment = {**os.environ, "SYMPHONY_HOME": str(home)}
    environment.pop("XDG_RUNTIME_DIR", None)
    subject = Symphony(home, folder, environment)
    try:
        yield subject
        subject.close()
    finally:
        for process in subject._started:
            process.kill()
            process.wait()
        shutil.rmtree(home, ignore_errors=True)


def of(events: Sequence[Mapping[str, Any]], kind: str, **fields: Any) -> list[dict[str, Any]]:
    """The events of one kind with these fields."""
    return [
        dict(event)
        for event in events
        if event["event"] == kind and all(event.get(k) == v for k, v in fields.items())
    ]


def processes_of(home: Path) -> list[str]:
    """Command lines of the processes that belong to the kernel of a home: all that have the
    home in their environment or arguments."""
    found = []
    for process in psutil.process_iter():
        try:
            marks = [*process.cmdline(), process.environ().get("SYMPHONY_HOME", "")]
        except (psutil.NoSuchProcess, psutil.ZombieProcess, psutil.AccessDenied):
            continue
        if process.pid != os.getpid() and any(str(home) in mark for mark in marks):
            found.append(f"{process.pid} {' '.join(process.cmdline())}")
    return found


def wait_for_end_of(home: Path) -> bool:
    """Waits until the home's lock is free, that is until its last process has ended."""
    import fcntl

    lock = home / "kernel.lock"
    if not lock.exists():
        return True
    signal.signal(signal.SIGALRM, lambda *_: (_ for _ in ()).throw(TimeoutError))
    signal.setitimer(signal.ITIMER_REAL, 10)
    try:
        with lock.open("r+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
    except TimeoutError:
        return False
    else:
        return True
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
