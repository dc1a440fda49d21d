"""The measured configuration; peers take their sizes from it."""

from __future__ import annotations

from typing import TypeVar

from training.config import Config, load_config
from training.data.dataset import Dataset
from training.data.split import Split
from training.fitting.batches import SlateBatches

Batches = TypeVar("Batches", bound=SlateBatches)


def bench_config() -> Config:
    """Return PaInvRL's packaged configuration."""
    return load_config("painvrl", overrides=("train.evaluations=1",))


def bench_batches(dataset: Dataset, split: Split, config: Config, kind: type[Batches]) -> Batches:
    """Return the training rows as batches of the class ``kind``."""
    return kind(
        dataset,
        split.train,
        slate=config.train.slate,
        batch_slates=config.train.batch_slates,
    )
