from __future__ import annotations

import copy
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch import distributed as dist

from training.config import TrainOptions
from training.data.dataset import Dataset
from training.errors import TrainingError
from training.fitting import distributed
from training.fitting.batches import SlateBatches, known_items
from training.fitting.scoring import score_rows
from training.fitting.trainer import Fit, fit
from training.metrics.auc import auc
from training.nets.base import FrontNet
from training.nets.cp2rec.decomposed import Cp2recDecomposed, Cp2recOptions

OPTIONS = TrainOptions(
    epochs=3, evaluations=2, patience=100, batch_slates=6, slate=4, lr=0.02, lr_final=0.0004
)
Weights = dict[str, Tensor]


@dataclass(frozen=True)
class Run:
    """A training run on the small dataset, from a net that ``init`` seeds."""

    dataset: Dataset
    checkpoint: Path

    def batches(self) -> SlateBatches:
        rows = np.flatnonzero(~self.dataset.impressions.uniform)[:150]
        return SlateBatches(self.dataset, rows, slate=4, batch_slates=6)

    def net(self, init: int = 0) -> Cp2recDecomposed:
        torch.manual_seed(init)
        options = Cp2recOptions(dim=4, proxy_bins=4, proxy_dropout=0.3)  # draws random numbers
        return Cp2recDecomposed(self.batches().tables, options)

    def measured(self, net: FrontNet) -> float:
        rows = np.arange(150, 180)
        known = known_items(self.batches().tables)
        logit = score_rows(net, self.dataset, known, rows, np.array([1.0]))[0]
        return auc(self.dataset.impressions.label[rows], logit)

    def fit(
        self,
        net: FrontNet,
        validate: Callable[[FrontNet], float] | None = None,
        options: TrainOptions = OPTIONS,
        **more: Any,
    ) -> Fit:
        return fit(
            net,
            self.batches(),
            validate or self.measured,
            options,
            **{"seed": 0, "checkpoint": self.checkpoint, **more},
        )


@pytest.fixture
def run(dataset: Dataset, tmp_path: Path) -> Run:
    return Run(dataset, tmp_path / "runs" / "toy.pt")


def weights(net: torch.nn.Module) -> Weights:
    return {name: value.clone() for name, value in net.state_dict().items()}


def equal(one: Weights, other: Weights) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


class Script:
    """A validation that plays given values and remembers the weights it saw."""

    def __init__(self, *values: float) -> None:
        self._values: Iterator[float] = iter(values)
        self.seen: list[Weights] = []

    def __call__(self, net: FrontNet) -> float:
        self.seen.append(weights(net))
        return next(self._values)


def test_training_learns(run: Run) -> None:
    net = run.net()
    (batch,) = SlateBatches(run.dataset, np.arange(150), slate=4, batch_slates=99).epoch(
        torch.Generator()
    )
    before = net.eval().loss(batch).item()

    options = OPTIONS.model_copy(update={"epochs": 10})
    run.fit(net, Script(*range(20)), options)  # keeps the last weights

    assert net.eval().loss(batch).item() < before - 0.05


@pytest.mark.parametrize("stop_after", [1, 2, 5])
def test_a_resumed_run_ends_at_the_same_weights(run: Run, tmp_path: Path, stop_after: int) -> None:
    # The best is the last, so that the restored weights are those of the end.
    def rising() -> Callable[[FrontNet], float]:
        return Script(*range(6))

    whole = run.net()
    expected = run.fit(whole, rising(), checkpoint=tmp_path / "whole.pt")
    run.fit(run.net(), rising(), stop_after=stop_after)
    resumed = run.net(init=1)  # also the generator is somewhere else

    found = run.fit(resumed, Script(*range(stop_after, 6)))

    assert found == expected
    assert found.history == (0, 1, 2, 3, 4, 5)
    assert equal(weights(resumed), weights(whole))


def test_a_resumed_run_has_the_history_of_an_uninterrupted_one(run: Run, tmp_path: Path) -> None:
    whole = run.net()
    expected = run.fit(whole, checkpoint=tmp_path / "whole.pt")
    run.fit(run.net(), stop_after=3)
    resumed = run.net(init=1)

    found = run.fit(resumed)

    assert found == expected
    assert len(set(found.history)) > 1
    assert found.best == max(found.history)
    assert equal(weights(resumed), weights(whole))


def test_a_finished_run_is_not_trained_again(run: Run) -> None:
    first, again = run.net(), run.net(init=1)
    expected = run.fit(first)

    assert run.fit(again, Script()) == expected
    assert equal(weights(again), weights(first))


def test_the_seed_orders_the_batches(run: Run, tmp_path: Path) -> None:
    nets = [run.net(), run.net(), run.net()]
    for index, (net, seed) in enumerate(zip(nets, (0, 0, 1), strict=True)):
        torch.manual_seed(5)
        run.fit(net, Script(*range(6)), seed=seed, checkpoint=tmp_path / f"{index}.pt")

    assert equal(weights(nets[0]), weights(nets[1]))
    assert not equal(weights(nets[0]), weights(nets[2]))


