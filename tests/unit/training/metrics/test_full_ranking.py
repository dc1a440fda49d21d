"""Full ranking against hand-computed values, a plain loop, and scikit-learn."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.sparse import csr_array
from sklearn.metrics import ndcg_score, roc_auc_score

from tests.datasets import MakeDataset
from training.arrays import Floats, Rows
from training.data.split import split_rows
from training.errors import TrainingError
from training.metrics.full_ranking import (
    MATCHED_RANKS,
    TOP,
    HeldOut,
    RankingTask,
    Scores,
    full_ranking_by_user,
    full_ranking_metrics,
    top_k,
)


def task_of(train: NDArray[np.bool_], test: NDArray[np.bool_]) -> RankingTask:
    positives = {
        "train": csr_array(train),
        "validation": csr_array(np.zeros_like(train)),
        "test": csr_array(test),
    }
    users, items = train.shape
    return RankingTask(users, items, positives, train.sum(axis=0))


def flags(users: int, items: int, *pairs: tuple[int, int]) -> NDArray[np.bool_]:
    table = np.zeros((users, items), np.bool_)
    table[tuple(np.array(pairs).T)] = True
    return table


def of(table: Floats) -> Scores:
    return lambda users: table[users]


@pytest.fixture
def random() -> tuple[RankingTask, Floats]:
    """300 items of uneven popularity, 40 users, of whom some have no test positive."""
    rng = np.random.default_rng(3)
    popularity = rng.lognormal(-3.5, 1.0, 300)
    train = rng.random((40, 300)) < popularity
    test = (rng.random((40, 300)) < popularity) & ~train
    test[:3] = False
    return task_of(train, test), rng.normal(size=(40, 300)) + 2 * test


def test_one_user_by_hand() -> None:
    """Place 1 is a training positive and left out, so the hits are at places 2 and 4 of 24."""
    scores = -np.arange(25.0)[None]
    train = flags(1, 25, (0, 0), (0, 24))
    test = flags(1, 25, (0, 2), (0, 4), (0, 23))
    values = full_ranking_by_user(task_of(train, test), of(scores), "test")

    gain = 1 / np.log2(3) + 1 / np.log2(5)
    assert values["recall_at_20"] == pytest.approx([2 / 3])
    assert values["ndcg_at_20"] == pytest.approx([gain / (1 + 1 / np.log2(3) + 1 / np.log2(4))])
    assert values["ndcg_at_20_hit"] == pytest.approx([gain / (1 + 1 / np.log2(3))])
    assert values["matched_auc"] == pytest.approx([(19 / 20 + 18 / 20 + 0) / 3])
    assert values["arp"] == pytest.approx([0.0])  # neither training item may be shown


def test_less_popular_and_cold_positives_have_recalls_of_their_own() -> None:
    """Counts 0, 1, 2, 3 of items 0 to 3; positives of counts 0, 1, 1, 3: their median is 1."""
    train = flags(4, 30, (1, 1), (1, 2), (2, 2), (1, 3), (2, 3), (3, 3))
    test = flags(4, 30, (0, 0), (0, 1), (0, 3), (2, 1))
    scores = np.zeros((4, 30))
    scores[0, [3, 0]] = 5.0, 4.0
    scores[:, 4:] = 1.0  # pushes items 1 and 2 below place 20
    values = full_ranking_by_user(task_of(train, test), of(scores), "test")

    assert values["recall_at_20"] == pytest.approx([2 / 3, 0.0])
    assert values["ood_recall_at_20"] == pytest.approx([1 / 2, 0.0])
    assert values["cold_recall_at_20"] == pytest.approx([1.0, np.nan], nan_ok=True)
    assert values["arp"] == pytest.approx([3 / 20, 0.0])


def test_against_a_plain_loop_and_scikit_learn(random: tuple[RankingTask, Floats]) -> None:
    task, scores = random
    values = full_ranking_by_user(task, of(scores), "test")
    train, test = task.positives["train"].toarray(), task.positives["test"].toarray()
    users = task.ranked_users("test")
    assert 20 < len(users) <= 37
    for position, user in enumerate(users):
        left = np.flatnonzero(~train[user])
        first = left[np.argsort(-scores[user, left])][:TOP]
        liked = set(np.flatnonzero(test[user]))
        share = len(liked & set(first)) / len(liked)
        assert values["recall_at_20"][position] == pytest.approx(share)
        ndcg = ndcg_score(test[user, left][None], scores[user, left][None], k=TOP)
        assert values["ndcg_at_20"][position] == pytest.approx(ndcg)
        assert values["arp"][position] == pytest.approx(task.train_counts[first].mean())


def test_matched_auc_against_scikit_learn(random: tuple[RankingTask, Floats]) -> None:
    task, scores = random
    values = full_ranking_by_user(task, of(scores), "test")["matched_auc"]
    train, test = task.positives["train"].toarray(), task.positives["test"].toarray()
    order = sorted(range(task.items), key=lambda item: (task.train_counts[item], item))
    for position, user in enumerate(task.ranked_users("test")):
        aucs = []
        for item in np.flatnonzero(test[user]).tolist():
            at = order.index(item)
            window = order[max(at - MATCHED_RANKS, 0) : at + MATCHED_RANKS + 1]
            skips = [other for other in window if not train[user, other] and not test[user, other]]
            label = [1, *[0] * len(skips)]
            aucs.append(roc_auc_score(label, scores[user][np.array([item, *skips])]))
        assert values[position] == pytest.approx(np.mean(aucs))


def test_equal_scores_rank_by_item_and_match_at_a_half(random: tuple[RankingTask, Floats]) -> None:
    task, scores = random
    values = full_ranking_by_user(task, of(np.zeros_like(scores)), "test")
    train, test = task.positives["train"].toarray(), task.positives["test"].toarray()
    for position, user in enumerate(task.ranked_users("test")):
        first = np.flatnonzero(~train[user])[:TOP]
        assert values["recall_at_20"][position] == test[user, first].sum() / test[user].sum()
    assert values["matched_auc"] == pytest.approx(np.full(len(values["matched_auc"]), 0.5))


def test_top_k_breaks_ties_by_column() -> None:
    rng = np.random.default_rng(0)
    scores = rng.integers(4, size=(200, 30)).astype(np.float32)
    scores[:20] = -np.inf
    assert top_k(scores, 7).tolist() == np.argsort(-scores, axis=1, kind="stable")[:, :7].tolist()


def test_chunks_change_nothing(
    random: tuple[RankingTask, Floats], monkeypatch: pytest.MonkeyPatch
) -> None:
    task, scores = random
    whole = full_ranking_by_user(task, of(scores), "test")
    monkeypatch.setattr("training.metrics.full_ranking._PAIRS", 7 * task.items)
    for name, values in full_ranking_by_user(task, of(scores), "test").items():
        np.testing.assert_allclose(values, whole[name], rtol=1e-12)


def test_errors_are_those_of_users_drawn_anew(random: tuple[RankingTask, Floats]) -> None:
    task, scores = random
    values = full_ranking_by_user(task, of(scores), "test")
    estimates = full_ranking_metrics(task, of(scores), "test")
    for name in ("recall_at_20", "ood_recall_at_20", "matched_auc"):
        defined = values[name][~np.isnan(values[name])]
        assert estimates[name].mean == pytest.approx(defined.mean())
        expected = defined.std(ddof=1) / np.sqrt(len(defined))
        assert estimates[name].se == pytest.approx(expected, rel=0.25)
    assert full_ranking_metrics(task, of(scores), "test") == estimates


def test_a_metric_that_no_user_has_is_left_out(random: tuple[RankingTask, Floats]) -> None:
    task, scores = random
    warm = replace(task, train_counts=task.train_counts + 1)
    assert "cold_recall_at_20" not in full_ranking_metrics(warm, of(scores), "test")


def test_a_diverged_score_is_refused(random: tuple[RankingTask, Floats]) -> None:
    task, scores = random
    scores[5, 7] = np.nan
    with pytest.raises(TrainingError, match="NaN or infinite"):
        full_ranking_metrics(task, of(scores), "test")


@pytest.mark.parametrize("split_name", ["validation", "test"])
def test_the_task_is_of_clicked_rows_once(make_dataset: MakeDataset, split_name: HeldOut) -> None:
    rows = 400
    dataset = make_dataset(rows, uniform=np.zeros(rows, np.bool_))
    split = split_rows(dataset, validation=0.2, test=0.2, seed=0)
    task = RankingTask.of(dataset, split)
    impressions = dataset.impressions

    def clicked(part: Rows) -> set[tuple[int, int]]:
        return {
            (int(impressions.user[row]), int(impressions.item[row]))
            for row in part
            if impressions.label[row] == 1
        }

    train, held_out = clicked(split.train), clicked(getattr(split, split_name))
    assert train & held_out  # a repeated click cannot be ranked
    pairs = set(zip(*map(np.ndarray.tolist, task.positives[split_name].nonzero()), strict=True))
    assert pairs == held_out - train
    assert task.train_counts.tolist() == [
        sum(other == item for _, other in train) for item in range(task.items)
    ]
    assert task.ranked_users(split_name).tolist() == sorted({user for user, _ in pairs})


def test_a_short_catalogue_is_ranked_whole() -> None:
    train, test = flags(2, 5, (0, 0), (1, 1)), flags(2, 5, (0, 4), (1, 4))
    values = full_ranking_by_user(task_of(train, test), of(np.zeros((2, 5))), "test")

    assert values["arp"] == pytest.approx([1 / 4, 1 / 4])  # never the user's own training item
    assert values["recall_at_20"].tolist() == [1.0, 1.0]
