"""Scores of impressions by the modules that get exported."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from training.arrays import Floats, Rows
from training.data.dataset import Dataset
from training.metrics.full_ranking import (
    Scores,
)
from training.nets.base import FrontNet, with_learned

_CHUNK_ROWS = 65_536


@torch.inference_mode()
def score_rows(
    net: FrontNet,
    dataset: Dataset,
    known: torch.Tensor,
    rows: Rows,
    tradeoffs: Floats,
    users: torch.Tensor | None = None,
) -> Floats:
    """Return logits (T, R) of impressions ``rows``, with proxies as of each row's time.

    ``known`` (I,) says which items keep what was learned of their id. The modules are those
    that get exported. ``users`` (users, U) stand in for the net's own user vectors.
    """
    net.eval()
    users = net.user_vectors() if users is None else users
    learned = net.learned_items()
    embedding = torch.from_numpy(dataset.embedding)
    mask = torch.from_numpy(dataset.modality_mask).float()
    impressions = dataset.impressions
    logits = np.empty((len(tradeoffs), len(rows)), np.float32)
    for start in range(0, len(rows), _CHUNK_ROWS):
        chunk = rows[start : start + _CHUNK_ROWS]
        item = torch.from_numpy(impressions.item[chunk])
        inputs = with_learned(embedding[item], mask[item], learned[item], known[item])
        state = net.item_encoder(*inputs, torch.from_numpy(impressions.proxies[chunk]))
        user = users[torch.from_numpy(impressions.user[chunk])]
        for index, w in enumerate(tradeoffs):
            tradeoff = torch.tensor([w], dtype=torch.float32)
            pairwise = net.ranker.pairwise(user, state, tradeoff)
            logits[index, start : start + len(chunk)] = pairwise.numpy()
    return logits


@torch.inference_mode()
def catalogue_scores(
    net: FrontNet, dataset: Dataset, known: torch.Tensor
) -> Callable[[float], Scores]:
    """Return, for a tradeoff, what scores all items (B, I) for user rows (B,), as it is served."""
    states, vectors = catalogue_states(net, dataset, known), net.user_vectors()

    def at(tradeoff: float) -> Scores:
        w = torch.tensor([tradeoff], dtype=torch.float32)

        @torch.inference_mode()
        def score(users: NDArray[np.int64]) -> Floats:
            return np.asarray(net.ranker.all_pairs(vectors[torch.from_numpy(users)], states, w))

        return score

    return at


TOP = 10


USERS = 1_000


_PAIRS = 4_000_000  # of user and item to score a tradeoff: a large catalogue gets fewer users


_CHUNK_ITEMS = 65_536


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
