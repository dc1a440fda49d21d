from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import ndcg_score, roc_auc_score

from service.contract.manifest import Calibration
from tests.datasets import MakeDataset
from training.arrays import Floats
from training.data.dataset import Dataset
from training.metrics.accuracy import Sample, logged_metrics, row_metrics
from training.metrics.calibration_error import expected_calibration_error

CALIBRATION = Calibration(slope=0.5, intercept=-0.25, meaning="test")
ROWS = np.arange(180)


@pytest.fixture
def sample(dataset: Dataset) -> Sample:
    return Sample.draw(dataset, ROWS, 30, np.random.default_rng(0))


@pytest.fixture
def logit() -> Floats:
    return np.random.default_rng(1).normal(size=180).astype(np.float32)


def redrawn(sample: Sample) -> list[NDArray[np.int64]]:
    """The rows of each redraw, a user's rows as often as the user was drawn."""
    return [np.repeat(ROWS, draw[sample.group].astype(int)) for draw in sample.weights]


def test_the_bootstrap_draws_users_not_rows(make_dataset: MakeDataset) -> None:
    # Every user is one row repeated: the error is that of 40 users, however many rows they have.
    rng = np.random.default_rng(0)
    errors = []
    for repeats in (1, 16):
        user = np.repeat(np.arange(40), repeats)
        label = np.repeat(np.arange(40) % 2, repeats).astype(np.float32)
        dataset = make_dataset(40 * repeats, users=40, user=user, label=label)
        score = np.repeat(np.random.default_rng(1).normal(size=40), repeats)
        drawn = Sample.draw(dataset, np.arange(40 * repeats), 400, rng)
        assert drawn.weights.sum(axis=1).tolist() == [40] * 400
        table, draws = row_metrics(drawn, score, CALIBRATION)
        assert table["auc"].se == pytest.approx(draws.std(ddof=1))
        errors.append((draws.std(ddof=1), table["logloss"].se))

    assert errors[0][0] == pytest.approx(0.09, abs=0.03)  # sqrt(41 / (12 * 20 * 20)) for chance
    assert errors[1] == pytest.approx(errors[0], rel=0.15)


def test_the_top_of_each_user_counts_alike(sample: Sample, logit: Floats) -> None:
    label, group = sample.label, sample.group
    users = [user for user in range(12) if 0 < label[group == user].mean() < 1]
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
    user = np.arange(240) % 12
    dataset = make_dataset(user=user, label=(user < 5).astype(np.float32))
    sample = Sample.draw(dataset, ROWS, 20, np.random.default_rng(0))

    table, _ = row_metrics(sample, np.arange(180.0), CALIBRATION)

    assert sorted(table) == ["auc", "logloss"]


def test_the_calibration_error_is_of_the_calibrated_probability(
    sample: Sample, logit: Floats
) -> None:
    probability = 1 / (1 + np.exp(0.25 - 0.5 * logit.astype(np.float64)))

    ece = logged_metrics(sample, logit, CALIBRATION, None)["ece"]

    assert ece.mean == pytest.approx(expected_calibration_error(sample.label, probability, 15))
    bins = [np.flatnonzero(part) for part in np.eye(15, dtype=bool)[ranks(probability) // 12].T]
    replicates = []
    for rows in redrawn(sample):  # bins stay those of all rows
        inside = [rows[np.isin(rows, part)] for part in bins]
        errors = [abs(float((sample.label[part] - probability[part]).sum())) for part in inside]
        replicates.append(sum(errors) / len(rows))
    assert ece.se == pytest.approx(np.std(replicates, ddof=1), rel=1e-5)


def ranks(values: Floats) -> NDArray[np.int64]:
    return np.argsort(np.argsort(values))


def test_the_position_multiplies_the_probability(sample: Sample, logit: Floats) -> None:
    theta = np.random.default_rng(2).uniform(0.1, 1, 180)

    table = logged_metrics(sample, logit, CALIBRATION, np.log(theta))

    click = theta / (1 + np.exp(-logit.astype(np.float64)))
    estimate = table["auc_with_position"]
    assert estimate.mean == pytest.approx(roc_auc_score(sample.label, click))
    replicates = [roc_auc_score(sample.label[rows], click[rows]) for rows in redrawn(sample)]
    assert estimate.se == pytest.approx(np.std(replicates, ddof=1))
    assert "auc_with_position" not in logged_metrics(sample, logit, CALIBRATION, None)
