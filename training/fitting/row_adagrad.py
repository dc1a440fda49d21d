"""The optimizer of tables learned per id: its cost is that of the rows in a batch."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

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

    def past(self) -> tuple[Past, ...]:
        """Return the past of each table."""
        return tuple(Past(self._squares(group), group["step"]) for group in self.param_groups)

    def remember(self, past: Sequence[Past]) -> None:
        """Continue as after ``past``, one for each table, in order."""
        for group, memory in zip(self.param_groups, past, strict=True):
            group["step"] = memory.steps
            self.state[group["params"][0]]["squares"] = memory.squares.clone()

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]  # takes no closure
        """Update the rows that have a gradient."""
        for group in self.param_groups:
            group["step"] += 1
            (weight,) = group["params"]
            if weight.grad is not None:
                self._update(weight, weight.grad, group)

    def _update(self, weight: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        widths, all_squares = group["widths"], self._squares(group)
        rows, sums = sum_by_row(gradient)
        terms = sums.split(widths, dim=1)
        squares = torch.stack([term.square().mean(1) for term in terms], 1)  # (N, terms)
        total = all_squares.index_select(0, rows) + squares
        all_squares.index_copy_(0, rows, total)
        scale = total.clamp(min=torch.finfo(total.dtype).tiny).rsqrt()
        step = torch.cat([term * scale[:, [k]] for k, term in enumerate(terms)], 1)
        rate = group["lr"] * math.sqrt(min(group["step"], WINDOW))
        weight.index_add_(0, rows, step, alpha=-rate)

    def _squares(self, group: dict[str, Any]) -> Tensor:
        """Return s of a table's rows and terms (ids, terms)."""
        (weight,) = group["params"]
        state = self.state[weight]
        if not state:
            state["squares"] = weight.new_zeros(len(weight), len(group["widths"]))
        squares: Tensor = state["squares"]
        return squares
