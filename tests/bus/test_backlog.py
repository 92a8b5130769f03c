"""Events that wait for an extension: bounded, and what had no room is told."""

from symphony.bus.backlog import Backlog
from symphony.bus.heard import Event


def test_what_has_no_room_is_in_the_gap_of_the_next_event_of_its_topic() -> None:
    backlog = Backlog(2)
    assert [backlog.admit(Event("a", n)) for n in (1, 2)] == [Event("a", 1), Event("a", 2)]
    assert backlog.admit(Event("a", 3)) is None
    assert backlog.admit(Event("a", 4, gap=5)) is None
    assert backlog.admit(Event("b", 1)) is None
    backlog.take()
    assert backlog.admit(Event("a", 5, gap=2)) == Event("a", 5, gap=9)
    backlog.take()
    assert backlog.admit(Event("b", 2)) == Event("b", 2, gap=1)
    backlog.take()
    assert backlog.admit(Event("a", 6)) == Event("a", 6)
