"""Rankings of one user at several tradeoffs, side by side, from an artifact and its dataset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import polars as pl
from scipy.stats import rankdata

from service.contract.artifact import Artifact
from service.contract.measures import calibrated_score, in_tail
from service.contract.records import mask_matrix
from training.arrays import Flags, Rows
from training.data.dataset import Dataset
from training.data.storage import spans
from training.errors import ConfigError
from training.metrics.exposure import percentile_rank
from training.release.parts import USERS, open_graphs
from training.release.publish import item_values
from training.release.safeguards import check_modalities_and_proxies

_COLUMN = 34  # characters of a ranking
_TITLE = 20  # characters of a title
_POPULAR = "popular: among the 20 % most clicked items"
_CHUNK_ITEMS = 65_536


class Place(NamedTuple):
    """An item of a ranking; ``clicks_rank``: its place by clicks in the log, 1 is the most clicked.

    popular: whether it is among the 20 % most clicked items.
    """

    title: str
    score: float
    clicks_rank: int
    popular: bool


Ranking = list[Place]  # best first


@dataclass(frozen=True)
class Catalogue:
    """Titles of items (I,), their places by clicks in the log, and whether they are popular."""

    titles: list[str]
    clicks_rank: Rows
    popular: Flags

    @classmethod
    def of(cls, dataset: Dataset) -> Catalogue:
        """Count the clicks of the logged rows; items with equally many share a place."""
        impressions, clicks = dataset.impressions, np.zeros(len(dataset.item_ids))
        for span in spans(len(impressions)):
            logged = ~impressions.uniform[span]
            item, label = impressions.item[span][logged], impressions.label[span][logged]
            clicks += np.bincount(item, label, minlength=len(clicks))
        rank = rankdata(-clicks, method="min").astype(np.int64)
        return cls(dataset.titles, rank, ~in_tail(percentile_rank(clicks)))

    def place(self, item: int, score: float) -> Place:
        """Return the place of an item, a row of the dataset, in a ranking."""
        popular = bool(self.popular[item])
        return Place(self.titles[item], score, int(self.clicks_rank[item]), popular)


@dataclass(frozen=True)
class Look:
    """One user's last clicks, latest first, as titles, and a ranking for each tradeoff.

    by_history: whether the model has no vector for the user, so that clicks stand for them.
    """

    history: list[str]
    rankings: list[Ranking]
    by_history: bool


def look_at(
    artifact: Artifact, dataset: Dataset, user_id: str, tradeoffs: Sequence[float], top: int
) -> Look:
    """Rank the whole catalogue for a user, as the service does after ``publish``.

    Raises ConfigError for a user that the dataset lacks, PublishError for a dataset that does not
    fit the model.
    """
    check_modalities_and_proxies(artifact, dataset)
    if user_id not in dataset.user_ids:
        raise ConfigError(
            f"--user {user_id!r} is not in {dataset.path / dataset.description.users}; its first "
            f"user is {dataset.user_ids[0]!r}"
        )
    clicked = _clicked(dataset, dataset.user_ids.index(user_id))
    run = open_graphs(artifact.path)
    embedding, bits = item_values(artifact, dataset)
    mask = mask_matrix(bits, len(artifact.manifest.modalities))
    inputs = {"embedding": embedding, "modality_mask": mask, "proxies": dataset.proxies}
    state = np.concatenate(
        [
            run["item_encoder"](
                None, {name: x[start : start + _CHUNK_ITEMS] for name, x in inputs.items()}
            )[0]
            for start in range(0, len(embedding), _CHUNK_ITEMS)
        ]
    )
    users = pl.read_parquet(artifact.path / USERS, glob=False).filter(user_id=user_id)
    if len(users):
        user = users["vector"].to_numpy()[:, : artifact.manifest.user_dim]
    else:
        user = run["user_encoder"](None, {"history": state[clicked]})[0]
    ids, catalogue = np.array(dataset.item_ids), Catalogue.of(dataset)
    rankings = []
    for w in tradeoffs:
        feed = {"user": user, "state": state, "tradeoff": np.array([w], np.float32)}
        logit = run["ranker"](None, feed)[0]
        best = np.lexsort((ids, -logit))[:top]
        scores = calibrated_score(artifact.manifest.calibration, logit[best])
        rankings.append([catalogue.place(*pair) for pair in zip(best, scores, strict=True)])
    history = [dataset.titles[row] for row in clicked[::-1][:top]]
    return Look(history, rankings, by_history=not len(users))


def _clicked(dataset: Dataset, user: int) -> Rows:
    """Return the items (n,) that a user clicked, latest last."""
    impressions = dataset.impressions
    rows = np.flatnonzero((impressions.user == user) & (impressions.label > 0.5))
    rows = rows[np.argsort(impressions.timestamp[rows], kind="stable")]
    return impressions.item[rows]


def rankings_table(user_id: str, tradeoffs: Sequence[float], rankings: Sequence[Ranking]) -> str:
    """Return rankings side by side, a column for each tradeoff, and how many items are popular."""
    lines = [
        f"The whole catalogue ranked for user {user_id}: title, score, #place by clicks in the log",
        "",
        _line("", [f"tradeoff {w:g}" for w in tradeoffs]),
    ]
    for number, places in enumerate(zip(*rankings, strict=True), 1):
        texts = [f"{p.title:.{_TITLE}} {p.score:.3f} #{p.clicks_rank}" for p in places]
        lines.append(_line(f"{number:>2}", texts))
    counts = [sum(place.popular for place in ranking) for ranking in rankings]
    texts = [
        f"{count} of {len(ranking)} popular"
        for count, ranking in zip(counts, rankings, strict=True)
    ]
    return "\n".join([*lines, _line("", texts), "", _POPULAR])


def _line(start: str, texts: Sequence[str]) -> str:
    return f"{start:<4}{''.join(f'{text:<{_COLUMN}}' for text in texts)}".rstrip()
