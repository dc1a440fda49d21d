"""From a dataset to an artifact: fit, measure, release."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np

from service.contract.artifact import Artifact
from service.contract.repository import Repository
from training.config import Config
from training.data.dataset import Dataset
from training.data.summary import summarise
from training.evaluation.anchors.measure import measure_anchors
from training.evaluation.exposure_shares import exposure_shares
from training.evaluation.main_parameters import main_parameters
from training.evaluation.measure import measure_front
from training.evaluation.report.card import card_tradeoffs
from training.evaluation.report.schema import Origin, Report
from training.evaluation.user_groups import meaning
from training.fitting.fitted_net import FittedNet
from training.fitting.runs import RunStore
from training.fitting.train_net import Checkpoints, settle, train_net
from training.fitting.warm_start import training_state
from training.release.bias_reference import bias_reference
from training.release.export import default_tradeoff, export_artifact
from training.release.state import Continuation

log = logging.getLogger(__name__)


def train(
    dataset: Dataset,
    config: Config,
    repository: Repository,
    name: str,
    runs: RunStore,
    continuation: Continuation | None = None,
    origin: Origin | None = None,
) -> tuple[Artifact, FittedNet]:
    """Fit a net, measure its front, and add it to the repository; return artifact and net.

    A checkpoint of the same run in ``runs`` is resumed, and removed once the artifact is there.
    With a ``continuation``, the net starts as that of another artifact.
    """
    config = settle(dataset, config, runs)
    start = None if continuation is None else continuation.start
    checkpoints = Checkpoints.of(dataset, config, runs, start=start)
    fitted = train_net(dataset, config, runs, start=start)
    log.info("measuring the front at %d tradeoffs", config.front.points)
    front = measure_front(fitted, config.front, config.seed)
    log.info("measuring anchors: simple models on the same rows")
    front = front.model_copy(update={"anchors": measure_anchors(fitted, config, runs)})
    called = fitted.calibration.model_copy(
        update={"meaning": meaning(fitted.calibration, front.user_groups)}
    )
    fitted = replace(fitted, calibration=called)
    log.info("measuring what the model ranks by, and who is shown")
    default = default_tradeoff(config, front)
    tradeoffs = np.array(card_tradeoffs(front, default))
    parameters = main_parameters(fitted, tradeoffs, default)
    exposure = exposure_shares(fitted, tradeoffs)
    log.info("exporting and proving parity")
    reference = bias_reference(fitted)
    state = training_state(fitted, start)
    predecessor = None if continuation is None else continuation.predecessor
    report = Report(
        **front.model_dump(),
        baselines={},
        training=(fitted.fit.history,),
        parameters=parameters,
        exposure=exposure,
        data=summarise(dataset, fitted.split),
        origin=origin,
    )
    artifact = export_artifact(
        fitted, front, reference, config, repository, name, state, predecessor, report
    )
    checkpoints.remove()
    return artifact, fitted
