"""The exposure of training rows, for debiasing losses: propensities and a teacher's offsets."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from training.arrays import Floats, Rows
from training.data.dataset import Dataset
from training.fitting.fitted_net import FittedNet


def propensities(dataset: Dataset, rows: Rows, floor: float) -> Floats:
    """Return P(exposure) of impressions ``rows`` (R,), in [floor, 1].

    The logged propensity if the dataset has it; else (n_i / max n)^.5 with n_i the item's
    impressions among ``rows``, after Saito et al., WSDM 2020.
    """
    impressions = dataset.impressions
    if impressions.propensity is not None:
        theta = impressions.propensity[rows]
    else:
        count = np.bincount(impressions.item[rows], minlength=len(dataset.item_ids))
        theta = np.sqrt(count / count.max())[impressions.item[rows]].astype(np.float32)
    return np.clip(theta, floor, 1.0)


def exposure_offset(teacher: FittedNet, *, draws: int, seed: int) -> Floats:
    """Return the part of ``teacher``'s logits (R,) on its training rows that exposure explains.

    That part is the logit at w = 1 with the row's proxies, minus its mean over ``draws`` random
    replacements of the proxies (backdoor adjustment), centred. Our reconstruction.
    """
    rng = np.random.default_rng(seed)
    logged_end = np.array([1.0])
    dataset, rows = teacher.dataset, teacher.split.train
    logged = teacher.score_rows(rows, logged_end)[0]
    average = np.zeros_like(logged)
    for _ in range(draws):
        shuffled = shuffled_proxies(dataset, rows, rows, rng)
        average += replace(teacher, dataset=shuffled).score_rows(rows, logged_end)[0] / draws
    offset = logged - average
    return np.asarray(offset - offset.mean())


def shuffled_proxies(
    dataset: Dataset, rows: Rows, donors: Rows, rng: np.random.Generator
) -> Dataset:
    """Return the dataset whose impressions ``rows`` have the proxies of random ``donors``."""
    proxies = dataset.impressions.proxies.copy()
    proxies[rows] = dataset.impressions.proxies[rng.choice(donors, len(rows))]
    return dataset.with_proxies(proxies)
