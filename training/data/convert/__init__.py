"""Converters: a public dataset in its owners' files -> a dataset folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from training.data.convert.coat import prepare_coat
from training.data.convert.tiktok import prepare_tiktok

CONVERTERS: dict[str, Callable[[Path, Path], None]] = {
    "coat": prepare_coat,
    "tiktok": prepare_tiktok,
}

__all__ = ["CONVERTERS", "prepare_coat", "prepare_tiktok"]
