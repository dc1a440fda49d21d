"""The training loop: epochs of slates, early stopping on validation, checkpoints."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from training.config import TrainOptions
from training.errors import TrainingError
from training.fitting import distributed
from training.fitting.batches import SlateBatches
from training.fitting.checkpoint import Checkpoint
from training.nets.base import FrontNet


@dataclass(frozen=True)
class Fit:
    """Validation values of a training: the best one, its index, their number, and all of them."""

    best: float
    best_evaluation: int
    evaluations: int
    history: tuple[float, ...]


NOT_FITTED = Fit(float("nan"), 0, 0, ())


def fit(
    net: FrontNet,
    batches: SlateBatches,
    validate: Callable[[], float],
    options: TrainOptions,
    *,
    seed: int,
    checkpoint: Path,
    stop_after: int | None = None,
) -> Fit:
    """Train ``net`` in place; it ends with the weights of its best evaluation (higher is better).

    Each evaluation writes ``checkpoint`` atomically. If it exists, training resumes from it and
    ends with the same weights as an uninterrupted run. After ``stop_after`` evaluations the run
    ends early, as if interrupted. Raises TrainingError if the loss becomes NaN or infinite.

    With several processes, each one calls this and ends with the same weights; only the first
    validates, writes and shows progress. A checkpoint resumes with any number of processes.
    """
    optimizer = torch.optim.Adam(net.parameters(), lr=options.lr, fused=True)
    steps = len(batches) * options.epochs
    decay = math.log(options.lr_final / options.lr)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: math.exp(decay * min(step, steps) / max(steps, 1))
    )
    state = _State(net, optimizer, schedule)
    store = Checkpoint(checkpoint)
    snapshot = store.load()
    if snapshot is not None:
        state.load(snapshot)
        if state.waited() >= options.patience:
            return state.finish()
    loss_of = distributed.parallel_loss(net)
    rank, processes = distributed.rank(), distributed.world_size()
    _seed_further_processes(seed, len(state.history))
    every = max(1, len(batches) // options.evaluations)
    with tqdm(
        total=batches.rows * options.epochs,
        unit=" rows",
        unit_scale=True,
        desc="train",
        mininterval=0.5,
        disable=not distributed.is_first(),
    ) as bar:
        bar.update(batches.rows * state.epoch)
        for epoch in range(state.epoch, options.epochs):
            # One generator per epoch: its order does not depend on earlier epochs.
            order = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
            for index, numbers in enumerate(batches.deal(order), 1):
                if epoch == state.epoch and index <= state.batch:
                    continue  # trained before the checkpoint
                net.train()
                optimizer.zero_grad(set_to_none=True)
                process_slates, weight = batches.share(numbers, rank, processes)
                loss = loss_of(batches.slates(process_slates))
                if not torch.isfinite(loss):
                    raise TrainingError(f"the loss became {loss.item()}; lower train.lr")
                (loss * weight).backward()
                optimizer.step()
                schedule.step()
                bar.update(batches.rows_in(numbers))
                last = index == len(batches)
                if last or (index % every == 0 and index // every < options.evaluations):
                    state.epoch, state.batch = (epoch + 1, 0) if last else (epoch, index)
                    state.note(distributed.from_first(validate))
                    store.save(state.snapshot())
                    _seed_further_processes(seed, len(state.history))
                    bar.set_postfix(loss=f"{loss.item():.4f}", valid=f"{state.history[-1]:.4f}")
                    if state.waited() >= options.patience or len(state.history) == stop_after:
                        return state.finish()
    return state.finish()


def _seed_further_processes(seed: int, evaluations: int) -> None:
    """Seed all processes but the first, each differently, and equally after a restart.

    The first process keeps its random state, which the checkpoint holds.
    """
    if not distributed.is_first():
        sequence = np.random.SeedSequence([seed, distributed.rank(), evaluations])
        torch.manual_seed(int(sequence.generate_state(1, np.uint64)[0]))


class _State:
    """The full state of a training: a resumed run equals an uninterrupted one."""

    def __init__(
        self,
        net: FrontNet,
        optimizer: torch.optim.Optimizer,
        schedule: torch.optim.lr_scheduler.LambdaLR,
    ) -> None:
        self._net, self._optimizer, self._schedule = net, optimizer, schedule
        self._best: dict[str, Any] = copy.deepcopy(net.state_dict())
        self.epoch, self.batch = 0, 0
        self.history: list[float] = []

    def note(self, value: float) -> None:
        if not self.history or value > max(self.history):
            self._best = copy.deepcopy(self._net.state_dict())
        self.history.append(value)

    def waited(self) -> int:
        return len(self.history) - 1 - self.history.index(max(self.history))

    def finish(self) -> Fit:
        self._net.load_state_dict(self._best)
        best = max(self.history)
        return Fit(best, self.history.index(best), len(self.history), tuple(self.history))

    def snapshot(self) -> dict[str, Any]:
        return {
            "net": self._net.state_dict(),
            "best": self._best,
            "optimizer": self._optimizer.state_dict(),
            "schedule": self._schedule.state_dict(),
            "random": torch.get_rng_state(),
            "epoch": self.epoch,
            "batch": self.batch,
            "history": self.history,
        }

    def load(self, saved: dict[str, Any]) -> None:
        self._net.load_state_dict(saved["net"])
        self._best = saved["best"]
        self._optimizer.load_state_dict(saved["optimizer"])
        self._schedule.load_state_dict(saved["schedule"])
        torch.set_rng_state(saved["random"])
        self.epoch, self.batch = saved["epoch"], saved["batch"]
        self.history = saved["history"]
