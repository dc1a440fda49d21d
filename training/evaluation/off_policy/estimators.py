"""Off-policy estimators of rankings, as pure functions of arrays.

N rankings were shown, at most L places of each. A target policy puts one item at each place. Its
**match** (N, L) says whether the item that was shown at a place is the target's there, and the
weight of a place is the match over the propensity of what was shown. All estimators but
``whole_ranking`` assume that an outcome depends on the item and its place and not on the other
items shown: the item-position model of Li et al., "Offline Evaluation of Ranking Policies with
Click Models", KDD 2018.

An estimate comes with its influence (N,): what each ranking adds to its error, times N. Errors of
estimates and of their differences follow from sums over clusters of rankings.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.contract.front import Estimate
from training.arrays import Flags, Floats, Rows
from training.metrics.estimates import LEAST_USERS, finite

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Shown:
    """Rankings as shown, N with at most L places.

    outcome (N, L), 0 where there is no place; propensity (N, L) in (0, 1], 1 where there is no
    place; present (N, L): whether there is one; cluster (N,) >= 0: rankings of one cluster, such as
    a user, may depend on each other.
    """

    outcome: Array
    propensity: Array
    present: Flags
    cluster: Rows

    def __len__(self) -> int:
        return len(self.outcome)

    @property
    def clusters(self) -> int:
        """The number of clusters."""
        return len(np.unique(self.cluster))

    def weights(self, match: Flags) -> Array:
        """Return the weight (N, L) of each place for a target with ``match`` (N, L)."""
        return np.asarray((match & self.present) / self.propensity)


@dataclass(frozen=True)
class Estimated:
    """An estimate per ranking: ``by_place`` (L,) and their sum, with the influences.

    influence (N,) is that of the sum, place_error (L,) are standard errors. NaN where nothing that
    was shown is what the target shows. seen: the clusters to which the target was shown somewhere;
    an error that rests on fewer than ``LEAST_USERS`` is unknown, as that of no match at all is 0.
    """

    by_place: Array
    place_error: Array
    influence: Array
    cluster: Rows
    seen: int

    @property
    def value(self) -> float:
        """The sum over places."""
        return float(self.by_place.sum())

    @property
    def estimate(self) -> Estimate | None:
        """The sum with its standard error, None if it is not known."""
        if not np.isfinite(self.value):
            return None
        return Estimate(mean=self.value, se=self._error(self.influence, self.seen))

    def times(self, factor: float) -> Estimated:
        """Return the estimate in another unit."""
        return Estimated(
            factor * self.by_place,
            factor * self.place_error,
            factor * self.influence,
            self.cluster,
            self.seen,
        )

    def less(self, other: Estimated, share: float = 1.0) -> Estimate | None:
        """Return this less ``share`` times the other, paired, with its standard error."""
        value = self.value - share * other.value
        if not np.isfinite(value):
            return None
        influence = self.influence - share * other.influence
        return Estimate(mean=value, se=self._error(influence, min(self.seen, other.seen)))

    def _error(self, influence: Array, seen: int) -> float | None:
        return clustered_error(influence, self.cluster) if seen >= LEAST_USERS else None


def per_place_ips(shown: Shown, match: Flags) -> Estimated:
    """Return the item-position estimator of Li et al. 2018: the mean of weight times outcome.

    Unbiased where every item that the target shows has a propensity above 0.
    """
    weights = shown.weights(match)  # (N, L)
    gains = weights * shown.outcome
    by_place = gains.mean(axis=0)
    return _estimated(by_place, gains - by_place, weights, shown.cluster)


def per_place_snips(shown: Shown, match: Flags) -> Estimated:
    """Return ``per_place_ips`` self-normalised: at each place divided by the mean weight.

    Swaminathan and Joachims, "The Self-Normalized Estimator for Counterfactual Learning", NeurIPS
    2015. Its bias falls with 1 / N, and its error is mostly smaller. A place counts as often as
    there is one.
    """
    weights = shown.weights(match)
    share, mean_weight = shown.present.mean(axis=0), weights.mean(axis=0)  # (L,)
    with np.errstate(invalid="ignore", divide="ignore"):
        rate = (weights * shown.outcome).mean(axis=0) / mean_weight
        rate = np.where(share > 0, rate, 0.0)
        normalised = np.where(mean_weight > 0, share / mean_weight, 0.0)
    influence = normalised * weights * (shown.outcome - rate) + rate * (shown.present - share)
    return _estimated(share * rate, influence, weights, shown.cluster)


def doubly_robust(shown: Shown, match: Flags, predicted: Array) -> Estimated:
    """Return the doubly robust estimator by place of Dudik et al., ICML 2011.

    ``predicted`` (N, L) is the outcome that a regression expects of the target's item at each
    place. It may depend on the request, not on what was drawn for it. Unbiased whatever it is.
    """
    expected = np.where(shown.present, predicted, 0.0)
    weights = shown.weights(match)
    terms = expected + weights * (shown.outcome - expected)
    by_place = terms.mean(axis=0)
    return _estimated(by_place, terms - by_place, weights, shown.cluster)


def whole_ranking(shown: Shown, weight: Floats) -> Estimated:
    """Return SNIPS of whole rankings, Swaminathan and Joachims 2015.

    ``weight`` (N,) is whether the target shows the same ranking, over the propensity of that
    ranking. No assumption on outcomes is made.
    """
    mean_weight = weight.mean()
    with np.errstate(invalid="ignore", divide="ignore"):
        by_place = (weight[:, None] * shown.outcome).mean(axis=0) / mean_weight
        influence = weight[:, None] * (shown.outcome - by_place) / mean_weight
    weights = np.broadcast_to(weight[:, None], influence.shape)
    return _estimated(by_place, influence, weights, shown.cluster)


def position_based(shown: Shown, match: Flags, target: Rows, examination: Array) -> Estimated:
    """Return the position-based estimator of Li et al. 2018, self-normalised, from uniform slots.

    Each ranking has one uniform slot, at the place of the only True of ``match`` (N, L) if the
    target shows its item at all, at the place ``target`` (N,); -1 if not. An outcome is the product
    of what the place does, ``examination`` (L,) up to a factor, and of what the item does. So an
    item of the target's list counts wherever it was shown.
    """
    listed = target >= 0
    weight = np.where(listed, examination[target], 0.0)  # times N over the mean examination
    gain = weight * (shown.outcome * match).sum(axis=1)
    mean_weight = weight.mean()
    places = shown.present.sum(axis=1).mean()
    with np.errstate(invalid="ignore", divide="ignore"):
        rate = gain.mean() / mean_weight
        influence = places * (gain - rate * weight) / mean_weight
    at = np.eye(len(examination), dtype=bool)[target] & listed[:, None]  # (N, L)
    with np.errstate(invalid="ignore", divide="ignore"):
        by_place = places * (at * gain[:, None]).mean(axis=0) / mean_weight
    error = np.full(len(by_place), np.nan)
    seen = len(np.unique(shown.cluster[listed]))
    return Estimated(by_place, error, influence, shown.cluster, seen)


def effective_sample_size(weight: Floats) -> float:
    """Return Kish's effective sample size of weights (N,): (sum w)^2 / sum w^2; 0 without any."""
    squares = float(np.square(weight).sum())
    return float(weight.sum()) ** 2 / squares if squares else 0.0


