"""Every architecture that a configuration may name, with small options and their variants.

Nothing here names an architecture: an entry in the registry is enough to be tested.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, get_args, get_origin, get_type_hints

import numpy as np
import torch
from torch import Tensor

from training.config import (
    Config,
    ExposureOptions,
    FrontOptions,
    SplitOptions,
    TrainOptions,
)
from training.data.dataset import Dataset
from training.fitting.batches import SlateBatches
from training.nets.base import FrontNet, NetOptions, Slates, TrainingTables, with_learned
from training.nets.registry import ARCHITECTURES, build_net, configurable

SIZE = 4  # no size of a net is larger
SLATE, BATCH_SLATES = 8, 16


def small(name: str) -> NetOptions:
    """Return the default options of an architecture, whole numbers at most ``SIZE``."""
    options = ARCHITECTURES[name].options(architecture=name)
    values = {field.name: getattr(options, field.name) for field in fields(options)}
    sizes: dict[str, Any] = {
        option: min(value, SIZE) for option, value in values.items() if type(value) is int
    }
    return replace(options, **sizes)


def variants(name: str) -> Iterator[tuple[str, NetOptions]]:
    """Yield the small options, then each with one choice or switch set otherwise, and a label."""
    options = small(name)
    yield name, options
    for option, hint in get_type_hints(type(options)).items():
        if option == "architecture":
            continue
        for choice in _choices(hint):
            if choice != getattr(options, option):
                yield f"{name}-{option}={choice}", replace(options, **{option: choice})


def _choices(hint: Any) -> tuple[Any, ...]:
    """Return the values that a type hint lists, none where it lists none."""
    if hint is bool:
        return (False, True)
    if get_origin(hint) is Literal:
        return get_args(hint)
    return tuple(choice for argument in get_args(hint) for choice in _choices(argument))


VARIANTS = dict(variant for name in configurable() for variant in variants(name))


class Memory:
    """A progress store in memory."""

    def __init__(self) -> None:
        self.state: dict[str, Any] | None = None

    def load(self) -> dict[str, Any] | None:
        return self.state

    def save(self, state: dict[str, Any]) -> None:
        self.state = state


@dataclass(frozen=True)
class LoggedRows:
    """Logged rows in batches, as training deals them, with random propensities and offsets."""

    dataset: Dataset
    batches: SlateBatches

    @classmethod
    def of(cls, dataset: Dataset) -> LoggedRows:
        """Batch the logged rows of ``dataset``."""
        rows = np.flatnonzero(~dataset.impressions.uniform)
        rng = np.random.default_rng(0)
        batches = SlateBatches(
            dataset,
            rows,
            slate=SLATE,
            batch_slates=BATCH_SLATES,
            propensity=rng.uniform(0.1, 1.0, len(rows)),
            offset=rng.normal(size=len(rows)),
        )
        return cls(dataset, batches)

    @property
    def tables(self) -> TrainingTables:
        return self.batches.tables

    def batch(self) -> Slates:
        """Return the first batch of an epoch."""
        return next(self.batches.epoch(torch.Generator().manual_seed(0)))

    def net(self, options: NetOptions) -> FrontNet:
        """Return a prepared net, every parameter moved from its initial value, for evaluation."""
        torch.manual_seed(0)
        net = build_net(options, self.tables)
        net.prepare(0, Memory())
        with torch.no_grad():
            for parameter in net.parameters():
                parameter.add_(0.3 * torch.randn(parameter.shape))
        return net.eval()

    def inputs(self, net: FrontNet, *, warm: bool = True) -> tuple[Tensor, Tensor, Tensor]:
        """Return the item encoder's inputs for all items; item 0 lacks its first modality."""
        embedding = torch.from_numpy(self.dataset.embedding).clone()
        mask = torch.from_numpy(self.dataset.modality_mask).float()
        embedding[0, : self.dataset.modalities[0].dim] = 0.0
        mask[0, 0] = 0.0
        flags = torch.full((len(embedding),), warm)
        content = with_learned(embedding, mask, net.learned_items().detach(), flags)
        return *content, torch.from_numpy(self.dataset.proxies)

    @torch.no_grad()
    def states(self, net: FrontNet, proxies: Tensor | None = None) -> Tensor:
        """Return the states (I, S) of all items, with ``proxies`` (I, P) or their own."""
        embedding, mask, current = self.inputs(net)
        state: Tensor = net.item_encoder(embedding, mask, current if proxies is None else proxies)
        return state


@dataclass(frozen=True)
class Variant:
    """A net of certain options, and the states (I, S) of all items."""

    options: NetOptions
    net: FrontNet
    state: Tensor

    @classmethod
    def of(cls, options: NetOptions, rows: LoggedRows) -> Variant:
        """Build the net of ``options`` on ``rows``."""
        net = rows.net(options)
        return cls(options, net, rows.states(net))


@torch.no_grad()
def scores(net: FrontNet, state: Tensor, tradeoff: float) -> Tensor:
    """Return the logits (B, N) of the first three users with states (N, S), one after another."""
    w = torch.tensor([tradeoff])
    return torch.stack([net.ranker(user, state, w) for user in net.user_vectors()[:3].split(1)])


def config_of(options: NetOptions) -> Config:
    """Return a configuration that trains ``options`` for one epoch."""
    return Config(
        seed=0,
        default_tradeoff=0.5,
        train=TrainOptions(
            epochs=1,
            evaluations=1,
            patience=1,
            batch_slates=BATCH_SLATES,
            epoch_steps=1,
            slate=SLATE,
            lr=0.01,
            lr_final=0.01,
        ),
        split=SplitOptions(validation=0.1, test=0.1),
        net=options,
        front=FrontOptions(points=3, reference=(0.0, 0.0), bootstrap=20),
        exposure=ExposureOptions(propensity_floor=0.05, draws=1),
    )
