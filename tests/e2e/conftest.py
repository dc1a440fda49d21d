"""The commands a user types, as processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray
from typer.testing import CliRunner

from training.cli.app import app
from training.data.writer import write_dataset

ROOT = Path(__file__).parents[2]


def training(*arguments: str, cwd: Path, timeout_s: float = 240) -> str:
    """Run ``python -m training`` and return its output."""
    done = subprocess.run(
        [sys.executable, "-m", "training", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout


def in_process(*arguments: str) -> str:
    """Run a training command here, in the working folder, and return its output."""
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, (done.output[-4000:], done.exception)
    return done.stdout


def write_clicks(
    folder: Path, pairs: Sequence[tuple[int, int]], image: NDArray[np.float32]
) -> Path:
    """Write clicks alone, pairs (user, item), nine in a row of each user, split by the folder."""
    user, item = np.array(pairs).T
    item_ids = [f"i{row}" for row in range(len(image))]
    user_ids = [f"u{row}" for row in range(len(user) // 9)]
    write_dataset(
        folder,
        name="clicks",
        impressions=pl.DataFrame(
            {
                "user_id": [f"u{row}" for row in user],
                "item_id": [f"i{row}" for row in item],
                "label": np.ones(len(user), np.int8),
                "timestamp": np.zeros(len(user), np.int64),
                "exposure": "logged",
                "split": np.tile(["train"] * 6 + ["validation"] + ["test"] * 2, len(user_ids)),
            }
        ),
        items=pl.DataFrame({"item_id": item_ids}),
        users=pl.DataFrame({"user_id": user_ids}),
        embeddings={"image": (image, item_ids)},
        proxies=(),
    )
    return folder


def processes_that_know(text: str) -> list[int]:
    """Return the processes whose command line or environment mentions ``text``."""
    processes = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit() or int(folder.name) == os.getpid():
            continue
        try:
            said = (folder / "cmdline").read_bytes() + (folder / "environ").read_bytes()
        except OSError:  # ended meanwhile, or not ours
            continue
        if text.encode() in said:
            processes.append(int(folder.name))
    return processes
