from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from tests.datasets import MakeDataset, make_clicks
from tests.fitted_nets import fitted_net, fitted_painvrl
from tests.recall_by_hand import recall_by_hand
from training.fitting.selection import selection_rule


def test_on_clicks_alone_it_is_recall_of_validation_clicks_at_one() -> None:
    clicks = make_clicks()
    fitted = fitted_painvrl(clicks)
    scores = fitted.catalogue_scores()(1.0)(np.arange(12))

    value = selection_rule(fitted)()

    expected = recall_by_hand(clicks, fitted.split.train, scores, fitted.split.validation)
    assert value == pytest.approx(expected)


def test_with_skips_it_is_the_mean_of_auc_and_of_auc_at_equal_exposure(
    make_dataset: MakeDataset,
) -> None:
    # Equal exposure: one value of every proxy, and the position is 0 or 1.
    rng = np.random.default_rng(0)
    position = np.arange(2400) % 2
    proxies = np.full((2400, 3), np.nan, np.float32)
    proxies[:, 2] = 1.0
    label = (rng.random(2400) < np.where(position == 0, 0.5, 0.1)).astype(np.float32)
    fitted = fitted_net(make_dataset(2400, position=position, proxies=proxies, label=label))
    rows = fitted.split.validation
    debiased, logged = fitted.score_rows(rows, np.array([0.0, 1.0]))

    value = selection_rule(fitted)()

    cells = [position[rows] == place for place in (0, 1)]
    within = [roc_auc_score(label[rows][cell], debiased[cell]) for cell in cells]
    pairs = [int(label[rows][cell].sum() * (1 - label[rows][cell]).sum()) for cell in cells]
    by_hand = (roc_auc_score(label[rows], logged) + np.average(within, weights=pairs)) / 2
    assert value == pytest.approx(by_hand, abs=1e-9)


def test_the_rule_judges_the_net_as_it_stands(make_dataset: MakeDataset) -> None:
    fitted = fitted_net(make_dataset())
    value = selection_rule(fitted)
    before = value()
    for parameter in fitted.net.parameters():
        parameter.data.neg_()

    assert value() != before


def test_rows_without_an_equal_leave_auc_alone(make_dataset: MakeDataset) -> None:
    fitted = fitted_net(make_dataset(position=np.arange(240) * 1000))
    few = replace(fitted, split=replace(fitted.split, validation=fitted.split.validation[:8]))
    rows = few.split.validation
    label = few.dataset.impressions.label[rows]

    value = selection_rule(few)()

    logged = few.score_rows(rows, np.array([1.0]))[0]
    assert value == pytest.approx(roc_auc_score(label, logged))
