"""Impressions on disk train as those in memory do, in memory that does not grow with them."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from tests.datasets import make_dataset
from training.config import load_config
from training.data.dataset import Dataset, open_dataset
from training.data.split import split_rows
from training.data.storage import Storage
from training.errors import TrainingError
from training.fitting.batches import SlateBatches, warm_items
from training.fitting.runs import RunStore
from training.fitting.train_net import train_net
from training.nets.layers import ProxyBins


def cut_small(monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    """Cut all work that goes by chunks or a sample into chunks or a sample of ``rows``."""
    monkeypatch.setattr("training.data.storage.CHUNK_ROWS", rows)
    monkeypatch.setattr("training.fitting.batches._BUCKET_ROWS", rows)
    monkeypatch.setattr("training.nets.cp2rec.histories._CHUNK_ROWS", rows)
    monkeypatch.setattr("training.data.plausibility._SAMPLE", rows)


# The same results.


def test_a_dataset_on_disk_is_the_one_in_memory(
    toy_dataset: Dataset, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut_small(monkeypatch, 999)
    dataset = open_dataset(toy_dataset.path, scratch)

    assert dataset.fingerprint == toy_dataset.fingerprint
    for name, expected in vars(toy_dataset.impressions).items():
        column = getattr(dataset.impressions, name)
        if expected is None:
            assert column is None
        else:
            np.testing.assert_array_equal(column, expected, strict=True)


def test_a_model_trained_from_disk_is_the_one_trained_from_memory(
    toy_dataset: Dataset, scratch: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = load_config("cp2rec", overrides=("train.epochs=1", "train.evaluations=1"))
    expected = train_net(toy_dataset, config, RunStore(tmp_path / "memory"))

    cut_small(monkeypatch, 1234)
    trained = train_net(
        open_dataset(toy_dataset.path, scratch), config, RunStore(tmp_path / "disk")
    )

    assert trained.fit == expected.fit
    assert trained.calibration == expected.calibration
    weights = expected.net.state_dict()
    for name, values in trained.net.state_dict().items():
        assert torch.equal(values, weights.pop(name)), name
    assert not weights
    assert torch.equal(trained.net.user_vectors(), expected.net.user_vectors())
    assert not list(scratch.iterdir())


@pytest.mark.parametrize("chunk_rows", [1, 7, 239, 240])
@pytest.mark.parametrize(
    "columns",
    [
        {},
        {"timestamp": np.zeros(240)},
        {"split": np.tile([2, 0, 1, 0], 60)},
        {"uniform": np.zeros(240, bool)},
    ],
    ids=["by-time", "at-random", "by-column", "none-uniform"],
)
def test_a_split_does_not_depend_on_storage(
    scratch: Path,
    monkeypatch: pytest.MonkeyPatch,
    columns: dict[str, Any],
    chunk_rows: int,
) -> None:
    dataset = make_dataset(**columns)
    expected = split_rows(dataset, validation=0.1, test=0.2, seed=3)

    cut_small(monkeypatch, chunk_rows)
    stored = replace(dataset, storage=Storage(scratch))
    for name, rows in vars(split_rows(stored, validation=0.1, test=0.2, seed=3)).items():
        np.testing.assert_array_equal(rows, getattr(expected, name), strict=True)


@pytest.mark.parametrize("chunk_rows", [1, 7, 100, 1000])
def test_batches_do_not_depend_on_storage(
    scratch: Path, monkeypatch: pytest.MonkeyPatch, chunk_rows: int
) -> None:
    rng = np.random.default_rng(0)
    user = rng.choice([1, 2, 5, 11], 300, p=[0.7, 0.1, 0.1, 0.1])  # some have no rows, one many
    time = rng.integers(9, size=300).astype(np.float64)
    dataset = make_dataset(300, user=user, timestamp=time, position=np.arange(300))
    rows = np.sort(rng.permutation(300)[:200])
    order = np.lexsort((time[rows], user[rows]))
    names = ("propensity", "offset")
    weights = {name: rng.uniform(0.1, 1, 200).astype(np.float32) for name in names}
    memory = SlateBatches(dataset, rows, slate=4, batch_slates=7, steps=1, **weights)

    cut_small(monkeypatch, chunk_rows)
    stored = replace(dataset, storage=Storage(scratch))
    batches = SlateBatches(stored, rows, slate=4, batch_slates=7, steps=1, **weights)

    for name in ("user", "item", "label", "position", "proxies"):
        expected = getattr(dataset.impressions, name)[rows[order]]
        np.testing.assert_array_equal(getattr(batches.tables, name).numpy(), expected)
    for on_disk, in_memory in zip(
        batches.epoch(torch.Generator().manual_seed(0)),
        memory.epoch(torch.Generator().manual_seed(0)),
        strict=True,
    ):
        for name, values in vars(on_disk).items():
            np.testing.assert_array_equal(values, getattr(in_memory, name), strict=True)
        for name, values in weights.items():
            expected = values[np.searchsorted(rows, on_disk.position.numpy())]
            np.testing.assert_array_equal(getattr(on_disk, name), expected)


# No file is left half-written, stale or behind.


def test_an_open_dataset_has_no_files_that_could_be_left(
    toy_dataset: Dataset, scratch: Path
) -> None:
    dataset = open_dataset(toy_dataset.path, scratch)

    assert not list(scratch.iterdir())
    assert dataset.impressions.label.sum() > 0


def test_a_killed_process_leaves_nothing(toy_dataset: Dataset, scratch: Path) -> None:
    script = f"""
