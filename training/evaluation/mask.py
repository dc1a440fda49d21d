"""The measurement of an invariant mask: its gates, its effect on rankings, its training."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel
from torch import Tensor

from service.contract.front import Estimate
from training.config import Config
from training.data.dataset import Dataset
from training.errors import ConfigError
from training.evaluation.report.schema import Mask
from training.fitting.fitted_net import TOP, FittedNet, sample_users
from training.fitting.runs import RunStore, over_seeds
from training.fitting.train_net import train_net
from training.metrics.estimates import LEAST_USERS, mean_and_se, mean_over_seeds
from training.nets.base import Ranker
from training.nets.registry import architecture

_TENTHS = 10


class _Run(BaseModel):
    """The mask of one seed; the fields are those of ``Mask``."""

    open: dict[str, float]
    overlap: Estimate
    content_overlap: Estimate
    weights: tuple[float, ...]
    moved: tuple[float, ...]


def check_learns_mask(config: Config) -> None:
    """Raise ConfigError unless the net of ``config`` learns a mask."""
    if not architecture(config.net).learns_mask(config.net):
        raise ConfigError("--mask: this configuration learns no mask")


def measure_mask(dataset: Dataset, config: Config, seeds: int, runs: RunStore) -> Mask:
    """Measure the masks of ``seeds`` trainings; raises ConfigError if the net learns none."""
    check_learns_mask(config)
    results = over_seeds(
        dataset, config, seeds, runs, "mask", _Run, lambda run: _measure(dataset, run, runs)
    )
    weights = np.array([run.weights for run in results])  # (S, steps)
    tenths = np.array_split(weights, min(_TENTHS, weights.shape[1]), axis=1)
    return Mask(
        open={
            name: mean_and_se(np.array([run.open[name] for run in results]))
            for name in results[0].open
        },
        overlap=mean_over_seeds([run.overlap for run in results]),
        content_overlap=mean_over_seeds([run.content_overlap for run in results]),
        weight=mean_and_se(weights.mean(axis=1)),
        weight_deviation=mean_and_se(weights.std(axis=1)),
        weights=tuple(float(tenth.mean()) for tenth in tenths),
        moved=results[0].moved,
    )


def _measure(dataset: Dataset, config: Config, runs: RunStore) -> _Run:
    return _describe(train_net(dataset, config, runs))


@torch.inference_mode()
def _describe(fitted: FittedNet) -> _Run:
    net, dataset = fitted.net, fitted.dataset
    mask = net.learned_mask()
    if mask is None:
        raise ConfigError("--mask: this net learned no mask")
    gates = mask.gates.split([modality.dim for modality in dataset.modalities])
    states = fitted.item_states()
    users = sample_users(dataset.impressions.user[fitted.split.test], len(dataset.item_ids))
    vectors = net.user_vectors(torch.from_numpy(users).to(net.device))
    return _Run(
        open={m.name: float(g.mean()) for m, g in zip(dataset.modalities, gates, strict=True)},
        overlap=_overlap(net.ranker, vectors, states),
        content_overlap=_overlap(net.ranker, vectors, net.without_popularity(states)),
        weights=mask.weights,
        moved=mask.moved,
    )


def _overlap(ranker: Ranker, users: Tensor, states: Tensor) -> Estimate:
    """Return the mean share, over users, of the top 10 that both ends of the front have in common.

    Its error is unknown for fewer than ``LEAST_USERS`` users.
    """
    ends: list[NDArray[np.int64]] = [
        ranker.all_pairs(users, states, states.new_tensor([w])).topk(TOP, 1).indices.cpu().numpy()
        for w in (0.0, 1.0)
    ]
    common = [len(np.intersect1d(*rows)) / TOP for rows in zip(*ends, strict=True)]
    return mean_and_se(np.array(common), users_suffice=len(common) >= LEAST_USERS)
