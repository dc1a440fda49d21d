"""A random log in memory: speed does not depend on what the values are."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from service.contract.manifest import Modality, Proxy
from service.contract.titles import ItemTitle
from training.data.dataset import Dataset, Impressions
from training.data.schema import Description, Embedding

SLATE = 16
_MODALITIES = {"visual": 32, "text": 32}
_MOST_ITEMS = 200_000


def items_of(users: int) -> int:
    """Return the number of items of a log of ``users``."""
    return min(users, _MOST_ITEMS)


def random_log(users: int, rows: int) -> Dataset:
    """Return at least ``rows`` random impressions, whole slates, each of a random user.

    Equal arguments give equal logs.
    """
    items = items_of(users)
    rng = np.random.default_rng(0)
    proxies = (Proxy(name="popularity"), Proxy(name="age_days"))
    slates = -(-rows // SLATE)
    rows = SLATE * slates
    impressions = Impressions(
        user=np.repeat(rng.integers(users, size=slates), SLATE).astype(np.int32),
        item=rng.integers(items, size=rows).astype(np.int32),
        label=(rng.random(rows) < 0.3).astype(np.float32),
        timestamp=np.repeat(rng.random(slates), SLATE),  # a split by time keeps slates whole
        proxies=rng.lognormal(size=(rows, len(proxies))).astype(np.float32),
        uniform=np.zeros(rows, np.bool_),
        position=np.tile(np.arange(SLATE), slates),
        propensity=None,
        split=None,
    )
    item_ids = [str(item) for item in range(items)]
    return Dataset(
        path=Path("random"),
        description=Description(
            name="random",
            proxies=proxies,
            embeddings={name: Embedding(values="v", ids="i") for name in _MODALITIES},
        ),
        fingerprint="0" * 64,
        user_ids=[str(user) for user in range(users)],
        item_ids=item_ids,
        shown=list(map(ItemTitle, item_ids)),
        modalities=tuple(Modality(name=name, dim=dim) for name, dim in _MODALITIES.items()),
        embedding=rng.standard_normal((items, sum(_MODALITIES.values())), np.float32),
        modality_mask=np.ones((items, len(_MODALITIES)), np.bool_),
        proxies=rng.lognormal(size=(items, len(proxies))).astype(np.float32),
        user_attributes=np.zeros((users, 0), np.float32),
        impressions=impressions,
    )
