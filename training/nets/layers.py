"""Layers that the networks share."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # its usual name

from training.nets.base import Slates

_FAMILIAR = 0.99  # share of a modality's impressions whose rows keep their norm
_LOGIT_OF_ONE = 30.0  # theta_0 = sigmoid(30), one in float32


class Content(nn.Module):
    """Standardised content of items: each modality centred, its mean square norm scaled to 1.

    ``exposures`` (I,) weigh mean and norm, so that they are those of impressions, not of items. An
    absent modality is zero, the mean of impressions; ``filled`` and ``project`` add a learned
    vector to it.

    A row further from the mean than 99 % of the impressions returns towards it: a norm n above
    that quantile a becomes a^2 / n. Such a row, of a broken image for example, is unlike what
    training saw. Its content predicts nothing, and would else put the same few items first, or
    last, for every user.
    """

    mean: Tensor
    scale: Tensor
    block: Tensor
    familiar: Tensor

    def __init__(
        self, dims: tuple[int, ...], embedding: Tensor, modality_mask: Tensor, exposures: Tensor
    ) -> None:
        super().__init__()
        block = torch.zeros(
            len(dims), sum(dims)
        )  # (M, D): 1 where a dimension belongs to a modality
        start = 0
        for row, dim in enumerate(dims):
            block[row, start : start + dim] = 1.0
            start += dim
        mask = modality_mask @ block  # (I, D)
        count = (exposures @ mask).clamp(min=1.0)  # (D,)
        mean = exposures @ (embedding * mask) / count
        square = exposures @ ((embedding - mean) * mask).square() / count
        norm = (block @ square).sqrt()  # (M,)
        norm = norm.where(norm > 1e-6, 1.0)  # a constant modality stays unscaled
        self.register_buffer("mean", mean)
        self.register_buffer("scale", (1.0 / norm) @ block)
        self.register_buffer("block", block)
        norm = self._norm((embedding - mean) * self.scale * mask)
        self.register_buffer("familiar", _quantiles(norm, modality_mask * exposures[:, None]))
        self.missing = nn.Parameter(torch.zeros(sum(dims)))

    def forward(self, embedding: Tensor, modality_mask: Tensor) -> Tensor:
        """Return content (N, D) of embedding (N, D), zero where modality_mask (N, M) is zero."""
        content = (embedding - self.mean) * self.scale * (modality_mask @ self.block)
        excess = self._norm(content).maximum(self.familiar) / self.familiar  # (N, M), at least 1
        return content * (excess**-2 @ self.block)

    def filled(self, content: Tensor, modality_mask: Tensor) -> Tensor:
        """Return content (N, D) with learned vectors in place of absent modalities."""
        return content + (1.0 - modality_mask) @ (self.block * self.missing)

    def project(self, layer: nn.Linear, inputs: Tensor) -> Tensor:
        """Return ``layer(filled(content))`` (N, d) of ``content_inputs`` (N, D + M)."""
        missing = F.linear(layer.weight, self.block * self.missing)  # (d, M)
        return F.linear(inputs, torch.cat([layer.weight, missing], 1), layer.bias)

    def _norm(self, content: Tensor) -> Tensor:
        """Return the norm (N, M) of each modality's content."""
        return (content.square() @ self.block.T).sqrt()


def content_inputs(content: Tensor, modality_mask: Tensor) -> Tensor:
    """Return content (N, D) and, for each modality, whether it is absent (N, M), side by side."""
    return torch.cat([content, 1.0 - modality_mask], 1)


