"""A main thread that is busy in Python; by itself, a process that keeps one core as busy."""

import os
import sys
import threading
from typing import NoReturn


def work_until_input_ends() -> NoReturn:
    """Runs bytecode that never lets go of the interpreter by itself; ends the process."""
    threading.Thread(target=_end_with_input, daemon=True).start()
    number = 0
    while True:
        number = (number * 31 + 7) % 1_000_003


def _end_with_input() -> None:
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    work_until_input_ends()
