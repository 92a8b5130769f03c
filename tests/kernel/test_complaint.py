"""What is told of a program's log when it ended: its complaint, and never its chatter."""

from __future__ import annotations

import pytest

from symphony.kernel.logs import complaint

RUST = '{"timestamp":"t","level":"%s","fields":{"message":"%s"},"target":"x"}'
SDK = '{"ts":"t","level":"%s","event":"%s"}'


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ([], None),
        ([RUST % ("INFO", "joined")], None),
        ([RUST % ("ERROR", "no disk"), RUST % ("INFO", "joined")], "no disk"),
        ([SDK % ("error", "the call failed"), SDK % ("info", "bye")], "the call failed"),
        (["Killed by nobody ", SDK % ("info", "bye")], "Killed by nobody"),
        (["{}", "[1]", "7"], "7"),
    ],
)
def test_the_last_complaint(lines: list[str], told: str | None) -> None:
    assert complaint(lines) == told
