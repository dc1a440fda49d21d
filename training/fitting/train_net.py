"""The training of one net: from a dataset and a configuration to a fitted net."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from training.arrays import Floats
from training.config import Config, load_config
from training.data.dataset import Dataset
from training.data.split import Split, positives_only, split_rows
from training.errors import ConfigError
from training.fitting.batches import SlateBatches, warm_items
from training.fitting.calibration import calibrate, exposure_scale
from training.fitting.checkpoint import Checkpoint
from training.fitting.device import chosen
from training.fitting.distributed import is_first
from training.fitting.exposure import exposure_offset, propensities
from training.fitting.fitted_net import FittedNet
from training.fitting.row_adagrad import Past
from training.fitting.runs import RunKey, RunStore
from training.fitting.selection import selection_rule
from training.fitting.trainer import fit
from training.fitting.warm_start import WarmStart
from training.nets.registry import architecture, build_net

PILOT_ROWS = 50_000

_TEACHER = "cp2rec"  # the teacher's configuration, unless the options of the net hold one


def train_net(
    dataset: Dataset,
    config: Config,
    runs: RunStore,
    *,
    start: WarmStart | None = None,
    stop_after: int | None = None,
) -> FittedNet:
    """Return the fitted net of ``config``; a checkpoint of the same run in ``runs`` is resumed.

    With ``start``, the net continues from an artifact's. After ``stop_after`` evaluations the run
    ends early. Raises ConfigError if the net needs skips and the dataset has none, or if it cannot
    continue from ``start``.
    """
    config = settle(dataset, config, runs)
    split = _split(dataset, config)
    checkpoints = Checkpoints.of(dataset, config, runs, start=start)
    fitted = _fitted(dataset, config, split, runs, checkpoints, start, stop_after)
    return fitted if positives_only(dataset) else _calibrated(fitted)


def settle(dataset: Dataset, config: Config, runs: RunStore) -> Config:
    """Return ``config`` with the best alternative of its net's options.

    Several alternatives train for half of the epochs on the rows of some users, ``PILOT_ROWS`` or
    fewer; the validation rows of these users choose.
    """
    alternatives = [config.model_copy(update={"net": net}) for net in config.net.alternatives()]
    if len(alternatives) == 1:
        return alternatives[0]
    values = [_pilot_value(dataset, run, runs) for run in alternatives]
    return alternatives[int(np.argmax(values))]


def _pilot_value(dataset: Dataset, config: Config, runs: RunStore) -> float:
    """Return the best validation value of a short training; equal ones train once."""

    def compute() -> dict[str, Floats]:
        split = _of_some_users(dataset, _split(dataset, config), config.seed)
        epochs = -(-config.train.epochs // 2)
        short = config.train.model_copy(update={"epochs": epochs})
        pilot = config.model_copy(update={"train": short})
        checkpoints = Checkpoints.of(dataset, pilot, runs, prefix="pilot-")
        value = _fitted(dataset, pilot, split, runs, checkpoints).fit.best
        checkpoints.remove()
        return {"value": np.array(value)}

    return float(runs.arrays(RunKey.of(dataset, config), "pilot", compute)["value"])


def _of_some_users(dataset: Dataset, split: Split, seed: int) -> Split:
    """Return the training and validation rows of about as many users as have ``PILOT_ROWS``.

    All of them where the rows of these users have one label only.
    """
    user, label = dataset.impressions.user, dataset.impressions.label
    share = min(1.0, PILOT_ROWS / len(split.train))
    chosen = np.random.default_rng(seed).random(len(dataset.user_ids)) < share
    train, validation = (rows[chosen[user[rows]]] for rows in (split.train, split.validation))
    if any(len(np.unique(label[rows])) < 2 for rows in (train, validation)):
        return split
    return replace(split, train=train, validation=validation)


def _split(dataset: Dataset, config: Config) -> Split:
    options = config.split
    return split_rows(dataset, validation=options.validation, test=options.test, seed=config.seed)


def _fitted(
    dataset: Dataset,
    config: Config,
    split: Split,
    runs: RunStore,
    checkpoints: Checkpoints,
    start: WarmStart | None = None,
    stop_after: int | None = None,
) -> FittedNet:
    """Return the net of a settled configuration, not calibrated."""
    if positives_only(dataset) and not architecture(config.net).learns_from_clicks_alone:
        raise ConfigError(
            f"{dataset.path} holds clicks alone, and net.architecture = "
            f"{config.net.architecture} needs skips too: train --model painvrl"
        )
    if start is not None:
        start.check_rows(dataset, split)
    batches = SlateBatches(
        dataset,
        split.train,
        slate=config.train.slate,
        batch_slates=config.train.batch_slates,
        steps=config.train.epoch_steps,
        attributes=None if start is None else start.state.attributes,
        **_exposure(dataset, config, split, runs),
    )
    torch.manual_seed(config.seed)
    net = build_net(config.net, batches.tables)
    warm = warm_items(batches.tables)
    past: list[Past] = []
    if start is not None:
        past = start.hand_over(net, dataset, batches.tables)
        warm |= start.known_items(dataset)
    fitting = FittedNet(net, dataset, split, warm)
    with runs.lock(checkpoints.training) if is_first() else nullcontext():
        if start is None:
            net.prepare(config.seed, Checkpoint(checkpoints.preparation))
        net.to(chosen())
        history = fit(
            net,
            batches,
            selection_rule(fitting),
            config.train,
            seed=config.seed,
            checkpoint=checkpoints.training,
            stop_after=stop_after,
            past=past,
        )
    return replace(fitting, fit=history)


def _calibrated(fitted: FittedNet) -> FittedNet:
    """Return the net with its exposure term scaled and w = 1 calibrated, on validation rows."""
    rows, ends = fitted.split.validation, np.array([0.0, 1.0])
    label = fitted.dataset.impressions.label[rows]
    if fitted.net.scalable:
        debiased, logged = fitted.score_rows(rows, ends)
        fitted.net.scale_exposure(exposure_scale(label, debiased, logged))
    return replace(fitted, calibration=calibrate(label, fitted.score_rows(rows, ends)[1]))


@dataclass(frozen=True)
class Checkpoints:
    """The files from which an interrupted run resumes."""

    training: Path
    preparation: Path

    @classmethod
    def of(
        cls,
        dataset: Dataset,
        config: Config,
        runs: RunStore,
        *,
        start: WarmStart | None = None,
        prefix: str = "",
    ) -> Checkpoints:
        """Return the files of the training of ``config`` on ``dataset``."""
        key = RunKey.of(dataset, config, None if start is None else start.digest)
        names = ("checkpoint", "preparation")
        return cls(*(runs.path(key, prefix + name, __name__, "pt") for name in names))

    def remove(self) -> None:
        """Remove the files, so that the next run starts anew."""
        for path in (self.training, self.preparation):
            path.unlink(missing_ok=True)


def _exposure(dataset: Dataset, config: Config, split: Split, runs: RunStore) -> dict[str, Floats]:
    """Return the exposure column (R,) of the training rows that the net's loss needs, if any."""
    if config.exposure is None or config.net.exposure == "none":
        return {}
    if config.net.exposure == "propensity":
        floor = config.exposure.propensity_floor
        return {"propensity": propensities(dataset, split.train, floor)}
    return {"offset": _offset(dataset, _teacher(config), config.exposure.draws, runs)}


def _offset(dataset: Dataset, teacher: Config, draws: int, runs: RunStore) -> Floats:
    """Return the teacher's offsets (R,) of the training rows; equal teachers train once."""

    def compute() -> dict[str, Floats]:
        fitted = train_net(dataset, teacher, runs)
        return {"offset": exposure_offset(fitted, draws=draws, seed=teacher.seed)}

    return runs.arrays(RunKey.of(dataset, teacher), f"offset-{draws}", compute)["offset"]


def _teacher(config: Config) -> Config:
    """Return the configuration of the teacher of ``config``."""
    if config.net.teacher is not None:
        return Config(**{**dict(config), "net": config.net.teacher, "exposure": None})
    update = {"seed": config.seed, "split": config.split}
    return load_config(_TEACHER).model_copy(update=update)
