"""Which rows train, which choose, which report."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.arrays import Floats, Rows
from training.data.dataset import Dataset
from training.data.impressions import SPLITS, Impressions
from training.data.storage import Storage, spans
from training.errors import DatasetError

_PARTS = (*SPLITS, "unbiased")
_UNBIASED = _PARTS.index("unbiased")

Parts = NDArray[np.uint8]


@dataclass(frozen=True)
class Split:
    """Row numbers of the impressions, ascending; ``unbiased`` rows only ever report."""

    train: Rows
    validation: Rows
    test: Rows
    unbiased: Rows


def split_rows(dataset: Dataset, *, validation: float, test: float, seed: int) -> Split:
    """Split the logged rows: as the dataset says, else by time, else at random.

    ``validation`` and ``test`` are shares of the logged rows. By time, rows of one timestamp
    stay together and the latest are the test. Raises DatasetError where a part would be empty
    or, of a dataset with both labels, any part holds one only.
    """
    impressions, storage = dataset.impressions, dataset.storage
    part = _parts(impressions, [1 - test - validation, 1 - test], seed, storage)
    rows = {name: _rows_of(part, code, storage) for code, name in enumerate(_PARTS)}
    path = dataset.path / dataset.description.impressions
    for name in SPLITS:
        if not len(rows[name]):
            raise DatasetError(path, f"no logged row falls into the {name} part")
    if positives_only(dataset):
        return Split(**rows)
    for name in _PARTS:
        if len(rows[name]) and _one_sided(impressions.label, rows[name]):
            raise DatasetError(path, f"the {name} rows hold one label only", column="label")
    return Split(**rows)


def positives_only(dataset: Dataset) -> bool:
    """Say whether every row is a click: such data are ranked in full, and have no AUC."""
    label = dataset.impressions.label
    return all(bool(label[span].all()) for span in spans(len(label)))


def _parts(impressions: Impressions, shares: list[float], seed: int, storage: Storage) -> Parts:
    """Return each row's part (R,), an index in ``_PARTS``; ``shares`` are cumulative."""
    part = storage.empty((len(impressions),), np.uint8)
    rng = np.random.default_rng(seed)
    cuts = _time_cuts(impressions, shares, storage)
    for span in spans(len(impressions)):
        logged = ~impressions.uniform[span]
        chunk = part[span]
        chunk[~logged] = _UNBIASED
        if impressions.split is not None:
            chunk[logged] = impressions.split[span][logged]
        elif cuts is not None:
            chunk[logged] = np.digitize(impressions.timestamp[span][logged], cuts)
        else:
            chunk[logged] = np.digitize(rng.random(int(logged.sum())), shares)
    return part


def _time_cuts(
    impressions: Impressions, shares: list[float], storage: Storage
) -> NDArray[np.float64] | None:
    """Return the times up to which ``shares`` of the logged rows reach; None without times."""
    rows = len(impressions) - int(np.count_nonzero(impressions.uniform))
    if impressions.split is not None or not rows:
        return None
    time = storage.empty((rows,), np.float64)
    end = 0
    for span in spans(len(impressions)):
        found = impressions.timestamp[span][~impressions.uniform[span]]
        time[end : end + len(found)] = found
        end += len(found)
    if np.ptp(time) == 0:
        return None
    cuts: NDArray[np.float64] = np.quantile(time, shares, method="lower", overwrite_input=True)
    return cuts


def _rows_of(part: Parts, code: int, storage: Storage) -> Rows:
    """Return the rows where ``part`` (R,) is ``code``."""
    count = sum(int(np.count_nonzero(part[span] == code)) for span in spans(len(part)))
    rows: Rows = storage.empty((count,), np.int64)
    end = 0
    for span in spans(len(part)):
        found = np.flatnonzero(part[span] == code) + span.start
        rows[end : end + len(found)] = found
        end += len(found)
    return rows


def _one_sided(label: Floats, rows: Rows) -> bool:
    clicks = sum(int(label[rows[span]].sum()) for span in spans(len(rows)))
    return clicks in (0, len(rows))


def unbiased_rows(dataset: Dataset, split: Split) -> tuple[Rows, str]:
    """Return the rows of the unbiased axis and what they are.

    Uniformly exposed rows where the dataset has them; else a shift of the logged test: its rows
    whose item has at most the median training count of a test row.
    """
    if len(split.unbiased):
        return split.unbiased, dataset.description.unbiased_kind
    count = _per_item(dataset, split.train)[dataset.impressions.item[split.test]]
    return split.test[count <= np.median(count)], "popularity<=median"


def training_clicks(dataset: Dataset, split: Split) -> Floats:
    """Return the clicks (I,) of each item among the training rows."""
    return _per_item(dataset, split.train, dataset.impressions.label)


def _per_item(dataset: Dataset, rows: Rows, weight: Floats | None = None) -> Floats:
    """Return how many of ``rows`` show each item (I,), or the sums of their ``weight`` (R,)."""
    total = np.zeros(len(dataset.item_ids))
    for span in spans(len(rows)):
        chunk = rows[span]
        share = None if weight is None else weight[chunk]
        total += np.bincount(dataset.impressions.item[chunk], share, minlength=len(total))
    return total
