"""Ranks the pools of logged decisions again, as another policy would have."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from service.contract.artifact import Artifact
from service.contract.measures import calibrated_score
from service.contract.records import mask_matrix
from training.arrays import Flags, Floats, Rows
from training.data.items import Items
from training.evaluation.off_policy.from_slots import Placed
from training.release.parts import USERS, open_graphs
from training.release.publish import item_values

_SAMPLED = 2000  # items from which a user's best scores are taken


class RankingAgain:
    """An artifact that ranks items of a dataset folder, with the users' records of its training.

    What users engaged with since is not in them, and proxies and items are those of the folder: a
    ranking is made again as well as these are what they were.
    """

    def __init__(self, artifact: Artifact, items: Items) -> None:
        self._manifest = artifact.manifest
        self._run = open_graphs(artifact.path)
        embedding, mask = item_values(artifact, items)
        feed = {
            "embedding": embedding,
            "modality_mask": mask_matrix(mask, len(self._manifest.modalities)),
            "proxies": items.proxies,
        }
        self._states: Floats = self._run["item_encoder"](None, feed)[0]
        self._ids = np.array(items.item_ids)
        self._row_of = {item_id: row for row, item_id in enumerate(items.item_ids)}
        table = pl.read_parquet(artifact.path / USERS, glob=False)
        vectors = table["vector"].to_numpy()[:, : self._manifest.user_dim]
        self._users = dict(zip(table["user_id"].to_list(), vectors, strict=True))
        nobody = np.zeros((0, self._manifest.state_dim), np.float32)
        self._average: Floats = self._run["user_encoder"](None, {"history": nobody})[0][0]

    def scores(self, user_id: str, rows: Rows, tradeoff: float) -> Floats:
        """Return the calibrated scores (N,) of item ``rows`` (N,) of the dataset for a user."""
        feed = {
            "user": self._users.get(user_id, self._average)[None],
            "state": self._states[rows],
            "tradeoff": np.array([tradeoff], np.float32),
        }
        return calibrated_score(self._manifest.calibration, self._run["ranker"](None, feed)[0])

    def knows(self, item_ids: Sequence[str]) -> Flags:
        """Return whether the dataset has each of the items (N,)."""
        return np.array([item_id in self._row_of for item_id in item_ids], np.bool_)

    def best_scores(self, user_ids: Sequence[str], tradeoff: float, places: int) -> Floats:
        """Return the highest scores (U, L) of each user's items, best first.

        They are those of at most 2,000 items, drawn with a fixed seed: decisions without a slot do
        not hold their pools, so that this is how much the model expects of a user, not of a pool.
        """
        rng = np.random.default_rng(0)
        count = len(self._ids)
        rows = np.sort(rng.choice(count, min(count, _SAMPLED), replace=False))
        best = np.zeros((len(user_ids), places))
        for row, user_id in enumerate(user_ids):
            scores = np.sort(self.scores(user_id, rows, tradeoff))[::-1][:places]
            best[row, : len(scores)] = scores
        return best

    def place(
        self, rows: pl.DataFrame, items: Sequence[str], tradeoff: float, places: int
    ) -> Placed:
        """Return where this policy puts the ``items`` (N,) of the slots of decisions.

        ``rows`` has the columns user_id, pool and listed.
        """
        place = np.full(len(rows), -1, np.int64)
        own = np.zeros(len(rows))
        best = np.zeros((len(rows), places))
        first = np.zeros((len(rows), places), self._ids.dtype)
        columns = rows.select("user_id", "pool", "listed").iter_rows()
        for n, ((user_id, pool, listed), item_id) in enumerate(zip(columns, items, strict=True)):
            held = self._pool(pool, listed)
            scores = self.scores(user_id, held, tradeoff)
            order = np.lexsort((self._ids[held], -scores))[:places]
            best[n, : len(order)] = scores[order]
            first[n, : len(order)] = self._ids[held[order]]
            own[n] = scores[held == self._row_of.get(item_id, -1)].sum()  # in the pool once
            at = np.flatnonzero(held[order] == self._row_of.get(item_id, -1))
            if len(at):
                place[n] = at[0]
        return Placed(place, own, first, best)

    def pool_sizes(self, rows: pl.DataFrame) -> Rows:
        """Return the number (N,) of items of each decision's pool as it is made again."""
        columns = rows.select("pool", "listed").iter_rows()
        return np.array([len(self._pool(pool, listed)) for pool, listed in columns], np.int64)

    def _pool(self, pool: str, listed: Sequence[str]) -> Rows:
        known = [row for item_id in listed if (row := self._row_of.get(item_id)) is not None]
        if pool == "candidates":
            return np.unique(np.array(known, np.int64))
        held = np.ones(len(self._ids), np.bool_)
        held[known] = False
        return np.flatnonzero(held)
