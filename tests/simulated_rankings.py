"""Logs of rankings whose policies' true outcomes are known, drawn with NumPy alone.

Users and items have tastes in three dimensions, and items a popularity h. At tradeoff w a user's
items are ranked by taste + w h; an item at place j, from 0, is clicked with probability
(j + 1)^-.5 sigmoid(taste + user + h / 2 - 1).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.evaluation.off_policy.estimators import Shown
from training.evaluation.off_policy.from_slots import Placed
from training.evaluation.off_policy.log import UniformSlots

Array = NDArray[np.float64]

GRID = (0.0, 0.5, 1.0)
CHANCES = (0.34, 0.33, 0.33)


@dataclass(frozen=True)
class DrawnLog:
    """Rankings at drawn tradeoffs: match (T, N, L), whole (T, N), scores (T, N, L) of a model."""

    shown: Shown
    match: NDArray[np.bool_]
    whole: Array
    scores: Array


class Feed:
    """Items with a popularity; users are drawn anew for each log."""

    def __init__(self, items: int = 60, places: int = 6, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.places = places
        self.items = rng.normal(size=(items, 3)) / 2
        self.popularity = rng.normal(size=items)
        self.examination = (np.arange(places) + 1.0) ** -0.5

    def users(self, rng: np.random.Generator, count: int) -> tuple[Array, Array]:
        """Return tastes (U, I), and how willing users are (U,)."""
        return rng.normal(size=(count, 3)) @ self.items.T, rng.normal(size=count) / 2

    def ranked(self, taste: Array, tradeoff: float) -> NDArray[np.int64]:
        """Return the items (U, L) that a tradeoff shows."""
        score = taste + tradeoff * self.popularity
        return np.argsort(-score, axis=1)[:, : self.places]

    def liking(self, taste: Array, willing: Array, items: NDArray[np.int64]) -> Array:
        """Return the probability (U, L) of a click on examined items (U, L)."""
        logit = np.take_along_axis(taste, items, axis=1) + self.popularity[items] / 2 - 1
        return np.asarray(1 / (1 + np.exp(-(logit + willing[:, None]))))

    def truth(self, tradeoff: float, users: int = 400_000) -> float:
        """Return the clicks of a ranking at a tradeoff, over very many users."""
        rng = np.random.default_rng(123)
        taste, willing = self.users(rng, users)
        clicks = self.liking(taste, willing, self.ranked(taste, tradeoff)) @ self.examination
        return float(clicks.mean())

    def drawn_log(self, rng: np.random.Generator, users: int, visits: int) -> DrawnLog:
        """Return rankings at tradeoffs of ``GRID``, ``visits`` of each user."""
        taste, willing = self.users(rng, users)
        ranked = np.stack([self.ranked(taste, w) for w in GRID])  # (T, U, L)
        user = np.repeat(np.arange(users), visits)
        drawn = rng.choice(len(GRID), len(user), p=CHANCES)
        items = ranked[drawn, user]  # (N, L)
        match = ranked[:, user] == items  # (T, N, L)
        chances = np.array(CHANCES)
        propensity = np.einsum("t,tnl->nl", chances, match)
        same = match.all(axis=2)  # (T, N)
        scores = np.stack([self.liking(taste, 0 * willing, some) for some in ranked])
        clicked = rng.random(items.shape) < (
            self.liking(taste[user], willing[user], items) * self.examination
        )
        present = np.ones(items.shape, np.bool_)
        shown = Shown(clicked.astype(np.float64), propensity, present, user)
        return DrawnLog(shown, match, same / (chances @ same), scores[:, user])

    def slot_log(
        self, rng: np.random.Generator, users: int, visits: int
    ) -> tuple[UniformSlots, Array, NDArray[np.int64]]:
        """Return uniform slots, tastes (N, I) and their items (N,)."""
        taste, willing = self.users(rng, users)
        user = np.repeat(np.arange(users), visits)
        item = rng.integers(len(self.items), size=len(user))
        place = rng.integers(self.places, size=len(user))
        liking = self.liking(taste[user], willing[user], item[:, None])[:, 0]
        clicked = rng.random(len(user)) < liking * self.examination[place]
        here = np.arange(self.places) == place[:, None]
        chance = np.full(here.shape, 1 / (len(self.items) * self.places))
        shown = Shown(here * clicked[:, None] * 1.0, chance, np.ones_like(here), user)
        return UniformSlots(shown, here, place, [str(i) for i in item]), taste[user], item


def ranked_again(feed: Feed, taste: Array, item: NDArray[np.int64], tradeoff: float) -> Placed:
    """Return where a tradeoff puts the items (N,) of the slots of ``slot_log``."""
    ranked = feed.ranked(taste, tradeoff)
    at = ranked == item[:, None]
    liking = feed.liking(taste, np.zeros(len(taste)), ranked)
    own = feed.liking(taste, np.zeros(len(taste)), item[:, None])[:, 0]
    place = np.where(at.any(axis=1), at.argmax(axis=1), -1)
    return Placed(place, own, ranked.astype(np.str_), liking)
