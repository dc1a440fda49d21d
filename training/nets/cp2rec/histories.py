"""Users' clicks and exposures as sums of item content; a net does not train them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # its usual name

from training.nets.base import Slates, TrainingTables

HISTORY_PRIOR = 5.0  # impressions; means are sums / (n + 5), which shrinks short histories
_CHUNK_ROWS = 2**18  # rows summed at a time: all training rows may exceed memory


@dataclass(frozen=True)
class SlateHistory:
    """The share of each slate in its user's history: sums (B, D) and counts (B, 1)."""

    clicked: Tensor
    clicks: Tensor
    exposed: Tensor
    exposures: Tensor

    @classmethod
    def of(cls, content: Tensor, batch: Slates) -> SlateHistory:
        """Return the sums of the items' content (I, D) over each slate's rows."""
        item, start, label = batch.item, batch.start, batch.label
        clicked = F.embedding_bag(item, content, start, mode="sum", per_sample_weights=label)
        exposed = F.embedding_bag(item, content, start, mode="sum")
        clicks = label.new_zeros(len(start)).index_add_(0, batch.slate, label)  # (B,)
        return cls(clicked, clicks[:, None], exposed, batch.lengths()[:, None])


class Histories(nn.Module):
    """Sums over the training rows of the items' content (I, D), by user."""

    _clicked: Tensor
    _exposed: Tensor
    _clicks: Tensor
    _exposures: Tensor

    def __init__(self, content: Tensor, tables: TrainingTables) -> None:
        super().__init__()
        users = len(tables.user_attributes)
        for kind in ("_clicked", "_exposed"):
            self.register_buffer(kind, torch.zeros(users, content.shape[1]), persistent=False)
        for kind in ("_clicks", "_exposures"):
            self.register_buffer(kind, torch.zeros(users, 1), persistent=False)
        columns = (tables.user, tables.item, tables.label)
        for chunk in zip(*(column.split(_CHUNK_ROWS) for column in columns), strict=True):
            user, item, label = chunk
            clicked = label > 0.5
            _add(self._clicked, self._clicks, user[clicked], item[clicked], content)
            _add(self._exposed, self._exposures, user, item, content)

    def means(self, user: Tensor, left_out: SlateHistory | None = None) -> tuple[Tensor, Tensor]:
        """Return the mean content (B, D) of clicks and of exposures of users (B,).

        ``left_out`` is subtracted from both histories.
        """
        clicked, clicks = self._clicked[user], self._clicks[user]
        exposed, exposures = self._exposed[user], self._exposures[user]
        if left_out is not None:
            clicked, clicks = clicked - left_out.clicked, clicks - left_out.clicks
            exposed, exposures = exposed - left_out.exposed, exposures - left_out.exposures
        return clicked / (clicks + HISTORY_PRIOR), exposed / (exposures + HISTORY_PRIOR)


def _add(sums: Tensor, counts: Tensor, user: Tensor, item: Tensor, content: Tensor) -> None:
    """Add the content (I, D) of rows to their users' sums (U, D), and the rows to counts (U, 1)."""
    pairs = torch.sparse_coo_tensor(
        torch.stack([user, item]).long(),
        torch.ones(len(user)),
        (len(sums), len(content)),
        check_invariants=False,
    )
    sums.addmm_(pairs, content)  # adds row by row: chunks give the same sums to the bit
    counts[:, 0] += torch.bincount(user, minlength=len(sums))
