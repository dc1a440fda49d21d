"""LightGCN's propagation over who clicked what (He et al., SIGIR 2020)."""

from __future__ import annotations

import torch
from torch import Tensor

from training.nets.environments import Clicks


class Propagation:
    """Means over layers 0 to L of embeddings that travel along clicks; a constant of a net."""

    def __init__(self, clicks: Clicks, users: int, items: int, layers: int) -> None:
        self.layers = layers
        pairs = torch.stack([clicks.user, clicks.item]).unique(
            dim=1
        )  # a repeated click counts once
        user, item = pairs
        degree = torch.bincount(user, minlength=users), torch.bincount(item, minlength=items)
        weight = (degree[0][user] * degree[1][item]).float().rsqrt()
        self._to_users = _sparse(pairs, weight, (users, items))
        self._to_items = _sparse(pairs.flip(0), weight, (items, users))

    def __call__(self, user: Tensor, item: Tensor) -> tuple[Tensor, Tensor]:
        """Return users (U, d) and items (I, d) after propagation of what they were."""
        user_sum, item_sum = user, item
        for _ in range(self.layers):
            user, item = (
                _product(self._to_users, self._to_items, item),
                _product(self._to_items, self._to_users, user),
            )
            user_sum, item_sum = user_sum + user, item_sum + item
        return user_sum / (self.layers + 1), item_sum / (self.layers + 1)


class _Product(torch.autograd.Function):
    """Sparse times dense, with the transpose at hand: torch would sort it anew in each step."""

    @staticmethod
    def forward(ctx, matrix, transpose, dense):  # type: ignore[no-untyped-def]  # torch's protocol
        ctx.transpose = transpose
        return torch.sparse.mm(matrix, dense)

    @staticmethod
    def backward(ctx, gradient):  # type: ignore[no-untyped-def]
        return None, None, torch.sparse.mm(ctx.transpose, gradient)


def _product(matrix: Tensor, transpose: Tensor, dense: Tensor) -> Tensor:
    product: Tensor = _Product.apply(matrix, transpose, dense)  # type: ignore[no-untyped-call]
    return product


def _sparse(pairs: Tensor, weight: Tensor, shape: tuple[int, int]) -> Tensor:
    return torch.sparse_coo_tensor(pairs, weight, shape, check_invariants=False).coalesce()
