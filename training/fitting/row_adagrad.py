"""The optimizer of tables learned per id: its cost is that of the rows in a batch."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from training.nets.id_table import IdTable, sum_by_row

WINDOW = 1_000  # steps


class RowAdagrad(torch.optim.Optimizer):
    """Row-wise Adagrad whose steps are as long as Adam's.

    For each row and term, s sums the mean squares of the gradients g; step t adds

        - lr sqrt(min(t, WINDOW)) g / sqrt(s)

    to the row. Duchi et al., JMLR 2011, with one s per row as in Naumov et al., "Deep Learning
    Recommendation Model" (2019), and a learning rate that grows with t: up to ``WINDOW`` steps,
    g / sqrt(s / t) is Adam's step without momentum, the mean square taken over all steps. So an
    id of few rows takes long steps, as it does under Adam. State: one float per row and term.
    """

    def __init__(self, tables: Iterable[IdTable], lr: float) -> None:
        groups = [{"params": [table.weight], "widths": table.widths} for table in tables]
        super().__init__(groups, {"lr": lr, "step": 0})

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]  # takes no closure
        """Update the rows that have a gradient."""
        for group in self.param_groups:
            group["step"] += 1
            (weight,) = group["params"]
            if weight.grad is not None:
                self._update(weight, weight.grad, group)

    def _update(self, weight: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        widths = group["widths"]
        state = self.state[weight]
        if not state:
            state["squares"] = torch.zeros(len(weight), len(widths), device=weight.device)
        rows, sums = sum_by_row(gradient)
        terms = sums.split(widths, dim=1)
        squares = torch.stack([term.square().mean(1) for term in terms], 1)  # (N, terms)
        total = state["squares"].index_select(0, rows) + squares
        state["squares"].index_copy_(0, rows, total)
        scale = total.clamp(min=torch.finfo(total.dtype).tiny).rsqrt()
        step = torch.cat([term * scale[:, [k]] for k, term in enumerate(terms)], 1)
        rate = group["lr"] * math.sqrt(min(group["step"], WINDOW))
        weight.index_add_(0, rows, step, alpha=-rate)
