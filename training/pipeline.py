"""From a dataset folder to an artifact, and from several seeds to one measured front."""

from __future__ import annotations

import logging
from pathlib import Path

from service.contract.artifact import Artifact
from service.contract.manifest import Front
from service.contract.repository import Repository
from training.config import Config
from training.data.dataset import Dataset
from training.data.split import positives_only
from training.evaluation.front import measure_front, pool_fronts
from training.evaluation.ranking_front import measure_ranking_front
from training.fitting.runs import over_seeds
from training.fitting.train_net import Trained, _checkpoint, _preparation, train_net
from training.release.bias_reference import bias_reference
from training.release.export import export_artifact

log = logging.getLogger(__name__)


def train(
    dataset: Dataset, config: Config, repository: Repository, name: str, checkpoints: Path
) -> tuple[Artifact, Trained]:
    """Train, measure the front, export; returns the new artifact and the net behind it."""
    trained = train_net(dataset, config, checkpoints)
    log.info("measuring the front at %d tradeoffs", config.front.points)
    front = _measure(dataset, config, trained)
    log.info("exporting and proving parity")
    reference = bias_reference(
        trained.net, dataset, trained.known, trained.split, trained.calibration
    )
    artifact = export_artifact(
        trained.net,
        dataset,
        trained.known,
        front,
        reference,
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


def _measure(dataset: Dataset, config: Config, trained: Trained) -> Front:
    what = trained.net, dataset, trained.known, trained.split
    if positives_only(dataset):
        return measure_ranking_front(*what, config.front, config.seed)
    return measure_front(*what, trained.calibration, config.front, config.seed)
