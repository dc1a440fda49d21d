"""How engagements after the training move a user, exactly as rows of the training would have.

A user's vector holds C m_c + E m_e, the means m of the content x of clicked and of exposed items,
each sum / (n + 5). With s = 1 / (n + 5), k more rows of items turn a mean into
m + s / (1 + k s) (sum of their x - k m). A click is a row of both.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # its usual name

from training.nets.cp2rec.histories import Histories
from training.nets.layers import Content


class HistoryEncoder(nn.Module):
    """Trace (N, 2d) of an item: C x and E x."""

    def __init__(self, content: Content, clicked: nn.Linear, exposed: nn.Linear) -> None:
        super().__init__()
        self.content, self.clicked, self.exposed = content, clicked, exposed

    def forward(self, embedding: Tensor, modality_mask: Tensor) -> Tensor:
        """Return traces (N, 2d); what was learned of ids, the last modality, is no content."""
        raw, mask = embedding[:, : self.clicked.in_features], modality_mask[:, :-1]
        content = self.content(raw, mask)
        return torch.cat([self.clicked(content), self.exposed(content)], 1)

    def history_parts(self, histories: Histories, user: Tensor | None) -> Tensor:
        """Return what the update of users (B,), or of all, needs: (B, 2 + 2d).

        These are s of clicks, s of exposures, C m_c and E m_e.
        """
        clicked, exposed = histories.means(user)
        parts = [histories.shrinkage(user), self.clicked(clicked), self.exposed(exposed)]
        return torch.cat(parts, 1)


class UserUpdate(nn.Module):
    """User vector (1, U) of a record (1, V): the vector, whose first d values move, then parts."""

    def __init__(self, user_dim: int, dim: int) -> None:
        super().__init__()
        self.user_dim, self.dim = user_dim, dim

    def forward(self, record: Tensor, trace: Tensor) -> Tensor:
        """Return the vector after clicks of items with traces (L, 2d)."""
        d, U = self.dim, self.user_dim
        vector, shrinkage, means = record.split([U, 2, 2 * d], dim=1)
        count = torch.ones_like(trace[:, :1]).sum(0, keepdim=True)  # (1, 1)
        added = trace.sum(0, keepdim=True) - count * means  # (1, 2d)
        steps = shrinkage / (1.0 + count * shrinkage)  # (1, 2)
        moved = steps @ added.view(2, d)  # (1, d)
        moved_vector: Tensor = vector + F.pad(moved, (0, U - d))
        return moved_vector
