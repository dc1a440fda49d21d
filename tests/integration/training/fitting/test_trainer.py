from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.integration.training.fitting.small_run import OPTIONS, Script, SmallRun, equal, weights
from training.errors import TrainingError
from training.fitting.batches import SlateBatches
from training.fitting.trainer import Fit


def test_training_learns(run: SmallRun) -> None:
    net = run.net()
    (batch,) = SlateBatches(run.dataset, np.arange(150), slate=4, batch_slates=99).epoch(
        torch.Generator()
    )
    before = net.eval().loss(batch).item()

    options = OPTIONS.model_copy(update={"epochs": 10})
    run.fit(net, Script(*range(20)), options)  # keeps the last weights

    assert net.eval().loss(batch).item() < before - 0.05


def test_the_seed_orders_the_batches(run: SmallRun, tmp_path: Path) -> None:
    nets = [run.net(), run.net(), run.net()]
    for index, (net, seed) in enumerate(zip(nets, (0, 0, 1), strict=True)):
        torch.manual_seed(5)
        run.fit(net, Script(*range(6)), seed=seed, checkpoint=tmp_path / f"{index}.pt")

    assert equal(weights(nets[0]), weights(nets[1]))
    assert not equal(weights(nets[0]), weights(nets[2]))


def test_every_epoch_has_an_order_of_its_own(
    run: SmallRun, monkeypatch: pytest.MonkeyPatch
) -> None:
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


def test_the_best_weights_are_restored(run: SmallRun) -> None:
    net, script = run.net(), Script(0.5, 0.7, 0.6, 0.7, 0.1, 0.2)

    result = run.fit(net, script)

    assert result == Fit(0.7, 1, 6, (0.5, 0.7, 0.6, 0.7, 0.1, 0.2))
    assert equal(weights(net), script.seen[1])  # of equals the first
    assert not equal(script.seen[1], script.seen[3])


@pytest.mark.parametrize(("patience", "evaluations"), [(1, 3), (2, 4), (3, 6), (4, 6)])
def test_patience_counts_evaluations_without_a_better_one(
    run: SmallRun, patience: int, evaluations: int
) -> None:
    script = Script(0.5, 0.7, 0.6, 0.7, 0.8, 0.7)
    options = OPTIONS.model_copy(update={"patience": patience})

    result = run.fit(run.net(), script, options)

    assert result.evaluations == evaluations
    assert result.best == (0.7 if evaluations < 6 else 0.8)


@pytest.mark.parametrize("evaluations", [1, 2, 3, 4, 5, 1000])
def test_evaluations_are_per_epoch_and_the_last_ends_it(run: SmallRun, evaluations: int) -> None:
    batches = len(run.batches())
    assert batches > 6
    options = OPTIONS.model_copy(update={"evaluations": evaluations, "epochs": 2})
    expected = 2 * min(evaluations, batches)

    script = Script(*range(expected))
    assert run.fit(run.net(), script, options).evaluations == expected
    saved = torch.load(run.checkpoint, weights_only=True)
    assert (saved["epoch"], saved["batch"]) == (2, 0)
    assert saved["steps"] == 2 * batches


def test_the_learning_rate_falls_geometrically(run: SmallRun) -> None:
    steps = 3 * len(run.batches())

    def rates() -> list[float]:
        """Return the rate of the last step, of weights and of tables."""
        saved = torch.load(run.checkpoint, weights_only=True)["optimizers"]
        return [group["lr"] for optimizer in saved for group in optimizer["param_groups"]]

    run.fit(run.net(), Script(*range(6)), stop_after=2)  # one epoch of three
    third = rates()
    run.fit(run.net(), Script(*range(2, 6)))

    share = 0.0004 / 0.02
    assert third == pytest.approx([0.02 * share ** ((steps / 3 - 1) / steps)] * 3, rel=1e-6)
    assert rates() == pytest.approx([0.02 * share ** ((steps - 1) / steps)] * 3, rel=1e-6)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_ends_training(
    run: SmallRun, value: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = run.net()
    start = weights(net)
    monkeypatch.setattr(net, "loss", lambda _: net.mu * value)

    with pytest.raises(TrainingError, match=rf"the loss became -?{value}; lower train\.lr"):
        run.fit(net)

    assert equal(weights(net), start)
    assert not run.checkpoint.exists()
