"""The life of an instance (Chambering) as one table.

Seed: requesting, registration, activation, usage, return and unloading, state update. An event that
is not in the table for a state is an error; the diagram in ARCHITECTURE.md is printed from here
(``python -m symphony.kernel.chambering``).
"""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    """Where an instance stands."""

    REQUESTED = "requested"
    REGISTERED = "registered"
    ACTIVATED = "activated"
    IN_USE = "in use"
    RETURNING = "returning"
    UNLOADED = "unloaded"
    CRASHED = "crashed"
    QUARANTINED = "quarantined"


class Event(StrEnum):
    """What can happen to an instance."""

    HELLO = "hello"  # it announced itself on the bus within its manifest
    READY = "ready"  # it acknowledged its activation
    LEASE = "lease"  # a step took it
    RELEASE = "release"  # the step gave it back
    UNLOAD = "unload"  # the kernel asked it to end, or it said bye
    EXIT = "exit"  # its process ended
    RESTART = "restart"  # the supervisor starts it again
    QUARANTINE = "quarantine"  # it failed too often to be started again


class ImpossibleEventError(Exception):
    """The event does not belong to the state: a bug of the caller."""

    def __init__(self, state: State, event: Event) -> None:
        super().__init__(f"chambering: '{event}' cannot happen to an instance that is '{state}'")


TABLE: dict[State, dict[Event, State]] = {
    State.REQUESTED: {
        Event.HELLO: State.REGISTERED,
        Event.UNLOAD: State.RETURNING,
        Event.EXIT: State.CRASHED,
    },
    State.REGISTERED: {
        Event.READY: State.ACTIVATED,
        Event.UNLOAD: State.RETURNING,
        Event.EXIT: State.CRASHED,
    },
    State.ACTIVATED: {
        Event.LEASE: State.IN_USE,
        Event.UNLOAD: State.RETURNING,
        Event.EXIT: State.CRASHED,
    },
    State.IN_USE: {
        Event.RELEASE: State.ACTIVATED,
        Event.UNLOAD: State.RETURNING,
        Event.EXIT: State.CRASHED,
    },
    State.RETURNING: {
        Event.HELLO: State.RETURNING,
        Event.READY: State.RETURNING,
        Event.UNLOAD: State.RETURNING,
        Event.RELEASE: State.RETURNING,
        Event.EXIT: State.UNLOADED,
    },
    State.UNLOADED: {Event.RESTART: State.REQUESTED},
    State.CRASHED: {Event.RESTART: State.REQUESTED, Event.QUARANTINE: State.QUARANTINED},
    State.QUARANTINED: {Event.RESTART: State.REQUESTED},
}

ENDED = frozenset({State.UNLOADED, State.CRASHED, State.QUARANTINED})


def step(state: State, event: Event) -> State:
    """The state after ``event``; raises :class:`ImpossibleEventError` if the table has none."""
    try:
        return TABLE[state][event]
    except KeyError:
        raise ImpossibleEventError(state, event) from None


def diagram() -> str:
    """The table as a Mermaid state diagram."""
    lines = ["stateDiagram-v2", "    [*] --> requested"]
    lines += [
        f"    {source.name.lower()} --> {target.name.lower()}: {event}"
        for source, row in TABLE.items()
        for event, target in row.items()
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    print(diagram())
