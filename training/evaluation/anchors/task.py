"""The rows of anchors: those of the net, of a sample of users where the log is large."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from training.arrays import Flags, Rows
from training.data.dataset import Dataset
from training.data.split import Split
from training.data.storage import spans
from training.evaluation.anchors.rates import Rates

MAX_ROWS = 500_000  # training rows that an anchor is fitted to


@dataclass(frozen=True)
class AnchorTask:
    """The rows that fit, select and measure an anchor, and click rates among all training rows.

    train, validation, test (R,): the rows of the same users, all users if the training rows are at
    most ``MAX_ROWS``, else a random sample of them.
    """

    dataset: Dataset
    train: Rows
    validation: Rows
    test: Rows
    users: Rates
    items: Rates

    @classmethod
    def of(cls, dataset: Dataset, split: Split, seed: int, most: int = MAX_ROWS) -> AnchorTask:
        """Return the task of a split, with about ``most`` training rows."""
        impressions = dataset.impressions
        label, train = impressions.label, split.train
        users = Rates.of(impressions.user, label, train, len(dataset.user_ids))
        items = Rates.of(impressions.item, label, train, len(dataset.item_ids))
        parts = split.train, split.validation, split.test
        if len(train) > most:
            sampled = _sample(users, most, seed)
            samples = [_rows_of(sampled, impressions.user, rows) for rows in parts]
            if all(0 < label[rows].sum() < len(rows) for rows in samples):
                parts = samples[0], samples[1], samples[2]
        return cls(dataset, *parts, users, items)


def _sample(users: Rates, most: int, seed: int) -> Flags:
    """Return a mask (U,) of random users with ``most`` training rows together, at least one."""
    order = np.random.default_rng(seed).permutation(np.flatnonzero(users.rows))
    count = int(np.searchsorted(np.cumsum(users.rows[order]), most, side="right"))
    sampled: Flags = np.zeros(len(users.rows), np.bool_)
    sampled[order[: max(count, 1)]] = True
    return sampled


def _rows_of(sampled: Flags, user: Rows, rows: Rows) -> Rows:
    """Return those of ``rows`` whose user is ``sampled``."""
    chunks = [rows[span][sampled[user[rows[span]]]] for span in spans(len(rows))]
    return np.concatenate(chunks)
