"""A small feed in a store's streams, and what its files hold."""

from __future__ import annotations

import contextlib
import threading
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from service.contract.feedback import (
    RECORD,
    Decision,
    Event,
    decisions_key,
    encode,
    events_key,
    shard_of,
)
from training.feed.collector import BATCH, Collector
from training.feed.log_files import LogFolder
from training.feed.metrics import Metrics

NOW_MS = 1_764_225_000_000  # 2025-11-27 06:30 UTC
HOUR_MS = 3_600_000


def decision(request_id: str, time_ms: int = NOW_MS, **changes: Any) -> Decision:
    """Return a decision that shows the items a, b and c."""
    fields: dict[str, Any] = {
        "user_id": "u1",
        "model": "toy@1",
        "tradeoff": 0.5,
        "pool": "catalogue",
        "pool_size": 3,
        "item_ids": ["a", "b", "c"],
        "scores": [0.3, 0.2, 0.1],
        "propensities": [0.9, 0.5, 1.0],
    }
    return Decision(request_id=request_id, time_ms=time_ms, **{**fields, **changes})


def event(request_id: str, item_id: str = "a", time_ms: int = NOW_MS, **changes: Any) -> Event:
    """Return a click."""
    fields = {"kind": "click", **changes}
    return Event(request_id=request_id, item_id=item_id, time_ms=time_ms, **fields)


@dataclass
class FeedLog:
    """A namespace of a store, whose streams are collected into ``folder``."""

    client: Any
    folder: Path
    shards: int = 1
    namespace: str = field(default_factory=lambda: f"f{uuid.uuid4().hex[:12]}")
    metrics: Metrics = field(default_factory=Metrics)
    stop: threading.Event = field(default_factory=threading.Event)

    @property
    def files(self) -> LogFolder:
        return LogFolder(self.folder)

    def put(self, *records: Decision | Event, arrived_ms: int = NOW_MS) -> None:
        """Append records as the service does; ``arrived_ms`` is the time in the entries' ids."""
        pipeline = self.client.pipeline(transaction=False)
        for record in records:
            shard = shard_of(record.request_id, self.shards)
            key = decisions_key if isinstance(record, Decision) else events_key
            fields = {RECORD: encode(record)}
            pipeline.xadd(key(self.namespace, shard), fields, id=f"{arrived_ms}-*")
        pipeline.execute()

    def collector(self, client: Any = None, now_ms: Callable[[], int] | None = None) -> Collector:
        options = {} if now_ms is None else {"now_ms": now_ms}
        return Collector(
            self.files,
            client or self.client,
            self.namespace,
            metrics=self.metrics,
            stop=self.stop,
            **options,
        )

    def collect(self, batch: int = BATCH) -> int:
        return self.collector().run(batch)

    def rows(self, table: str) -> pl.DataFrame:
        """Return what the files of a table hold, in the order of hours, shards and entries."""
        while True:
            with contextlib.suppress(FileNotFoundError):  # a worker compacts: read them anew
                files = [file.path for file in self.files.current(table)]
                frames = [
                    pl.read_parquet(path, glob=False, hive_partitioning=False) for path in files
                ]
                return pl.concat(frames) if frames else pl.DataFrame()

    def requests(self, table: str) -> list[str]:
        rows = self.rows(table)
        return sorted(rows["request_id"]) if len(rows) else []

    def metric(self, name: str, **labels: str) -> float:
        value = self.metrics.registry.get_sample_value(f"rank_collect_{name}", labels)
        return -1.0 if value is None else value


def names(folder: Path) -> Sequence[str]:
    """Return the paths of all files below ``folder``."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
