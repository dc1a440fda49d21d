"""A minimal valid artifact on disk. Its graphs are dummy bytes: the contract never opens them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from service.contract.artifact import Golden, Repository

LISTED = ("item_encoder.onnx", "user_encoder.onnx", "ranker.onnx", "golden.npz", "front.json")


@pytest.fixture
def document() -> dict[str, Any]:
    """A valid manifest as JSON sees it; D = 9, M = 3, P = 2, S = 4, U = 6, C = 1."""
    return {
        "schema_version": 1,
        "name": "demo",
        "kind": "cp2rec",
        "created": "2024-05-01T12:00:00Z",
        "git_commit": None,
        "config": {"seed": 7},
        "dataset": {
            "name": "toy",
            "fingerprint": "ab" * 32,
            "users": 5,
            "items": 4,
            "impressions": 20,
        },
        "modalities": [
            {"name": "visual", "dim": 3},
            {"name": "text", "dim": 2},
            {"name": "id", "dim": 4, "learned": True},
        ],
        "proxies": [
            {"name": "popularity"},
            {"name": "daypart", "kind": "categorical", "categories": ["day", "night"]},
        ],
        "context": [{"name": "hour", "neutral": 0.5}],
        "graphs": {
            "item_encoder": {
                "inputs": [
                    {"name": "embedding", "shape": ["N", 9]},
                    {"name": "modality_mask", "shape": ["N", 3]},
                    {"name": "proxies", "shape": ["N", 2]},
                ],
                "outputs": [{"name": "state", "shape": ["N", 4]}],
            },
            "user_encoder": {
                "inputs": [{"name": "history", "shape": ["L", 4]}],
                "outputs": [{"name": "user", "shape": [1, 6]}],
            },
            "ranker": {
                "inputs": [
                    {"name": "user", "shape": [1, 6]},
                    {"name": "state", "shape": ["N", 4]},
                    {"name": "tradeoff", "shape": [1]},
                    {"name": "context", "shape": [1, 1]},
                ],
                "outputs": [{"name": "logit", "shape": ["N"]}],
            },
        },
        "opset": 18,
        "spaces": {"items": "demo-items", "users": "demo-users", "proxies": "shared-proxies"},
        "default_tradeoff": 0.5,
        "calibration": {"slope": 1.0, "intercept": 0.0, "meaning": "click under logged exposure"},
        "parity_tolerance": 1e-4,
        "front": {
            "points": [
                {
                    "tradeoff": 0.0,
                    "logged": {"auc": {"mean": 0.6, "se": 0.01}},
                    "unbiased": {"auc": {"mean": 0.6, "se": 0.01}},
                },
                {
                    "tradeoff": 1.0,
                    "logged": {"auc": {"mean": 0.6, "se": 0.01}},
                    "unbiased": {"auc": {"mean": 0.6, "se": 0.01}},
                },
            ],
            "unbiased_kind": "uniform exposure",
            "axis": "auc",
            "hypervolume": {"mean": 0.02},
            "reference": [0.5, 0.5],
            "spearman": {"logged": 1.0, "unbiased": -1.0},
            "gain": {"logged": {"mean": 0.6, "se": 0.01}, "unbiased": {"mean": 0.6, "se": 0.01}},
            "verdict": "clear",
            "diagnostic": "the axes disagree",
            "se_kind": "over seeds",
            "seeds": [1, 2],
            "dataset": "toy",
        },
        "files": dict.fromkeys(LISTED, "0" * 64),
    }


@pytest.fixture
def golden() -> Golden:
    """Golden arrays with a different value in every place: N = 2, T = 3."""

    def ramp(start: float, *shape: int) -> np.ndarray[Any, np.dtype[np.float32]]:
        return (start + np.arange(np.prod(shape)) / 8).astype(np.float32).reshape(shape)

    return Golden(
        embedding=ramp(1, 2, 9),
        modality_mask=np.array([[1, 1, 0], [0, 1, 1]], np.float32),
        proxies=ramp(10, 2, 2),
        user=ramp(20, 1, 6),
        tradeoffs=np.array([0, 0.5, 1], np.float32),
        logits=ramp(30, 3, 2),
        history=np.array([1, 0], np.int64),
        cold_user=ramp(40, 1, 6),
    )


@pytest.fixture
def fill(document: dict[str, Any], golden: Golden) -> Callable[..., Path]:
    """Return ``fill(folder, content)``: write a valid artifact into an existing folder."""

    def fill_folder(folder: Path, content: bytes = b"graph") -> Path:
        for name in LISTED:
            (folder / name).write_bytes(name.encode() + content)
        golden.save(folder / "golden.npz")
        files = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in LISTED}
        (folder / "manifest.json").write_text(json.dumps({**document, "files": files}))
        return folder

    return fill_folder


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """A model repository whose folder does not exist yet."""
    return Repository(tmp_path / "models")


@pytest.fixture
def publish(repository: Repository, fill: Callable[..., Path]) -> Callable[[int], Path]:
    """Return ``publish(version)``: a valid artifact at ``demo/<version>``."""

    def publish_version(version: int) -> Path:
        folder = repository.root / "demo" / str(version)
        folder.mkdir(parents=True)
        return fill(folder, b"graph of version %d" % version)

    return publish_version


@pytest.fixture
def edit() -> Callable[[Path, str, Any], None]:
    """Return ``edit(folder, key, value)``: set a top-level field of a written manifest."""

    def edit_field(folder: Path, key: str, value: Any) -> None:
        path = folder / "manifest.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))

    return edit_field
