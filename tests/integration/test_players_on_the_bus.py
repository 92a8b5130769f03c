"""Players that use the bus themselves: streams, keys, retries, limits and events between them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from command_harness import PEERS, Symphony, symphony_in

from symphony.bus.native import available

NEEDS_NATIVE = pytest.mark.skipif(not available(), reason="the native datapath is not installed")
TURNS = 200  # more calls than an event takes to arrive


class Pair:
    """The peers source and taker, attached."""

    def __init__(self, symphony: Symphony) -> None:
        self.symphony = symphony
        self.source = symphony.attach(PEERS / "source")["instance"]
        self.publish("early")
        self.taker = symphony.attach(PEERS / "taker")["instance"]

    def publish(self, *words: str) -> None:
        done = self.symphony.ext("call", "test.source/1", "--json", json.dumps({"words": words}))
        assert done.returncode == 0, done.stderr

    def take(self, how: str, *more: str) -> Any:
        done = self.symphony.ext("call", "test.take/1", "--json", json.dumps({"how": how}), *more)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)["answer"]

    def hears(self, word: str) -> dict[str, Any]:
        """The event with a word, once the taker has handled it."""
        for _ in range(TURNS):
            found = [event for event in self.take("heard") if event["word"] == word]
            if found:
                (event,) = found
                return dict(event)
        raise AssertionError(f"{word} was not heard")


@pytest.fixture(scope="module", params=["reference", pytest.param("native", marks=[NEEDS_NATIVE])])
def pair(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Pair]:
    with symphony_in(tmp_path_factory.mktemp("players")) as symphony:
        symphony.serve("--datapath", request.param)
        yield Pair(symphony)


def test_a_player_takes_another_ones_stream(pair: Pair) -> None:
    answer = pair.take("all parts")
    assert answer["parts"] == list(range(50))
    assert answer["told"] == [0, 10, 20, 30, 40]
    assert answer["trace"][3:35] == answer["own"][3:35]
    assert answer["trace"] != answer["own"]


def test_a_stream_ends_with_the_call_that_opened_it(pair: Pair) -> None:
    before = len(pair.symphony.logged(pair.source, "parts ended"))
    assert pair.take("left") == 0
    pair.take("keyed", "--timeout", "10")  # the source serves again
    assert len(pair.symphony.logged(pair.source, "parts ended")) == before + 1


def test_a_call_with_a_key_takes_effect_once(pair: Pair) -> None:
    first, second = pair.take("keyed")
    assert first == second


def test_a_call_ends_at_its_own_deadline_and_tells_its_progress(pair: Pair) -> None:
    assert pair.take("late") == {"code": "deadline", "told": ["waiting"]}


def test_what_progress_raises_ends_the_call(pair: Pair) -> None:
    before = len(pair.symphony.logged(pair.source, "wait ended"))
    assert pair.take("given up") == "enough"
    pair.take("keyed", "--timeout", "10")
    assert len(pair.symphony.logged(pair.source, "wait ended")) == before + 1


def test_calls_over_a_limit_are_made_again(pair: Pair) -> None:
    assert pair.take("patient") == [True] * 10


def test_a_credit_that_no_stream_can_have_is_refused(pair: Pair) -> None:
    assert pair.take("no credit") == ["bad-request credit"] * 3


def test_the_end_of_a_call_ends_what_it_waits_for(pair: Pair) -> None:
    asked = json.dumps({"how": "stuck"})
    done = pair.symphony.ext("call", "test.take/1", "--json", asked, "--timeout", "1")
    assert "deadline" in done.stderr or "in time" in done.stderr
    assert pair.take("keyed")  # both serve again


def test_events_of_one_player_reach_another_one(pair: Pair) -> None:
    assert pair.hears("early") == {"word": "early", "snapshot": True, "main": True}
    pair.publish("one", "two")
    assert pair.hears("two") == {"word": "two", "snapshot": False, "main": True}
    words = [event["word"] for event in pair.take("heard")]
    assert words.index("one") + 1 == words.index("two")


def test_a_handler_that_fails_says_so_in_the_log_and_the_next_event_comes(pair: Pair) -> None:
    pair.publish("bad", "good")
    assert pair.hears("good")
    (line,) = pair.symphony.logged(pair.taker, "the handler of an event failed")
    assert line["topic"] == "test.words"
    assert "not that word" in line["traceback"]


def test_an_event_waits_for_the_call_that_runs(pair: Pair) -> None:
    assert "mine" not in pair.take("own")
    assert pair.hears("mine")


def test_a_topic_that_was_not_granted_ends_the_activation(pair: Pair) -> None:
    folder = pair.symphony.folder / "deaf"
    folder.mkdir()
    manifest = (PEERS / "taker" / "extension.toml").read_text()
    wrong = manifest.replace('subscribes = ["test.words"]', "").replace("taker", "deaf")
    (folder / "extension.toml").write_text(wrong)
    (folder / "main.py").write_text((PEERS / "taker" / "main.py").read_text())
    done = pair.symphony.ext("attach", folder, "--background", "--json")
    assert done.returncode != 0
    assert "may not subscribe to test.words" in done.stderr
