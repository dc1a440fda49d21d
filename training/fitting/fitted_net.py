"""A net with the data it was fitted to. Measurements and the export use its methods."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from service.contract.manifest import Calibration
from training.arrays import Floats, Rows
from training.data.dataset import Dataset
from training.data.split import Split
from training.fitting.calibration import UNCALIBRATED
from training.fitting.trainer import NOT_FITTED, Fit
from training.metrics.full_ranking import Scores
from training.nets.base import FrontNet, with_learned

TOP = 10  # items shown
USERS = 1_000  # sampled users, at most
_PAIRS = 4_000_000  # pairs of user and item to score per tradeoff; limits users of large catalogues
_CHUNK_ITEMS = 65_536
_CHUNK_ROWS = 65_536


class ItemInputs(NamedTuple):
    """What is known of N items: what the item encoder reads, the learned part apart.

    embedding (N, D), modality_mask (N, M), learned (N, D_learned), warm (N,) bool, proxies (N, P).
    """

    embedding: Tensor
    modality_mask: Tensor
    learned: Tensor
    warm: Tensor
    proxies: Tensor


@dataclass(frozen=True)
class FittedNet:
    """A net, its dataset and split, its calibration, and the history of its training.

    warm (I,) bool: items with a training row. Only they keep the features learned for their id.
    All scores come from the modules that are exported, on the device of the net.
    """

    net: FrontNet
    dataset: Dataset
    split: Split
    warm: Tensor
    calibration: Calibration = UNCALIBRATED
    fit: Fit = NOT_FITTED

    @torch.inference_mode()
    def score_rows(self, rows: Rows, tradeoffs: Floats, users: Tensor | None = None) -> Floats:
        """Return logits (T, R) of impressions ``rows`` (R,), with the proxies of each row's time.

        tradeoffs (T,); ``users`` (users, U) replace the net's user vectors.
        """
        net, dataset = self.net, self.dataset
        net.eval()
        impressions = dataset.impressions
        user_rows, item_rows = impressions.user[rows], impressions.item[rows]
        if users is None:  # those of the rows alone: a log may have very many more
            distinct, user_rows = np.unique(user_rows, return_inverse=True)
            users = net.user_vectors(self._sent(distinct).long())
        items, item_rows = np.unique(item_rows, return_inverse=True)
        content = with_learned(
            self._sent(dataset.embedding[items]),
            self._sent(dataset.modality_mask[items]).float(),
            net.learned_items(self._sent(items).long()),
            self.warm[torch.from_numpy(items)].to(net.device),
        )
        logits = np.empty((len(tradeoffs), len(rows)), np.float32)
        for start in range(0, len(rows), _CHUNK_ROWS):
            chunk = slice(start, start + _CHUNK_ROWS)
            item = self._sent(item_rows[chunk])
            proxies = self._sent(impressions.proxies[rows[chunk]])
            state = net.item_encoder(*(column[item] for column in content), proxies)
            user = users[self._sent(user_rows[chunk])]
            for index, w in enumerate(tradeoffs):
                pairwise = net.ranker.pairwise(user, state, self._tensor(w))
                logits[index, chunk] = pairwise.cpu().numpy()
        return logits

    @torch.inference_mode()
    def item_states(self, known: Callable[[ItemInputs], ItemInputs] | None = None) -> Tensor:
        """Return the states (I, S) of all items with their current proxies, as the service does.

        ``known`` maps what is known of some items to what the net is to know of them.
        """
        net, dataset = self.net, self.dataset
        net.eval()
        columns = (
            torch.from_numpy(dataset.embedding),
            torch.from_numpy(dataset.modality_mask).float(),
            net.learned_items(),
            self.warm,
            torch.from_numpy(dataset.proxies),
        )
        chunks = zip(*(column.split(_CHUNK_ITEMS) for column in columns), strict=True)
        states = []
        for chunk in chunks:
            inputs = ItemInputs(*(column.to(net.device) for column in chunk))
            *content, proxies = inputs if known is None else known(inputs)
            states.append(net.item_encoder(*with_learned(*content), proxies))
        return torch.cat(states)

    @torch.inference_mode()
    def user_vectors_by_history(self, users: Rows, rows: Rows) -> Tensor:
        """Return user vectors (users, U), those of ``users`` from their clicks among ``rows``.

        The service encodes a cold user this way; no clicks give the average user.
        """
        vectors = self.net.user_vectors().clone()
        states = self.item_states()
        impressions = self.dataset.impressions
        clicked = rows[(impressions.label[rows] > 0.5) & np.isin(impressions.user[rows], users)]
        clicked = clicked[np.argsort(impressions.user[clicked], kind="stable")]
        bounds = np.searchsorted(impressions.user[clicked], np.stack([users, users + 1]))
        items = self._sent(impressions.item[clicked])
        for user, start, end in zip(users.tolist(), *bounds.tolist(), strict=True):
            vectors[user] = self.net.user_encoder(states[items[start:end]])[0]
        return vectors

    @torch.inference_mode()
    def rank_catalogue(
        self,
        users: Rows,
        tradeoffs: Floats,
        k: int = TOP,
        *,
        states: Tensor | None = None,
        vectors: Tensor | None = None,
    ) -> tuple[Rows, Floats]:
        """Return the best k items (T, U, K) of the catalogue, best first, and their logits.

        No item is excluded, not even those that the user clicked or that were never exposed.
        ``states`` (I, S) of all items and ``vectors`` (U, V) of the users replace those of the net.
        """
        net = self.net
        states = self.item_states() if states is None else states
        vectors = net.user_vectors(self._sent(users)) if vectors is None else vectors
        k = min(k, len(states))
        top = np.empty((len(tradeoffs), len(users), k), np.int64)
        logits = np.empty(top.shape, np.float32)
        for t, w in enumerate(tqdm(tradeoffs, desc="rank the catalogue", leave=False)):
            for row, user in enumerate(vectors.split(1)):
                best = net.ranker(user, states, self._tensor(w)).topk(k)
                top[t, row], logits[t, row] = best.indices.cpu(), best.values.cpu()
        return top, logits

    @torch.inference_mode()
    def catalogue_scores(self) -> Callable[[float], Scores]:
        """Return a function of a tradeoff: its scores, from user rows (B,) to logits (B, I)."""
        net, states, vectors = self.net, self.item_states(), self.net.user_vectors()

        def at_tradeoff(tradeoff: float) -> Scores:
            w = self._tensor(tradeoff)

            @torch.inference_mode()
            def score(users: Rows) -> Floats:
                pairs = net.ranker.all_pairs(vectors[self._sent(users)], states, w)
                return np.asarray(pairs.cpu())

            return score

        return at_tradeoff

    @torch.inference_mode()
    def log_examination(self, rows: Rows) -> Floats | None:
        """Return log P(examined) (R,) at the positions of ``rows``.

        None if the dataset has no positions or the net no such term. Positions further down than
        all trained ones have the value of the last trained one.
        """
        log_theta, position = self.net.log_examination(), self.dataset.impressions.position
        if position is None or log_theta is None:
            return None
        theta = log_theta.cpu().numpy()
        return np.asarray(theta[np.minimum(position[rows], len(theta) - 1)])

    def _sent(self, values: NDArray[Any]) -> Tensor:
        """Return an array as a tensor on the net's device."""
        return torch.from_numpy(values).to(self.net.device)

    def _tensor(self, tradeoff: float) -> Tensor:
        return torch.tensor([tradeoff], dtype=torch.float32, device=self.net.device)


def sample_users(users: Rows, items: int, *, most: int = USERS) -> Rows:
    """Return up to ``most`` of the distinct ``users``, ascending, the same ones for every training.

    A catalogue of very many ``items`` gets fewer users, so that the number of pairs stays bounded.
    """
    distinct = np.unique(users)
    count = min(len(distinct), most, max(_PAIRS // items, 1))
    return np.sort(np.random.default_rng(0).choice(distinct, count, replace=False))
