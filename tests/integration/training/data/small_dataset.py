"""A small dataset folder with every oddity, and the errors that opening it raises."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from service.contract.manifest import Proxy
from training.data.dataset import open_dataset
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
