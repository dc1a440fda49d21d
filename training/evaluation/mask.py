"""What PaInvRL's invariant mask does: which gates open, what moves, how lambda* went."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel

from training.config import Config
from training.data.dataset import Dataset
from training.errors import ConfigError
from training.evaluation.report.schema import Mask
from training.fitting.runs import over_seeds
from training.fitting.scoring import catalogue_states, sample_users
from training.fitting.train_net import Trained, train_net
from training.metrics.estimates import mean_and_se
from training.nets.painvrl.modules import PainvrlOptions
from training.nets.painvrl.net import Painvrl

_TOP = 10
_TENTHS = 10


class _Run(BaseModel):
    """One seed: see ``Mask``."""

    open: dict[str, float]
    overlap: float
    content_overlap: float
    weights: tuple[float, ...]
    moved: tuple[float, ...]


def masked(config: Config) -> None:
    """Raise ConfigError unless ``config`` is of a net that learns a mask."""
    if not isinstance(config.net, PainvrlOptions) or config.net.gates == "none":
        raise ConfigError("--mask: this configuration learns no mask")


def measure_mask(dataset: Dataset, config: Config, seeds: int, runs: Path) -> Mask:
    """Describe the masks of ``seeds`` trainings."""
    masked(config)
    found = over_seeds(
        dataset, config, seeds, runs, "mask", _Run, lambda run: _measure(dataset, run, runs)
    )
    weights = np.array([run.weights for run in found])  # (S, steps)
    return Mask(
        open={
            name: mean_and_se(np.array([run.open[name] for run in found])) for name in found[0].open
        },
        overlap=mean_and_se(np.array([run.overlap for run in found])),
        content_overlap=mean_and_se(np.array([run.content_overlap for run in found])),
        weight=mean_and_se(weights.mean(axis=1)),
        weight_deviation=mean_and_se(weights.std(axis=1)),
        weights=tuple(float(part.mean()) for part in np.array_split(weights, _TENTHS, axis=1)),
        moved=found[0].moved,
    )


def _measure(dataset: Dataset, config: Config, runs: Path) -> _Run:
    return _describe(train_net(dataset, config, runs), dataset)


@torch.inference_mode()
def _describe(trained: Trained, dataset: Dataset) -> _Run:
    net = cast(Painvrl, trained.net)
    sizes = [modality.dim for modality in dataset.modalities]
    gates = net.item_encoder.gates.split(sizes)
    states = catalogue_states(net, dataset, trained.known)
    content = states.clone()
    content[:, -1] = 0.0  # without popularity
    users = sample_users(dataset.impressions.user[trained.split.test], len(dataset.item_ids))
    vectors = net.user_vectors()[torch.from_numpy(users)]
    assert net.invariance is not None  # noqa: S101  # ``masked`` saw to it
    return _Run(
        open={m.name: float(g.mean()) for m, g in zip(dataset.modalities, gates, strict=True)},
        overlap=_overlap(net, vectors, states),
        content_overlap=_overlap(net, vectors, content),
        weights=tuple(net.invariance.weights),
        moved=tuple(net.invariance.moved),
    )


def _overlap(net: Painvrl, users: torch.Tensor, states: torch.Tensor) -> float:
    """Return the mean share of the top 10 that both ends have in common."""
    ends: list[NDArray[np.int64]] = [
        net.ranker.all_pairs(users, states, torch.tensor([w])).topk(_TOP, 1).indices.numpy()
        for w in (0.0, 1.0)
    ]
    common = [len(np.intersect1d(*rows)) for rows in zip(*ends, strict=True)]
    return float(np.mean(common)) / _TOP
