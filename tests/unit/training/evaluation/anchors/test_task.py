from __future__ import annotations

import numpy as np

from tests.datasets import MakeDataset
from training.data.dataset import Dataset
from training.data.split import split_rows
from training.evaluation.anchors.task import AnchorTask


def test_a_small_log_is_taken_whole(dataset: Dataset) -> None:
    split = split_rows(dataset, validation=0.2, test=0.2, seed=0)

    task = AnchorTask.of(dataset, split, seed=0)

    for part in ("train", "validation", "test"):
        np.testing.assert_array_equal(getattr(task, part), getattr(split, part))


def test_a_large_log_is_taken_by_users(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(4_000, users=100)
    split = split_rows(dataset, validation=0.1, test=0.2, seed=0)
    user = dataset.impressions.user

    task = AnchorTask.of(dataset, split, seed=0, most=700)

    assert 600 < len(task.train) <= 700
    sampled = np.unique(user[task.train])
    for part in ("train", "validation", "test"):
        rows = getattr(split, part)
        np.testing.assert_array_equal(getattr(task, part), rows[np.isin(user[rows], sampled)])
    # Rates come from all training rows all the same.
    assert task.items.rows.sum() == task.users.rows.sum() == len(split.train)
    other = AnchorTask.of(dataset, split, seed=1, most=700)
    assert set(np.unique(user[other.train])) != set(sampled)


def test_a_sample_with_one_label_alone_is_not_taken(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(400, users=2)
    label = np.where(dataset.impressions.user == 0, 1.0, 0.0).astype(np.float32)
    dataset = make_dataset(400, users=2, label=label)
    split = split_rows(dataset, validation=0.2, test=0.2, seed=0)

    task = AnchorTask.of(dataset, split, seed=0, most=10)

    assert len(task.train) == len(split.train)
