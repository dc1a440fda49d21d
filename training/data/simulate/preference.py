"""Preferences in real data without popularity: the matrix S (U, I) of the truth."""

from __future__ import annotations

import logging

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import cross_entropy, normalize

from training.data.columns import Floats

# Our choices; the specification asks for in-batch softmax without logQ.
CONTENT_DIM = 64
EPOCHS, BATCH, LEARNING_RATE = 15, 1024, 1e-2
TEMPERATURE, RESIDUAL_DECAY = 0.15, 1e-2

logger = logging.getLogger(__name__)


def principal_components(modalities: list[Floats]) -> Floats:
    """Return the 64 leading components (I, 64) of modalities (I, dim) of equal weight, whitened."""
    centred = [x - x.mean(axis=0, dtype=np.float64) for x in modalities]
    x = np.concatenate([x / np.sqrt((x**2).sum(axis=1).mean()) for x in centred], axis=1)
    values, vectors = np.linalg.eigh(x.T @ x / len(x))
    leading = slice(max(x.shape[1] - CONTENT_DIM, 0), None)
    scale = np.sqrt(values[leading] + 1e-8)
    components: Floats = (x @ vectors[:, leading] / scale).astype(np.float32)
    return components


def fit_preferences(
    positives: NDArray[np.int64], users: int, content: Floats, *, dim: int, seed: int
) -> tuple[Floats, Floats, Floats]:
    """Fit S = cos(p_u, W x_i + v_i) on positives (n, 2) by in-batch softmax without logQ.

    The negatives of a batch occur as often as they are popular, and no logQ correction removes this
    frequency, so popularity cancels. W x is the low-rank content term, x = content (I, C); v is a
    residual, decayed towards 0. Returns users p (U, dim), content term (I, dim) and residual
    (I, dim); S is the users' product with the sum of both. Takes some seconds on one core.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # sums, hence the files, must not depend on the number of cores
    try:
        return _fit(positives, users, torch.from_numpy(content), dim, seed)
    finally:
        torch.set_num_threads(threads)


def _fit(
    positives: NDArray[np.int64], users: int, x: torch.Tensor, dim: int, seed: int
) -> tuple[Floats, Floats, Floats]:
    generator = torch.Generator().manual_seed(seed)
    sizes = (users, x.shape[1], len(x))
    taste, weight, residual = (
        torch.nn.Parameter(0.1 * torch.randn(size, dim, generator=generator)) for size in sizes
    )
    optimizer = torch.optim.AdamW(
        [
            {"params": [taste, weight], "weight_decay": 0.0},
            {"params": [residual], "weight_decay": RESIDUAL_DECAY},
        ],
        lr=LEARNING_RATE,
    )
    pairs = torch.from_numpy(positives)
    for epoch in range(1, EPOCHS + 1):
        losses = []
        for batch in torch.randperm(len(pairs), generator=generator).split(BATCH):
            user, item = pairs[batch].unbind(1)
            p = normalize(taste[user], dim=1)  # (B, D)
            q = normalize(x[item] @ weight + residual[item], dim=1)  # (B, D)
            loss = cross_entropy(p @ q.T / TEMPERATURE, torch.arange(len(batch)))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        logger.info("preference epoch %d of %d: loss %.3f nats", epoch, EPOCHS, np.mean(losses))
    with torch.no_grad():
        explained = x @ weight
        norm = (explained + residual).norm(dim=1, keepdim=True)
        factors = (normalize(taste, dim=1), explained / norm, residual / norm)
    return factors[0].numpy(), factors[1].numpy(), factors[2].numpy()
