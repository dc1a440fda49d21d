"""The folder of one simulated feed: its log, its datasets and its models."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from service.contract import CHAMPION
from service.contract.artifact import Artifact, open_artifact
from service.contract.feedback import CLICK
from service.contract.repository import Repository
from training.arrays import Flags, Rows
from training.config import load_config
from training.data import parquet
from training.data.dataset import Dataset, open_dataset
from training.demo.loop.crowd import Crowd
from training.demo.loop.figures import item_id
from training.feed.log_files import LogFolder
from training.feed.prepare import prepare_feed
from training.feed.specification import Feed
from training.feed.worker import Worker
from training.fitting.fitted_net import FittedNet
from training.fitting.runs import RunStore
from training.pipeline import train
from training.release.gate import Demands, failed_checks
from training.release.publish import publish

MODEL = "cp2rec"
NAMESPACE = "loop"
# Days last seconds here. All clicks of a run are the popularity, from the next second on.
DEFINITION = Feed.model_validate(
    {
        "name": "loop",
        "bucket": "1s",
        "labels": {"window": "1h"},
        "proxies": [{"name": "clicks", "count": CLICK, "window": "30d"}],
    }
)
_OPTIONS = ("net.exposure_weight=1.0",)  # one of the default's, not chosen anew each day
_DEMANDS = Demands(items=0.9, agreement=0.0, compared=1)


@dataclass(frozen=True)
class Place:
    """The folder of a feed; its Redis is at ``url``."""

    root: Path
    url: str

    @property
    def repository(self) -> Repository:
        """The models."""
        return Repository(self.root / "models")

    def collect(self) -> None:
        """Collect what the streams hold, and bring live proxies up to date."""
        logs, repository = self.root / "logs", self.repository
        logs.mkdir(parents=True, exist_ok=True)
        Worker(self.url, NAMESPACE, LogFolder(logs), feed=DEFINITION, repository=repository).drain()

    def prepare(self, crowd: Crowd, day: int) -> Dataset:
        """Return the dataset of all rows until now; its items are those that have arrived."""
        items, out = self.root / "items.parquet", self.root / "data"
        parquet.write(items_table(crowd, crowd.arrival <= day), items)
        shutil.rmtree(out, ignore_errors=True)
        period = (None, int(time.time() * 1000))  # simulated users click at once or never
        prepare_feed(DEFINITION, self.root / "logs", items, out, period)
        return open_dataset(out)

    def train(self, dataset: Dataset) -> tuple[Artifact, FittedNet]:
        """Train a version on all days so far.

        Not from the version of the day before: counts of clicks grow beyond the bins of its
        training, as they do in the first weeks of any feed.
        """
        runs = RunStore(self.root / "training")
        return train(dataset, load_config(MODEL, None, _OPTIONS), self.repository, MODEL, runs)

    def publish(self, artifact: Artifact, dataset: Dataset) -> list[str]:
        """Publish a version and let it be the champion; return what the gate says against it."""
        publish(artifact, dataset, url=self.url, namespace=NAMESPACE)
        champion, failures = self.repository.aliases(MODEL).get(CHAMPION), list[str]()
        if champion is not None:
            serving = open_artifact(self.repository.path(MODEL, champion))
            failures = failed_checks(artifact, serving, _DEMANDS, url=self.url, namespace=NAMESPACE)
        self.repository.promote(MODEL, artifact.version)
        return failures


def items_table(crowd: Crowd, chosen: Flags | Rows) -> pl.DataFrame:
    """Return the chosen items as `prepare feed` takes them: ids, titles, a vector a modality."""
    columns: dict[str, Any] = {
        "item_id": [item_id(item) for item in range(crowd.world.items)],
        "title": crowd.world.titles,
    }
    for modality, (values, rows) in crowd.world.embeddings.items():
        vectors: list[list[float] | None] = [None] * crowd.world.items
        for row, vector in zip(rows.tolist(), values.tolist(), strict=True):
            vectors[row] = vector
        columns[modality] = pl.Series(vectors, dtype=pl.List(pl.Float32))
    return pl.DataFrame(columns)[np.arange(crowd.world.items)[chosen]]
