"""The TikTok cut: 4 users and 4 items; clicks alone, which have no opposite outcome."""

from __future__ import annotations

from io import BytesIO

import numpy as np
from numpy.typing import NDArray

from tests.integration.training.data.convert.sources.source import Source

FILE = "tiktok.npz"


def arrays() -> dict[str, NDArray[np.generic]]:
    return {
        "trn": np.array([[0, 1], [0, 2], [1, 1], [2, 1]], np.int16),
        "val": np.array([[3, 0]], np.int16),
        "tst": np.array([[1, 3], [2, 0]], np.int16),
        "image": np.array([[1, 2], [3, 4], [5, 6], [7, 0.1]], np.float16),
        "audio": np.array([[-1], [-2], [-3], [-4]], np.float16),
    }


def archive(**replaced: NDArray[np.generic] | None) -> dict[str, bytes]:
    """Return the file with ``replaced`` arrays, without those that are None."""
    contents = {name: x for name, x in (arrays() | replaced).items() if x is not None}
    file = BytesIO()
    np.savez(file, **contents)  # type: ignore[arg-type]  # no array is named as its flag
    return {FILE: file.getvalue()}


SOURCE = Source(
    files=archive(),
    flips=(),
    labels=frozenset({1}),
    uniform=False,
    timed=False,
    statistics=False,
)
