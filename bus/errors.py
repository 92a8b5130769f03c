"""Typed errors of the bus (`PROTOCOL.md` section 5): what, where, whose fault, what to do."""

from collections.abc import Mapping
from typing import Final

# Each code and the party that must change something when nothing else is said.
FAULTS: Final[Mapping[str, str]] = {
    "bad-request": "caller",
    "not-found": "caller",
    "conflict": "caller",
    "refused": "caller",
    "unavailable": "environment",
    "overloaded": "environment",
    "deadline": "provider",
    "cancelled": "caller",
    "crashed": "provider",
    "failed": "provider",
    "wrong-output": "provider",
    "io": "environment",
    "corrupt": "environment",
    "protocol": "provider",
    "internal": "kernel",
}
PARTIES: Final = frozenset({"caller", "provider", "kernel", "environment"})


class BusError(Exception):
    """An error that travels over the bus.

    `code` is a key of `FAULTS`, `fault` one of `PARTIES`; `retry_after_ms` is in milliseconds;
    `cls` is the provider's own name for the error (`class` on the wire); `repeatable` is the hub's
    word that the same call may be made again.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        fault: str | None = None,
        where: str | None = None,
        help: str | None = None,  # noqa: A002 - the key's name on the wire and in every output
        retry_after_ms: int | None = None,
        cls: str | None = None,
        repeatable: bool = False,
    ) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message
        self.fault = fault or FAULTS.get(code, "provider")
        self.where = where
        self.help = help
        self.retry_after_ms = retry_after_ms
        self.cls = cls
        self.repeatable = repeatable

    def __str__(self) -> str:
        place = f" ({self.where})" if self.where else ""
        return f"{self.code}: {self.message}{place}"

    def to_body(self) -> dict[str, object]:
        """The map of section 5; keys without a value are left out."""
        body: dict[str, object] = {
            "code": self.code,
            "message": self.message,
            "fault": self.fault,
        }
        optional = {
            "where": self.where,
            "help": self.help,
            "retry_after_ms": self.retry_after_ms,
            "class": self.cls,
            "repeatable": self.repeatable or None,
        }
        body.update((key, value) for key, value in optional.items() if value is not None)
        return body

    @classmethod
    def from_body(cls, body: object) -> "BusError":
        """Reads a map of section 5 leniently: an unknown code counts as `failed`.

        Whatever the other side sent, the result is a usable error; this never raises.
        """
        if not isinstance(body, Mapping):
            return cls("protocol", "the error's body is not a map")
        code = body.get("code")
        known = code if isinstance(code, str) and code in FAULTS else "failed"
        fault = body.get("fault")
        after = body.get("retry_after_ms")
        message = _text(body.get("message"))
        return cls(
            known,
            message if message is not None else f"error without a message ({code!r})",
            fault=fault if isinstance(fault, str) and fault in PARTIES else None,
            where=_text(body.get("where")),
            help=_text(body.get("help")),
            retry_after_ms=after if type(after) is int and after >= 0 else None,
            cls=_text(body.get("class")),
            repeatable=body.get("repeatable") is True,
        )


class ProtocolError(BusError):
    """Bytes that are not what `PROTOCOL.md` says."""

    def __init__(self, message: str, *, where: str | None = None) -> None:
        super().__init__("protocol", message, where=where)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
