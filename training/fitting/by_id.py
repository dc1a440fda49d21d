"""The training of recommenders by id, until validation recall stops growing."""

from __future__ import annotations

import numpy as np
import torch
from tqdm import trange

from training.arrays import Floats, Rows
from training.errors import TrainingError
from training.fitting.device import chosen
from training.metrics.full_ranking import RankingTask, Scores, mean_recall
from training.nets.by_id import BprMf, UltraGcn

BATCH_ROWS = 4096
EPOCHS = 200  # at most
EVERY = 5  # epochs per evaluation
PATIENCE = 4  # evaluations without a new best before training stops

Factors = tuple[Floats, Floats]  # users (U, D), items (I, D)


def fit_by_id(net: BprMf | UltraGcn, task: RankingTask, lr: float) -> Factors:
    """Train ``net`` with Adam; return the factors of the best validation recall_at_20.

    Raises TrainingError if the loss becomes NaN or infinite.
    """
    pairs = task.positives["train"].nonzero()
    device = chosen()
    net.to(device)
    user, item = (torch.from_numpy(rows).long().to(device) for rows in pairs)
    optimizer = torch.optim.Adam(net.parameters(), lr=lr, fused=True)
    best_factors, best_recall, waited = _factors(net), -1.0, 0
    with trange(1, EPOCHS + 1, desc=type(net).__name__, leave=False) as epochs:
        for epoch in epochs:
            for batch in torch.randperm(len(user)).to(device).split(BATCH_ROWS):
                optimizer.zero_grad(set_to_none=True)
                loss = net.loss(user[batch], item[batch])
                if not torch.isfinite(loss):
                    raise TrainingError(f"the loss became {loss.item()}; lower the learning rate")
                loss.backward()
                optimizer.step()
            if epoch % EVERY:
                continue
            factors = _factors(net)
            recall = mean_recall(task, factor_scores(factors), "validation")
            epochs.set_postfix(loss=f"{loss.item():.4f}", valid=f"{recall:.4f}")
            waited += 1
            if recall > best_recall:
                best_factors, best_recall, waited = factors, recall, 0
            if waited == PATIENCE:
                break
    return best_factors


def factor_scores(factors: Factors) -> Scores:
    """Return a function from user rows (B,) to scores (B, I), the products of the factors."""
    user_factors, item_factors = factors

    def score(users: Rows) -> Floats:
        return np.asarray(user_factors[users] @ item_factors.T)

    return score


@torch.no_grad()
def _factors(net: BprMf | UltraGcn) -> Factors:
    users, items = net.factors()
    return users.cpu().numpy().copy(), items.cpu().numpy().copy()
