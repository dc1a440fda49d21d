"""What a shadow ranking is compared with: the ranking before exploration."""

from __future__ import annotations

from service.ranking.decisions import repeatable
from service.ranking.exploration import Draw, unexplored
from service.ranking.messages import RankRequest

REQUEST = RankRequest(user_id="u")
SHOWN = {"item_ids": ["a", "x", "b", "c"], "scores": [0.9, 0.1, 0.8, 0.7], "ranks": [1, 2, 3, 4]}


def test_an_unexplored_ranking_is_repeated_as_it_is() -> None:
    assert repeatable(unexplored(0.5), REQUEST, SHOWN) == (REQUEST, SHOWN)


def test_a_randomised_tradeoff_is_repeated() -> None:
    request, _ = repeatable(Draw(0.25, (), randomised=True), REQUEST, SHOWN)
    assert request.tradeoff == 0.25


def test_the_item_of_a_slot_goes_back_to_its_rank() -> None:
    _, columns = repeatable(Draw(0.5, (), slot=1, rank=3), REQUEST, SHOWN)
    assert columns["item_ids"] == ["a", "b", "c", "x"]
    assert columns["scores"] == [0.9, 0.8, 0.7, 0.1]


def test_an_item_from_below_goes() -> None:
    _, columns = repeatable(Draw(0.5, (), slot=1, rank=40), REQUEST, SHOWN)
    assert columns["item_ids"] == ["a", "b", "c"]
    assert SHOWN["item_ids"] == ["a", "x", "b", "c"]
