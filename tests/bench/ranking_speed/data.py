"""Writes the positives of a dataset folder as RecBole's atomic files, with the same split."""

from __future__ import annotations

import tempfile
from pathlib import Path

import polars as pl

from training.data.dataset import Dataset
from training.metrics.full_ranking import RankingTask


def write_recbole(folder: Path, dataset: Dataset, task: RankingTask) -> None:
    """Fill ``folder`` with ``clicks/``, unless it exists."""
    if folder.exists():
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as name:
        scratch = Path(name) / folder.name
        clicks = scratch / "clicks"
        clicks.mkdir(parents=True)
        for split, positives in task.positives.items():
            user, item = positives.nonzero()
            # Tab-separated, with the type of a column in its name.
            pl.DataFrame(
                {
                    "user_id:token": [dataset.user_ids[row] for row in user],
                    "item_id:token": [dataset.item_ids[row] for row in item],
                }
            ).write_csv(clicks / f"clicks.{split}.inter", separator="\t")
        scratch.rename(folder)
