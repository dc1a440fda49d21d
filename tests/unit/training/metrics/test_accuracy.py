from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import ndcg_score, roc_auc_score

from service.contract.manifest import Calibration
from tests.datasets import MakeDataset
from training.arrays import Floats
from training.data.dataset import Dataset
from training.metrics.accuracy import Sample, logged_metrics, matched_metrics, row_metrics
from training.metrics.calibration_error import expected_calibration_error
from training.metrics.estimates import LEAST_USERS

CALIBRATION = Calibration(slope=0.5, intercept=-0.25, meaning="test")
USERS = 48
ROWS = np.arange(720)


@pytest.fixture
def dataset(make_dataset: MakeDataset) -> Dataset:
    """Enough users for every error."""
    return make_dataset(960, users=USERS)


@pytest.fixture
def sample(dataset: Dataset) -> Sample:
    return Sample.draw(dataset, ROWS, 30, np.random.default_rng(0))


@pytest.fixture
def logit() -> Floats:
    return np.random.default_rng(1).normal(size=len(ROWS)).astype(np.float32)


def redrawn(sample: Sample) -> list[NDArray[np.int64]]:
    """The rows of each redraw, a user's rows as often as the user was drawn."""
    return [np.repeat(ROWS, draw[sample.group].astype(int)) for draw in sample.weights]


def test_the_bootstrap_draws_users_not_rows(make_dataset: MakeDataset) -> None:
    # Every user is one row repeated: the error is that of 80 users, however many rows they have.
    rng = np.random.default_rng(0)
    errors = []
    for repeats in (1, 16):
        user = np.repeat(np.arange(80), repeats)
        label = np.repeat(np.arange(80) % 2, repeats).astype(np.float32)
        dataset = make_dataset(80 * repeats, users=80, user=user, label=label)
        score = np.repeat(np.random.default_rng(1).normal(size=80), repeats)
        drawn = Sample.draw(dataset, np.arange(80 * repeats), 400, rng)
        assert drawn.weights.sum(axis=1).tolist() == [80] * 400
        table, draws = row_metrics(drawn, score, CALIBRATION)
        assert table["auc"].se == pytest.approx(draws.std(ddof=1))
        errors.append((draws.std(ddof=1), table["logloss"].se))

    assert errors[0][0] == pytest.approx(0.065, abs=0.02)  # sqrt(81 / (12 * 40 * 40)) for chance
    assert errors[1] == pytest.approx(errors[0], rel=0.15)


def test_a_score_of_popularity_alone_has_no_matched_auc() -> None:
    rng = np.random.default_rng(0)
    popularity, taste = rng.integers(2000, size=4000) / 1, rng.normal(size=4000)
    label = (popularity / 1000 - 1 + taste + rng.normal(size=4000) > 0.5).astype(np.float32)
    drawn = Sample(label, np.arange(4000), np.ones((20, 4000), np.float32))

    by_popularity, _ = matched_metrics(drawn, popularity, popularity)
    by_taste, draws = matched_metrics(drawn, taste.astype(np.float32), popularity)

    assert by_popularity["matched_row_auc"].mean == pytest.approx(0.5, abs=0.03)
    assert roc_auc_score(label, popularity) > 0.65
    assert by_taste["matched_row_auc"].mean > 0.75
    assert draws == pytest.approx(by_taste["matched_row_auc"].mean)


def test_rows_without_a_matched_pair_have_no_matched_auc() -> None:
    label = (np.arange(40) >= 20).astype(np.float32)
    drawn = Sample(label, np.arange(40), np.ones((2, 40), np.float32))

    table, draws = matched_metrics(drawn, np.zeros(40), np.arange(40.0))

    assert table == {}
    assert np.isnan(draws).all()


def test_the_top_of_each_user_counts_alike(sample: Sample, logit: Floats) -> None:
    label, group = sample.label, sample.group
    users = [user for user in range(USERS) if 0 < label[group == user].mean() < 1]
    ndcg = {
        user: ndcg_score([label[group == user]], [logit[group == user]], k=10) for user in users
    }
    recall = {}
    for user in users:
        mine = np.flatnonzero(group == user)
        top = mine[np.argsort(-logit[mine])[:10]]
        recall[user] = label[top].sum() / label[mine].sum()

    table, _ = row_metrics(sample, logit, CALIBRATION)

    for name, values in (("ndcg_at_10", ndcg), ("recall_at_10", recall)):
        assert table[name].mean == pytest.approx(np.mean(list(values.values())))
        replicates = [
            np.average(list(values.values()), weights=draw[users]) for draw in sample.weights
        ]
        assert table[name].se == pytest.approx(np.std(replicates, ddof=1), rel=1e-5), name


