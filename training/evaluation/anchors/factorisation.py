"""Biased matrix factorisation: ids alone."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from scipy.special import logit
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  # its usual name

from training.arrays import Floats, Rows
from training.evaluation.anchors.task import AnchorTask
from training.metrics.auc import auc

_DIM = 16
_EPOCHS = 8
_STEPS = 64  # an epoch, where the rows allow it
_BATCHES = (64, 8192)  # least and most rows of a batch
_LR, _LR_FINAL = 0.02, 0.0004
_BIAS_SD = 1.0  # of the priors, in logits
_FACTOR_SDS = (0.4, 0.6)  # validation chooses

_Columns = tuple[Tensor, Tensor, Tensor]


def matrix_factorisation(task: AnchorTask, seed: int) -> Floats:
    """Score test rows (R,) by mu + b_u + b_i + p_u.q_i, the logit of a click.

    Koren, Bell and Volinsky, Computer 2009, with a click's log likelihood and normal priors.
    Validation AUC chooses the priors' deviation and the epoch. Users and items without a training
    row have zeros.
    """
    impressions = task.dataset.impressions
    user_number = _numbers(impressions.user[task.train], len(task.dataset.user_ids))
    item_number = _numbers(impressions.item[task.train], len(task.dataset.item_ids))

    def columns(rows: Rows) -> _Columns:
        return (
            torch.from_numpy(user_number[impressions.user[rows]]),
            torch.from_numpy(item_number[impressions.item[rows]]),
            torch.from_numpy(np.asarray(impressions.label[rows])),
        )

    train, validation, test = map(columns, (task.train, task.validation, task.test))
    sizes = int(user_number.max()) + 1, int(item_number.max()) + 1
    best = -np.inf
    best_scores: Floats = np.zeros(len(task.test))
    for factor_sd in _FACTOR_SDS:
        for net in _epochs(train, sizes, factor_sd, seed):
            reached = auc(validation[2].numpy(), net.score(validation))
            if reached > best:
                best, best_scores = reached, net.score(test)
    return best_scores


class _Factors:
    """Biases and factors (users, 1 + D) and (items, 1 + D); row 0 is that of unknown ones."""

    def __init__(self, sizes: tuple[int, int], mean: float, generator: torch.Generator) -> None:
        self.mean = float(logit(mean))
        self.tables = []
        for size in sizes:
            table = 0.05 * torch.randn(size, 1 + _DIM, generator=generator)
            table[0], table[:, 0] = 0.0, 0.0
            self.tables.append(table.requires_grad_())

    def logits(self, user: Tensor, item: Tensor) -> Tensor:
        p, q = self.tables[0][user], self.tables[1][item]  # (B, 1 + D)
        return self.mean + p[:, 0] + q[:, 0] + (p[:, 1:] * q[:, 1:]).sum(dim=1)

    @torch.no_grad()
    def score(self, columns: _Columns) -> Floats:
        return self.logits(*columns[:2]).numpy()


def _numbers(key: Rows, keys: int) -> Rows:
    """Return the table (keys,) from a key to its number from 1 on; 0 for keys without a row."""
    number = np.zeros(keys, np.int64)
    distinct = np.unique(key)
    number[distinct] = np.arange(1, len(distinct) + 1)
    return number


def _epochs(
    train: _Columns, sizes: tuple[int, int], factor_sd: float, seed: int
) -> Iterator[_Factors]:
    """Fit factors to ``train`` by Adam; yield them after each epoch."""
    user, item, label = train
    rows = len(label)
    generator = torch.Generator().manual_seed(seed)
    net = _Factors(sizes, float(label.mean()), generator)
    precision = torch.full((1 + _DIM,), factor_sd**-2)
    precision[0] = _BIAS_SD**-2
    optimizer = torch.optim.Adam(net.tables, lr=_LR)
    batch_rows = int(np.clip(rows // _STEPS, *_BATCHES))
    for epoch in range(_EPOCHS):
        for group in optimizer.param_groups:
            group["lr"] = _LR * (_LR_FINAL / _LR) ** (epoch / (_EPOCHS - 1))
        for batch in torch.randperm(rows, generator=generator).split(batch_rows):
            logits = net.logits(user[batch], item[batch])
            prior = sum((table.square() * precision).sum() for table in net.tables)
            loss = F.binary_cross_entropy_with_logits(logits, label[batch]) + prior / (2 * rows)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        yield net
