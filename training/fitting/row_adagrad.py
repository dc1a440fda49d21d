"""The optimizer of tables learned per id: its cost is that of the rows in a batch."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from training.nets.id_table import IdTable, sum_by_row

WINDOW = 1_000  # steps
_LEAST = 1e-30  # sum of squares of a row once trained


@dataclass(frozen=True)
class Past:
    """The optimizer's memory of a table: s of each row and term (ids, terms), and its steps."""

    squares: Tensor
    steps: int

    def of_rows(self, ids: int, now: Tensor, then: Tensor) -> Past:
        """Return the past of a table of ``ids`` whose rows ``now`` (N,) are ``then`` here."""
        squares = self.squares.new_zeros(ids, self.squares.shape[1])
        squares[now] = self.squares[then]
        return Past(squares, self.steps)

    def faded(self, share: float) -> Past:
        """Return the past with a ``share`` of its sums, so that known rows take longer steps.

        No sum becomes 0, which is that of a row never trained.
        """
        faded = (share * self.squares).clamp(min=_LEAST)
        return Past(faded.where(self.squares > 0, 0.0), self.steps)


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

    def past(self) -> tuple[Past, ...]:
        """Return the past of each table."""
        groups = zip(self.param_groups, self._tables, strict=True)
        return tuple(Past(self._squares(table), group["step"]) for group, table in groups)

    def remember(self, past: Sequence[Past]) -> None:
        """Continue as after ``past``, one for each table, in order."""
        for group, memory in zip(self.param_groups, past, strict=True):
            group["step"] = memory.steps
            self.state[group["params"][0]]["squares"] = memory.squares.clone()

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]  # takes no closure
        """Update the rows that have a gradient."""
        for group, table in zip(self.param_groups, self._tables, strict=True):
            group["step"] += 1
            if table.weight.grad is not None:
                rate = group["lr"] * math.sqrt(min(group["step"], WINDOW))
                self._update(table, table.weight.grad, rate)

    def _update(self, table: IdTable, gradient: Tensor, rate: float) -> None:
        all_squares = self._squares(table)
        rows, sums = sum_by_row(gradient)
        total = all_squares.index_select(0, rows) + table.means(sums.square())  # (N, terms)
        all_squares.index_copy_(0, rows, total)
        scale = total.clamp(min=torch.finfo(total.dtype).tiny).rsqrt()
        scale *= table.pace.index_select(0, rows).unsqueeze(1)
        step = sums * table.spread(scale)
        # The rows are distinct; index_add_ is slower.
        weight = table.weight
        weight.index_copy_(0, rows, weight.index_select(0, rows).sub_(step, alpha=rate))

    def _squares(self, table: IdTable) -> Tensor:
        """Return s of a table's rows and terms (ids, terms)."""
        state = self.state[table.weight]
        if not state:
            state["squares"] = table.weight.new_zeros(len(table.weight), len(table.widths))
        squares: Tensor = state["squares"]
        return squares
