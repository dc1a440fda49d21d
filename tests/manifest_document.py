"""A valid manifest as JSON, for tests that need no trained model."""

from __future__ import annotations

from typing import Any

LISTED = ("item_encoder.onnx", "user_encoder.onnx", "ranker.onnx", "golden.npz", "front.json")


def manifest_document() -> dict[str, Any]:
    """Return a valid manifest; D = 9, M = 3, P = 2, S = 4, U = 6."""
    return {
        "schema_version": 2,
        "name": "demo",
        "architecture": "decomposed",
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
            "diagnostic": "the sides disagree",
            "se_kind": "over seeds",
            "seeds": [1, 2],
            "dataset": "toy",
        },
        "files": dict.fromkeys(LISTED, "0" * 64),
    }
