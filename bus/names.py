"""Names that users choose, held to the grammar (`PROTOCOL.md` section 2) before they are sent."""

import re
from typing import Final

from . import wire
from .errors import BusError

_TOPIC: Final = re.compile(wire.TOPIC)


def check_topic(topic: str) -> None:
    """Raises BusError `bad-request` for what is no topic."""
    if not _TOPIC.match(topic):
        raise BusError(
            "bad-request",
            "this is not a topic",
            where="target",
            help="a topic is lower-case labels with dots between, as run.finished",
        )
