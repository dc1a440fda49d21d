"""The partition function of a softmax over many items, in blocks that fit the processor's cache."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

_BLOCK = 2**19  # logits at a time, about
_WIDTH = 64  # users at a time, or a multiple: vector operations lose a third at other widths


def log_partition(user: Tensor, item: Tensor, bias: Tensor) -> Tensor:
    """Return logsumexp_i(user . item_i + bias_i) (B,) of user (B, d), item (N, d), bias (N,)."""
    with torch.autocast(user.device.type, enabled=False):
        inputs = (x.to(torch.promote_types(x.dtype, torch.float32)) for x in (user, item, bias))
        value: Tensor = _LogPartition.apply(*inputs)  # type: ignore[no-untyped-call]  # torch types no apply
    return value


class _LogPartition(torch.autograd.Function):
    """Twice as fast on one core as torch's product and logsumexp, which pass over memory often."""

    @staticmethod
    def forward(ctx: Any, user: Tensor, item: Tensor, bias: Tensor) -> Tensor:
        parts, greatest, sums = [], [], []
        for block in user.split(_users(item)):
            part = torch.addmm(bias[:, None], item, block.transpose(0, 1))  # (N, b)
            greatest.append(part.amax(0))
            part.sub_(greatest[-1]).exp_()
            sums.append(part.sum(0))
            parts.append(part)
        ctx.parts, total = parts, torch.cat(sums)
        ctx.save_for_backward(user, item, total)
        return total.log() + torch.cat(greatest)

    @staticmethod
    def backward(ctx: Any, *gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        user, item, total = ctx.saved_tensors
        scale = gradient[0] / total  # (B,)
        scaled_user, size = scale[:, None] * user, _users(item)
        user_gradient, item_gradient = torch.empty_like(user), torch.zeros_like(item)
        bias_gradient = torch.zeros_like(item[:, 0])
        blocks = (tensor.split(size) for tensor in (scale, scaled_user, user_gradient))
        for part, weight, weighted, target in zip(ctx.parts, *blocks, strict=True):
            torch.mm(part.transpose(0, 1), item, out=target)
            item_gradient.addmm_(part, weighted)
            bias_gradient.addmv_(part, weight)
        return user_gradient.mul_(scale[:, None]), item_gradient, bias_gradient


def _users(item: Tensor) -> int:
    return max(_WIDTH, _BLOCK // len(item) // _WIDTH * _WIDTH)
