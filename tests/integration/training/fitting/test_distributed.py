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
    monkeypatch.setattr(distributed, "send_parameters", lambda _: None)
    monkeypatch.setattr(distributed, "average_gradients", lambda _: None)
    monkeypatch.setattr(distributed, "from_first", lambda _: next(broadcast))

    result = run.fit(run.net(), Script(), OPTIONS.model_copy(update={"patience": 2}))

    assert result == Fit(0.7, 1, 4, (0.5, 0.7, 0.6, 0.4))
    assert not run.checkpoint.exists()
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("exposure_weight", [0.3, 0.0])  # at zero log_gamma is not used
def test_the_gradients_of_one_process_stay_as_they_are(
    run: SmallRun, monkeypatch: pytest.MonkeyPatch, exposure_weight: float
) -> None:
    options = Cp2recOptions(dim=4, proxy_dropout=0, new_share=0, exposure_weight=exposure_weight)
    net = Cp2recDecomposed(run.batches().tables, options)
    plain = copy.deepcopy(net)
    store = dist.HashStore()  # type: ignore[attr-defined]  # not in the stubs
    dist.init_process_group("gloo", store=store, rank=0, world_size=1)
    try:
        monkeypatch.setattr(distributed, "_alone", lambda: False)
        for batch in run.batches().epoch(torch.Generator().manual_seed(0)):
            for module in (net, plain):
                module.zero_grad()
                module.loss(batch).backward()
            distributed.average_gradients(net)
            for weight, expected in zip(net.parameters(), plain.parameters(), strict=True):
                if expected.grad is None:
                    assert weight.grad is None
                    continue
                assert weight.grad is not None
                assert torch.equal(weight.grad.to_dense(), expected.grad.to_dense())
    finally:
        dist.destroy_process_group()
