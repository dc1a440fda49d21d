"""Batches of slates, sliced from tensors without Python per row."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.arrays import Rows
from training.data.columns import Floats
from training.data.dataset import Dataset
from training.data.storage import expect_scattered_reads, spans
from training.fitting.device import free_bytes
from training.nets.base import Slates, TrainingTables

_LEAST_SLATES = 4
_BUCKET_ROWS = 2**19  # rows sorted at a time
_DEVICE_SHARE = 0.25  # of an accelerator's free memory, for the rows

Records = NDArray[np.void]


class SlateBatches:
    """Batches of slates from impressions ``rows`` (R,), each up to ``slate`` rows of one user.

    A batch has ``batch_slates``, fewer (but at least 4) where an epoch would have under ``steps``.

    propensity (R,) in (0, 1] and offset (R,) in logits are columns of ``rows``. ``attributes``
    (2, A), mean and deviation, standardise those of users; by default they are the dataset's. The
    dataset's storage holds a sorted copy of the rows. Memory holds 8 bytes per slate, 16 during an
    epoch.
    """

    def __init__(
        self,
        dataset: Dataset,
        rows: Rows,
        *,
        slate: int,
        batch_slates: int,
        steps: int = 1,
        propensity: NDArray[np.floating] | None = None,
        offset: NDArray[np.floating] | None = None,
        attributes: Floats | None = None,
    ) -> None:
        count = np.zeros(len(dataset.user_ids), np.int64)  # (U,) rows of each user
        for span in spans(len(rows)):
            count += np.bincount(dataset.impressions.user[rows[span]], minlength=len(count))
        records = _by_user_and_time(dataset, rows, count, propensity=propensity, offset=offset)
        self._records = records
        self.tables = _tables(dataset, records, attributes)
        self._words = _words(records)  # (rows, W)
        self._device = torch.device("cpu")
        self._bounds = torch.from_numpy(_slate_bounds(count, slate))
        slates = len(self._bounds) - 1
        self._batch_slates = min(batch_slates, max(_LEAST_SLATES, slates // steps))
        self.rows = len(rows)

    def __len__(self) -> int:
        return -(-(len(self._bounds) - 1) // self._batch_slates)

    def epoch(self, generator: torch.Generator) -> Iterator[Slates]:
        """Yield all slates once, in random order."""
        for numbers in self.deal(generator):
            yield self.slates(numbers)

    def deal(self, generator: torch.Generator) -> Iterator[Tensor]:
        """Yield the slate numbers (B,) of each batch: all slates once, in random order."""
        expect_scattered_reads(self._records)
        slates = len(self._bounds) - 1
        yield from torch.randperm(slates, generator=generator).split(self._batch_slates)

    def rows_in(self, numbers: Tensor) -> int:
        """Return the number of rows in the slates ``numbers`` (B,)."""
        return int((self._bounds[numbers + 1] - self._bounds[numbers]).sum())

    def place(self, device: torch.device) -> None:
        """Deal batches on ``device``.

        Its memory holds the rows if they take at most a quarter of what is free there. Otherwise
        each batch is copied from page-locked memory, while the device works on earlier ones.
        """
        self._device = device
        self._words = _words(self._records)
        if device.type != "cpu" and self._words.nbytes <= _DEVICE_SHARE * free_bytes(device):
            self._words = self._words.to(device)

    def slates(self, numbers: Tensor) -> Slates:
        """Return the slates ``numbers`` (B,), on the device of the batches."""
        rows_at, device = self._words.device, self._device
        first = self._bounds[numbers]  # (B,) among all rows
        length = self._bounds[numbers + 1] - first
        start = length.cumsum(0) - length  # (B,) among the rows of the batch
        rows = int(length.sum())
        layout = torch.stack([length, start, first - start]).to(rows_at, non_blocking=True)
        length, start, shift = layout
        slate = torch.repeat_interleave(length, output_size=rows)  # (R,)
        row = shift.index_select(0, slate) + torch.arange(rows, device=rows_at)
        words, start, slate = (
            _sent(block, device) for block in (self._words.index_select(0, row), start, slate)
        )
        user, item, label, position, *proxies, propensity, exposure_offset = words.unbind(1)
        item = item.long()
        return Slates(
            user=user.index_select(0, start).long(),
            start=start,
            slate=slate,
            item=item,
            proxies=words[:, 4 : 4 + len(proxies)].view(torch.float32),
            label=label.view(torch.float32),
            position=position.long(),
            propensity=propensity.view(torch.float32),
            offset=exposure_offset.view(torch.float32),
        )

    def share(self, numbers: Tensor, rank: int, processes: int) -> tuple[Tensor, float]:
        """Return the slate numbers of one process, and the weight of its mean loss.

        Processes take contiguous parts of the batch ``numbers`` (B,), in order of rank. Weights are
        proportional to the parts' rows and average to one, so that the average of the weighted
        means is the mean over all rows of the batch. If a batch is too short to give a process a
        slate, it takes the first one with weight 0.
        """
        if processes == 1:
            return numbers, 1.0
        process_slates = numbers.tensor_split(processes)[rank]
        if len(process_slates) == 0:
            return numbers[:1], 0.0
        return process_slates, processes * self.rows_in(process_slates) / self.rows_in(numbers)


def training_tables(
    dataset: Dataset, rows: Rows, attributes: Floats | None = None
) -> TrainingTables:
    """Return the dataset's tables and its impressions ``rows`` (R,) as tensors.

    ``attributes`` (2, A), mean and deviation, standardise those of users, else the dataset's do.
    """
    return _tables(dataset, _records(dataset, rows), attributes)


def warm_items(tables: TrainingTables) -> Tensor:
    """Return a mask (I,) of the items with a training row; the others are cold."""
    warm = torch.zeros(len(tables.embedding), dtype=torch.bool)
    for span in spans(len(tables.item)):
        warm[tables.item[span].long()] = True
    return warm


def _by_user_and_time(
    dataset: Dataset, rows: Rows, count: Rows, **columns: NDArray[np.floating] | None
) -> Records:
    """Return records of ``rows`` (R,), sorted by user, then by time; ties keep their order.

    ``count`` (U,) is the number of rows of each user. A bucket sort: a bucket collects the rows of
    consecutive users, about ``_BUCKET_ROWS``, and is then sorted. Thus memory holds one bucket at a
    time, and files are read and written in long runs.
    """
    impressions, storage = dataset.impressions, dataset.storage
    first = count.cumsum() - count  # (U,) where a user's rows start
    starts = np.diff(first // _BUCKET_ROWS, prepend=-1) > 0  # (U,) whether the user starts a bucket
    bucket = starts.cumsum() - 1  # (U,)
    start = first[starts]  # (buckets,)
    end = start.copy()  # (buckets,) end of the rows collected so far
    records = storage.empty((len(rows),), _record(dataset))
    time = storage.empty((len(rows),), np.float64)
    for span in spans(len(rows)):
        order = np.argsort(bucket[impressions.user[rows[span]]], kind="stable")
        ordered = rows[span][order]
        exposure = {
            name: values[span][order] for name, values in columns.items() if values is not None
        }
        chunk, stamps = _records(dataset, ordered, **exposure), impressions.timestamp[ordered]
        row_bucket = bucket[chunk["user"]]
        for a, z in pairwise(np.flatnonzero(np.diff(row_bucket, prepend=-1, append=-1))):
            target = slice(end[row_bucket[a]], end[row_bucket[a]] + z - a)
            records[target], time[target] = chunk[a:z], stamps[a:z]
            end[row_bucket[a]] += z - a
    for a, z in zip(start, end, strict=True):
        order = np.lexsort((time[a:z], records["user"][a:z]))
        records[a:z] = records[a:z][order]
    return records


def _record(dataset: Dataset) -> np.dtype[np.void]:
    """Return the type of a training row's record, so that a slate spans one or two pages of a file.

    All fields are 4 bytes wide, so that torch can view each one; ``slates`` reads them in order.
    """
    return np.dtype(
        [
            ("user", np.int32),
            ("item", np.int32),
            ("label", np.float32),
            ("position", np.int32),
            ("proxies", np.float32, (dataset.impressions.proxies.shape[1],)),
            ("propensity", np.float32),
            ("offset", np.float32),
        ]
    )


def _records(
    dataset: Dataset,
    rows: Rows,
    *,
    propensity: NDArray[np.floating] | float = 1.0,
    offset: NDArray[np.floating] | float = 0.0,
) -> Records:
    impressions = dataset.impressions
    records = np.empty(len(rows), _record(dataset))
    records["user"] = impressions.user[rows]
    records["item"] = impressions.item[rows]
    records["label"] = impressions.label[rows]
    records["position"] = 0 if impressions.position is None else impressions.position[rows]
    records["proxies"] = impressions.proxies[rows]
    records["propensity"] = propensity
    records["offset"] = offset
    return records


def _words(records: Records) -> Tensor:
    """Return records (R,) as words of 4 bytes (R, W), so that one gather reads whole rows."""
    return torch.from_numpy(records.view(np.int32).reshape(len(records), -1))


def _sent(block: Tensor, device: torch.device) -> Tensor:
    """Return ``block`` on ``device``; a copy from page-locked memory does not wait for CUDA."""
    if device.type == "cuda" and block.device.type == "cpu":
        block = block.pin_memory()
    return block.to(device, non_blocking=True)


def _tables(dataset: Dataset, records: Records, attributes: Floats | None = None) -> TrainingTables:
    if attributes is None:
        attributes = standardisation(dataset.user_attributes)
    mean, deviation = attributes
    return TrainingTables(
        dims=tuple(modality.dim for modality in dataset.modalities),
        embedding=torch.from_numpy(dataset.embedding),
        modality_mask=torch.from_numpy(dataset.modality_mask).float(),
        user_attributes=torch.from_numpy((dataset.user_attributes - mean) / deviation),
        user=torch.from_numpy(records["user"]),
        item=torch.from_numpy(records["item"]),
        label=torch.from_numpy(records["label"]),
        position=torch.from_numpy(records["position"]),
        proxies=torch.from_numpy(records["proxies"]),
    )


def _slate_bounds(count: Rows, slate: int) -> Rows:
    """Return the first row of each slate and the end of the last one (slates + 1,)."""
    slates = -(-count // slate)  # (U,) slates of each user
    within = np.arange(slates.sum()) - np.repeat(slates.cumsum() - slates, slates)
    first = np.repeat(count.cumsum() - count, slates)
    return np.append(first + slate * within, count.sum())


def standardisation(columns: Floats) -> Floats:
    """Return mean and deviation (2, A) of columns (U, A), so that units do not matter."""
    deviation = columns.std(axis=0)
    return np.stack([columns.mean(axis=0), np.where(deviation > 0, deviation, 1)])