import os, signal
from pathlib import Path
from typing import Any
from training.data import parquet, storage
from training.data.dataset import open_dataset

read, calls = parquet.read, []
def killed_at_third_chunk(*args):
    calls.append(args)
    if len(calls) == 7:  # two read the tables, two the columns and the number of rows
        os.kill(os.getpid(), signal.SIGKILL)
    return read(*args)

parquet.read, storage.CHUNK_ROWS = killed_at_third_chunk, 999
open_dataset(Path({str(toy_dataset.path)!r}), Path({str(scratch)!r}))
"""
    killed = subprocess.run([sys.executable, "-c", script], check=False)

    assert killed.returncode == -signal.SIGKILL
    assert not list(scratch.iterdir())
    dataset = open_dataset(toy_dataset.path, scratch)
    np.testing.assert_array_equal(dataset.impressions.label, toy_dataset.impressions.label)


def test_changed_data_is_read_anew(folder: Path, scratch: Path) -> None:
    before = open_dataset(folder, scratch)
    impressions = folder / "impressions.parquet"
    pl.read_parquet(impressions, glob=False).with_columns(label=1 - pl.col("label")).write_parquet(
        impressions
    )

    after = open_dataset(folder, scratch)

    assert after.fingerprint != before.fingerprint
    np.testing.assert_array_equal(after.impressions.label, 1 - before.impressions.label)


def test_a_full_disk_is_an_error_that_names_the_folder(
    toy_dataset: Dataset, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(TrainingError, match=f"{scratch}: cannot make .* MiB: No space left"):
        open_dataset(toy_dataset.path, scratch)


def test_a_file_in_the_place_of_the_folder_is_an_error(toy_dataset: Dataset, scratch: Path) -> None:
    scratch.write_text("")

    with pytest.raises(TrainingError, match=f"{scratch}: cannot make a file"):
        open_dataset(toy_dataset.path, scratch)


def test_an_array_may_be_empty(scratch: Path) -> None:
    for storage in (Storage(), Storage(scratch)):
        assert storage.empty((0, 3), np.float32).shape == (0, 3)


# Memory.


@pytest.fixture
def folders(toy_dataset: Dataset, tmp_path: Path) -> list[Path]:
    """Two datasets of the same users and items, the second with three times the rows."""
    small, large = toy_dataset.path, tmp_path / "large"
    shutil.copytree(small, large)
    rows = pl.read_parquet(large / "impressions.parquet", glob=False)
    pl.concat([rows] * 3).write_parquet(large / "impressions.parquet")
    return [small, large]


def bytes_a_row(folders: list[Path], scratch: Path | None) -> float:
    """Return by how much the peak of NumPy's memory grows with a row, all the way to a net."""
    peaks, rows = [], []
    for folder in folders:
        tracemalloc.start()
        dataset = open_dataset(folder, scratch)
        split = split_rows(dataset, validation=0.05, test=0.1, seed=0)
        batches = SlateBatches(dataset, split.train, slate=16, batch_slates=128)
        ProxyBins(batches.tables.proxies, bins=8, dim=4, dropout=0.0)
        warm_items(batches.tables)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        rows.append(len(dataset.impressions))
    return (peaks[1] - peaks[0]) / (rows[1] - rows[0])


def test_memory_does_not_grow_with_impressions_on_disk(
    folders: list[Path], scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut_small(monkeypatch, 1000)

    assert bytes_a_row(folders, None) > 50
    assert bytes_a_row(folders, scratch) < 7  # one column of proxies at a time, and the slates
