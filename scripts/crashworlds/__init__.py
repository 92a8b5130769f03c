"""What is done with each member of the Pit while it is killed, and what must be true afterwards."""

from crashworlds.arbitration import ArbitrationWorld
from crashworlds.artifacts import ArtifactsWorld
from crashworlds.dag import DagWorld
from crashworlds.pool import PoolWorld
from crashworlds.stale import StaleWorld
from crashworlds.world import World

WORLDS: dict[str, type[World]] = {
    "dag": DagWorld,
    "artifacts": ArtifactsWorld,
    "arbitration": ArbitrationWorld,
    "pool": PoolWorld,
    "stale": StaleWorld,
}

__all__ = ["WORLDS", "World"]
