from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import log_loss, roc_auc_score

from service.contract.front import Estimate
from service.contract.front_metrics import FRONT_METRICS, Group
from service.contract.manifest import Calibration
from tests.datasets import MakeDataset, make_clicks
from tests.fitted_nets import fitted_net, fitted_painvrl
from training.config import FrontOptions
from training.evaluation.measure import measure_front
from training.fitting.fitted_net import FittedNet

OPTIONS = FrontOptions(points=3, reference=(0.5, 0.5), bootstrap=20)
CALIBRATION = Calibration(slope=0.5, intercept=-0.25, meaning="test")
SIDES: tuple[Group, ...] = ("logged", "unbiased", "shown")


@pytest.fixture
def fitted(make_dataset: MakeDataset) -> FittedNet:
    """A net on a dataset with enough users for every error."""
    return fitted_net(make_dataset(1920, users=60), calibration=CALIBRATION)


def test_a_measured_front_agrees_with_scikit_learn(fitted: FittedNet) -> None:
    dataset, split = fitted.dataset, fitted.split

    front = measure_front(fitted, OPTIONS, seed=7)

    assert [point.tradeoff for point in front.points] == [0.0, 0.5, 1.0]
    auc: dict[str, list[float]] = {"logged": [], "unbiased": []}
    for side, rows in (("logged", split.test), ("unbiased", split.unbiased)):
        label, user = dataset.impressions.label[rows], dataset.impressions.user[rows]
        logits = fitted.score_rows(rows, np.array([0.0, 0.5, 1.0]))
        for point, logit in zip(front.points, logits, strict=True):
            table: dict[str, Estimate] = getattr(point, side)
            probability = 1 / (1 + np.exp(0.25 - 0.5 * logit.astype(np.float64)))
            both = [u for u in np.unique(user) if len(np.unique(label[user == u])) == 2]
            by_user = [roc_auc_score(label[user == u], logit[user == u]) for u in both]
            weight = [int((user == u).sum()) for u in both]
            auc[side].append(roc_auc_score(label, logit))
            assert table["auc"].mean == pytest.approx(auc[side][-1], abs=1e-9)
            assert table["gauc"].mean == pytest.approx(np.average(by_user, weights=weight))
            assert table["logloss"].mean == pytest.approx(log_loss(label, probability))
            assert table["auc"].se is not None
            assert 0.01 < table["auc"].se < 0.2
            assert {"ndcg_at_10", "recall_at_10"} <= table.keys()
            assert (table["matched_row_auc"].se is not None) == (point.tradeoff != 0.5)
            assert front.positives[side] == label.sum()
            assert ("ece" in table) == ("auc_with_position" in table) == (side == "logged")
    train = split.train[dataset.impressions.label[split.train] == 1]
    clicks = np.bincount(dataset.impressions.item[train], minlength=10)
    ends = [front.points[t].unbiased["matched_row_auc"].mean for t in (0, -1)]
    assert front.matched_gain is not None
    assert front.matched_gain.mean == pytest.approx(ends[0] - ends[1])
    assert front.matched_gain.se
    assert front.user_groups
    assert sum(group.rows for group in front.user_groups) == len(split.test)
    for point in front.points:  # a catalogue of ten is shown whole
        assert point.shown["arp"].mean == pytest.approx(clicks.mean())
        assert point.shown["coverage"].mean == 1.0
    logged, unbiased = auc["logged"], auc["unbiased"]
    assert front.gain["logged"].mean == pytest.approx(logged[2] - logged[0])
    assert front.gain["unbiased"].mean == pytest.approx(unbiased[0] - unbiased[2])
    assert front.unbiased_kind == "uniform exposure"
    assert (front.seeds, front.dataset, front.reference) == ((7,), "toy", (0.5, 0.5))
    assert front.se_kind == "bootstrap over users"
    assert "popularity alone" in front.diagnostic


