"""The TikTok cut of MMSSL (Wei et al., WWW 2023) and DiffMM (Jiang et al., ACM MM 2024).

One file, ``tiktok.npz``: ``trn``, ``val`` and ``tst`` are positives, integers (n, 2) of user and
item rows; ``image`` and ``audio`` are floats (items, dim). It has no skips, exposures or times.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from service.contract.manifest import Proxy
from training.data.convert.tables import missing
from training.data.writer import refuse_existing, write_dataset
from training.errors import DatasetError

FILE = "tiktok.npz"
SPLITS = {"trn": "train", "val": "validation", "tst": "test"}
MODALITIES = ("image", "audio")


@dataclass(frozen=True)
class TikTok:
    """positives: split -> (n, 2) int64 (user, item); embeddings: modality -> (items, dim)."""

    users: int
    items: int
    positives: dict[str, NDArray[np.int64]]
    embeddings: dict[str, NDArray[np.float32]]

    def train_counts(self) -> NDArray[np.int64]:
        """Return the training positives of each item (items,)."""
        return np.bincount(self.positives["train"][:, 1], minlength=self.items)


def prepare_tiktok(source: Path, out: Path) -> None:
    """Convert ``source/tiktok.npz`` into the dataset folder ``out``, for full-ranking evaluation.

    Every row is a positive (label 1, exposure ``logged``, timestamp 0); the column ``split`` is the
    file's. The numeric proxy ``popularity`` is log1p of an item's training positives, one static
    value an item: it is NOT causal for training rows, whose own positive it counts. Raises
    DatasetError naming the array that is missing or malformed.
    """
    refuse_existing(out)
    tiktok = read_tiktok(source)
    user_ids = np.array([f"u{row:04d}" for row in range(tiktok.users)])
    item_ids = np.array([f"i{row:04d}" for row in range(tiktok.items)])
    pairs = np.concatenate(list(tiktok.positives.values()))
    splits = list(tiktok.positives)
    split = np.repeat(splits, [len(tiktok.positives[name]) for name in splits])
    write_dataset(
        out,
        name="tiktok",
        impressions=pl.DataFrame(
            {
                "user_id": user_ids[pairs[:, 0]],
                "item_id": item_ids[pairs[:, 1]],
                "label": np.ones(len(pairs), np.int8),
                "timestamp": np.zeros(len(pairs), np.int64),
                "split": split,
            }
        ).with_columns(exposure=pl.lit("logged")),
        items=pl.DataFrame(
            {
                "item_id": item_ids,
                "title": [f"Video {row:04d}" for row in range(tiktok.items)],
                "popularity": np.log1p(tiktok.train_counts()).astype(np.float32),
            }
        ),
        users=pl.DataFrame({"user_id": user_ids}),
        embeddings={name: (x, item_ids.tolist()) for name, x in tiktok.embeddings.items()},
        proxies=(Proxy(name="popularity"),),
        title="title",
    )


def read_tiktok(source: Path) -> TikTok:
    """Read and check ``source/tiktok.npz``; raises DatasetError."""
    path = source / FILE
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except FileNotFoundError as error:
        raise missing(path) from error
    except (ValueError, EOFError, AttributeError, TypeError, zipfile.BadZipFile) as error:
        raise DatasetError(path, f"is not an .npz of arrays: {error}") from error
    for name in (*SPLITS, *MODALITIES):
        if name not in arrays:
            raise DatasetError(path, f"is missing; the file has {', '.join(arrays)}", column=name)
    embeddings = {name: _embedding(arrays[name], path, name) for name in MODALITIES}
    items = len(embeddings["image"])
    if len(embeddings["audio"]) != items:
        problem = f"has {len(embeddings['audio'])} items where image has {items}"
        raise DatasetError(path, problem, column="audio")
    positives = {split: _pairs(arrays[name], path, name, items) for name, split in SPLITS.items()}
    if not len(positives["train"]):
        raise DatasetError(path, "has no positives", column="trn")
    users = 1 + max(int(pairs[:, 0].max(initial=0)) for pairs in positives.values())
    return TikTok(users, items, positives, embeddings)


def _embedding(values: NDArray[np.floating], path: Path, name: str) -> NDArray[np.float32]:
    if values.ndim != 2 or values.dtype.kind != "f" or not values.size:
        problem = f"must be floats (items, dim), not {values.dtype} {values.shape}"
        raise DatasetError(path, problem, column=name)
    bad = ~np.isfinite(values).all(axis=1)
    if bad.any():
        raise DatasetError(path, "NaN or infinite value", column=name, row=int(bad.argmax()))
    return values.astype(np.float32)


def _pairs(values: NDArray[np.integer], path: Path, name: str, items: int) -> NDArray[np.int64]:
    if values.ndim != 2 or values.shape[1] != 2 or values.dtype.kind not in "iu":
        problem = f"must be integers (n, 2) of user and item, not {values.dtype} {values.shape}"
        raise DatasetError(path, problem, column=name)
    bad = (values < 0).any(axis=1) | (values[:, 1] >= items)
    if bad.any():
        row = int(bad.argmax())
        problem = f"{tuple(values[row].tolist())} is not a (user, item) with item < {items}"
        raise DatasetError(path, problem, column=name, row=row)
    return values.astype(np.int64)
