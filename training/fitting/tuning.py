"""The search of options on validation rows: ``train --tune``.

Optuna's TPE proposes the options of each trial from the values of those before it (Bergstra et al.,
NIPS 2011). The first trial has the untuned options. The run store holds the value of each trial, so
that an interrupted search, run again, repeats its proposals without their trainings. No trial is
pruned: the learning rate falls over ``train.epochs``, so that early values of trials with different
epochs do not compare.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import TrialState
from pydantic import BaseModel

from training.config import Config, Tuning, value_of, with_values
from training.data.dataset import Dataset
from training.errors import ConfigError, TrainingError
from training.fitting.distributed import launched
from training.fitting.runs import RunKey, RunStore
from training.fitting.train_net import Checkpoints, settle, train_net
from training.nets.registry import architecture

_DIGITS = 3  # significant ones of a proposed value
_RANDOM_TRIALS = 6  # before the values of trials guide the proposals

Space = Mapping[str, BaseDistribution]

log = logging.getLogger(__name__)


class _Trial(BaseModel):
    """The best validation value of a training and its CPU time in seconds."""

    value: float
    cpu_s: float


@dataclass(frozen=True)
class _Finished:
    """A trial with a value; ``number`` counts from 1."""

    number: int
    config: Config
    value: float


def search_space(config: Config, stated: frozenset[str]) -> Space:
    """Return the ranges of the options to search: those of the architecture but the ``stated``.

    Raises ConfigError if there are none, and under torchrun.
    """
    if launched():
        raise ConfigError(
            "--tune runs in one process: tune without torchrun, then train with the options chosen"
        )
    space = architecture(config.net).search_space(config.net)
    left = {key: values for key, values in space.items() if key not in stated}
    if not left:
        known = f"state {', '.join(space)}; leave one out" if space else "has none to search"
        subject = "--set and --config" if space else f"net.architecture = {config.net.architecture}"
        raise ConfigError(f"--tune: {subject} {known}")
    return left


def tune(dataset: Dataset, config: Config, space: Space, trials: int, runs: RunStore) -> Config:
    """Return ``config`` with the options of the greatest validation value among ``trials``.

    Ties go to the earlier trial. The value is that of early stopping (``selection_rule``): test
    rows are not read. A trial that raises TrainingError has no value, and the search goes on; that
    of the untuned options is raised. The checkpoint of the best trial stays in ``runs``.
    """
    config = settle(dataset, config, runs)
    study = _study(config, space)
    finished: list[_Finished] = []
    cpu_s = 0.0
    for number in range(1, trials + 1):
        proposal = study.ask(dict(space))
        options = {key: _rounded(value) for key, value in proposal.params.items()}
        candidate = with_values(config, options)
        start = time.process_time()
        try:
            trial = _result(dataset, candidate, runs)
        except TrainingError as error:
            if not finished:
                raise
            study.tell(proposal, state=TrialState.FAIL)
            cpu_s += time.process_time() - start
            Checkpoints.of(dataset, candidate, runs).remove()
            log.warning("trial %d of %d failed: %s", number, trials, error)
            continue
        study.tell(proposal, trial.value)
        cpu_s += trial.cpu_s
        finished.append(_Finished(number, candidate, trial.value))
        if number == 1:
            _say_cost(space, trials, cpu_s)
        best = _best(finished)
        for beaten in (_best(finished[:-1] or finished), finished[-1]):
            if beaten.config != best.config:
                Checkpoints.of(dataset, beaten.config, runs).remove()
        log.info(
            "trial %d of %d: %.4f; best %.4f (trial %d), untuned %.4f",
            *(number, trials, trial.value, best.value, best.number, finished[0].value),
        )
    log.info("%d trials took %.1f core-minutes", trials, cpu_s / 60)
    best = _best(finished)
    tuning = Tuning(
        trials=trials,
        failed=trials - len(finished),
        untuned=finished[0].value,
        best=best.value,
        searched=tuple(space),
    )
    return best.config.model_copy(update={"tuning": tuning})


def _study(config: Config, space: Space) -> optuna.Study:
    """Return a study in memory, whose first proposal are the options of ``config``."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = optuna.samplers.TPESampler(seed=config.seed, n_startup_trials=_RANDOM_TRIALS)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    study.enqueue_trial({key: value_of(config, key) for key in space})
    return study


def _best(finished: list[_Finished]) -> _Finished:
    return max(finished, key=lambda trial: trial.value)  # the first of equal ones


def _say_cost(space: Space, trials: int, cpu_s: float) -> None:
    log.info(
        "searching %s: %d trials of about %.0f core-seconds, about %.1f core-minutes in all; after "
        "Ctrl-C the same command goes on",
        *(", ".join(space), trials, cpu_s, trials * cpu_s / 60),
    )


def _result(dataset: Dataset, config: Config, runs: RunStore) -> _Trial:
    key = RunKey.of(dataset, config)
    return runs.result(key, "trial", _Trial, _train, dataset, config, runs)


def _train(dataset: Dataset, config: Config, runs: RunStore) -> _Trial:
    start = time.process_time()
    value = train_net(dataset, config, runs).fit.best
    if not math.isfinite(value):
        raise TrainingError(f"the validation value is {value}")
    return _Trial(value=value, cpu_s=time.process_time() - start)


def _rounded(value: Any) -> Any:
    return float(f"{value:.{_DIGITS}g}") if isinstance(value, float) else value
