"""The training loop: epochs of slates, early stopping on validation, checkpoints."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from training.config import Precision, TrainOptions
from training.errors import TrainingError
from training.fitting import distributed
from training.fitting.batches import SlateBatches
from training.fitting.checkpoint import Checkpoint
from training.fitting.device import random_states, restore_random_states
from training.fitting.row_adagrad import Past, RowAdagrad
from training.nets.base import FrontNet
from training.nets.id_table import dense_parameters, id_tables


@dataclass(frozen=True)
class Fit:
    """Validation values of a training: the best one, its index, their number, and all of them.

    past: that of the optimizer of tables of ids, one for each table, for a later training.
    """

    best: float
    best_evaluation: int
    evaluations: int
    history: tuple[float, ...]
    past: tuple[Past, ...] = field(default=(), compare=False, repr=False)


_CHECK_STEPS = 64  # between checks of an accelerator's losses

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
    past: Sequence[Past] = (),
) -> Fit:
    """Train ``net`` in place; it ends with the weights of its best evaluation (higher is better).

    Each evaluation writes ``checkpoint`` atomically. If it exists, training resumes from it and
    ends with the same weights as an uninterrupted run. After ``stop_after`` evaluations the run
    ends early, as if interrupted. ``past`` is that of the tables of ids, if the weights are an
    earlier training's. Raises TrainingError if the loss becomes NaN or infinite.

    With several processes, each one calls this and ends with the same weights; only the first
    validates, writes and shows progress. A checkpoint resumes with any number of processes.
    """
    state = _State(net, options, len(batches) * options.epochs, past)
    store = Checkpoint(checkpoint)
    snapshot = store.load()
    if snapshot is not None:
        state.load(snapshot)
        if state.waited() >= options.patience:
            return state.finish()
    distributed.send_parameters(net)
    batches.place(net.device)
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
        for epoch, index, numbers in _remaining_batches(batches, state, options.epochs, seed):
            loss = _step(state, batches, numbers)
            bar.update(batches.rows_in(numbers))
            last = index == len(batches)
            if not last and (index % every or index // every >= options.evaluations):
                continue
            state.check_losses()
            state.epoch, state.batch = (epoch + 1, 0) if last else (epoch, index)
            state.record(distributed.from_first(validate))
            store.save(state.snapshot())
            _seed_further_processes(seed, len(state.history))
            bar.set_postfix(loss=f"{loss.item():.4f}", valid=f"{state.history[-1]:.4f}")
            if state.waited() >= options.patience or len(state.history) == stop_after:
                break
    return state.finish()


def _remaining_batches(
    batches: SlateBatches, state: _State, epochs: int, seed: int
) -> Iterator[tuple[int, int, Tensor]]:
    """Yield the batches after the checkpoint: epoch, index from 1, and slate numbers (B,)."""
    first_epoch, trained_batches = state.epoch, state.batch
    for epoch in range(first_epoch, epochs):
        # One generator per epoch: its order does not depend on earlier epochs.
        order = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
        for index, numbers in enumerate(batches.deal(order), 1):
            if epoch > first_epoch or index > trained_batches:
                yield epoch, index, numbers


def _step(state: _State, batches: SlateBatches, numbers: Tensor) -> Tensor:
    """Take a step on this process's share of the slates ``numbers`` (B,); return its mean loss."""
    net = state.net
    if not net.training:  # a walk over all modules
        net.train()
    for parameter in state.parameters:
        parameter.grad = None
    process_slates, weight = batches.share(numbers, distributed.rank(), distributed.world_size())
    batch = batches.slates(process_slates)
    with in_precision(state.precision, net.device):
        loss = net.loss(batch)
    state.watch(loss)
    (loss * weight).backward()
    distributed.average_gradients(net)
    state.step()
    return loss


def in_precision(precision: Precision, device: torch.device) -> AbstractContextManager[Any]:
    """Return the context of a loss: with ``bfloat16``, matrix products are in that type."""
    if precision == "float32":
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16)


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
        self, net: FrontNet, options: TrainOptions, steps: int, past: Sequence[Past]
    ) -> None:
        self.net, self._options, self._steps = net, options, max(steps, 1)
        self.parameters = tuple(net.parameters())
        self.precision = options.precision
        self._optimizers: list[torch.optim.Optimizer] = [
            torch.optim.Adam(dense_parameters(net), lr=options.lr, fused=True)
        ]
        if tables := id_tables(net):
            of_rows = RowAdagrad(tables, options.lr)
            if past:
                of_rows.remember(past)
            self._optimizers.append(of_rows)
        self._taken = 0
        self._losses = torch.zeros((), device=net.device)  # since the last check
        self._best: dict[str, Any] = copy.deepcopy(net.state_dict())  # copied into, not anew
        self.epoch, self.batch = 0, 0
        self.history: list[float] = []

    def watch(self, loss: Tensor) -> None:
        """Check ``loss``, on an accelerator every ``_CHECK_STEPS``: a check waits for its work."""
        self._losses += loss.detach()
        if loss.device.type == "cpu" or self._taken % _CHECK_STEPS == 0:
            self.check_losses()

    def step(self) -> None:
        """Update the weights; the learning rate falls geometrically from lr to lr_final."""
        options, share = self._options, min(self._taken / self._steps, 1.0)
        rate = options.lr * (options.lr_final / options.lr) ** share
        for optimizer in self._optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate
            optimizer.step()
        self._taken += 1

    def check_losses(self) -> None:
        """Raise TrainingError if a loss since the last check is NaN or infinite."""
        total = self._losses.item()
        if not math.isfinite(total):
            raise TrainingError(f"the loss became {total}; lower train.lr")
        self._losses.zero_()

    def record(self, value: float) -> None:
        """Add the value of an evaluation; copy the weights if it is the best so far."""
        if not self.history or value > max(self.history):
            for name, weight in self.net.state_dict().items():
                self._best[name].copy_(weight)
        self.history.append(value)

    def waited(self) -> int:
        """Return the number of evaluations since the best one."""
        return len(self.history) - 1 - self.history.index(max(self.history))

    def finish(self) -> Fit:
        """Restore the best weights."""
        self.net.load_state_dict(self._best)
        best = max(self.history)
        history = tuple(self.history)
        past = [o.past() for o in self._optimizers if isinstance(o, RowAdagrad)]
        return Fit(best, history.index(best), len(history), history, *past)

    def snapshot(self) -> dict[str, Any]:
        return {
            "net": self.net.state_dict(),
            "best": self._best,
            "optimizers": [optimizer.state_dict() for optimizer in self._optimizers],
            "steps": self._taken,
            "random": random_states(self.net.device),
            "epoch": self.epoch,
            "batch": self.batch,
            "history": self.history,
        }

    def load(self, saved: dict[str, Any]) -> None:
        self.net.load_state_dict(saved["net"])
        for name, weight in saved["best"].items():
            self._best[name].copy_(weight)
        for optimizer, optimizer_state in zip(self._optimizers, saved["optimizers"], strict=True):
            optimizer.load_state_dict(optimizer_state)
        self._taken = saved["steps"]
        restore_random_states(self.net.device, saved["random"])
        self.epoch, self.batch = saved["epoch"], saved["batch"]
        self.history = saved["history"]
