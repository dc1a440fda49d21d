"""A small dataset folder with every oddity, and the errors that opening it raises."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import tomli_w

from service.contract.manifest import Proxy
from training.data.dataset import Dataset, open_dataset
from training.data.schema import DESCRIPTION
from training.data.writer import write_dataset
from training.errors import DatasetError

PROXIES = (
    Proxy(name="clicks"),
    Proxy(name="slot", kind="categorical", categories=("top", "side")),
    Proxy(name="price"),
)
IMAGE = np.array([[1, 2], [3, 4], [5, 6]], np.float32)
AUDIO = np.array([[7, 8, 9], [10, 11, 12]], np.float16)  # of items c and a; b has no audio


def tables() -> dict[str, pl.DataFrame]:
    return {
        "items": pl.DataFrame(
            {
                "item_id": ["a", "b", "c"],
                "name": ["Alpha", None, "Gamma"],
                "clicks": [10, 20, None],
                "slot": ["top", "side", None],
                "price": [1.5, 2.5, 3.5],
            }
        ),
        "users": pl.DataFrame({"user_id": ["u1", "u2"], "age": [30, 40], "member": [True, False]}),
        "impressions": pl.DataFrame(
            {
                "user_id": ["u2", "u1", "u1", "u2"],
                "item_id": ["c", "a", "b", "b"],
                "label": [1, 0, 0, 1],
                "timestamp": [5, 6, 7, 8],
                "exposure": ["logged", "logged", "logged", "uniform"],
                "position": [0, 3, 1, 0],
                "propensity": [0.5, 0.25, 1.0, 0.125],
                "split": ["train", "validation", "test", "test"],
                "clicks": [1.0, 2.0, 3.0, None],
                "slot": ["side", "side", "top", None],
            }
        ),
    }


def write(folder: Path, **replaced: pl.DataFrame) -> None:
    """Write the folder; ``replaced`` are tables by name."""
    contents = tables() | replaced
    write_dataset(
        folder,
        name="small",
        impressions=contents["impressions"],
        items=contents["items"],
        users=contents["users"],
        embeddings={"image": (IMAGE, ["a", "b", "c"]), "audio": (AUDIO, ["c", "a"])},
        proxies=PROXIES,
        title="name",
        user_attributes=("age", "member"),
        extra={"oracle": pl.DataFrame({"truth": [0.5]})},
    )


def split_table(folder: Path, table: str, parts: dict[str, slice]) -> Path:
    """Turn a table of ``folder`` into parts, by name without suffix; return their folder."""
    path = folder / f"{table}.parquet"
    rows = pl.read_parquet(path, glob=False)
    path.unlink()
    for name, span in parts.items():
        part = path / f"{name}.parquet"
        part.parent.mkdir(parents=True, exist_ok=True)
        rows[span].write_parquet(part)
    return path


def describe(folder: Path, **entries: Any) -> None:
    """Change entries of ``dataset.toml``; ``__`` stands for a dot."""
    path = folder / DESCRIPTION
    table = tomllib.loads(path.read_text())
    for name, value in entries.items():
        *parents, key = name.split("__")
        place = table
        for parent in parents:
            place = place[parent]
        place[key] = value
    path.write_text(tomli_w.dumps(table))


def arrays(dataset: Dataset) -> dict[str, list[object]]:
    """Return the columns of the impressions that there are."""
    values = vars(dataset.impressions)
    return {name: column.tolist() for name, column in values.items() if column is not None}


def assert_refused(
    folder: Path,
    file: str,
    column: str | None,
    row: int | None,
    problem: str,
    scratch: Path | None = None,
) -> None:
    """Assert that opening ``folder`` names the file, column and row, and the problem (a regex)."""
    with pytest.raises(DatasetError) as caught:
        open_dataset(folder, scratch)
    error = caught.value
    assert (error.file, error.column, error.row) == (folder / file, column, row)
    assert re.search(problem, error.problem), error.problem
    assert str(folder / file) in str(error)
