from __future__ import annotations

import copy
from collections.abc import Iterator

import pytest
import torch
from torch import distributed as dist

from tests.integration.training.fitting.small_run import OPTIONS, Script, SmallRun
from training.fitting import distributed
from training.fitting.trainer import Fit
from training.nets.cp2rec.decomposed import Cp2recDecomposed, Cp2recOptions


def test_a_further_process_follows_the_first_and_writes_nothing(
    run: SmallRun, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    broadcast: Iterator[bytes | float | None] = iter((None, 0.5, 0.7, 0.6, 0.4))
    monkeypatch.setattr(distributed, "rank", lambda: 1)
    monkeypatch.setattr(distributed, "world_size", lambda: 2)
    monkeypatch.setattr(distributed, "parallel_loss", lambda net: net.loss)
    monkeypatch.setattr(distributed, "from_first", lambda _: next(broadcast))

    result = run.fit(run.net(), Script(), OPTIONS.model_copy(update={"patience": 2}))

    assert result == Fit(0.7, 1, 4, (0.5, 0.7, 0.6, 0.4))
    assert not run.checkpoint.exists()
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("exposure_weight", [0.3, 0.0])  # at zero log_gamma is not used
def test_gradients_of_the_parallel_loss_are_those_of_the_loss(
    run: SmallRun, monkeypatch: pytest.MonkeyPatch, exposure_weight: float
) -> None:
    options = Cp2recOptions(dim=4, proxy_dropout=0, new_share=0, exposure_weight=exposure_weight)
    net = Cp2recDecomposed(run.batches().tables, options)
    plain = copy.deepcopy(net)
    store = dist.HashStore()  # type: ignore[attr-defined]  # not in the stubs
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
