"""Requests, and whether an answer is the ranking that the artifact makes of the dataset."""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from service.contract.artifact import Artifact
from service.contract.measures import calibrated_score
from service.contract.records import mask_matrix
from service.models.scorer import Scorer
from tests.bench.hotpath.load import wire
from tests.chaos.world import World
from training.data.dataset import Dataset
from training.release.parts import USERS
from training.release.publish import item_values

TOP_K = 10
CANDIDATES = 100
_COUNT = 400
_TRADEOFFS = (0.0, 0.25, 0.5, 1.0)
_TOLERANCE = 1e-4  # of a score

Scores = NDArray[np.float64]


@dataclass(frozen=True)
class Case:
    """A request: its user's row, its candidates' rows (None: the whole catalogue), its bytes."""

    user: int
    rows: NDArray[np.int64] | None
    tradeoff: float
    wire: bytes


def make_cases(world: World) -> list[Case]:
    """Return requests. Of eight, one ranks the whole catalogue, one names an item of no record."""
    rng = np.random.default_rng(5)
    dataset = world.dataset
    users = _users(world.versions[0])[0]
    cases = []
    for number in range(_COUNT):
        user = int(rng.integers(len(users)))
        body: dict[str, Any] = {
            "user_id": users[user],
            "tradeoff": _TRADEOFFS[number % len(_TRADEOFFS)],
            "top_k": TOP_K,
        }
        rows = None
        if number % 8:
            rows = rng.choice(len(dataset.item_ids), CANDIDATES, replace=False)
            body["candidates"] = [dataset.item_ids[row] for row in rows]
            if number % 8 == 1:  # it is read from the store: it may be new
                body["candidates"].append(f"new-{number}")
        cases.append(Case(user, rows, body["tradeoff"], wire("/rank", json.dumps(body).encode())))
    return cases


class Judge:
    """Compares answers with the rankings of the artifacts, computed from the dataset's files."""

    def __init__(self, world: World) -> None:
        self._versions = {
            artifact.label: _Version(artifact, world.dataset) for artifact in world.versions
        }
        self._row_of = {item_id: row for row, item_id in enumerate(world.dataset.item_ids)}

    def is_right(self, case: Case, body: bytes) -> bool:
        """Return whether an answer ranks by the user's vector, or degraded by the average user's.

        An answer may lack items where it says that items are lost.
        """
        answer = json.loads(body)
        scores = functools.partial(self.scores, answer["model"])
        if self._matches(case, answer, scores(case.user, case.tradeoff)):
            return True
        average = scores(None, case.tradeoff)
        return bool(answer["degraded"]) and self._matches(case, answer, average)

    def scores(self, label: str, user: int | None, tradeoff: float) -> Scores:
        """Return the scores (I,) of all items for a user's row, None for the average user."""
        return self._versions[label].scores(user, tradeoff)

    def _matches(self, case: Case, answer: dict[str, Any], scores: Scores) -> bool:
        shown = [item for item in answer["items"] if item["score"] is not None]
        lacks = len(shown) < TOP_K
        if lacks and "lost_items" not in answer["degraded"]:
            return False
        values = np.array([item["score"] for item in shown])
        expected = scores[[self._row_of[item["item_id"]] for item in shown]]
        if not np.allclose(values, expected, atol=_TOLERANCE, rtol=0):
            return False
        pool = scores if case.rows is None else scores[case.rows]
        best = -np.sort(-pool)[:TOP_K]
        return lacks or np.allclose(values, best, atol=_TOLERANCE, rtol=0)


class _Version:
    """The scores of all items, by user and tradeoff."""

    def __init__(self, artifact: Artifact, dataset: Dataset) -> None:
        self._scorer = Scorer(artifact)
        embedding, mask = item_values(artifact, dataset)
        modalities = mask_matrix(mask, len(artifact.manifest.modalities))
        proxies = dataset.proxies.astype(np.float32)
        self._states = self._scorer.encode_items(embedding, modalities, proxies)
        self._users = _users(artifact)[1]
        history = np.zeros((0, artifact.manifest.state_dim), np.float32)
        self._average = self._scorer.encode_user(history)
        self.scores = functools.cache(self._scores)

    def _scores(self, user: int | None, tradeoff: float) -> Scores:
        vector = self._average if user is None else self._users[user : user + 1]
        (logits,) = self._scorer.score(vector, self._states, [tradeoff])
        return calibrated_score(self._scorer.artifact.manifest.calibration, logits)


def _users(artifact: Artifact) -> tuple[list[str], NDArray[np.float32]]:
    table = pl.read_parquet(artifact.path / USERS, glob=False)
    vectors = table["vector"].to_numpy()[:, : artifact.manifest.user_dim]
    return table["user_id"].to_list(), np.ascontiguousarray(vectors)
