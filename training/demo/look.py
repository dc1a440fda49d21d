"""Rankings of one user at several tradeoffs, side by side, from an artifact and its dataset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from service.contract.artifact import Artifact
from service.contract.measures import calibrated_score
from service.contract.records import mask_matrix
from training.arrays import Rows
from training.data.dataset import Dataset
from training.errors import ConfigError
from training.release.parts import USERS, open_graphs
from training.release.publish import item_values
from training.release.safeguards import check_modalities_and_proxies

_COLUMN = 28  # characters of a ranking
_CHUNK_ITEMS = 65_536

Ranking = list[tuple[str, float]]  # title and score, best first


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
        user = users["vector"].to_numpy()
    else:
        user = run["user_encoder"](None, {"history": state[clicked]})[0]
    ids = np.array(dataset.item_ids)
    rankings = []
    for w in tradeoffs:
        feed = {"user": user, "state": state, "tradeoff": np.array([w], np.float32)}
        logit = run["ranker"](None, feed)[0]
        best = np.lexsort((ids, -logit))[:top]
        scores = calibrated_score(artifact.manifest.calibration, logit[best])
        titles = [dataset.titles[row] for row in best]
        rankings.append(list(zip(titles, scores.tolist(), strict=True)))
    history = [dataset.titles[row] for row in clicked[::-1][:top]]
    return Look(history, rankings, by_history=not len(users))


def _clicked(dataset: Dataset, user: int) -> Rows:
    """Return the items (n,) that a user clicked, latest last."""
    impressions = dataset.impressions
    rows = np.flatnonzero((impressions.user == user) & (impressions.label > 0.5))
    rows = rows[np.argsort(impressions.timestamp[rows], kind="stable")]
    return impressions.item[rows]


def rankings_table(user_id: str, tradeoffs: Sequence[float], rankings: Sequence[Ranking]) -> str:
    """Return rankings side by side, a column for each tradeoff."""
    lines = [
        f"The whole catalogue ranked for user {user_id}: title and score",
        "",
        "    " + "".join(f"{f'tradeoff {w:g}':<{_COLUMN}}" for w in tradeoffs),
    ]
    for place, cells in enumerate(zip(*rankings, strict=True), 1):
        texts = [f"{title:.{_COLUMN - 8}} {score:.3f}" for title, score in cells]
        lines.append(f"{place:>2}  " + "".join(f"{text:<{_COLUMN}}" for text in texts))
    return "\n".join(line.rstrip() for line in lines)
