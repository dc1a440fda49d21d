"""The parts of an artifact that training writes for itself and reads again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import onnxruntime as ort
import polars as pl
import torch

from training.arrays import Floats
from training.data import parquet
from training.fitting.fitted_net import FittedNet

ITEMS = "items.parquet"
USERS = "users.parquet"
STATE = "training_state.npz"  # for a later training


def open_graphs(folder: Path) -> dict[str, Callable[..., list[Floats]]]:
    """Return ``run(output names, inputs)`` of each graph of an artifact, by name."""
    providers = ["CPUExecutionProvider"]
    return {
        path.stem: ort.InferenceSession(path, providers=providers).run
        for path in folder.glob("*.onnx")
    }


def write_learned(fitted: FittedNet, folder: Path) -> None:
    """Write the learned features of warm items and all user records, for publishing."""
    net, dataset = fitted.net, fitted.dataset
    with torch.inference_mode():
        warm = fitted.warm.numpy()
        learned = net.learned_items().numpy()[warm]
        items = [item_id for item_id, flag in zip(dataset.item_ids, warm, strict=True) if flag]
        parquet.write(pl.DataFrame({"item_id": items, "learned": learned}), folder / ITEMS)
        users = {"user_id": dataset.user_ids, "vector": net.user_records().numpy()}
        parquet.write(pl.DataFrame(users), folder / USERS)