def test_users_with_one_label_leave_nothing_to_rank(make_dataset: MakeDataset) -> None:
    user = np.arange(960) % USERS
    dataset = make_dataset(960, users=USERS, user=user, label=(user < 5).astype(np.float32))
    sample = Sample.draw(dataset, ROWS, 20, np.random.default_rng(0))

    table, _ = row_metrics(sample, np.arange(720.0), CALIBRATION)

    assert sorted(table) == ["auc", "logloss"]


def test_the_calibration_error_is_of_the_calibrated_probability(
    sample: Sample, logit: Floats
) -> None:
    probability = 1 / (1 + np.exp(0.25 - 0.5 * logit.astype(np.float64)))

    ece = logged_metrics(sample, logit, CALIBRATION, None)["ece"]

    assert ece.mean == pytest.approx(expected_calibration_error(sample.label, probability, 15))
    bins = [np.flatnonzero(part) for part in np.eye(15, dtype=bool)[ranks(probability) // 48].T]
    replicates = []
    for rows in redrawn(sample):  # bins stay those of all rows
        inside = [rows[np.isin(rows, part)] for part in bins]
        errors = [abs(float((sample.label[part] - probability[part]).sum())) for part in inside]
        replicates.append(sum(errors) / len(rows))
    assert ece.se == pytest.approx(np.std(replicates, ddof=1), rel=1e-5)


def ranks(values: Floats) -> NDArray[np.int64]:
    return np.argsort(np.argsort(values))


def test_the_position_multiplies_the_probability(sample: Sample, logit: Floats) -> None:
    theta = np.random.default_rng(2).uniform(0.1, 1, len(ROWS))

    table = logged_metrics(sample, logit, CALIBRATION, np.log(theta))

    click = theta / (1 + np.exp(-logit.astype(np.float64)))
    estimate = table["auc_with_position"]
    assert estimate.mean == pytest.approx(roc_auc_score(sample.label, click))
    replicates = [roc_auc_score(sample.label[rows], click[rows]) for rows in redrawn(sample)]
    assert estimate.se == pytest.approx(np.std(replicates, ddof=1))
    assert "auc_with_position" not in logged_metrics(sample, logit, CALIBRATION, None)


def few(make_dataset: MakeDataset, users: int, clickers: int) -> Sample:
    """``users`` with two skips each; the first ``clickers`` of them have two clicks as well."""
    user = np.repeat(np.arange(users), 4)
    label = ((np.arange(4 * users) % 2 == 1) & (user < clickers)).astype(np.float32)
    dataset = make_dataset(4 * users, users=users, user=user, label=label)
    return Sample.draw(dataset, np.arange(4 * users), 50, np.random.default_rng(0))


@pytest.mark.parametrize(
    ("users", "clickers", "unknown"),
    [
        (LEAST_USERS, LEAST_USERS, set()),
        (LEAST_USERS, LEAST_USERS - 1, {"auc", "gauc", "ndcg_at_10", "recall_at_10"}),
        (
            LEAST_USERS - 1,
            LEAST_USERS - 1,
            {"auc", "gauc", "ndcg_at_10", "recall_at_10", "logloss", "ece"},
        ),
        (1, 1, {"auc", "gauc", "ndcg_at_10", "recall_at_10", "logloss", "ece"}),
    ],
)
def test_an_error_of_too_few_users_is_unknown_and_not_zero(
    make_dataset: MakeDataset, users: int, clickers: int, unknown: set[str]
) -> None:
    sample = few(make_dataset, users, clickers)
    logit = np.random.default_rng(1).normal(size=4 * users).astype(np.float32)

    table, aucs = row_metrics(sample, logit, CALIBRATION)
    table |= logged_metrics(sample, logit, CALIBRATION, None)

    assert {name for name, estimate in table.items() if estimate.se is None} == unknown
    assert bool(np.isnan(aucs).all()) == ("auc" in unknown)
    assert all(np.isfinite(estimate.mean) for estimate in table.values())
