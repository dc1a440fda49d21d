"""The positives of a dataset folder as RecBole's atomic files, with the same split."""

from __future__ import annotations

import tempfile
from pathlib import Path

import polars as pl

from training.data.dataset import Dataset
from training.metrics.full_ranking import RankingTask


def write_recbole(folder: Path, dataset: Dataset, task: RankingTask) -> None:
    """Fill ``folder`` with ``clicks/``; does nothing where it is."""
    if folder.exists():
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as name:
        made = Path(name) / folder.name
        clicks = made / "clicks"
        clicks.mkdir(parents=True)
        for part, positives in task.positives.items():
            user, item = positives.nonzero()
            # Tab-separated, a column's type in its name.
            pl.DataFrame(
                {
                    "user_id:token": [dataset.user_ids[row] for row in user],
                    "item_id:token": [dataset.item_ids[row] for row in item],
                }
            ).write_csv(clicks / f"clicks.{part}.inter", separator="\t")
        made.rename(folder)
