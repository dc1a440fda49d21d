"""What a verdict leads to: the tradeoff to serve, and the sentences that say why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from service.contract.front import Estimate, Trade
from training.arrays import Flags, Floats
from training.data.split import POPULARITY_SHIFT
from training.evaluation.verdict import proven
from training.metrics.estimates import finite

MOST_COSTS = (0.05, 0.10)  # of the headline; the first bounds the recommended tradeoff


@dataclass(frozen=True)
class Curves:
    """Both sides of a front by tradeoff, from w = 0 to w = 1.

    tradeoffs, logged, unbiased (T,): in the unit of the axis, whose value by chance is ``chance``.
    cost_se, gain_se (T,): errors of ``cost`` and ``gain``, NaN where unknown.
    """

    tradeoffs: Floats
    logged: Floats
    unbiased: Floats
    cost_se: Floats
    gain_se: Floats
    chance: float

    @property
    def cost(self) -> Floats:
        """What each tradeoff costs on the logged side (T,), against w = 1."""
        return np.asarray(self.logged[-1] - self.logged)

    @property
    def gain(self) -> Floats:
        """What each tradeoff gains on the unbiased side (T,), against w = 1."""
        return np.asarray(self.unbiased - self.unbiased[-1])

    def affordable(self, most_cost: float) -> Flags:
        """Return where (T,) the cost is at most a share of what w = 1 has above chance."""
        return np.asarray(self.cost <= most_cost * max(self.logged[-1] - self.chance, 0.0))


def best_trade(curves: Curves, most_cost: float) -> Trade:
    """Return the tradeoff of the greatest gain among the affordable ones; of equals the greatest w.

    w = 1 costs nothing and gains nothing.
    """
    affordable = np.flatnonzero(curves.affordable(most_cost))
    best = max(affordable.tolist(), key=lambda t: (curves.gain[t], t))
    logged, unbiased = (
        side[-1] - curves.chance if side[-1] > curves.chance else None
        for side in (curves.logged, curves.unbiased)
    )
    gain, cost = float(curves.gain[best]), float(curves.cost[best])
    return Trade(
        most_cost=most_cost,
        tradeoff=float(curves.tradeoffs[best]),
        gain=Estimate(mean=gain, se=finite(curves.gain_se[best])),
        cost=Estimate(mean=cost, se=finite(curves.cost_se[best])),
        gain_share=None if unbiased is None else float(gain / unbiased),
        cost_share=None if logged is None else float(cost / logged),
    )


def recommend(
    curves: Curves, verdict: Literal["clear", "weak", "none"]
) -> tuple[float, tuple[Trade, ...]]:
    """Return the tradeoff to serve, and the trades of the headline.

    It is the one with the greatest gain at a cost of at most 5 %, if that gain is proven; else
    w = 1. For the verdict ``none`` the choice is between the ends: w = 0 if it is better on both
    sides, or if its gain is proven and its cost at most 5 %; else w = 1, also without errors.
    """
    trades = tuple(best_trade(curves, most_cost) for most_cost in MOST_COSTS)
    if verdict != "none":
        best = trades[0]
        is_proven = proven(best.gain.mean, best.gain.se or 0.0)
        return (best.tradeoff if is_proven else 1.0), trades
    if not _errors_known(curves):
        return 1.0, trades
    better_on_both = curves.gain[0] > 0 and curves.cost[0] < 0
    proven_gain = proven(curves.gain[0], curves.gain_se[0])
    affordable = curves.affordable(MOST_COSTS[0])[0]
    return (0.0 if better_on_both or (proven_gain and affordable) else 1.0), trades


def advise(
    curves: Curves,
    verdict: Literal["clear", "weak", "none"],
    recommended: float,
    *,
    axis: str,
    unbiased_kind: str,
    matched_gain: Estimate | None,
) -> str:
    """Return the reason for the recommended tradeoff, and whether w = 0 knows taste better."""
    sides = _Sides.of(axis, unbiased_kind)
    reason = _reason(curves, verdict, recommended, sides)
    taste = "" if matched_gain is None else f" {_taste(matched_gain)}"
    return f"Serve w = {recommended:g}: {reason}.{taste}"


def share(value: float) -> str:
    """Return a share in percent, to two digits."""
    return f"{float(f'{100 * value:.2g}'):g} %"


@dataclass(frozen=True)
class _Sides:
    """The names of both sides of an axis."""

    logged: str
    unbiased: str

    @classmethod
    def of(cls, axis: str, unbiased_kind: str) -> _Sides:
        is_shift = unbiased_kind == POPULARITY_SHIFT
        if axis != "auc":
            return cls("all recall", "recall of less popular items" if is_shift else "recall")
        where = f"the {unbiased_kind}" if is_shift else f"unbiased traffic ({unbiased_kind})"
        return cls("the AUC above chance on logged traffic", f"AUC above chance on {where}")


def _reason(
    curves: Curves, verdict: Literal["clear", "weak", "none"], recommended: float, sides: _Sides
) -> str:
    if verdict != "none":
        if recommended < 1:
            return f"{_exchange(curves, recommended, sides)}, against w = 1"
        return (
            f"no tradeoff has a proven gain at a cost of at most {share(MOST_COSTS[0])} of "
            f"{sides.logged}"
        )
    if not _errors_known(curves):
        return "the log's own ranking, because the error is unknown"
    gain, cost = curves.gain[0], curves.cost[0]
    if recommended == 0:
        if cost < 0:
            return "it is better than w = 1 on both sides"
        return f"{_exchange(curves, 0.0, sides)}, and that cost is within its error"
    if gain <= 0 and cost >= 0:
        return "it is the better end on both sides, so debiasing brings nothing here"
    if proven(gain, curves.gain_se[0]):
        return f"w = 0 has {_exchange(curves, 0.0, sides)}, which is over {share(MOST_COSTS[0])}"
    return f"that w = 0 has more {sides.unbiased} is not proven"


def _exchange(curves: Curves, tradeoff: float, sides: _Sides) -> str:
    """Return gain and cost of a tradeoff in words, with the values at w = 1 and there."""
    t = int(np.flatnonzero(curves.tradeoffs == tradeoff)[0])
    logged, unbiased = curves.logged, curves.unbiased
    gain = f"{sides.unbiased} ({unbiased[-1]:.4f} to {unbiased[t]:.4f})"
    if unbiased[-1] > curves.chance:
        gain = f"+{share(curves.gain[t] / (unbiased[-1] - curves.chance))} {gain}"
    else:
        gain = f"more {gain}"
    if curves.cost[t] <= 0:
        return f"{gain} at no cost of {sides.logged}"
    cost = share(curves.cost[t] / (logged[-1] - curves.chance))
    return f"{gain} for {cost} of {sides.logged} ({logged[-1]:.4f} to {logged[t]:.4f})"


def _taste(matched_gain: Estimate) -> str:
    """Return whether w = 0 orders items of equal popularity better than w = 1, in words."""
    gain, se = matched_gain.mean, matched_gain.se
    if se is None:
        return "Whether w = 0 knows taste better is unknown."
    by = f"(matched AUC {gain:+.4f} ± {se:.4f})"
    if proven(gain, se):
        return f"w = 0 orders items of similar popularity better {by}: it knows taste better."
    worse = "worse" if proven(-gain, se) else "no better"
    return (
        f"w = 0 orders items of similar popularity {worse} {by}: it demotes popular items, it "
        "does not know taste better."
    )


def _errors_known(curves: Curves) -> bool:
    return bool(np.isfinite([curves.gain_se[0], curves.cost_se[0]]).all())
