"""Who may connect (`PROTOCOL.md` section 13), decided without a socket.

An endpoint with a rule is a domain of its own. Whoever connects there must be of the right user,
process and key; as long as the process is not known yet, the decision waits.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from .denials import Denials

MAX_WAITING: Final = 16  # connections to one domain whose process is not known yet
TOKEN_BYTES: Final = 8

IsBelow = Callable[[int, int], bool]  # is this process that one, or below it?
Verdict = tuple[bytes, bool]  # token, whether it may come in


@dataclass(frozen=True)
class Rule:
    """Who may connect to a domain. `uids` None: any user. `process`: only the expected process and
    those below it. `key`: whether a public CURVE key (32 bytes) is let in; None: there are none.
    """

    uids: frozenset[int] | None = None
    process: bool = False
    key: Callable[[bytes], bool] | None = None


@dataclass
class _Door:
    rule: Rule
    pid: int | None = None
    waiting: list[tuple[bytes, int]] = field(default_factory=list)  # token, pid


class Admission:
    """The rules of all domains, and the connections that wait for a decision."""

    def __init__(self, denials: Denials, is_below: IsBelow) -> None:
        self._denials = denials
        self._is_below = is_below
        self._doors: dict[str, _Door] = {}

    def guard(self, domain: str, rule: Rule) -> None:
        """Lets only whom the rule allows connect from now on."""
        self._doors[domain] = _Door(rule)

    def forget(self, domain: str) -> list[Verdict]:
        """The domain is gone: nobody else may connect."""
        door = self._doors.pop(domain, None)
        return [(token, False) for token, _ in door.waiting] if door else []

    def expect(self, domain: str, pid: int) -> list[Verdict]:
        """Names the process of a domain; decides about those that waited for it."""
        door = self._doors.get(domain)
        if door is None:
            return []
        door.pid = pid
        waiting, door.waiting = door.waiting, []
        return [(token, self._of_process(domain, pid, other)) for token, other in waiting]

    def connecting(self, domain: str, address: bytes, connection: bytes) -> list[Verdict]:
        """Decides about a connection, and about one that waited too long; empty if it waits.

        `address` and `connection` are header and body of the upcall.
        """
        token, key = connection[:TOKEN_BYTES], connection[TOKEN_BYTES:]
        door = self._doors.get(domain)
        if door is None:
            return [(token, self._refuse(domain, "domain"))]
        rule = door.rule
        if rule.key is not None and not rule.key(key):
            return [(token, self._refuse(domain, "key"))]
        if rule.uids is None and not rule.process:
            return [(token, True)]
        origin = _credentials(address)
        if origin is None:
            return [(token, self._refuse(domain, "address"))]
        uid, pid = origin
        if rule.uids is not None and uid not in rule.uids:
            return [(token, self._refuse(domain, "uid"))]
        if not rule.process:
            return [(token, True)]
        if door.pid is not None:
            return [(token, self._of_process(domain, door.pid, pid))]
        door.waiting.append((token, pid))
        if len(door.waiting) <= MAX_WAITING:
            return []
        oldest, _ = door.waiting.pop(0)
        return [(oldest, self._refuse(domain, "waiting"))]

    def restart(self) -> None:
        """The connections that waited are gone with the datapath that reported them."""
        for door in self._doors.values():
            door.waiting.clear()

    def _of_process(self, domain: str, expected: int, pid: int) -> bool:
        return self._is_below(pid, expected) or self._refuse(domain, "pid")

    def _refuse(self, domain: str, rule: str) -> bool:
        self._denials.count(domain, "connect", rule)
        return False


def _credentials(address: bytes) -> tuple[int, int] | None:
    """User and process of `...:UID:GID:PID`."""
    try:
        _, uid, _, pid = address.decode().rsplit(":", 3)
        return int(uid), int(pid)
    except ValueError:  # UnicodeDecodeError is one
        return None
