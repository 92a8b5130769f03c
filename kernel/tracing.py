"""The trace of a run (W3C trace context): one for its whole life, resumptions included.

It follows from the run's id, so that it need not be kept anywhere.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache

from symphony.bus import trace


def trace_id(run: str) -> str:
    """32 hex digits."""
    return hashlib.blake2b(run.encode(), digest_size=16, person=b"symphony-run").hexdigest()


def attempt(run: str) -> str:
    """The `traceparent` of one attempt of a step: a new span of the run's trace."""
    return trace.child(_root(run))


@lru_cache(maxsize=64)
def _root(run: str) -> str:
    span = hashlib.blake2b(run.encode(), digest_size=8, person=b"symphony-run").hexdigest()
    return f"00-{trace_id(run)}-{span}-01"
