"""What was refused, counted and logged by who, what and which rule; never with a secret."""

import logging
from collections import Counter
from typing import Final

from .grants import ANY

MAX_ROWS: Final = 1_000
MAX_SHOWN: Final = 128  # characters of a name, which a peer may have chosen

_log = logging.getLogger("symphony.bus")


class Denials:
    """Counts refusals in a bounded number of rows; logs the first of each and then ever fewer."""

    def __init__(self) -> None:
        self.rows: Counter[tuple[str, str, str]] = Counter()

    def count(self, peer: str, what: str, rule: str, times: int = 1) -> None:
        """`peer` was refused `what` (a capability, topic, domain) by `rule`, so many times."""
        row = (peer, _shown(what), rule)
        if row not in self.rows and len(self.rows) >= MAX_ROWS:
            row = (peer.partition("/")[0], ANY, rule)
        if row not in self.rows and len(self.rows) >= 2 * MAX_ROWS:
            row = (ANY, ANY, rule)
        before = self.rows[row]
        after = self.rows[row] = before + times
        if before.bit_length() != after.bit_length():  # so that a flood does not fill the log
            _log.warning(
                "refused",
                extra={"peer": row[0], "what": row[1], "rule": rule, "times": after},
            )


def _shown(name: str) -> str:
    """A name in so many characters, all of which can be seen; others as Python escapes them."""
    seen = name if name.isprintable() else name.encode("unicode_escape").decode("ascii")
    return seen if len(seen) <= MAX_SHOWN else seen[: MAX_SHOWN - 1] + "…"