def test_every_epoch_has_an_order_of_its_own(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    net, orders = run.net(), list[list[int]]()
    original = SlateBatches.deal

    def watched(batches: SlateBatches, generator: torch.Generator) -> Iterator[Tensor]:
        dealt = list(original(batches, generator))
        orders.append(torch.cat(dealt).tolist())
        return iter(dealt)

    monkeypatch.setattr(SlateBatches, "deal", watched)
    run.fit(net, Script(*range(6)))

    assert len(orders) == 3
    assert len({tuple(order) for order in orders}) == 3
    assert len({tuple(sorted(order)) for order in orders}) == 1


def test_the_best_weights_are_restored(run: Run) -> None:
    net, script = run.net(), Script(0.5, 0.7, 0.6, 0.7, 0.1, 0.2)

    found = run.fit(net, script)

    assert found == Fit(0.7, 1, 6, (0.5, 0.7, 0.6, 0.7, 0.1, 0.2))
    assert equal(weights(net), script.seen[1])  # of equals the first
    assert not equal(script.seen[1], script.seen[3])


@pytest.mark.parametrize(("patience", "evaluations"), [(1, 3), (2, 4), (3, 6), (4, 6)])
def test_patience_counts_evaluations_without_a_better_one(
    run: Run, patience: int, evaluations: int
) -> None:
    script = Script(0.5, 0.7, 0.6, 0.7, 0.8, 0.7)
    options = OPTIONS.model_copy(update={"patience": patience})

    found = run.fit(run.net(), script, options)

    assert found.evaluations == evaluations
    assert found.best == (0.7 if evaluations < 6 else 0.8)


def test_a_run_out_of_patience_stays_so_when_resumed(run: Run) -> None:
    options = OPTIONS.model_copy(update={"patience": 1})
    expected = run.fit(run.net(), Script(0.5, 0.4), options)

    assert run.fit(run.net(init=1), Script(), options) == expected


@pytest.mark.parametrize("evaluations", [1, 2, 3, 4, 5, 1000])
def test_evaluations_are_per_epoch_and_the_last_ends_it(run: Run, evaluations: int) -> None:
    batches = len(run.batches())
    assert batches > 6
    options = OPTIONS.model_copy(update={"evaluations": evaluations, "epochs": 2})
    expected = 2 * min(evaluations, batches)

    script = Script(*range(expected))
    assert run.fit(run.net(), script, options).evaluations == expected
    saved = torch.load(run.checkpoint, weights_only=True)
    assert (saved["epoch"], saved["batch"]) == (2, 0)
    assert saved["schedule"]["last_epoch"] == 2 * batches


def test_the_learning_rate_falls_to_its_end(run: Run) -> None:
    run.fit(run.net(), Script(*range(6)), stop_after=2)  # one epoch of three
    third = torch.load(run.checkpoint, weights_only=True)["optimizer"]["param_groups"][0]["lr"]
    run.fit(run.net(), Script(*range(2, 6)))
    end = torch.load(run.checkpoint, weights_only=True)["optimizer"]["param_groups"][0]["lr"]

    assert third == pytest.approx(0.02 * 0.02 ** (1 / 3), rel=1e-6)  # 0.0004 / 0.02 = 0.02
    assert end == pytest.approx(0.0004, rel=1e-6)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_ends_training(
    run: Run, value: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = run.net()
    start = weights(net)
    monkeypatch.setattr(net, "loss", lambda _: net.mu * value)

    with pytest.raises(TrainingError, match=rf"the loss became -?{value}; lower train\.lr"):
        run.fit(net)

    assert equal(weights(net), start)
    assert not run.checkpoint.exists()


def test_a_checkpoint_leaves_nothing_beside_it(run: Run) -> None:
    run.fit(run.net())

    assert list(run.checkpoint.parent.iterdir()) == [run.checkpoint]


def test_an_interrupted_write_leaves_the_last_checkpoint(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run.net()
    expected = run.fit(whole, checkpoint=tmp_path / "whole.pt")
    run.fit(run.net(), stop_after=2)
    before = run.checkpoint.read_bytes()

    def half(_: object, file: io.BufferedWriter) -> None:
        file.write(b"half a checkpoint")
        raise OSError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", half)
        with pytest.raises(OSError, match="the disk is full"):
            run.fit(run.net(init=1))
    assert run.checkpoint.read_bytes() == before

    resumed = run.net(init=2)
    assert run.fit(resumed) == expected
    assert equal(weights(resumed), weights(whole))


def test_a_further_process_follows_the_first_and_writes_nothing(
    run: Run, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    told: Iterator[bytes | float | None] = iter((None, 0.5, 0.7, 0.6, 0.4))
    monkeypatch.setattr(distributed, "rank", lambda: 1)
    monkeypatch.setattr(distributed, "world_size", lambda: 2)
    monkeypatch.setattr(distributed, "parallel_loss", lambda net: net.loss)
    monkeypatch.setattr(distributed, "from_first", lambda _: next(told))

    found = run.fit(run.net(), Script(), OPTIONS.model_copy(update={"patience": 2}))

    assert found == Fit(0.7, 1, 4, (0.5, 0.7, 0.6, 0.4))
    assert not run.checkpoint.exists()
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("exposure_weight", [0.3, 0.0])  # at zero log_gamma is not used
def test_gradients_of_the_parallel_loss_are_those_of_the_loss(
    run: Run, monkeypatch: pytest.MonkeyPatch, exposure_weight: float
) -> None:
    options = Cp2recOptions(dim=4, proxy_dropout=0, new_share=0, exposure_weight=exposure_weight)
    net = Cp2recDecomposed(run.batches().tables, options)
    plain = copy.deepcopy(net)
    store = dist.HashStore()  # type: ignore[attr-defined]
    dist.init_process_group("gloo", store=store, rank=0, world_size=1)
    try:
        monkeypatch.setattr(distributed, "world_size", lambda: 2)  # of which this is one
        loss_of = distributed.parallel_loss(net)
        for batch in run.batches().epoch(torch.Generator().manual_seed(0)):
            for module, loss in ((net, loss_of), (plain, plain.loss)):
                module.zero_grad()
                loss(batch).backward()
            for weight, expected in zip(net.parameters(), plain.parameters(), strict=True):
                none = torch.zeros_like(weight)
                assert torch.equal(
                    none if weight.grad is None else weight.grad,
                    none if expected.grad is None else expected.grad,
                )
    finally:
        dist.destroy_process_group()
