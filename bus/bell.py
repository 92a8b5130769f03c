"""An event that a loop can watch: rung by any thread, heard by whoever polls its descriptor."""

import os
from contextlib import suppress


class Bell:
    """An eventfd. Calling it rings it, so that it can stand wherever a function is to be called."""

    def __init__(self) -> None:
        self.fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def __call__(self) -> None:
        with suppress(OSError):  # it is closed, or has been rung 2^64 times
            os.eventfd_write(self.fd, 1)

    def hush(self) -> None:
        """What rang before is heard."""
        with suppress(BlockingIOError):
            os.eventfd_read(self.fd)

    def close(self) -> None:
        """Nobody hears it any more."""
        fd, self.fd = self.fd, -1
        os.close(fd)
