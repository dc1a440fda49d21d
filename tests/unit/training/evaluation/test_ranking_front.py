from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.datasets import make_clicks
from tests.fitted_nets import fitted_painvrl
from tests.recall_by_hand import recall_by_hand
from training.config import load_config
from training.data.dataset import Dataset
from training.data.split import split_rows
from training.evaluation.front import pool_fronts
from training.evaluation.ranking_front import measure_ranking_front
from training.nets.base import Ranker

KIND = "less popular half of the logged test"
OPTIONS = load_config("painvrl", overrides=("front.points=3", "front.bootstrap=20")).front


@pytest.fixture
def clicks() -> Dataset:
    return make_clicks()


def test_both_sides_are_recalls_by_hand() -> None:
    clicks = make_clicks(rows=1200, users=48)
    fitted = fitted_painvrl(clicks)
    split = fitted.split
    user, item = clicks.impressions.user, clicks.impressions.item
    pairs = np.unique(np.c_[user[split.test], item[split.test]], axis=0)
    done = np.unique(np.c_[user[split.train], item[split.train]], axis=0).tolist()
    new = np.array([pair for pair in pairs.tolist() if pair not in done])
    count = np.bincount(np.array(done)[:, 1], minlength=60)
    median = float(np.median(count[new[:, 1]]))

    front = measure_ranking_front(fitted, OPTIONS, seed=0)

    assert (front.axis, front.unbiased_kind) == ("recall_at_20", KIND)
    for point in front.points:
        scores = fitted.catalogue_scores()(point.tradeoff)(np.arange(48))
        by_hand = recall_by_hand(clicks, split.train, scores, split.test)
        assert point.logged["recall_at_20"].mean == pytest.approx(by_hand)
        assert point.logged["recall_at_20"].se
        assert {"ndcg_at_20", "ndcg_at_20_hit", "matched_auc"} <= set(point.logged)
    assert len({point.logged["recall_at_20"].mean for point in front.points}) > 1
    assert f"{median:g} logged" in front.diagnostic
    assert front.diagnostic.startswith("median training clicks")
    assert front.positives == {
        "logged": len(new),
        "unbiased": int((count[new[:, 1]] <= median).sum()),
    }
    ends = [front.points[t].logged["matched_auc"].mean for t in (0, -1)]
    assert front.matched_gain is not None
    assert front.matched_gain.mean == pytest.approx(ends[0] - ends[1])
    assert front.matched_gain.se
    assert front.hypervolume.se
    assert all(estimate.se for estimate in front.gain.values())


def test_the_unbiased_side_is_recall_of_less_popular_items(clicks: Dataset) -> None:
    user, item = np.arange(300) % 12, np.arange(300) // 12  # each item once a user: counts differ
    distinct = replace(clicks, impressions=replace(clicks.impressions, user=user, item=item))
    fitted = fitted_painvrl(distinct)
    split = fitted.split
    count = np.bincount(item[split.train], minlength=60)
    median = float(np.median(count[item[split.test]]))

    front = measure_ranking_front(fitted, OPTIONS, seed=0)

    for point in front.points:
        scores = fitted.catalogue_scores()(point.tradeoff)(np.arange(12))
        by_hand = recall_by_hand(distinct, split.train, scores, split.test, median)
        assert point.unbiased["recall_at_20"].mean == pytest.approx(by_hand)
        assert point.unbiased["recall_at_20"] != point.logged["recall_at_20"]


def test_too_few_users_give_no_error_and_no_verdict(clicks: Dataset) -> None:
    front = measure_ranking_front(fitted_painvrl(clicks), OPTIONS, seed=0)

    errors = [
        e.se for point in front.points for e in (*point.logged.values(), *point.unbiased.values())
    ]
    assert errors == [None] * len(errors)
    assert [estimate.se for estimate in front.gain.values()] == [None, None]
    assert front.hypervolume.se is None
    assert front.verdict == "none"
    assert front.diagnostic.startswith(
        "only 12 users with a click on the logged side, 30 are needed: the error is unknown; "
        "only 12 users with a click on the unbiased side, 30 are needed: the error is unknown; "
        "median training clicks"
    )


def test_w_zero_shows_less_popular_items(clicks: Dataset) -> None:
    front = measure_ranking_front(fitted_painvrl(clicks), OPTIONS, seed=0)

    arp = [point.shown["arp"].mean for point in front.points]
    assert arp[0] < arp[1] < arp[2]
    assert front.gain["logged"].mean == pytest.approx(
        front.points[2].logged["recall_at_20"].mean - front.points[0].logged["recall_at_20"].mean
    )


def test_fronts_of_recall_pool_over_seeds(clicks: Dataset) -> None:
    split = split_rows(clicks, validation=0.2, test=0.3, seed=0)
    fronts = [
        measure_ranking_front(replace(fitted_painvrl(clicks, seed), split=split), OPTIONS, seed)
        for seed in range(2)
    ]

    pooled = pool_fronts(fronts, OPTIONS)

    ends = [front.points[0].unbiased["recall_at_20"].mean for front in fronts]
    assert pooled.axis == "recall_at_20"
    assert pooled.points[0].unbiased["recall_at_20"].mean == pytest.approx(np.mean(ends))


def test_all_pairs_are_one_user_after_another(clicks: Dataset) -> None:
    net = fitted_painvrl(clicks).net
    with torch.inference_mode():
        vectors = net.user_vectors()[np.array([5, 0])]
        states = torch.randn(7, 9)
        w = torch.tensor([0.3])
        apart = Ranker.all_pairs(net.ranker, vectors, states, w)

        torch.testing.assert_close(net.ranker.all_pairs(vectors, states, w), apart)
