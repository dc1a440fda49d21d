"""Click rates of users, items and categories, shrunk towards the mean rate."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.arrays import Floats, Rows
from training.data.storage import spans

PRIOR_ROWS = 10.0  # added to a user's or an item's rows at the mean click rate


@dataclass(frozen=True)
class Rates:
    """Click rates of K keys among training rows, shrunk towards the mean rate.

    rows, clicks (K,): counts of each key; mean: the click rate of all rows, in (0, 1).
    """

    rows: NDArray[np.float64]
    clicks: NDArray[np.float64]
    mean: float

    @classmethod
    def of(cls, key: Rows, label: Floats, train: Rows, keys: int) -> Rates:
        """Return the rates of ``keys`` keys; key in [0, keys) and label (R,) of all impressions."""
        rows, clicks = np.zeros(keys), np.zeros(keys)
        for span in spans(len(train)):
            chunk = train[span]
            rows += np.bincount(key[chunk], minlength=keys)
            clicks += np.bincount(key[chunk], label[chunk], minlength=keys)
        return cls(rows, clicks, float(clicks.sum() / rows.sum()))

    def without(self, key: Rows, clicks: Floats, rows: Floats | float) -> NDArray[np.float64]:
        """Return the rate (R,) of each ``key`` (R,), less ``clicks`` and ``rows`` of its counts."""
        clicks, rows = self.clicks[key] - clicks, self.rows[key] - rows
        return np.asarray((clicks + PRIOR_ROWS * self.mean) / (rows + PRIOR_ROWS))

    def leave_one_out(self, key: Rows, label: Floats) -> NDArray[np.float64]:
        """Return the rates (R,) of training rows, each without the row's own label."""
        return self.without(key, label, 1.0)

    def out_of_fold(self, key: Rows, label: Floats, fold: Rows, folds: int) -> NDArray[np.float64]:
        """Return the rates (R,) of training rows, each without the rows of its fold in [0, folds).

        A tree reads the label from a leave-one-out rate: among the rows of an item, those with a
        click have the lower rate. Rows of one item and fold share their rate.
        """
        cell = key * folds + fold
        return self.without(key, np.bincount(cell, label)[cell], np.bincount(cell)[cell])

    def known(self, key: Rows) -> NDArray[np.float64]:
        """Return the rates (R,) of rows that are no training rows."""
        return self.without(key, np.zeros(len(key)), 0.0)
