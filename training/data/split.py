"""Splits impressions into rows for training, for validation and for measurement."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.arrays import Floats, Rows
from training.data.dataset import Dataset
from training.data.impressions import SPLITS, Impressions
from training.data.storage import Storage, spans
from training.errors import DatasetError

_NAMES = (*SPLITS, "unbiased")  # the fields of Split; a row's code is its index here
_UNBIASED = _NAMES.index("unbiased")

# The kind of an unbiased side without uniform exposure.
POPULARITY_SHIFT = "less popular half of the logged test"

_Codes = NDArray[np.uint8]


@dataclass(frozen=True)
class Split:
    """Row numbers of the impressions, ascending.

    train: rows that fit the net. validation: rows that select its weights and calibrate it. test,
    unbiased (uniformly exposed): rows for measurement alone.
    """

    train: Rows
    validation: Rows
    test: Rows
    unbiased: Rows


def split_rows(dataset: Dataset, *, validation: float, test: float, seed: int) -> Split:
    """Split the logged rows by the column ``split``; without one, by time; without times, randomly.

    ``validation`` and ``test`` are shares of the logged rows. By time, the latest rows are the
    test, and rows of one timestamp stay together. Raises DatasetError where ``train``,
    ``validation`` or ``test`` would be empty, and, unless all rows are clicks, where any of
    the four has one label only.
    """
    impressions, storage = dataset.impressions, dataset.storage
    codes = _codes(impressions, [1 - test - validation, 1 - test], seed, storage)
    rows = {name: _rows_of(codes, code, storage) for code, name in enumerate(_NAMES)}
    path = dataset.path / dataset.description.impressions
    for name in SPLITS:
        if not len(rows[name]):
            raise DatasetError(path, f"no logged row falls into {name}; {_mend(impressions, name)}")
    if positives_only(dataset):
        return Split(**rows)
    for name in _NAMES:
        if len(rows[name]) and _one_sided(impressions.label, rows[name]):
            raise DatasetError(path, f"the {name} rows have one label only", column="label")
    return Split(**rows)


def _mend(impressions: Impressions, name: str) -> str:
    """Return what fills the empty part ``name`` of a split."""
    if impressions.uniform.all():
        return "add rows with exposure 'logged'"
    if impressions.split is not None:
        return f"write {name!r} into the column 'split' of some"
    shares = "change split.validation and split.test, or add a column 'split'"
    if np.ptp(impressions.timestamp):
        return f"rows of one timestamp stay together: add rows of other times, {shares}"
    return f"add rows, {shares}"


def positives_only(dataset: Dataset) -> bool:
    """Return whether every row is a click: such a dataset is ranked in full and has no AUC."""
    label = dataset.impressions.label
    return all(bool(label[span].all()) for span in spans(len(label)))


def unbiased_rows(dataset: Dataset, split: Split) -> tuple[Rows, str]:
    """Return the rows of the unbiased side, ascending, and their kind.

    Uniformly exposed rows if the dataset has any. Else a popularity shift: the logged test rows
    whose item has at most the median training count of a test row.
    """
    if len(split.unbiased):
        return split.unbiased, dataset.description.unbiased_kind
    count = training_rows(dataset, split)[dataset.impressions.item[split.test]]
    return split.test[count <= np.median(count)], POPULARITY_SHIFT


def training_rows(dataset: Dataset, split: Split) -> Floats:
    """Return each item's number of training rows (I,)."""
    return _totals(dataset.impressions.item, len(dataset.item_ids), split.train)


def training_clicks(dataset: Dataset, split: Split) -> Floats:
    """Return each item's clicks in the training rows (I,)."""
    impressions = dataset.impressions
    return _totals(impressions.item, len(dataset.item_ids), split.train, impressions.label)


def training_click_rates(dataset: Dataset, split: Split) -> Floats:
    """Return each user's share of clicks among its training rows (U,), NaN without a row."""
    impressions, users = dataset.impressions, len(dataset.user_ids)
    rows = _totals(impressions.user, users, split.train)
    clicks = _totals(impressions.user, users, split.train, impressions.label)
    return np.where(rows > 0, clicks / np.maximum(rows, 1), np.nan)


def _codes(impressions: Impressions, shares: list[float], seed: int, storage: Storage) -> _Codes:
    """Return the code of each row (R,), an index in ``_NAMES``; ``shares`` are cumulative."""
    codes = storage.empty((len(impressions),), np.uint8)
    rng = np.random.default_rng(seed)
    cuts = _time_cuts(impressions, shares, storage)
    for span in spans(len(impressions)):
        logged = ~impressions.uniform[span]
        chunk = codes[span]
        chunk[~logged] = _UNBIASED
        if impressions.split is not None:
            chunk[logged] = impressions.split[span][logged]
        elif cuts is not None:
            chunk[logged] = np.digitize(impressions.timestamp[span][logged], cuts)
        else:
            chunk[logged] = np.digitize(rng.random(int(logged.sum())), shares)
    return codes


def _time_cuts(
    impressions: Impressions, shares: list[float], storage: Storage
) -> NDArray[np.float64] | None:
    """Return the quantiles of the logged rows' times at ``shares``; None without times."""
    count = len(impressions) - int(np.count_nonzero(impressions.uniform))
    if impressions.split is not None or not count:
        return None
    times = storage.empty((count,), np.float64)
    end = 0
    for span in spans(len(impressions)):
        logged_times = impressions.timestamp[span][~impressions.uniform[span]]
        times[end : end + len(logged_times)] = logged_times
        end += len(logged_times)
    if np.ptp(times) == 0:
        return None
    cuts: NDArray[np.float64] = np.quantile(times, shares, method="lower", overwrite_input=True)
    return cuts


def _rows_of(codes: _Codes, code: int, storage: Storage) -> Rows:
    """Return the rows where ``codes`` (R,) is ``code``, ascending."""
    count = sum(int(np.count_nonzero(codes[span] == code)) for span in spans(len(codes)))
    rows: Rows = storage.empty((count,), np.int64)
    end = 0
    for span in spans(len(codes)):
        chunk = np.flatnonzero(codes[span] == code) + span.start
        rows[end : end + len(chunk)] = chunk
        end += len(chunk)
    return rows


def _one_sided(label: Floats, rows: Rows) -> bool:
    clicks = sum(int(label[rows[span]].sum()) for span in spans(len(rows)))
    return clicks in (0, len(rows))


def _totals(group: Rows, groups: int, rows: Rows, weight: Floats | None = None) -> Floats:
    """Return the number of ``rows`` of each group (G,) or, with ``weight`` (R,), its sum.

    ``group`` (R,) in [0, groups) is the item or the user of every impression.
    """
    total = np.zeros(groups)
    for span in spans(len(rows)):
        chunk = rows[span]
        chunk_weight = None if weight is None else weight[chunk]
        total += np.bincount(group[chunk], chunk_weight, minlength=groups)
    return total
