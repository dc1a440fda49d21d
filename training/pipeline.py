"""From a dataset to an artifact: fit, measure, release."""

from __future__ import annotations

import logging
from dataclasses import replace

from service.contract.artifact import Artifact
from service.contract.repository import Repository
from training.config import Config
from training.data.dataset import Dataset
from training.evaluation.anchors.measure import measure_anchors
from training.evaluation.measure import measure_front
from training.evaluation.user_groups import meaning
from training.fitting.fitted_net import FittedNet
from training.fitting.runs import RunStore
from training.fitting.train_net import Checkpoints, settle, train_net
from training.release.bias_reference import bias_reference
from training.release.export import export_artifact

log = logging.getLogger(__name__)


def train(
    dataset: Dataset, config: Config, repository: Repository, name: str, runs: RunStore
) -> tuple[Artifact, FittedNet]:
    """Fit a net, measure its front, and add it to the repository; return artifact and net.

    A checkpoint of the same run in ``runs`` is resumed, and removed once the artifact is there.
    """
    config = settle(dataset, config, runs)
    fitted = train_net(dataset, config, runs)
    log.info("measuring the front at %d tradeoffs", config.front.points)
    front = measure_front(fitted, config.front, config.seed)
    log.info("measuring anchors: simple models on the same rows")
    front = front.model_copy(update={"anchors": measure_anchors(fitted, config, runs)})
    called = fitted.calibration.model_copy(
        update={"meaning": meaning(fitted.calibration, front.user_groups)}
    )
    fitted = replace(fitted, calibration=called)
    log.info("exporting and proving parity")
    reference = bias_reference(fitted)
    artifact = export_artifact(fitted, front, reference, config, repository, name)
    Checkpoints.of(dataset, config, runs).remove()
    return artifact, fitted
