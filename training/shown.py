"""What a model shows: the top of the whole catalogue, as the service ranks it."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from service.contract.manifest import Metric
from training.data.dataset import Dataset
from training.estimates import mean_and_se
from training.metrics import average_popularity, coverage, gini, percentile_rank, tail_share
from training.nets.base import FrontNet, with_learned

TOP = 10
USERS = 1_000
_PAIRS = 4_000_000  # of user and item to score a tradeoff: a large catalogue gets fewer users
_CHUNK_ITEMS = 65_536

Rows = NDArray[np.int64]
Floats = NDArray[np.floating]


@torch.inference_mode()
def catalogue_states(net: FrontNet, dataset: Dataset, known: Tensor) -> Tensor:
    """Return the states (I, S) of all items as they are served: with current proxies."""
    net.eval()
    columns = (
        torch.from_numpy(dataset.embedding),
        torch.from_numpy(dataset.modality_mask).float(),
        net.learned_items(),
        known,
        torch.from_numpy(dataset.proxies),
    )
    chunks = zip(*(column.split(_CHUNK_ITEMS) for column in columns), strict=True)
    return torch.cat(
        [net.item_encoder(*with_learned(*inputs), proxies) for *inputs, proxies in chunks]
    )


def sample_users(users: Rows, items: int, *, most: int = USERS) -> Rows:
    """Return up to ``most`` of the distinct ``users``, the same ones for every training."""
    distinct = np.unique(users)
    count = min(len(distinct), most, max(_PAIRS // items, 1))
    return np.sort(np.random.default_rng(0).choice(distinct, count, replace=False))


def top_items(
    net: FrontNet, dataset: Dataset, known: Tensor, users: Rows, tradeoffs: Floats, k: int = TOP
) -> Rows:
    """Return the best k items (T, U, K) of the whole catalogue for ``users``, best first.

    Nothing is excluded, neither what a user clicked before nor what was never exposed.
    """
    return rank_catalogue(net, dataset, known, users, tradeoffs, k)[0]


@torch.inference_mode()
def rank_catalogue(
    net: FrontNet, dataset: Dataset, known: Tensor, users: Rows, tradeoffs: Floats, k: int = TOP
) -> tuple[Rows, Floats]:
    """Return what ``top_items`` does, and the logits (T, U, K) of these items."""
    states = catalogue_states(net, dataset, known)
    vectors = net.user_vectors()[torch.from_numpy(users)]
    k = min(k, len(states))
    top = np.empty((len(tradeoffs), len(users), k), np.int64)
    logits = np.empty(top.shape, np.float32)
    for t, w in enumerate(tqdm(tradeoffs, desc="rank the catalogue", leave=False)):
        tradeoff = torch.tensor([w], dtype=torch.float32)
        for row, user in enumerate(vectors.split(1)):
            best = net.ranker(user, states, tradeoff).topk(k)
            top[t, row], logits[t, row] = best.indices.numpy(), best.values.numpy()
    return top, logits


def shown_metrics(shown: Rows, clicks: Floats) -> dict[str, Metric]:
    """Describe lists ``shown`` (U, K) by the training clicks (I,) of their items.

    Errors are those of the users drawn; inequality and coverage of one sample have none.
    """
    by_user = {
        "arp": average_popularity(shown, clicks),
        "popularity_percentile": average_popularity(shown, percentile_rank(clicks)),
        "tail_share": tail_share(shown, clicks),
    }
    exposures = np.bincount(shown.ravel(), minlength=len(clicks))
    return {
        **{name: mean_and_se(values) for name, values in by_user.items()},
        "exposure_gini": Metric(mean=gini(exposures)),
        "coverage": Metric(mean=coverage(shown, len(clicks))),
    }
