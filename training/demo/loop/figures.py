"""What one simulated day showed, and what training on all days so far measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from pydantic import BaseModel, ConfigDict

from service.contract.front import Estimate, Front
from service.contract.measures import gini
from training.arrays import Floats, Rows
from training.data.dataset import Dataset
from training.data.impressions import Impressions
from training.demo.loop.crowd import Crowd
from training.fitting.fitted_net import FittedNet
from training.metrics.auc import auc
from training.metrics.exposure import percentile_rank, tail_share

_NEW_DAYS = 3  # an item is new on its first days
_DRAWS = 5  # of an item that a visitor could have been shown


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True)


class UnbiasedAuc(_Frozen):
    """The unbiased AUC at a tradeoff: measured on uniform slots, and true up to ``true.se``."""

    tradeoff: float
    measured: Estimate
    true: Estimate

    @property
    def agrees(self) -> bool:
        """Whether both differ by less than 1.96 standard errors of their difference."""
        if self.measured.se is None or self.true.se is None:
            return True
        error = float(np.hypot(self.measured.se, self.true.se))
        return abs(self.measured.mean - self.true.mean) <= 1.96 * error


class Unseen(_Frozen):
    """What a tradeoff would have shown to the visitors of a day, and their true clicks of that."""

    tradeoff: float
    clicks: float


class Day(_Frozen):
    """One day of a feed; all but the first two are means over its rankings, or over its places.

    exposure_gini: of the items that have arrived. tail_share: of places, by clicks so far.
    new_share: of places, items in their first days. liking: true probability that the user likes
    an item shown; slot_cost: how much less it is with a uniform slot than without, None where there
    are not both. unseen: where the tradeoff was drawn, the same rankings at each one of the grid.
    """

    day: int
    rankings: int
    rankings_per_s: float
    exposure_gini: float
    tail_share: float
    new_share: float
    clicks: float
    liking: float
    slot_cost: float | None
    unbiased: tuple[UnbiasedAuc, ...] = ()
    unseen: tuple[Unseen, ...] = ()

    def __str__(self) -> str:
        """Return a line for people."""
        agree = sum(point.agrees for point in self.unbiased)
        return (
            f"day {self.day}: {self.rankings_per_s:.0f} rankings/s, Gini {self.exposure_gini:.3f}, "
            f"tail {self.tail_share:.3f}, liked {self.liking:.4f}, {self.clicks:.2f} clicks, "
            f"unbiased AUC as in truth at {agree} of {len(self.unbiased)} tradeoffs"
        )


@dataclass
class Truth:
    """Pairs of a visitor and an item drawn uniformly from those that it could have been shown.

    Their clicks at a place drawn as well are what uniform slots estimate.
    """

    user: list[int] = field(default_factory=list)
    item: list[int] = field(default_factory=list)
    label: list[bool] = field(default_factory=list)
    clicks: list[int] = field(default_factory=list)

    def draw(
        self, crowd: Crowd, rng: np.random.Generator, user: int, day: int, places: int
    ) -> None:
        """Draw pairs of one visitor, who is not shown them."""
        items = rng.choice(crowd.eligible(user, day), _DRAWS)
        at = rng.integers(places, size=_DRAWS)
        clicked = rng.random(_DRAWS) < crowd.slot_probability(user, items, at)
        self.user += [user] * _DRAWS
        self.item += items.tolist()
        self.label += clicked.tolist()
        self.clicks += crowd.clicks[items].tolist()

    def aucs(self, fitted: FittedNet, tradeoffs: Floats) -> list[Estimate]:
        """Return the true unbiased AUC of a net at each tradeoff."""
        pairs = replace(fitted, dataset=self._rows(fitted.dataset))
        rows = np.arange(len(self.user))
        label = pairs.dataset.impressions.label
        values = [auc(label, logits) for logits in pairs.score_rows(rows, tradeoffs)]
        return [Estimate(mean=value, se=_auc_se(value, label)) for value in values]

    def _rows(self, dataset: Dataset) -> Dataset:
        """Return the dataset with the pairs in place of its impressions."""
        row_of = [
            {name: row for row, name in enumerate(ids)}
            for ids in (dataset.user_ids, dataset.item_ids)
        ]
        user = np.array([row_of[0][user_id(u)] for u in self.user], np.int64)
        item = np.array([row_of[1][item_id(i)] for i in self.item], np.int64)
        count = len(user)
        impressions = Impressions(
            user=user,
            item=item,
            label=np.array(self.label, np.float32),
            timestamp=np.zeros(count),
            proxies=np.array(self.clicks, np.float32)[:, None],
            uniform=np.ones(count, np.bool_),
            position=None,
            propensity=None,
            split=None,
        )
        return replace(dataset, impressions=impressions)


@dataclass
class Shown:
    """The rankings of one day: items from the top, whether a slot was drawn, and clicks."""

    items: list[Rows] = field(default_factory=list)
    liking: list[float] = field(default_factory=list)
    explored: list[bool] = field(default_factory=list)
    clicks: int = 0
    unseen: dict[float, list[float]] = field(default_factory=dict)

    def add(self, items: Rows, liking: float, *, explored: bool, clicks: int) -> None:
        """Add a ranking; ``liking`` is the mean over its items."""
        self.items.append(items)
        self.liking.append(liking)
        self.explored.append(explored)
        self.clicks += clicks

    def add_unseen(self, tradeoff: float, probability: Floats) -> None:
        """Add a ranking that no one saw, with the probability (K,) of a click at each place."""
        self.unseen.setdefault(tradeoff, []).append(float(probability.sum()))

    def day(self, crowd: Crowd, number: int, before: Rows, seconds: float) -> Day:
        """Return the figures of day ``number``; ``before`` (I,) are the clicks as it began."""
        places = np.concatenate(self.items)
        arrived = crowd.arrival <= number
        views = np.bincount(places, minlength=len(arrived))[arrived]
        popularity = np.where(arrived, percentile_rank(before.astype(np.float64)), 0.0)
        age = number - crowd.arrival
        liking, explored = np.array(self.liking), np.array(self.explored)
        return Day(
            day=number,
            rankings=len(self.items),
            rankings_per_s=len(self.items) / seconds,
            exposure_gini=gini(views),
            tail_share=float(tail_share(places[None], popularity)[0]),
            new_share=float(((crowd.arrival > 0) & (age < _NEW_DAYS))[places].mean()),
            clicks=self.clicks / len(self.items),
            liking=float(liking.mean()),
            slot_cost=_difference(liking[~explored], liking[explored]),
            unseen=tuple(
                Unseen(tradeoff=tradeoff, clicks=float(np.mean(clicks)))
                for tradeoff, clicks in self.unseen.items()
            ),
        )


def unbiased_aucs(front: Front, true: Sequence[Estimate]) -> tuple[UnbiasedAuc, ...]:
    """Return measured beside true AUC, point by point of a front."""
    return tuple(
        UnbiasedAuc(tradeoff=point.tradeoff, measured=point.unbiased["auc"], true=value)
        for point, value in zip(front.points, true, strict=True)
    )


def user_id(user: int) -> str:
    """Return the id of a user of the crowd."""
    return f"u{user:05d}"


def item_id(item: int) -> str:
    """Return the id of an item of the world."""
    return f"i{item:04d}"


def item_row(name: str) -> int:
    """Return the item of the world that has an id."""
    return int(name[1:])


def _difference(left: Floats, right: Floats) -> float | None:
    return float(left.mean() - right.mean()) if len(left) and len(right) else None


def _auc_se(value: float, label: Floats) -> float:
    """Return the standard error of an AUC (Hanley and McNeil, Radiology 143(1), 1982)."""
    clicks = float(label.sum())
    skips = len(label) - clicks
    q1, q2 = value / (2 - value), 2 * value**2 / (1 + value)
    variance = value * (1 - value) + (clicks - 1) * (q1 - value**2) + (skips - 1) * (q2 - value**2)
    return float(np.sqrt(variance / (clicks * skips)))
