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
        for chosen in self.deal(generator):
            yield self.slates(chosen)

    def deal(self, generator: torch.Generator) -> Iterator[Tensor]:
        """Yield the numbers (B,) of the slates of each batch: all slates once, in random order."""
        yield from torch.randperm(len(self._start), generator=generator).split(self._batch_slates)

    def rows_in(self, chosen: Tensor) -> int:
        """Return how many rows the slates ``chosen`` (B,) hold."""
        return int(self._size[chosen].sum())

    def slates(self, chosen: Tensor) -> Slates:
        """Return the slates numbered ``chosen`` (B,)."""
        tables = self.tables
        offset = torch.arange(self._slate).expand(len(chosen), -1)  # (B, L)
        valid = offset < self._size[chosen, None]
        row = (self._start[chosen, None] + offset.where(valid, 0)).flatten()  # (R,)
        item = tables.item[row]
        return Slates(
            user=tables.user[self._start[chosen]],
            slate=torch.arange(len(chosen)).repeat_interleave(self._slate),
            item=item,
            modality_mask=tables.modality_mask[item],
            proxies=tables.proxies[row],
            label=tables.label[row],
            position=tables.position[row],
            valid=valid.flatten(),
            propensity=self._propensity[row],
            offset=self._offset[row],
        )

    def share(self, chosen: Tensor, rank: int, processes: int) -> tuple[Tensor, float]:
        """Return a process's part of a batch (B,), and what its mean loss weighs in the average.

        Parts are contiguous and in order of rank. Weights follow the parts' rows and average to
        one, so that the average of means over rows is the mean over the rows of the batch. A
        process that a short batch leaves without slates gets one that weighs nothing.
        """
        own = chosen.tensor_split(processes)[rank]
        if len(own) == 0:
            return chosen[:1], 0.0
        return own, processes * self.rows_in(own) / self.rows_in(chosen)


def _standardised(columns: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return columns (U, A) with mean 0 and deviation 1, so that units do not matter."""
    deviation = columns.std(axis=0)
    scaled: NDArray[np.float32] = (columns - columns.mean(axis=0)) / np.where(
        deviation > 0, deviation, 1
    )
    return scaled


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
        user_attributes=torch.from_numpy(_standardised(dataset.user_attributes)),
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
