"""What the parts of the control plane share."""

from collections.abc import Callable
from dataclasses import dataclass, field

from .datapath import Datapath
from .denials import Denials
from .flowtable import FlowTable
from .roster import Roster


@dataclass
class State:
    """One hub's knowledge. `datapath` is another one after the hub started anew; `clock` gives
    seconds."""

    datapath: Datapath
    clock: Callable[[], float]
    flows: FlowTable = field(default_factory=FlowTable)
    denials: Denials = field(default_factory=Denials)

    def __post_init__(self) -> None:
        self.roster = Roster(self.flows.load)

    def bump(self) -> None:
        """Who serves has changed: every flow is looked up again when it is used."""
        self.datapath.revoke(self.flows.next_generation())
