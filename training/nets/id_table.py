"""A table of values learned per id. A training step reads and updates the rows of its batch."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class IdTable(nn.Embedding):
    """Rows of values learned per id, one or more terms side by side, all zero at first.

    ``terms`` names the terms and their widths. Gradients are sparse, for ``RowAdagrad``, whose
    steps ``pace`` (ids,) shortens.
    """

    pace: Tensor
    _columns: Tensor
    _mean: Tensor

    def __init__(self, ids: int, **terms: int) -> None:
        super().__init__(ids, sum(terms.values()), sparse=True)
        nn.init.zeros_(self.weight)
        self.register_buffer("pace", torch.ones(ids), persistent=False)
        self.widths = tuple(terms.values())
        self._names = tuple(terms)
        width = torch.tensor(self.widths)
        columns = torch.eye(len(width)).repeat_interleave(width, dim=1)  # (terms, D)
        self.register_buffer("_columns", columns, persistent=False)
        self.register_buffer("_mean", (columns / width[:, None]).T, persistent=False)

    def term(self, name: str) -> Tensor:
        """Return the columns (ids, width) of a term, a view that has no gradient."""
        columns: Tensor = self.weight.detach().split(self.widths, dim=1)[self._names.index(name)]
        return columns

    def means(self, values: Tensor) -> Tensor:
        """Return the means (N, terms) over the columns of each term of values (N, D)."""
        return values @ self._mean

    def spread(self, values: Tensor) -> Tensor:
        """Return values (N, D): those of the terms (N, terms), in all columns of each."""
        return values @ self._columns

    def rows(self, index: Tensor | None = None) -> Tensor:
        """Return the rows (B, sum of widths) of ids (B,), or the whole table."""
        if index is None:
            return self.weight
        rows: Tensor = self(index)
        return rows


def id_tables(net: nn.Module) -> list[IdTable]:
    """Return all tables of a net."""
    return [module for module in net.modules() if isinstance(module, IdTable)]


def dense_parameters(net: nn.Module) -> list[nn.Parameter]:
    """Return the parameters of a net that are no table."""
    tables = {id(table.weight) for table in id_tables(net)}
    return [parameter for parameter in net.parameters() if id(parameter) not in tables]


def sum_by_row(gradient: Tensor) -> tuple[Tensor, Tensor]:
    """Return the distinct rows (N,) of a sparse gradient, ascending, and their sums (N, D)."""
    index, values = gradient._indices()[0], gradient._values()
    rows, inverse = torch.unique(index, return_inverse=True)
    sums = torch.zeros(len(rows), values.shape[1], dtype=values.dtype, device=values.device)
    return rows, sums.index_add_(0, inverse, values)
