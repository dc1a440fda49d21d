"""Intervals and tests that stay valid however often they are looked at while users come in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import chdtrc, gammaln, lambertw, xlogy

from training.arrays import Floats

# Of the Dirichlet prior of the alternative; larger: its proportions are nearer to the planned ones.
_CONCENTRATION = 100.0


@dataclass(frozen=True)
class Ratio:
    """The ratio of two sums over users, and the variance of one user's influence on it."""

    value: float
    variance: float
    users: int

    def less(self, other: Ratio) -> Ratio:
        """Return this ratio less that of ``other`` users.

        With n = n_a + n_b users, of whom a known share is in each arm, a user's influence on the
        difference has the variance n (v_a / n_a + v_b / n_b).
        """
        users = self.users + other.users
        variance = users * (self.variance / self.users + other.variance / other.users)
        return Ratio(self.value - other.value, variance, users)


def ratio(numerator: Floats, denominator: Floats) -> Ratio:
    """Return sum(numerator) / sum(denominator) of independent users, (U,) each, U >= 2.

    The influence of a user with x and y is (x - r y) / mean(y), by the delta method. NaN where the
    denominators sum to 0.
    """
    users = len(numerator)
    with np.errstate(divide="ignore", invalid="ignore"):
        value = numerator.sum() / denominator.sum()
        influence = (numerator - value * denominator) / denominator.mean()
    return Ratio(float(value), float(np.square(influence).sum() / (users - 1)), users)


def radius(estimate: Ratio, alpha: float, planned_users: int) -> float:
    """Return half the width of the asymptotic confidence sequence at this number of users.

    With probability 1 - ``alpha``, the intervals of all numbers of users together hold the truth.
    For t users of variance s^2 it is s sqrt(2 (t p^2 + 1) / (t p)^2 log(sqrt(t p^2 + 1) / alpha)):
    Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas, "Time-uniform central limit theory and
    asymptotic confidence sequences", Annals of Statistics 52(6), 2024, theorem 2.2. Estimators with
    influence functions, such as this ratio, are in their section 3. p^2 makes it the narrowest at
    ``planned_users``: p^2 = (-W(-alpha^2 / e) - 1) / planned_users, where W is the lower branch of
    Lambert's function, their appendix on the choice of p.
    """
    best = float(-lambertw(-(alpha**2) / np.e, k=-1).real - 1) / planned_users
    grown = estimate.users * best + 1
    width = 2 * grown / (estimate.users**2 * best) * np.log(np.sqrt(grown) / alpha)
    return float(np.sqrt(estimate.variance * width))


@dataclass(frozen=True)
class RatioCheck:
    """Whether users come to the arms as planned: p-values, the second valid at every look."""

    chi_square_p: float
    always_valid_p: float


def sample_ratio(users: Sequence[int], shares: Sequence[float]) -> RatioCheck:
    """Return p-values of ``users`` (A,) having come by ``shares`` (A,), A >= 2, of any sum.

    The second is min(1, 1 / B), where B is the Bayes factor against multinomial proportions q of
    those of a Dirichlet distribution with the parameters c q, c = 100: Lindon and Malek,
    "Anytime-valid inference for multinomial count data", NeurIPS 2022.
    """
    counts = np.asarray(users, np.float64)
    planned = np.asarray(shares, np.float64) / np.sum(shares)
    total = counts.sum()
    if not total:
        return RatioCheck(1.0, 1.0)
    prior = _CONCENTRATION * planned
    log_factor = (
        gammaln(prior.sum())
        - gammaln(prior.sum() + total)
        + (gammaln(prior + counts) - gammaln(prior)).sum()
        - xlogy(counts, planned).sum()
    )
    statistic = (np.square(counts - total * planned) / (total * planned)).sum()
    chi_square = chdtrc(len(counts) - 1, statistic)
    return RatioCheck(float(chi_square), float(np.exp(min(0.0, -log_factor))))
