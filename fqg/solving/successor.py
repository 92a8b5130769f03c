"""What can be done in a state: each legal call with the state that it leads to."""

from ..rules import Rules


def successors(rules: Rules, state: int) -> list[tuple[int, int]]:
    """Pairs (function, state after the call), the functions ascending."""
    return [(call, rules.step(state, call)) for call in rules.legal(state)]
