"""The Conductor: the small core that starts, watches and directs everything else."""

from __future__ import annotations

from typing import Final

VERSION: Final = "0.2.0"
