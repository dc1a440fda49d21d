"""From a dataset and a configuration to a fitted net."""

from __future__ import annotations

import io
import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from service.contract.files import write_atomically
from service.contract.manifest import Calibration
from training.config import Config, load_config
from training.data.dataset import Dataset
from training.data.split import Split, positives_only, split_rows
from training.errors import ConfigError
from training.fitting.batches import SlateBatches, known_items
from training.fitting.calibration import UNCALIBRATED, calibrate, exposure_scale
from training.fitting.checkpoint import Checkpoint
from training.fitting.exposure import exposure_offset, propensities
from training.fitting.runs import run_key
from training.fitting.scoring import score_rows
from training.fitting.selection import validation
from training.fitting.trainer import Fit, fit
from training.nets.base import FrontNet
from training.nets.registry import build_net

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Trained:
    """A fitted net with all that measuring and exporting it needs."""

    net: FrontNet
    known: torch.Tensor
    split: Split
    calibration: Calibration
    fit: Fit


def train_net(
    dataset: Dataset, config: Config, checkpoints: Path, *, stop_after: int | None = None
) -> Trained:
    """Fit the net of ``config``; a checkpoint of the same run is resumed from ``checkpoints``."""
    if positives_only(dataset) and not config.net.clicks_suffice:
        raise ConfigError(
            f"{dataset.path} holds clicks alone, which {config.model} can not learn from"
        )
    split = split_rows(
        dataset, validation=config.split.validation, test=config.split.test, seed=config.seed
    )
    batches = SlateBatches(
        dataset,
        split.train,
        slate=config.train.slate,
        batch_slates=config.train.batch_slates,
        **_exposure(dataset, config, split, checkpoints),
    )
    torch.manual_seed(config.seed)
    net = build_net(config.net, batches.tables)
    net.prepare(config.seed, Checkpoint(_preparation(dataset, config, checkpoints)))
    known = known_items(batches.tables)
    fitted = fit(
        net,
        batches,
        validation(dataset, known, split),
        config.train,
        seed=config.seed,
        checkpoint=_checkpoint(dataset, config, checkpoints),
        stop_after=stop_after,
    )
    if positives_only(dataset):
        return Trained(net, known, split, UNCALIBRATED, fitted)
    label = dataset.impressions.label[split.validation]
    ends = np.array([0.0, 1.0])
    if net.scalable:
        debiased, logged = score_rows(net, dataset, known, split.validation, ends)
        net.scale_exposure(exposure_scale(label, debiased, logged))
    calibration = calibrate(label, score_rows(net, dataset, known, split.validation, ends)[1])
    return Trained(net, known, split, calibration, fitted)


def _exposure(
    dataset: Dataset, config: Config, split: Split, checkpoints: Path
) -> dict[str, NDArray[np.floating]]:
    """Return what the net's losses need to know of exposure, per training row."""
    if config.exposure is None or config.net.exposure == "nothing":
        return {}
    if config.net.exposure == "propensity":
        floor = config.exposure.propensity_floor
        return {"propensity": propensities(dataset, split.train, floor)}
    return {"offset": _offset(dataset, _teacher(config), split, config.exposure.draws, checkpoints)}


def _offset(
    dataset: Dataset, teacher: Config, split: Split, draws: int, checkpoints: Path
) -> NDArray[np.floating]:
    """Return the teacher's offsets of the training rows (R,), kept for who learns from it next."""
    path = checkpoints / f"{run_key(dataset, teacher)}-offset-{draws}.npy"
    if not path.exists():
        log.info("training the teacher")
        trained = train_net(dataset, teacher, checkpoints)
        rows, seed = split.train, teacher.seed
        offset = exposure_offset(trained.net, dataset, trained.known, rows, draws=draws, seed=seed)
        content = io.BytesIO()
        np.save(content, offset)
        write_atomically(path, content.getvalue())
    found: NDArray[np.floating] = np.load(path)
    return found


def _teacher(config: Config) -> Config:
    """Return the decomposed model whose offsets the net learns from."""
    if config.net.teacher is not None:
        return Config(**{**dict(config), "net": config.net.teacher, "exposure": None})
    update = {"seed": config.seed, "split": config.split}
    return load_config(config.model).model_copy(update=update)


def _checkpoint(dataset: Dataset, config: Config, checkpoints: Path) -> Path:
    return checkpoints / f"{run_key(dataset, config)}.pt"


def _preparation(dataset: Dataset, config: Config, checkpoints: Path) -> Path:
    return checkpoints / f"{run_key(dataset, config)}-prepared.pt"
