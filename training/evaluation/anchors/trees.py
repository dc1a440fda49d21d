"""LightGBM on proxies, rates, counts, content, and attributes of users and items."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.arrays import Floats, Rows
from training.data.dataset import Dataset
from training.evaluation.anchors.task import AnchorTask
from training.metrics.auc import auc

ABSENT = (
    "LightGBM is not among the anchors, because it is not installed: `pip install lightgbm` adds it"
)
_FOLDS = 5
_COMPONENTS = 8  # of the content
_ROUNDS, _PATIENCE = 300, 15
_OPTIONS = {
    "objective": "binary",
    "metric": "auc",
    "learning_rate": 0.15,
    "num_leaves": 15,
    "min_data_in_leaf": 50,
    "max_bin": 63,
    "num_threads": 1,
    "deterministic": True,
    "force_col_wise": True,
    "verbosity": -1,
}


def is_installed() -> bool:
    """Return whether LightGBM, an optional dependency, is there."""
    return find_spec("lightgbm") is not None


def boosted_trees(task: AnchorTask, seed: int) -> Floats:
    """Score test rows (R,) by LightGBM, with or without counts as features, as validation chooses.

    Where the log drifts, the count of an item in all training rows misleads: it says how long the
    item was shown, which at a training row lies partly in the future.
    """
    import lightgbm  # optional, and slow to import

    impressions, dataset = task.dataset.impressions, task.dataset
    fold = np.random.default_rng(seed).integers(0, _FOLDS, len(task.train))
    described = np.column_stack(content_columns(dataset))
    label = [impressions.label[rows] for rows in (task.train, task.validation)]
    tables = [
        _features(task, rows, described, fold if rows is task.train else None)
        for rows in (task.train, task.validation, task.test)
    ]
    categorical = [i for i, p in enumerate(dataset.proxy_fields) if p.kind == "categorical"]
    best, best_scores = -np.inf, np.zeros(len(task.test))
    for columns in (slice(None), slice(None, -2)):  # with counts, and without
        train, validation, test = (table[:, columns] for table in tables)
        data = lightgbm.Dataset(train, label[0], categorical_feature=categorical)
        booster: Any = lightgbm.train(
            {**_OPTIONS, "seed": seed},
            data,
            num_boost_round=_ROUNDS,
            valid_sets=[lightgbm.Dataset(validation, label[1], reference=data)],
            callbacks=[lightgbm.early_stopping(_PATIENCE, verbose=False)],
        )
        reached = auc(label[1], booster.predict(validation, raw_score=True))
        if reached > best:
            best, best_scores = reached, booster.predict(test, raw_score=True)
    return best_scores


def content_columns(dataset: Dataset) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return principal components (I, C) of the content, and attributes (I, A), NaN if unknown."""
    width = sum(coding.dim for coding in dataset.item_codings)
    content, attributes = np.split(dataset.embedding, [dataset.embedding.shape[1] - width], axis=1)
    known = dataset.modality_mask[:, -1:]  # attributes are the last modality
    return principal_components(content), np.where(known, attributes, np.float32(np.nan))


def principal_components(embedding: Floats) -> NDArray[np.float32]:
    """Return the first principal components (I, C) of embeddings (I, D), C at most 8."""
    mean = embedding.mean(axis=0, dtype=np.float64)
    covariance = embedding.T @ embedding / len(embedding) - np.outer(mean, mean)
    axes = np.linalg.eigh(covariance).eigenvectors[:, -_COMPONENTS:]
    return np.asarray(embedding @ axes.astype(np.float32))


def _features(
    task: AnchorTask, rows: Rows, described: Floats, fold: Rows | None
) -> NDArray[np.float32]:
    """Return features (R, F): proxies, attributes, content, rates, and last the two counts.

    described (I, C + A) of the items. Rates of training rows are out of their ``fold`` (R,).
    """
    impressions = task.dataset.impressions
    user, item = impressions.user[rows], impressions.item[rows]
    sides = (task.items, item), (task.users, user)
    if fold is None:
        rates = [side.known(key) for side, key in sides]
    else:
        label = impressions.label[rows]
        rates = [side.out_of_fold(key, label, fold, _FOLDS) for side, key in sides]
    columns = (
        impressions.proxies[rows],
        task.dataset.user_attributes[user],
        described[item],
        *rates,
        *(side.rows[key] for side, key in sides),
    )
    return np.column_stack(columns).astype(np.float32)
