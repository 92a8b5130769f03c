"""Requirements that ask for a report: it is a list or a figure, whichever its words name."""

from __future__ import annotations

import re

import brief_figures
import brief_queries
import brief_states as states
from brief_request import Request


def report(q: Request) -> bool:
    if q.words & states.OVERDUE or brief_queries.is_low(q):
        q.made.verb = "list"
        return brief_queries.listing(q.about([*q.phrase, "s"]))
    if brief_figures.WORTH.search(q.tail) or re.search(r"\b(?:sum|average|payments)\b", q.tail):
        q.made.verb = "sum"
        if brief_figures.total(q):
            return True
    if brief_figures.GROUP.search(q.tail) or re.search(r"how many|number|count", q.tail):
        q.made.verb = "count"
        return brief_figures.count(q)
    if q.words & set(states.STATES):
        q.made.verb = "list"
        return brief_queries.listing(q.about([*q.phrase, "s"]))
    return False
