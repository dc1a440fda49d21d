from __future__ import annotations

import pytest
import torch
from torch import Tensor

from training.nets.painvrl import softmax
from training.nets.painvrl.softmax import log_partition


def drawn(users: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return user (B, 3), item (50, 3) and bias (50,), far enough from 0 to overflow an exp."""
    torch.manual_seed(0)
    shapes = ((users, 3), (50, 3), (50,))
    user, item, bias = (10.0 * torch.randn(shape) for shape in shapes)
    return user.requires_grad_(), item.requires_grad_(), bias.requires_grad_()


@pytest.mark.parametrize("users", [0, 1, 64, 150])
def test_blocks_give_the_logsumexp_and_its_gradients(
    users: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(softmax, "_BLOCK", 1)  # 64 users at a time
    inputs = drawn(users)
    toward = torch.linspace(0.5, 2.0, users)

    value = log_partition(*inputs)
    gradients = torch.autograd.grad(value @ toward, inputs)

    user, item, bias = inputs
    expected = (user @ item.T + bias).logsumexp(1)
    torch.testing.assert_close(value, expected, atol=1e-3, rtol=1e-4)
    for gradient, one in zip(
        gradients, torch.autograd.grad(expected @ toward, inputs), strict=True
    ):
        torch.testing.assert_close(gradient, one, atol=1e-3, rtol=1e-3)
