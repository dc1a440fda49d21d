"""What a shadow ranking is compared with: the ranking before exploration."""

from __future__ import annotations

from unittest.mock import Mock

from service.models.loaded_model import LoadedModel
from service.ranking.decisions import repeatable
from service.ranking.exploration import Draw, unexplored
from service.ranking.messages import RankRequest, Target
from service.ranking.request import Clock, Ranking, Source
from service.store.limit import Limit

REQUEST = RankRequest(user_id="u")
SHOWN = {"item_ids": ["a", "x", "b", "c"], "scores": [0.9, 0.1, 0.8, 0.7], "ranks": [1, 2, 3, 4]}


def ranking(draw: Draw | None, source: Source = "default") -> Ranking:
    made = Ranking(Mock(spec=LoadedModel), REQUEST, Clock(None, Limit(1.0)), draw=draw)
    made.source, made.tradeoff = source, 0.25
    return made


def test_an_unexplored_ranking_is_repeated_as_it_is() -> None:
    assert repeatable(ranking(unexplored(0.25)), SHOWN) == (REQUEST, SHOWN)


def test_a_randomised_tradeoff_is_repeated() -> None:
    request, _ = repeatable(ranking(Draw(0.25, (), randomised=True)), SHOWN)
    assert request.tradeoff == 0.25


def test_the_tradeoff_of_a_user_is_repeated_by_a_model_with_another_default() -> None:
    request, _ = repeatable(ranking(None, "user"), SHOWN)
    assert request.tradeoff == 0.25


def test_a_ranking_at_a_target_is_repeated_at_its_tradeoff() -> None:
    at_target = RankRequest(user_id="u", target=Target(tail_share=0.3))
    made = Ranking(Mock(spec=LoadedModel), at_target, Clock(None, Limit(1.0)))
    made.source, made.tradeoff = "target", 0.25
    request, _ = repeatable(made, SHOWN)
    assert (request.tradeoff, request.target) == (0.25, None)


def test_the_item_of_a_slot_goes_back_to_its_rank() -> None:
    _, columns = repeatable(ranking(Draw(0.5, (), slot=1, rank=3)), SHOWN)
    assert columns["item_ids"] == ["a", "b", "c", "x"]
    assert columns["scores"] == [0.9, 0.8, 0.7, 0.1]


def test_an_item_from_below_goes() -> None:
    _, columns = repeatable(ranking(Draw(0.5, (), slot=1, rank=40)), SHOWN)
    assert columns["item_ids"] == ["a", "b", "c"]
    assert SHOWN["item_ids"] == ["a", "x", "b", "c"]
