"""Estimates in the form of a result: one policy's, and what they rest on."""

from __future__ import annotations

import math
from collections.abc import Mapping

from service.contract.front import Estimate
from training.arrays import Floats
from training.evaluation.off_policy.advice import TAIL_SHARE, Candidate
from training.evaluation.off_policy.estimators import Estimated, Shown, effective_sample_size
from training.evaluation.off_policy.schema import PlaceEstimate, PolicyEstimate, Source


def source_of(kind: str, shown: Shown, left_out: Mapping[str, int]) -> Source:
    """Return the decisions that estimates rest on; ``left_out``: how many others, by reason."""
    return Source(
        kind=kind,
        decisions=len(shown),
        users=shown.clusters,
        places=shown.outcome.shape[1],
        left_out={reason: number for reason, number in left_out.items() if number},
    )


def policy_estimate(
    candidate: Candidate,
    base: Candidate,
    model: str,
    metric: str,
    estimates: dict[str, Estimated],
    weights: Floats,
    *,
    effective: float | None = None,
) -> PolicyEstimate:
    """Return a policy that is compared with ``base``; the first estimator is its headline.

    weights (N, L): those of its places. ``effective`` is its effective sample size, by default the
    mean over places.
    """
    headline, tail = candidate.measures[metric], candidate.measures[TAIL_SHARE]
    places = tuple(
        PlaceEstimate(
            place=place, outcome=_known(value, error), effective=effective_sample_size(weight)
        )
        for place, (value, error, weight) in enumerate(
            zip(headline.by_place, headline.place_error, weights.T, strict=True), start=1
        )
    )
    if effective is None:
        effective = sum(place.effective for place in places) / len(places)
    return PolicyEstimate(
        name=candidate.name,
        model=model,
        tradeoff=candidate.tradeoff,
        headline=next(iter(estimates)),
        outcome={name: estimated.estimate for name, estimated in estimates.items()},
        effective=effective,
        change=headline.less(base.measures[metric]),
        tail_share=tail.estimate,
        tail_change=tail.less(base.measures[TAIL_SHARE]),
        places=places,
    )


def _known(value: float, error: float) -> Estimate | None:
    if not math.isfinite(value):
        return None
    return Estimate(mean=float(value), se=float(error) if math.isfinite(error) else None)
