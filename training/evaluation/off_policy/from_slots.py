"""Policies that nobody served, from uniform slots: their pools are ranked again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from training.arrays import Flags, Floats, Rows
from training.evaluation.off_policy.advice import TAIL_SHARE, Candidate, Wish, decide, order_of
from training.evaluation.off_policy.estimators import (
    Array,
    Estimated,
    doubly_robust,
    effective_sample_size,
    fitted_scores,
    per_place_ips,
    per_place_snips,
    position_based,
)
from training.evaluation.off_policy.log import UniformSlots, tail_of
from training.evaluation.off_policy.policy import policy_estimate, source_of
from training.evaluation.off_policy.schema import Advice, Pair, PolicyEstimate, Source


@dataclass(frozen=True)
class Placed:
    """Where a policy puts the items of N uniform slots; L places.

    place (N,): that of the slot's item, -1 if it is not among the first; own (N,): its score.
    item_ids and scores (N, L) are those of the first places, "" and 0 beyond the pool.
    """

    place: Rows
    own: Floats
    item_ids: NDArray[np.str_]
    scores: Floats


@dataclass(frozen=True)
class RankedAgain:
    """A policy by name, and where it puts the items of the slots."""

    name: str
    model: str
    tradeoff: float
    placed: Placed


@dataclass(frozen=True)
class FromSlots:
    """What a log's uniform slots say; advice is among these policies, against the first one."""

    source: Source
    policies: tuple[PolicyEstimate, ...]
    order: tuple[Pair, ...]
    advice: Advice | None


def from_slots(
    slots: UniformSlots,
    policies: Sequence[RankedAgain],
    tail: Mapping[str, bool],
    *,
    metric: str,
    wish: Wish | None = None,
    left_out: Mapping[str, int],
) -> FromSlots:
    """Return an estimate for each policy, compared with the first one."""
    estimates = [estimators(slots, policy.placed) for policy in policies]
    candidates = [
        Candidate(
            policy.name,
            policy.tradeoff,
            {
                metric: by_name["position_based"],
                TAIL_SHARE: _tail_share(slots, policy.placed, tail),
            },
        )
        for policy, by_name in zip(policies, estimates, strict=True)
    ]
    count = len(slots.shown)
    return FromSlots(
        source=source_of("uniform slots", slots.shown, left_out),
        policies=tuple(
            policy_estimate(
                candidate,
                candidates[0],
                policy.model,
                metric,
                by_name,
                slots.shown.weights(_match(slots, policy.placed)),
                effective=effective_sample_size((policy.placed.place >= 0).astype(np.float64)),
            )
            for policy, candidate, by_name in zip(policies, candidates, estimates, strict=True)
        ),
        order=order_of(candidates, metric, count),
        advice=None if wish is None else decide(candidates, candidates[0], wish, count),
    )


def _match(slots: UniformSlots, placed: Placed) -> Flags:
    """Return where the policy has the slot's item at the slot's place (N, L)."""
    return np.asarray(slots.here & (placed.place == slots.place)[:, None])


def estimators(slots: UniformSlots, placed: Placed) -> dict[str, Estimated]:
    """Return all estimates of a policy by the estimator's name, the headline first."""
    shown, here = slots.shown, slots.here
    match = _match(slots, placed)
    own = np.broadcast_to(placed.own[:, None], here.shape)
    predicted = fitted_scores(shown, here, own, placed.scores)
    return {
        "position_based": position_based(shown, here, placed.place, _examination(slots)),
        "dr": doubly_robust(shown, match, predicted),
        "snips": per_place_snips(shown, match),
        "ips": per_place_ips(shown, match),
    }


def _examination(slots: UniformSlots) -> Array:
    """Return the mean outcome (L,) of a uniformly drawn item at each place.

    Half an average slot is added to each, so that no place is 0 by chance.
    """
    outcome, count = (slots.shown.outcome * slots.here).sum(axis=0), slots.here.sum(axis=0)
    mean = outcome.sum() / max(count.sum(), 1)
    return np.asarray((outcome + mean / 2) / (count + 0.5), np.float64)


def _tail_share(slots: UniformSlots, placed: Placed, tail: Mapping[str, bool]) -> Estimated:
    """Return the share of a policy's places that go to the long tail: each is known exactly."""
    flags = tail_of(pl.Series(placed.item_ids.ravel().tolist(), dtype=pl.String), tail)
    held = placed.item_ids != ""
    share = (flags.reshape(held.shape) & held).sum(axis=1) / np.maximum(held.sum(axis=1), 1)
    mean = share.mean(keepdims=True)  # (1,)
    shown = slots.shown
    return Estimated(mean, np.full(1, np.nan), share - mean, shown.cluster, shown.clusters)
