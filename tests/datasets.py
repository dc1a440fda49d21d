"""Makers of small datasets in memory, shared by the tests of all folders."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from service.contract.manifest import Modality, Proxy
from service.contract.titles import ItemTitle
from training.data.dataset import Dataset, Impressions
from training.data.schema import Description, Embedding

MakeDataset = Callable[..., Dataset]

DIMS = {"visual": 3, "text": 2}
PROXIES = (
    Proxy(name="popularity"),
    Proxy(name="age"),
    Proxy(name="style", kind="categorical", categories=("plain", "loud")),
)


def make_dataset(
    rows: int = 240, users: int = 12, items: int = 10, seed: int = 0, **columns: Any
) -> Dataset:
    """Return a dataset whose clicks can be learned, with every oddity that a folder may have.

    The last quarter of the rows is uniformly exposed, item 1 lacks its visual modality, one
    proxy in ten is unknown. ``columns`` replace those of the impressions.
    """
    rng = np.random.default_rng(seed)
    embedding = rng.normal(size=(items, sum(DIMS.values()))).astype(np.float32)
    mask = np.ones((items, len(DIMS)), np.bool_)
    mask[1, 0], embedding[1, :3] = False, 0.0
    proxies = np.c_[rng.lognormal(size=(items, 2)), rng.integers(2, size=items)]
    user, item = rng.integers(users, size=rows), rng.integers(items, size=rows)
    logged_proxies = proxies[item]
    logged_proxies[rng.random(logged_proxies.shape) < 0.1] = np.nan
    taste = rng.normal(size=(users, items))
    impressions = Impressions(
        user=user,
        item=item,
        label=(taste[user, item] + rng.normal(size=rows) > 0.3).astype(np.float32),
        timestamp=rng.permutation(rows).astype(np.float64),
        proxies=logged_proxies.astype(np.float32),
        uniform=np.arange(rows) >= 3 * rows // 4,
        position=rng.integers(4, size=rows),
        propensity=None,
        split=None,
    )
    return Dataset(
        path=Path("toy"),
        description=Description(
            name="toy",
            proxies=PROXIES,
            embeddings={name: Embedding(values="v", ids="i") for name in DIMS},
        ),
        fingerprint="0" * 64,
        user_ids=[f"u{row}" for row in range(users)],
        item_ids=[f"i{row}" for row in range(items)],
        shown=[ItemTitle(f"i{row}") for row in range(items)],
        modalities=tuple(Modality(name=name, dim=dim) for name, dim in DIMS.items()),
        embedding=embedding,
        modality_mask=mask,
        proxies=proxies.astype(np.float32),
        user_attributes=rng.normal(size=(users, 2)).astype(np.float32),
        impressions=replace(impressions, **columns),
    )


def make_clicks(rows: int = 300, users: int = 12, **columns: Any) -> Dataset:
    """Return clicks, and no skips, on 60 items, the first of them by far the most clicked."""
    rng = np.random.default_rng(3)
    popular = 1 / np.arange(1, 61) ** 0.7
    clicks = {
        "label": np.ones(rows, np.float32),
        "uniform": np.zeros(rows, np.bool_),
        "item": rng.choice(60, rows, p=popular / popular.sum()),
    }
    return make_dataset(rows=rows, users=users, items=60, **(clicks | columns))
