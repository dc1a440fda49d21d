"""Raw tables of a feed, with whatever may divide two engines, and their ``prepare.toml``."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from training.toml import parse

START = datetime(2026, 3, 1, tzinfo=UTC)
ITEMS = 12

FLAT = """
name = "flat"

[impressions]
path = "shown"
user = "uid"
item = "vid"
time = "at"
label = "watched_s"
at_least = 7
position = "slot"
propensity = "p"
uniform = "random"

[users]
path = "people.parquet"
id = "uid"
attributes = ["age", "town"]

[items]
path = "videos.parquet"
id = "vid"
title = "title"
attributes = ["length_s"]

[keep]
since = 2026-03-02
until = 2026-03-09T12:00:00
user_rows = 3
item_rows = 2

[embeddings.image]
values = "image.npy"
ids = "image.ids.txt"
"""

JOINED = """
name = "joined"

[impressions]
path = "requests.parquet"
request = "rid"
user = "uid"
item = "vid"
time = "ms"
time_unit = "ms"

[outcomes]
path = "events.parquet"
request = "rid"
item = "vid"
label = "strength"
at_least = 0.5
time = "seconds"
time_unit = "s"
within_s = 3600

[proxies]
clock = "hour"
prior_rows = 5

[embeddings.image]
values = "image.npy"
ids = "image.ids.txt"
"""


def write_raw(folder: Path, text: str = FLAT, rows: int = 600) -> Path:
    """Write the raw tables into ``folder``; return its ``prepare.toml`` with ``text``.

    Users and items are integers, with a leading zero lost to nobody. Times tie, in an hour and
    exactly, are in another zone and straddle days; copies, nulls and NaN are among the rows.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(5)
    minute = np.sort(rng.integers(0, 10 * 24 * 60, rows))
    minute[::7] = minute[0 : len(minute[::7]) * 7 : 7] // 60 * 60  # many rows of one instant
    zone = timezone(timedelta(hours=-5))
    user = rng.geometric(0.08, rows)
    item = np.minimum(rng.geometric(0.25, rows), ITEMS + 2)  # two are in no table of items
    table = pl.DataFrame(
        {
            "uid": [None if row % 97 == 0 else int(u) for row, u in enumerate(user)],
            "vid": item.astype(np.int32),
            "at": [
                START.astimezone(zone) + timedelta(minutes=int(m), microseconds=7) for m in minute
            ],
            "watched_s": [
                (None, float("nan"), 7.0)[row % 3] if row % 50 < 3 else float(watched)
                for row, watched in enumerate(rng.exponential(8, rows).round(1))
            ],
            "slot": [None if row % 41 == 0 else row % 5 for row in range(rows)],
            "p": [float("nan") if row % 43 == 0 else 0.25 for row in range(rows)],
            "random": [None if row % 11 == 0 else row % 13 == 0 for row in range(rows)],
            "unread": "x",
        }
    )
    copies = table[::20].with_columns(watched_s=100.0, slot=pl.col("slot") + 1)
    (folder / "shown").mkdir()
    table[: rows // 2].write_parquet(folder / "shown" / "b.parquet")
    pl.concat([table[rows // 2 :], copies]).write_parquet(folder / "shown" / "a.parquet")

    pl.DataFrame(
        {
            "uid": [f"{n}" for n in range(0, 60, 2)],
            "age": [None if n % 5 == 0 else n for n in range(30)],
            "town": ["Åre" if n % 2 else None for n in range(30)],
        }
    ).write_parquet(folder / "people.parquet")
    pl.DataFrame(
        {
            "vid": np.arange(ITEMS) + 1,
            "title": [f"Video {n}" for n in range(ITEMS)],
            "length_s": np.linspace(5, 60, ITEMS),
        }
    ).write_parquet(folder / "videos.parquet")
    np.save(folder / "image.npy", rng.normal(size=(5, 4)).astype(np.float32))
    (folder / "image.ids.txt").write_text("".join(f"{n}\n" for n in range(1, 6)))

    requests = pl.DataFrame(
        {
            "rid": [None if row % 89 == 0 else f"r{row // 4}" for row in range(rows)],
            "uid": [f"{u:04d}" for u in user],  # leading zeros
            "vid": item,
            "ms": (START.timestamp() * 1000 + minute * 60_000).astype(np.int64),
        }
    )
    requests.write_parquet(folder / "requests.parquet")
    clicked = requests.filter(pl.Series(rng.random(rows) < 0.5)).with_columns(
        strength=pl.lit(0.7),
        seconds=pl.col("ms") / 1000 + 1800.25,
    )
    late = clicked[:20].with_columns(seconds=pl.col("seconds") + 3600)
    weak = clicked[20:40].with_columns(strength=0.2)
    events = pl.concat([clicked[40:], late, weak, clicked[50:60]]).drop("uid", "ms")
    events.write_parquet(folder / "events.parquet")
    config = folder / "prepare.toml"
    config.write_text(text)
    assert parse(text)
    return config


def read(folder: Path) -> dict[str, pl.DataFrame]:
    """Return the tables of a dataset folder in order of their rows, and its other files."""
    parts = sorted((folder / "impressions").glob("*.parquet"))
    tables = {"impressions": pl.concat([pl.read_parquet(part, glob=False) for part in parts])}
    for name in ("users", "items"):
        tables[name] = pl.read_parquet(folder / f"{name}.parquet", glob=False)
    return tables


def others(folder: Path) -> dict[str, bytes]:
    """Return the files of a dataset folder that are no tables."""
    names: list[Any] = ["dataset.toml", "embeddings/image.npy", "embeddings/image.ids.txt"]
    return {name: (folder / name).read_bytes() for name in names}