def test_errors_are_those_of_redrawn_users(fitted: FittedNet) -> None:
    rows, dataset = fitted.split.test, fitted.dataset
    label, user = dataset.impressions.label[rows], dataset.impressions.user[rows]
    logit = fitted.score_rows(rows, np.array([0.0]))[0]
    probability = 1 / (1 + np.exp(0.25 - 0.5 * logit.astype(np.float64)))

    front = measure_front(fitted, OPTIONS, seed=7)

    present = np.unique(user)
    chance = np.full(len(present), 1 / len(present))
    values: dict[str, list[float]] = {"auc": [], "gauc": [], "logloss": []}
    for draw in np.random.default_rng(7).multinomial(len(present), chance, OPTIONS.bootstrap):
        drawn = [np.flatnonzero(user == u) for u in np.repeat(present, draw)]
        every = np.concatenate(drawn)
        both = [one for one in drawn if len(np.unique(label[one])) == 2]
        by_user = [roc_auc_score(label[one], logit[one]) for one in both]
        values["auc"].append(roc_auc_score(label[every], logit[every]))
        values["logloss"].append(log_loss(label[every], probability[every]))
        values["gauc"].append(np.average(by_user, weights=[len(one) for one in both]))
    for name, sample in values.items():
        se = front.points[0].logged[name].se
        assert se == pytest.approx(np.std(sample, ddof=1), rel=1e-4), name


def test_a_front_is_measured_again_alike(fitted: FittedNet) -> None:
    first, again, other = (measure_front(fitted, OPTIONS, seed) for seed in (7, 7, 8))

    assert first == again
    assert [point.logged["auc"].mean for point in other.points] == [
        point.logged["auc"].mean for point in first.points
    ]
    assert other.gain["logged"].se != first.gain["logged"].se


def test_an_error_that_few_users_cannot_give_is_unknown(fitted: FittedNet) -> None:
    impressions, unbiased = fitted.dataset.impressions, fitted.split.unbiased
    label = impressions.label.copy()
    label[unbiased] = impressions.user[unbiased] == impressions.user[unbiased[0]]
    one_clicker = replace(fitted.dataset, impressions=replace(impressions, label=label))

    front = measure_front(replace(fitted, dataset=one_clicker), OPTIONS, seed=0)

    assert front.points[0].logged["auc"].se is not None
    assert front.points[0].unbiased["auc"].se is None
    assert front.gain["unbiased"].se is None
    assert front.hypervolume.se is None
    assert front.verdict == "none"
    assert front.diagnostic.startswith(
        "only 1 user with a click on the unbiased side, 30 are needed: the error is unknown; "
        "popularity alone"
    )


def test_a_front_of_one_user_has_no_error_and_no_verdict(make_dataset: MakeDataset) -> None:
    fitted = fitted_net(make_dataset(2000, users=1), calibration=CALIBRATION)

    front = measure_front(fitted, OPTIONS, seed=0)

    errors = [e.se for p in front.points for side in SIDES for e in getattr(p, side).values()]
    assert errors == [None] * len(errors)
    assert [front.gain[side].se for side in ("logged", "unbiased")] == [None, None]
    assert front.hypervolume.se is None
    assert front.verdict == "none"
    assert front.diagnostic.count("only 1 user with a ") == 4  # a click, a skip; on both sides


def test_without_errors_w_one_is_recommended(make_dataset: MakeDataset) -> None:
    fitted = fitted_net(make_dataset(2000, users=1), calibration=CALIBRATION)

    front = measure_front(fitted, OPTIONS, seed=0)

    assert front.recommended == 1
    assert front.advice.startswith(
        "Serve w = 1: the log's own ranking, because the error is unknown. "
    )
    assert front.advice.endswith("Whether w = 0 knows taste better is unknown.")


def test_fronts_give_the_listed_metrics_and_no_others(fitted: FittedNet) -> None:
    of_skips = measure_front(fitted, OPTIONS, seed=0)
    of_clicks = measure_front(fitted_painvrl(make_clicks()), OPTIONS, seed=0)

    measured = {
        (side, name)
        for front in (of_skips, of_clicks)
        for point in front.points
        for side in SIDES
        for name in getattr(point, side)
    }

    assert measured == {(side, metric.name) for metric in FRONT_METRICS for side in metric.groups}


def test_only_clicks_alone_are_ranked_in_full(fitted: FittedNet) -> None:
    full_ranking = {metric.name for metric in FRONT_METRICS if metric.table == "full ranking"}

    (first, *_) = measure_front(fitted, OPTIONS, seed=0).points

    assert not full_ranking & (first.logged.keys() | first.unbiased.keys())
