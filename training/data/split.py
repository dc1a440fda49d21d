"""Which rows train, which choose, which report."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.data.dataset import SPLITS, Dataset
from training.errors import DatasetError

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Split:
    """Row numbers of the impressions; ``unbiased`` rows only ever report."""

    train: Rows
    validation: Rows
    test: Rows
    unbiased: Rows


def split_rows(dataset: Dataset, *, validation: float, test: float, seed: int) -> Split:
    """Split the logged rows: as the dataset says, else by time, else at random.

    ``validation`` and ``test`` are shares of the logged rows. By time, rows of one timestamp
    stay together and the latest are the test. Raises DatasetError where a part would be empty
    or any part holds one label only.
    """
    impressions = dataset.impressions
    logged = np.flatnonzero(~impressions.uniform)
    if impressions.split is not None:
        part = impressions.split[logged]
    elif len(logged) and np.ptp(impressions.timestamp[logged]) > 0:
        time = impressions.timestamp[logged]
        cuts = np.quantile(time, [1 - test - validation, 1 - test], method="lower")
        part = np.digitize(time, cuts)
    else:
        uniform = np.random.default_rng(seed).random(len(logged))
        part = np.digitize(uniform, [1 - test - validation, 1 - test])
    parts = {name: logged[part == code] for code, name in enumerate(SPLITS)}
    path = dataset.path / dataset.description.impressions
    for name, rows in parts.items():
        if not len(rows):
            raise DatasetError(path, f"no logged row falls into the {name} part")
    unbiased = np.flatnonzero(impressions.uniform)
    for name, rows in (*parts.items(), ("unbiased", unbiased)):
        if len(rows) and np.ptp(impressions.label[rows]) == 0:
            raise DatasetError(path, f"the {name} rows hold one label only", column="label")
    return Split(**parts, unbiased=unbiased)
