"""The cross entropy of a softmax over all items, in blocks that fit the processor's cache."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

_BLOCK = 2**19  # logits at a time, about
_WIDTH = 64  # users at a time, or a multiple: vector operations lose a third at other widths


def cross_entropy(
    user: Tensor, item: Tensor, bias: Tensor, row: Tensor, clicked: Tensor, weight: Tensor
) -> Tensor:
    """Return sum_r weight_r (logsumexp_i(logit_i) - logit_clicked_r), logits those of user row_r.

    A logit is user . item_i + bias_i: user (B, d), item (N, d), bias (N,). Of clicks: row (r,) in
    [0, B), clicked (r,) in [0, N) and weight (r,), which has no gradient.
    """
    with torch.autocast(user.device.type, enabled=False):
        inputs = (x.to(torch.promote_types(x.dtype, torch.float32)) for x in (user, item, bias))
        value: Tensor = _CrossEntropy.apply(*inputs, row, clicked, weight)  # type: ignore[no-untyped-call]  # torch types no apply
    return value


class _CrossEntropy(torch.autograd.Function):
    """Computes gradients with the loss, while the logits of a block are in the cache.

    On one core it takes half the time of torch's product and logsumexp, which pass over memory
    often, and it keeps no logits.
    """

    @staticmethod
    def forward(
        ctx: Any,
        user: Tensor,
        item: Tensor,
        bias: Tensor,
        row: Tensor,
        clicked: Tensor,
        weight: Tensor,
    ) -> Tensor:
        clicked_user, clicked_item = user[row], item[clicked]  # (r, d)
        logit = (clicked_user * clicked_item).sum(1) + bias[clicked]
        loss = -(weight * logit).sum()
        weighted = weight.to(user.dtype)[:, None]
        user_gradient = torch.zeros_like(user)
        item_gradient = torch.zeros_like(item).index_add_(0, clicked, -weighted * clicked_user)
        bias_gradient = torch.zeros_like(bias).index_add_(0, clicked, -weighted.squeeze(1))
        user_weight = torch.zeros_like(user[:, 0]).index_add_(0, row, weighted.squeeze(1))
        size = max(_WIDTH, _BLOCK // len(item) // _WIDTH * _WIDTH)
        blocks = (tensor.split(size) for tensor in (user, user_weight, user_gradient))
        for block, share, target in zip(*blocks, strict=True):
            part = torch.addmm(bias[:, None], item, block.transpose(0, 1))  # (N, b)
            greatest = part.amax(0)
            total = part.sub_(greatest).exp_().sum(0)  # (b,)
            loss += (share * (total.log() + greatest)).sum()
            scale = share / total
            torch.mm(part.transpose(0, 1), item, out=target).mul_(scale[:, None])
            item_gradient.addmm_(part, scale[:, None] * block)
            bias_gradient.addmv_(part, scale)
        user_gradient.index_add_(0, row, -weighted * clicked_item)
        ctx.save_for_backward(user_gradient, item_gradient, bias_gradient)
        return loss

    @staticmethod
    def backward(ctx: Any, *gradient: Tensor) -> tuple[Tensor | None, ...]:
        return *(gradient[0] * saved for saved in ctx.saved_tensors), None, None, None
