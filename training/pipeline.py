"""From a dataset folder to an artifact, and from several seeds to one measured front."""

from __future__ import annotations

import hashlib
import io
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel

from service.contract.artifact import Artifact, Repository, write_atomically
from service.contract.manifest import Calibration, Front
from training.checkpoint import Checkpoint
from training.config import Config, load_config
from training.data.batches import SlateBatches, known_items
from training.data.dataset import Dataset
from training.data.split import Split, positives_only, split_rows
from training.errors import ConfigError
from training.evaluate import (
    UNCALIBRATED,
    calibrate,
    exposure_scale,
    measure_front,
    pool_fronts,
    score_rows,
)
from training.export import export_artifact
from training.metrics import auc, gauc
from training.nets.base import FrontNet
from training.nets.table import build_net
from training.propensity import exposure_offset, propensities
from training.provenance import code_version
from training.ranking_front import measure_ranking_front, ranking_validation
from training.served import served_reference
from training.trainer import Fit, fit

_CELL_BINS = 8

Measured = TypeVar("Measured", bound=BaseModel)

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


def train(
    dataset: Dataset, config: Config, repository: Repository, name: str, checkpoints: Path
) -> tuple[Artifact, Trained]:
    """Train, measure the front, export; returns the new artifact and the net behind it."""
    trained = train_net(dataset, config, checkpoints)
    log.info("measuring the front at %d tradeoffs", config.front.points)
    front = _measure(dataset, config, trained)
    log.info("exporting and proving parity")
    served = served_reference(
        trained.net, dataset, trained.known, trained.split, trained.calibration
    )
    artifact = export_artifact(
        trained.net,
        dataset,
        trained.known,
        front,
        served,
        trained.calibration,
        config,
        repository,
        name,
    )
    for done in (_checkpoint, _preparation):
        done(dataset, config, checkpoints).unlink(missing_ok=True)  # the next run is a new one
    return artifact, trained


def evaluate(dataset: Dataset, config: Config, seeds: int, runs: Path) -> Front:
    """Measure the front over ``seeds`` trainings; what ``runs`` holds already is not run again."""
    fronts = over_seeds(
        dataset,
        config,
        seeds,
        runs,
        "front",
        Front,
        lambda run: _measure(dataset, run, train_net(dataset, run, runs)),
    )
    return pool_fronts(fronts, config.front)


def over_seeds(
    dataset: Dataset,
    config: Config,
    seeds: int,
    runs: Path,
    what: str,
    schema: type[Measured],
    measure: Callable[[Config], Measured],
) -> list[Measured]:
    """Measure ``what`` for ``seeds`` seeds from ``config.seed`` on, each kept in ``runs``."""
    found = []
    for seed in range(config.seed, config.seed + seeds):
        run = config.model_copy(update={"seed": seed})
        path = runs / f"{run_key(dataset, run)}-{what}.json"
        if not path.exists():
            log.info("%s, seed %d", what, seed)
            measured = measure(run)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, measured.model_dump_json(indent=2).encode())
        found.append(schema.model_validate_json(path.read_bytes()))
    return found


def validation(dataset: Dataset, known: torch.Tensor, split: Split) -> Callable[[FrontNet], float]:
    """Return the selection rule: both ends of the front judged on logged validation rows.

    The mean of AUC at w = 1, and at w = 0 of the AUC of pairs that share a cell of proxy bins
    and position, where exposure can not tell the two apart. Of clicks alone there is no AUC:
    ``ranking_validation``.
    """
    if positives_only(dataset):
        return ranking_validation(dataset, known, split)
    impressions = dataset.impressions
    rows = split.validation
    label = impressions.label[rows]
    cell = np.zeros(len(rows), np.int64)
    columns = list(impressions.proxies[rows].T)
    if impressions.position is not None:
        columns.append(impressions.position[rows].astype(np.float32))
    for column in columns:
        if np.isnan(column).all():
            continue
        cuts = np.nanquantile(column, np.linspace(0, 1, _CELL_BINS + 1)[1:-1])
        code = np.where(np.isnan(column), len(cuts) + 1, np.digitize(column, cuts))
        cell = cell * (_CELL_BINS + 1) + code

    def value(net: FrontNet) -> float:
        debiased, logged = score_rows(net, dataset, known, rows, np.array([0.0, 1.0]))
        within = gauc(cell, label, debiased, weight="pairs")
        overall = auc(label, logged)
        return float(np.nanmean([overall, within]))

    return value


def run_key(dataset: Dataset, config: Config) -> str:
    """Name a run by its data, configuration and code: equal names are equal runs."""
    what = [dataset.fingerprint, config.model_dump(mode="json"), code_version()]
    text = json.dumps(what, sort_keys=True)
    return f"{config.model}-{config.seed}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def _checkpoint(dataset: Dataset, config: Config, checkpoints: Path) -> Path:
    return checkpoints / f"{run_key(dataset, config)}.pt"


def _preparation(dataset: Dataset, config: Config, checkpoints: Path) -> Path:
    return checkpoints / f"{run_key(dataset, config)}-prepared.pt"


def _measure(dataset: Dataset, config: Config, trained: Trained) -> Front:
    what = trained.net, dataset, trained.known, trained.split
    if positives_only(dataset):
        return measure_ranking_front(*what, config.front, config.seed)
    return measure_front(*what, trained.calibration, config.front, config.seed)
