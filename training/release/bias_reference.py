"""The bias reference of an artifact: the exposure of its model offline, to compare traffic with."""

from __future__ import annotations

import numpy as np

from service.contract.artifact import BiasReference
from service.contract.measures import calibrated_score, gini
from training.arrays import Rows
from training.data.split import training_clicks
from training.fitting.fitted_net import TOP, FittedNet, sample_users
from training.metrics.exposure import percentile_rank

TRADEOFFS = np.linspace(0, 1, 11)
USERS = 300
_DRAWS = 50  # windows averaged for the expected Gini coefficient


def bias_reference(fitted: FittedNet) -> BiasReference:
    """Return the reference: the catalogue ranked for up to 300 test users, at 11 tradeoffs."""
    dataset, split, calibration = fitted.dataset, fitted.split, fitted.calibration
    users = sample_users(dataset.impressions.user[split.test], len(dataset.item_ids), most=USERS)
    top, logits = fitted.rank_catalogue(users, TRADEOFFS)  # (T, U, K)
    scores = calibrated_score(calibration, logits).reshape(len(TRADEOFFS), -1)
    deciles = np.quantile(scores, np.linspace(0.1, 0.9, 9), axis=1).T  # (T, 9)
    return BiasReference(
        item_ids=list(dataset.item_ids),
        click_percentile=percentile_rank(training_clicks(dataset, split)).astype(np.float32),
        tradeoffs=TRADEOFFS.astype(np.float32),
        score_deciles=deciles.astype(np.float32),
        exposure_gini=np.array(
            [expected_gini(lists, len(dataset.item_ids)) for lists in top], np.float32
        ),
    )


def expected_gini(lists: Rows, items: int) -> float:
    """Return the expected Gini coefficient of exposure in one window of the exposure monitor.

    lists (U, K): the items shown to each user. The mean over windows of ``BiasReference.WINDOW``
    places, each filled by users drawn with replacement. The size of the window matters, since the
    coefficient falls with the number of places.
    """
    rng = np.random.default_rng(0)
    count = BiasReference.WINDOW // TOP
    windows = (lists[rng.integers(len(lists), size=count)] for _ in range(_DRAWS))
    exposures = (np.bincount(window.ravel(), minlength=items) for window in windows)
    return float(np.mean([gini(counts) for counts in exposures]))
