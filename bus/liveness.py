"""Who is alive (`PROTOCOL.md` section 3): silence judged without a clock of its own.

All times are seconds of one monotonic clock, given by the caller.
"""


class Watch:
    """Judges silence, forgiving the time in which the judge itself did not look.

    After a pause of this process (a stopped or suspended machine) every peer seems silent
    although nobody listened; each then gets one full window to be heard again.
    """

    def __init__(self, heartbeat_s: float, liveness: int, now: float) -> None:
        self.heartbeat_s = heartbeat_s
        self.window_s = heartbeat_s * liveness
        self._looked = now
        self._judge_from = now

    def horizon(self, now: float) -> float:
        """The instant before which a last sign of life means death; look at every beat."""
        if now - self._looked > self.window_s / 2:
            self._judge_from = now + self.window_s
        self._looked = now
        return now - self.window_s if now >= self._judge_from else float("-inf")

    def beat_due(self, *, sent: float, heard: float, beaten: float, now: float) -> bool:
        """Whether a peer owes a heartbeat: to show that it lives, or to be shown that the hub does.

        The times are those of the last message sent, the last heard and the last heartbeat sent. A
        peer that talks all the time and hears nothing must ask as well.
        """
        return now - max(beaten, min(sent, heard)) >= self.heartbeat_s
