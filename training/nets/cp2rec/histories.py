"""Users' clicks and exposures as sums of item content; a net does not train them."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # its usual name

from training.nets.base import Slates, TrainingTables

HISTORY_PRIOR = 5.0  # impressions; means are sums / (n + 5), which shrinks short histories
_CHUNK_ROWS = 2**18  # rows summed at a time: all training rows may exceed memory


class Histories(nn.Module):
    """Sums over the training rows of the items' content (I, D), by user.

    ``sums`` (U, 2, D + 1): of a user's clicks and of all exposures; the last column is their count.
    """

    sums: Tensor

    def __init__(self, content: Tensor, tables: TrainingTables) -> None:
        super().__init__()
        users, D = len(tables.user_attributes), content.shape[1]
        self.register_buffer("sums", torch.zeros(users, 2, D + 1), persistent=False)
        columns = (tables.user, tables.item, tables.label)
        for chunk in zip(*(column.split(_CHUNK_ROWS) for column in columns), strict=True):
            user, item, label = chunk
            clicked = label > 0.5
            _add(self.sums[:, 0], user[clicked], item[clicked], content)
            _add(self.sums[:, 1], user, item, content)

    def of_slates(self, inputs: Tensor, batch: Slates) -> Tensor:
        """Return the share (B, 2, D + 1) of each slate in the sums of its user.

        inputs (I, D + M): the items' content, then any other columns.
        """
        item, start, label = batch.item, batch.start, batch.label
        clicked = F.embedding_bag(item, inputs, start, mode="sum", per_sample_weights=label)
        exposed = F.embedding_bag(item, inputs, start, mode="sum")
        clicks = label.new_zeros(len(start)).index_add_(0, batch.slate, label)  # (B,)
        D = self.sums.shape[2] - 1  # views of the table would be summed far more slowly
        sums = [clicked[:, :D], clicks[:, None], exposed[:, :D], batch.lengths()[:, None]]
        return torch.cat(sums, 1).view(len(start), 2, -1)

    def means(self, user: Tensor | None, left_out: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the mean content (B, D) of clicks and of exposures of users (B,), or of all.

        ``left_out`` (B, 2, D + 1) is subtracted from the sums.
        """
        sums = self.sums if user is None else self.sums.index_select(0, user)
        if left_out is not None:
            sums = sums - left_out
        means = sums[..., :-1] / (sums[..., -1:] + HISTORY_PRIOR)  # (B, 2, D)
        return means[:, 0], means[:, 1]

    def shrinkage(self, user: Tensor | None) -> Tensor:
        """Return 1 / (n + 5) (B, 2) of the clicks and the exposures of users (B,), or of all."""
        counts = self.sums[..., -1] if user is None else self.sums[user, :, -1]
        return (counts + HISTORY_PRIOR).reciprocal()


def _add(sums: Tensor, user: Tensor, item: Tensor, content: Tensor) -> None:
    """Add the content (I, D) of rows, and their number, to their users' sums (U, D + 1)."""
    pairs = torch.sparse_coo_tensor(
        torch.stack([user, item]).long(),
        torch.ones(len(user)),
        (len(sums), len(content)),
        check_invariants=False,
    )
    sums[:, :-1].addmm_(pairs, content)  # adds row by row: chunks give the same sums to the bit
    sums[:, -1] += torch.bincount(user, minlength=len(sums))
