"""Batches of slates, sliced from tensors: no Python per row."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.data.dataset import Dataset
from training.nets.base import Slates, TrainingTables


class SlateBatches:
    """Deals the given rows in batches of slates: up to ``slate`` consecutive rows of a user.

    propensity (R,) in (0, 1] and offset (R,) in logits go along with ``rows`` (R,).
    """

    def __init__(
        self,
        dataset: Dataset,
        rows: NDArray[np.int64],
        *,
        slate: int,
        batch_slates: int,
        propensity: NDArray[np.floating] | None = None,
        offset: NDArray[np.floating] | None = None,
    ) -> None:
        impressions = dataset.impressions
        order = np.lexsort((impressions.timestamp[rows], impressions.user[rows]))
        rows = rows[order]
        user = impressions.user[rows]
        start_of_user = np.flatnonzero(np.r_[True, user[1:] != user[:-1]])
        length = np.diff(np.r_[start_of_user, len(rows)])
        within = np.arange(len(rows)) - np.repeat(start_of_user, length)
        start = np.flatnonzero(within % slate == 0)  # first row of each slate
        size = np.diff(np.r_[start, len(rows)])
        self.tables = training_tables(dataset, rows)
        self._propensity = _column(propensity, order, fallback=1.0)
        self._offset = _column(offset, order, fallback=0.0)
        self._batch_slates = batch_slates
        self._slate = slate
        self._start = torch.from_numpy(start)
        self._size = torch.from_numpy(size)
        self.rows = len(rows)

    def __len__(self) -> int:
        return -(-len(self._start) // self._batch_slates)

    def epoch(self, generator: torch.Generator) -> Iterator[Slates]:
        """Yield all slates once in random order."""
        order = torch.randperm(len(self._start), generator=generator)
        tables = self.tables
        for chosen in order.split(self._batch_slates):
            offset = torch.arange(self._slate).expand(len(chosen), -1)  # (B, L)
            valid = offset < self._size[chosen, None]
            row = (self._start[chosen, None] + offset.where(valid, 0)).flatten()  # (R,)
            item = tables.item[row]
            yield Slates(
                user=tables.user[self._start[chosen]],
                slate=torch.arange(len(chosen)).repeat_interleave(self._slate),
                item=item,
                embedding=tables.embedding[item],
                modality_mask=tables.modality_mask[item],
                proxies=tables.proxies[row],
                label=tables.label[row],
                position=tables.position[row],
                valid=valid.flatten(),
                propensity=self._propensity[row],
                offset=self._offset[row],
            )


def _column(
    values: NDArray[np.floating] | None, order: NDArray[np.int64], *, fallback: float
) -> Tensor:
    if values is None:
        return torch.full((len(order),), fallback)
    return torch.from_numpy(values[order].astype(np.float32))


def training_tables(dataset: Dataset, rows: NDArray[np.int64]) -> TrainingTables:
    """Return the dataset's tables and the given impressions as tensors."""
    impressions = dataset.impressions
    position = np.zeros(len(rows), np.int64)
    if impressions.position is not None:
        position = impressions.position[rows]
    return TrainingTables(
        dims=tuple(modality.dim for modality in dataset.modalities),
        embedding=torch.from_numpy(dataset.embedding),
        modality_mask=torch.from_numpy(dataset.modality_mask).float(),
        user_attributes=torch.from_numpy(dataset.user_attributes),
        user=torch.from_numpy(impressions.user[rows]),
        item=torch.from_numpy(impressions.item[rows]),
        label=torch.from_numpy(impressions.label[rows]),
        position=torch.from_numpy(position),
        proxies=torch.from_numpy(impressions.proxies[rows]),
    )


def known_items(tables: TrainingTables) -> Tensor:
    """Return whether each item (I,) was seen in training; the others are cold."""
    seen = torch.zeros(len(tables.embedding), dtype=torch.bool)
    seen[tables.item] = True
    return seen
