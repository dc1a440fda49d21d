from __future__ import annotations

import pytest
import torch
from torch import Tensor

from training.nets.painvrl import softmax
from training.nets.painvrl.softmax import cross_entropy


def drawn(users: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return user (B, 3), item (50, 3) and bias (50,), far enough from 0 to overflow an exp."""
    torch.manual_seed(0)
    shapes = ((users, 3), (50, 3), (50,))
    user, item, bias = (40.0 * torch.randn(shape, dtype=torch.float64) for shape in shapes)
    return user.requires_grad_(), item.requires_grad_(), bias.requires_grad_()


@pytest.mark.parametrize(("users", "clicks"), [(0, 0), (1, 3), (64, 40), (150, 400)])
def test_blocks_give_the_cross_entropy_and_its_gradients(
    users: int, clicks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(softmax, "_BLOCK", 1)  # 64 users at a time
    user, item, bias = inputs = drawn(users)
    row, clicked = (torch.randint(max(n, 1), (clicks,)) for n in (users, len(item)))
    weight = torch.rand(clicks, dtype=torch.float64)

    loss = 2.0 * cross_entropy(*inputs, row, clicked, weight)
    gradients = torch.autograd.grad(loss, inputs)

    log_softmax = (user @ item.T + bias).log_softmax(1)
    expected = -2.0 * (weight * log_softmax[row, clicked]).sum()
    torch.testing.assert_close(loss, expected)
    for gradient, one in zip(gradients, torch.autograd.grad(expected, inputs), strict=True):
        torch.testing.assert_close(gradient, one)