def fitted_scores(shown: Shown, match: Flags, scores: Floats, target: Floats) -> Array:
    """Return ``target`` scores (N, L) as predicted outcomes: times one factor for each place.

    Fitted to the ``scores`` (N, L) of what was shown where ``match`` (N, L). That of a half of
    the clusters is fitted to the other half: no ranking predicts its own outcome.
    """
    half = np.unique(shown.cluster, return_inverse=True)[1] % 2
    weights = shown.weights(match)
    predicted = np.zeros(target.shape)
    for fold in (0, 1):
        others = half != fold
        outcome = (weights[others] * shown.outcome[others]).sum(axis=0)
        score = (weights[others] * scores[others]).sum(axis=0)
        factor = np.divide(outcome, score, out=np.zeros_like(score), where=score > 0)
        predicted[~others] = target[~others] * factor
    return predicted


def clustered_error(influence: Array, cluster: Rows) -> float | None:
    """Return the standard error of a mean, from influences (N,) and their clusters (N,).

    Rankings of one cluster may depend on each other: Liang and Zeger, Biometrika 1986, with the
    factor C / (C - 1) of C clusters. None for fewer than ``LEAST_USERS``.
    """
    numbers = np.unique(cluster, return_inverse=True)[1]
    sums = np.bincount(numbers, influence)
    count = len(sums)
    if count < LEAST_USERS:
        return None
    return finite(np.sqrt(count / (count - 1) * np.square(sums).sum()) / len(influence))


def _estimated(by_place: Array, influence: Floats, weights: Floats, cluster: Rows) -> Estimated:
    """Return an estimate from the influence (N, L) of each place and its weights (N, L)."""
    numbers = np.unique(cluster, return_inverse=True)[1]
    count = int(numbers.max()) + 1
    sums = np.stack([np.bincount(numbers, column) for column in influence.T], axis=1)  # (C, L)
    used = np.stack([np.bincount(numbers, column > 0) for column in weights.T], axis=1) > 0
    with np.errstate(invalid="ignore", divide="ignore"):
        error = np.sqrt(count / (count - 1) * np.square(sums).sum(axis=0)) / len(influence)
    error = np.where(used.sum(axis=0) >= LEAST_USERS, error, np.nan)
    seen = int(used.any(axis=1).sum())
    return Estimated(by_place, error, influence.sum(axis=1), cluster, seen)
