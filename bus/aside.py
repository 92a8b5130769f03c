"""A function on a thread of its own, in strict turn with whoever drives it: never both at once.

So a fake can let the code of an extension wait in the middle without any real concurrency.
"""

from collections.abc import Callable
from threading import Lock, Thread


class Aside:
    """Runs `function`, from one `pause` to the next, whenever it is resumed."""

    def __init__(self, function: Callable[[], None]) -> None:
        self._function = function
        self._go = Lock()
        self._back = Lock()
        self._go.acquire()
        self._back.acquire()
        self._thread = Thread(target=self._run, name="symphony-aside", daemon=True)
        self.waits = True  # to be resumed
        self._thread.start()

    def resume(self) -> None:
        """Returns when the function pauses or has ended."""
        self.waits = False
        self._go.release()
        self._back.acquire()

    def pause(self) -> None:
        """Called by the function: returns when it is resumed."""
        self.waits = True
        self._back.release()
        self._go.acquire()

    def _run(self) -> None:
        self._go.acquire()
        try:
            self._function()
        finally:
            self._back.release()
