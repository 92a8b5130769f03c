"""What a peer has lost is told once, and remembered of so many topics and no more."""

from symphony.bus.gaps import MAX_GAPS, Gaps


def test_losses_are_told_once() -> None:
    gaps = Gaps()
    gaps.add("a")
    gaps.add("a", 2)
    assert (gaps.take("b"), gaps.take("a"), gaps.take("a")) == (0, 3, 0)


def test_of_too_many_topics_the_oldest_is_forgotten() -> None:
    gaps = Gaps()
    for number in range(MAX_GAPS + 1):
        gaps.add(str(number))
    gaps.add("1")
    assert [gaps.take(topic) for topic in ("0", "1", str(MAX_GAPS))] == [0, 2, 1]
