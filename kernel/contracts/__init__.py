"""Contract suites: whether an extension does what the contract of its capability says.

`symphony-ext test FOLDER` runs them. suite.py says what a check is, stage.py starts the extension
as the kernel would, trial.py makes the checks; every other module holds checks of one contract.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import ExitCode, SymphonyError

if TYPE_CHECKING:
    from .suite import Suite


def suites() -> dict[str, Suite]:
    """All that there are, by capability."""
    from . import arbitration, archive, artifacts, dag, pool, stale

    modules = (artifacts, archive, dag, arbitration, pool, stale)
    return {module.SUITE.capability: module.SUITE for module in modules}


def suite_of(capability: str) -> Suite:
    """The suite of a capability. Raises `SymphonyError` that lists those there are."""
    known = suites()
    if capability not in known:
        raise SymphonyError(
            ExitCode.NOT_FOUND,
            f"there is no contract suite for {capability}",
            where="--contract",
            help=f"there are suites for {', '.join(known)}",
        )
    return known[capability]
