from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from training.config import load_config
from training.data.dataset import Dataset
from training.data.split import Split, split_rows
from training.evaluation.front import pool_fronts
from training.evaluation.ranking_front import measure_ranking_front
from training.fitting.batches import known_items, training_tables
from training.fitting.scoring import catalogue_scores
from training.fitting.selection import ranking_validation
from training.nets.base import Ranker
from training.nets.painvrl.modules import PainvrlOptions
from training.nets.painvrl.net import Painvrl

MakeDataset = Callable[..., Dataset]
OPTIONS = load_config("painvrl", overrides=("front.points=3", "front.bootstrap=20")).front


@pytest.fixture
def clicks(make_dataset: MakeDataset) -> Dataset:
    """300 clicks on 60 items, the first of them by far the most clicked."""
    rng = np.random.default_rng(3)
    popular = 1 / np.arange(1, 61) ** 0.7
    return make_dataset(
        rows=300,
        users=12,
        items=60,
        label=np.ones(300, np.float32),
        uniform=np.zeros(300, np.bool_),
        item=rng.choice(60, 300, p=popular / popular.sum()),
    )


def trained(dataset: Dataset, seed: int = 0) -> tuple[Painvrl, torch.Tensor, Split]:
    split = split_rows(dataset, validation=0.2, test=0.3, seed=seed)
    tables = training_tables(dataset, split.train)
    torch.manual_seed(seed)
    net = Painvrl(tables, PainvrlOptions(dim=4, popularity=1.0, kept=0.0))
    with torch.no_grad():
        net.user_factor.weight.normal_()
        net.item_factor.weight.normal_()
    return net, known_items(tables), split


def recall_by_hand(
    dataset: Dataset, split: Split, scores: np.ndarray, rows: np.ndarray, most: float
) -> float:
    """Return recall among the first 20 of ``rows`` whose item has at most ``most`` clicks."""
    user, item = dataset.impressions.user, dataset.impressions.item
    count = np.bincount(item[split.train], minlength=60)
    seen = {u: set(item[split.train][user[split.train] == u].tolist()) for u in range(12)}
    recalls = []
    for u in range(12):
        wanted = set(item[rows][user[rows] == u].tolist()) - seen[u]
        wanted = {i for i in wanted if count[i] <= most}
        if wanted:
            order = [i for i in np.argsort(-scores[u], kind="stable").tolist() if i not in seen[u]]
            recalls.append(len(wanted & set(order[:20])) / len(wanted))
    return float(np.mean(recalls))


def test_both_axes_are_recalls_by_hand(clicks: Dataset) -> None:
    net, known, split = trained(clicks)
    user, item = clicks.impressions.user, clicks.impressions.item
    pairs = np.unique(np.c_[user[split.test], item[split.test]], axis=0)
    done = np.unique(np.c_[user[split.train], item[split.train]], axis=0).tolist()
    new = np.array([pair for pair in pairs.tolist() if pair not in done])
    count = np.bincount(np.array(done)[:, 1], minlength=60)
    median = float(np.median(count[new[:, 1]]))

    front = measure_ranking_front(net, clicks, known, split, OPTIONS, seed=0)

    assert (front.axis, front.unbiased_kind) == ("recall_at_20", "popularity<=median")
    for point in front.points:
        scores = catalogue_scores(net, clicks, known)(point.tradeoff)(np.arange(12))
        hand = recall_by_hand(clicks, split, scores, split.test, np.inf)
        assert point.logged["recall_at_20"].mean == pytest.approx(hand)
        assert point.logged["recall_at_20"].se
        assert {"ndcg_at_20", "ndcg_at_20_hit", "matched_auc"} <= set(point.logged)
    assert len({point.logged["recall_at_20"].mean for point in front.points}) > 1
    assert f"{median:g} logged" in front.diagnostic


def test_w_zero_shows_less_popular_items(clicks: Dataset) -> None:
    net, known, split = trained(clicks)

    front = measure_ranking_front(net, clicks, known, split, OPTIONS, seed=0)

    arp = [point.shown["arp"].mean for point in front.points]
    assert arp[0] < arp[1] < arp[2]
    assert front.gain["logged"].mean == pytest.approx(
        front.points[2].logged["recall_at_20"].mean - front.points[0].logged["recall_at_20"].mean
    )


def test_fronts_of_recall_pool_over_seeds(clicks: Dataset) -> None:
    fronts = []
    for seed in range(2):
        net, known, _ = trained(clicks, seed)
        split = split_rows(clicks, validation=0.2, test=0.3, seed=0)
        fronts.append(measure_ranking_front(net, clicks, known, split, OPTIONS, seed))

    pooled = pool_fronts(fronts, OPTIONS)

    ends = [front.points[0].unbiased["recall_at_20"].mean for front in fronts]
    assert pooled.axis == "recall_at_20"
    assert pooled.points[0].unbiased["recall_at_20"].mean == pytest.approx(np.mean(ends))


def test_all_pairs_are_one_user_after_another(clicks: Dataset) -> None:
    net, known, _ = trained(clicks)
    users = np.array([5, 0])
    with torch.inference_mode():
        vectors = net.user_vectors()[users]
        states = torch.randn(7, 9)
        w = torch.tensor([0.3])
        apart = Ranker.all_pairs(net.ranker, vectors, states, w)

        torch.testing.assert_close(net.ranker.all_pairs(vectors, states, w), apart)
    assert catalogue_scores(net, clicks, known)(0.3)(users).shape == (2, 60)


def test_selection_asks_for_validation_clicks_at_one(clicks: Dataset) -> None:
    net, known, split = trained(clicks)
    scores = catalogue_scores(net, clicks, known)(1.0)(np.arange(12))

    value = ranking_validation(clicks, known, split)(net)

    assert value == pytest.approx(recall_by_hand(clicks, split, scores, split.validation, np.inf))
