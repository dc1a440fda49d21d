"""The optimizer of tables learned per id: its cost is that of the rows in a batch."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor

from training.nets.id_table import IdTable, sum_by_row

WINDOW = 1_000  # steps


class RowAdagrad(torch.optim.Optimizer):
    """Row-wise Adagrad whose steps are as long as Adam's.

    For each row and term, s sums the mean squares of the gradients g. Step t adds to the row

        - lr sqrt(min(t, WINDOW)) pace g / sqrt(s)

    Duchi et al., JMLR 2011, with one s per row as in Naumov et al., "Deep Learning Recommendation
    Model" (2019), and a learning rate that grows with t: up to ``WINDOW`` steps, g / sqrt(s / t) is
    Adam's step without momentum, the mean square taken over all steps. So an id of few rows takes
    long steps, as it does under Adam; its table's ``pace`` shortens them. State: one float per row
    and term.
    """

    def __init__(self, tables: Iterable[IdTable], lr: float) -> None:
        self._tables = tuple(tables)
        groups = [{"params": [table.weight]} for table in self._tables]
        super().__init__(groups, {"lr": lr, "step": 0})

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]  # takes no closure
        """Update the rows that have a gradient."""
        for group, table in zip(self.param_groups, self._tables, strict=True):
            group["step"] += 1
            if table.weight.grad is not None:
                rate = group["lr"] * math.sqrt(min(group["step"], WINDOW))
                self._update(table, table.weight.grad, rate)

    def _update(self, table: IdTable, gradient: Tensor, rate: float) -> None:
        weight, state = table.weight, self.state[table.weight]
        if not state:
            state["squares"] = weight.new_zeros(len(weight), len(table.widths))
        rows, sums = sum_by_row(gradient)
        squares = table.means(sums.square())  # (N, terms)
        total = state["squares"].index_select(0, rows) + squares
        state["squares"].index_copy_(0, rows, total)
        scale = total.clamp(min=torch.finfo(total.dtype).tiny).rsqrt()
        scale *= table.pace.index_select(0, rows).unsqueeze(1)
        step = sums * table.spread(scale)
        # The rows are distinct; index_add_ is slower.
        weight.index_copy_(0, rows, weight.index_select(0, rows).sub_(step, alpha=rate))
