"""Simulated users whose truth is known: what they like, and what they click.

r is the truth of a simulated world: the logit that a user likes an item. Shown at place k, from 0,
the user clicks with probability (k + 1)^-.4 sigmoid(r + g_u (h - 1.5)): places further down are
examined less often, and users of high conformity g_u follow the crowd. h is z(log(1 + clicks))
over the items that have arrived, as of the start of the day. At a uniform slot the page shows no
counts: there the probability is (k + 1)^-.4 sigmoid(r). Nobody is shown again what they clicked.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from training.arrays import Flags, Floats, Rows
from training.data.simulate.log import (
    CONFORMITY_CENTRE,
    CONFORMITY_MEDIAN,
    CONFORMITY_SIGMA,
    EXAMINATION_DECAY,
    INITIAL_SHARE,
)
from training.data.simulate.worlds import World

PLACES = 16  # of a ranking that users look at


@dataclass
class Crowd:
    """The users of a world and its items, of which some arrive later.

    arrival (I,): the day on which an item arrives, 0 for those of the start; conformity (U,) =
    g_u; clicks (I,): counts so far; clicked (U, I): whether a user clicked an item.
    """

    world: World
    arrival: Rows
    conformity: Floats
    clicks: Rows
    clicked: Flags
    _popularity: Floats = field(init=False)

    @classmethod
    def of(cls, world: World, rng: np.random.Generator, days: int) -> Crowd:
        """Return a crowd that has clicked nothing; items arrive on the days 1 to ``days - 1``."""
        arrival = rng.integers(1, max(days, 2), size=world.items)
        arrival[rng.permutation(world.items)[: round(INITIAL_SHARE * world.items)]] = 0
        conformity = CONFORMITY_MEDIAN * np.exp(CONFORMITY_SIGMA * rng.standard_normal(world.users))
        clicks = np.zeros(world.items, np.int64)
        clicked = np.zeros((world.users, world.items), np.bool_)
        crowd = cls(world, arrival, conformity.astype(np.float32), clicks, clicked)
        crowd.begin_day(0)
        return crowd

    def begin_day(self, day: int) -> None:
        """Let the crowd notice what is popular among the items that have arrived."""
        arrived = self.arrival <= day
        log_clicks = np.log1p(self.clicks)
        mean, spread = log_clicks[arrived].mean(), log_clicks[arrived].std()
        self._popularity = ((log_clicks - mean) / (spread or 1.0)).astype(np.float32)

    def arriving(self, day: int) -> Rows:
        """Return the items that arrive on a day."""
        return np.flatnonzero(self.arrival == day)

    def eligible(self, user: int, day: int) -> Rows:
        """Return the items that have arrived and that the user did not click."""
        return np.flatnonzero((self.arrival <= day) & ~self.clicked[user])

    def liking(self, user: int, items: Rows) -> NDArray[np.float64]:
        """Return the probability (N,) that the user likes each of ``items`` (N,)."""
        return _sigmoid(self._truth(user, items))

    def click_probability(self, user: int, items: Rows, places: Rows) -> NDArray[np.float64]:
        """Return the probability (N,) of a click on ``items`` (N,) shown at ``places`` (N,)."""
        bias = self.conformity[user] * (self._popularity[items] - CONFORMITY_CENTRE)
        return _examination(places) * _sigmoid(self._truth(user, items) + bias)

    def slot_probability(self, user: int, items: Rows, places: Rows) -> NDArray[np.float64]:
        """Return the probability (N,) of a click on ``items`` (N,), each in a uniform slot."""
        return _examination(places) * self.liking(user, items)

    def visit(
        self, rng: np.random.Generator, user: int, items: Rows, slot: int | None = None
    ) -> Flags:
        """Show ``items`` (K,) to the user from the top; return which ones are clicked (K,).

        ``slot`` is the place of the uniform slot.
        """
        places = np.arange(len(items))
        probability = self.click_probability(user, items, places)
        if slot is not None:
            here = slice(slot, slot + 1)
            probability[here] = self.slot_probability(user, items[here], places[here])
        clicked = rng.random(len(items)) < probability
        self.clicked[user, items[clicked]] = True
        self.clicks[items[clicked]] += 1
        return clicked

    def _truth(self, user: int, items: Rows) -> Floats:
        preferences = self.world.item_factors[items] @ self.world.user_factors[user]
        return self.world.truth_logit(preferences, items)


def _examination(places: Rows) -> NDArray[np.float64]:
    return np.asarray((places + 1.0) ** -EXAMINATION_DECAY, np.float64)


def _sigmoid(logit: Floats) -> NDArray[np.float64]:
    result: NDArray[np.float64] = 1 / (1 + np.exp(-logit.astype(np.float64)))
    return result