class ProxyBins(nn.Module):
    """Embeds confounding proxies by quantile bins of the training rows and a bin for unknown.

    With bins, a monotone transform of a proxy, such as log1p, changes nothing. In training, a
    proxy falls into its unknown bin with probability ``dropout``.
    """

    edges: Tensor

    def __init__(self, proxies: Tensor, bins: int, dim: int, dropout: float) -> None:
        super().__init__()
        self.register_buffer("edges", _quantile_edges(proxies, bins))  # (P, bins - 1), inf-padded
        self.dropout = dropout
        self.embedding = nn.Embedding((bins + 1) * proxies.shape[1], dim)
        nn.init.normal_(self.embedding.weight, std=0.1)
        offsets = (bins + 1) * torch.arange(proxies.shape[1])
        self.register_buffer("offsets", offsets)
        self.offsets: Tensor
        self.unknown = bins

    def forward(self, proxies: Tensor) -> Tensor:
        """Return the sum over proxies of their bins' embeddings (N, dim), of raw proxies (N, P)."""
        unknown = torch.isnan(proxies)
        if self.training and self.dropout > 0:
            unknown = unknown | (torch.rand_like(proxies) < self.dropout)
        index = torch.where(unknown, self.unknown, self._bins(proxies)) + self.offsets  # (N, P)
        # One proxy at a time: index_select has a far faster gradient than an embedding.
        table = self.embedding.weight
        nothing = table.new_zeros(index.shape[0], table.shape[1])  # len() would fix N in a graph
        return sum((table.index_select(0, column) for column in index.unbind(1)), nothing)

    def _bins(self, proxies: Tensor) -> Tensor:
        """Return the number (N, P) of edges below each proxy; any number for NaN."""
        if torch.compiler.is_exporting():  # ONNX has no search
            above = proxies.unsqueeze(2) > self.edges  # (N, P, bins - 1)
            return above.to(torch.int64).sum(2)
        return torch.searchsorted(self.edges, proxies.T.contiguous()).T


class Examination(nn.Module):
    """P(click at position k) = theta_k sigmoid(logit), theta_0 = 1: no score depends on k."""

    def __init__(self, positions: int) -> None:
        super().__init__()
        self.theta = nn.Parameter(torch.full((positions - 1,), 2.0))  # logits of theta_1, ...

    def forward(self, logit: Tensor, batch: Slates, weight: Tensor | None = None) -> Tensor:
        """Return the mean of -log P(label) over the rows (R,), each times ``weight`` (R,)."""
        logit = logit.float()  # a training in bfloat16 sums its loss in float32
        theta = self._logits().index_select(0, batch.position)  # (R,)
        # 1 / (sigmoid(s) sigmoid(t)) - 1 = exp(-s) + exp(-t) (1 + exp(-s))
        clicked = -torch.logaddexp(-logit, F.softplus(-logit) - theta)
        return F.binary_cross_entropy_with_logits(clicked, batch.label, weight)

    def log_theta(self) -> Tensor:
        """Return log theta_k of all positions (K,)."""
        return F.logsigmoid(self._logits())

    def _logits(self) -> Tensor:
        return torch.cat([self.theta.new_full((1,), _LOGIT_OF_ONE), self.theta])


def _quantiles(norm: Tensor, weight: Tensor) -> Tensor:
    """Return the quantile (M,) of norms (I, M) at ``_FAMILIAR`` of the weight (I, M), not 0."""
    ordered, order = norm.sort(0)
    reached = weight.gather(0, order).double().cumsum(0)
    first = (reached >= _FAMILIAR * reached[-1]).int().argmax(0, keepdim=True)  # (1, M)
    return ordered.gather(0, first).squeeze(0).clamp(min=1e-6)


def _quantile_edges(proxies: Tensor, bins: int) -> Tensor:
    """Return distinct inner quantiles (P, bins - 1) of proxies (R, P), padded with infinity.

    Exact over all rows. Copies one column at a time: about 6 bytes per row.
    """
    levels = torch.linspace(0, 1, bins + 1)[1:-1]
    edges = torch.full((proxies.shape[1], bins - 1), torch.inf)
    for column in range(proxies.shape[1]):
        values = proxies[:, column].numpy()
        ordered = values[~np.isnan(values)]
        if len(ordered):
            ranks = (levels * (len(ordered) - 1)).long().numpy()
            ordered.partition([*ranks, len(ordered) - 1])  # in place; sorts these ranks only
            cuts = torch.from_numpy(np.unique(ordered[ranks]))
            cuts = cuts[cuts < ordered[-1]]  # no value exceeds the maximum: its bin would be empty
            edges[column, : len(cuts)] = cuts
    return edges
