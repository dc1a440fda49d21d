from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch.nn import functional as F  # noqa: N812  # its usual name

from training.nets.base import Slates
from training.nets.cp2rec.debiased_loss import debiased_loss


def one_slate(label: list[float], propensity: list[float]) -> Slates:
    """Return a slate of the first item, shown so many times to the first user."""
    rows = len(label)
    zeros = torch.zeros(rows, dtype=torch.int64)
    return Slates(
        user=zeros[:1],
        start=zeros[:1],
        slate=zeros,
        item=zeros,
        proxies=torch.zeros(rows, 1),
        label=torch.tensor(label),
        position=zeros,
        propensity=torch.tensor(propensity),
        offset=torch.zeros(rows),
    )


def test_debiasing_losses_by_hand() -> None:
    batch = one_slate([1.0, 0.0], [0.5, 0.25])
    logit = torch.tensor([math.log(3.0), 0.0])  # p = .75, .5
    click, skip = -math.log(0.75), -math.log(0.5)
    expected = {
        "ips": (2 * click + 4 * skip) / 2,
        "snips": (2 * click + 4 * skip) / 6,
        "pos": (2 * click + skip) / 2,
        "rel": ((2 * 0.0625 + (1 - 2) * 0.5625) + 0.25) / 2,
    }
    for kind, value in expected.items():
        assert debiased_loss(logit, batch, kind) == pytest.approx(value, abs=1e-6), kind  # type: ignore[arg-type]  # a key of the table


@pytest.mark.parametrize("kind", ["ips", "snips", "pos"])
def test_certain_exposure_leaves_plain_cross_entropy(kind: Any) -> None:
    batch = one_slate([1.0, 0.0, 1.0], [1.0, 1.0, 1.0])
    logit = torch.tensor([0.3, -2.0, 1.0])
    plain = F.binary_cross_entropy_with_logits(logit, batch.label)
    torch.testing.assert_close(debiased_loss(logit, batch, kind), plain)
