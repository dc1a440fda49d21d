"""What a model shows, kept in its artifact for the service to hold its traffic against."""

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
_DRAWS = 50  # windows that the expected Gini coefficient is the mean of


def bias_reference(fitted: FittedNet) -> BiasReference:
    """Rank the whole catalogue for up to 300 users of the test rows, at tenths of the tradeoff."""
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
    """Return the Gini coefficient that a window of places has on average over draws of users.

    ``lists`` (U, K) are what each user is shown. Users are drawn with replacement, as requests
    come, until the window is full: the coefficient falls with the number of places.
    """
    rng = np.random.default_rng(0)
    count = BiasReference.WINDOW // TOP
    drawn = (lists[rng.integers(len(lists), size=count)] for _ in range(_DRAWS))
    return float(np.mean([gini(np.bincount(each.ravel(), minlength=items)) for each in drawn]))
