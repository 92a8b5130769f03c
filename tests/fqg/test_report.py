"""The report is one page that needs nothing else, and tells of every player what was measured."""

from html.parser import HTMLParser

from symphony.fqg.baselines.simple import Greedy, Random
from symphony.fqg.evaluating.evaluate import play_all
from symphony.fqg.evaluating.report import html, profile
from symphony.fqg.level import Function, Level

CHAIN = Level(
    id="chain",
    facts=("start", "middle", "end"),
    init=frozenset({0}),
    goal=frozenset({2}),
    functions=(
        Function("one", frozenset({0}), frozenset({1}), frozenset()),
        Function("two", frozenset({1}), frozenset({2}), frozenset()),
    ),
    optimal_calls=2,
    optimal_cost=2.0,
)


class Page(HTMLParser):
    """Its text, and what it loads from elsewhere."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.loads: list[str] = []
        self.feed(page)

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.loads += [f"{tag} {key}" for key, _ in attrs if key in ("src", "href")]


def test_every_player_has_its_row_and_nothing_is_loaded() -> None:
    played = {"greedy <1>": play_all(Greedy(), [CHAIN]), "random": play_all(Random(), [CHAIN])}

    page = Page(html({"chains & more": played}, notes=["one level"]))

    assert page.loads == []
    assert {"greedy <1>", "random", "chains & more", "one level", "100.0%"} <= set(page.texts)


def test_a_profile_rises_to_the_share_that_was_won() -> None:
    assert profile(play_all(Greedy(), [CHAIN])) == [(1.0, 1.0)]
