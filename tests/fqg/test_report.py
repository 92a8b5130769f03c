"""The report is one page that needs nothing else, and tells of every player what was measured."""

import json
from html.parser import HTMLParser
from pathlib import Path

from symphony.fqg.baselines.best import Exact
from symphony.fqg.baselines.rule import fixed
from symphony.fqg.baselines.simple import Greedy, Random
from symphony.fqg.evaluating.evaluate import play_all
from symphony.fqg.evaluating.report import CURVES, html, profile
from symphony.fqg.level import Function, Level
from symphony.fqg.making.failures import Dials, make

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


def test_where_functions_fail_it_tells_of_rates_and_of_the_gap() -> None:
    levels = [make(seed, Dials(works=(1, 2), misleads=(0.0,))) for seed in range(8)]
    players = {"fixed": fixed(), "exact": Exact(), "random": Random()}
    played = {name: play_all(player, levels, 40) for name, player in players.items()}

    page = Page(html({"failures": played}))

    titles = {"by failure rate: recovered", "by failure rate: cost", "over 0.45", "closed"}
    assert titles <= set(page.texts)
    after = page.texts[page.texts.index("closed") :]
    assert [after[after.index(name) + 1] for name in ("fixed", "exact")] == ["0.0%", "100.0%"]


def test_a_training_shows_how_its_validation_went(tmp_path: Path) -> None:
    rows = [
        {"step": step, "scores": {"all": {"levels": 5, "solved": 0.9, "ratio": 1.2}}}
        for step in (100, 200, 200)
    ]
    (tmp_path / CURVES).write_text("".join(json.dumps(row) + "\n" for row in rows))

    page = html({}, training=tmp_path)

    assert f"training, by gradient steps ({tmp_path.name})" in page
    assert page.count("<polyline") == 4


def test_a_profile_rises_to_the_share_that_was_won() -> None:
    assert profile(play_all(Greedy(), [CHAIN])) == [(1.0, 1.0)]
