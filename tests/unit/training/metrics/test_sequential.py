"""Intervals and tests for looks on every day."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import dirichlet_multinomial, multinomial, norm

from training.metrics.sequential import Ratio, radius, ratio, sample_ratio


def test_a_ratio_of_sums_and_the_variance_of_its_influence() -> None:
    found = ratio(np.array([1.0, 0.0, 5.0]), np.array([2.0, 1.0, 3.0]))
    # 6 / 6 = 1; influences (1 - 2) / 2, (0 - 1) / 2, (5 - 3) / 2; their squares sum to 1.5
    assert (found.value, found.variance, found.users) == (1.0, 0.75, 3)


def test_the_variance_of_a_ratio_is_that_of_its_repetitions() -> None:
    rng = np.random.default_rng(0)
    rankings = rng.integers(1, 6, (4000, 200)).astype(float)
    clicks = rng.poisson(rng.gamma(1.0, 0.3, rankings.shape) * rankings).astype(float)
    values = clicks.sum(axis=1) / rankings.sum(axis=1)
    variances = [ratio(x, y).variance / 200 for x, y in zip(clicks[:300], rankings, strict=False)]
    assert np.mean(variances) == pytest.approx(values.var(), rel=0.07)


def test_a_difference_has_the_variances_of_both_means() -> None:
    a, b = Ratio(0.5, 2.0, 10), Ratio(0.2, 3.0, 30)
    found = a.less(b)
    assert found.value == pytest.approx(0.3)
    assert found.users == 40
    assert found.variance / found.users == pytest.approx(2 / 10 + 3 / 30)


@pytest.mark.parametrize("users", [100, 10_000, 10**6])
def test_the_radius_is_where_the_mixture_martingale_reaches_its_bound(users: int) -> None:
    """The mean of exp(l S - t l^2 / 2) over l ~ N(0, p^2), S = t times the radius, is 1 / alpha."""
    alpha, planned = 0.05, 10_000
    unit = Ratio(0.0, 1.0, users)
    total = users * radius(unit, alpha, planned)
    best = 8.0
    for _ in range(50):  # the zero of the derivative of the radius: v = p^2 t
        best = np.log((best + 1) / alpha**2)
    spread = np.sqrt(best / planned)

    def weighted(rate: float) -> float:
        return float(np.exp(rate * total - users * rate**2 / 2) * norm.pdf(rate, scale=spread))

    centre, width = (
        total * spread**2 / (users * spread**2 + 1),
        spread / np.hypot(1, users**0.5 * spread),
    )
    area, _ = quad(weighted, centre - 12 * width, centre + 12 * width)
    assert area == pytest.approx(1 / alpha, rel=1e-6)


def test_the_interval_is_the_narrowest_at_the_planned_number() -> None:
    unit = Ratio(0.0, 1.0, 5000)
    widths = [radius(unit, 0.05, planned) for planned in (2500, 4000, 5000, 6000, 10_000)]
    assert min(widths) == widths[2]


def test_looks_on_thirty_days_seldom_find_what_is_not_there() -> None:
    """Of 200 A/A logs, at most 5 % exclude zero on any day; intervals for one look do far more."""
    rng = np.random.default_rng(0)
    always_valid = of_one_look = 0
    for _ in range(200):
        counted = np.cumsum(rng.poisson(40, 30))
        users = counted[-1]
        arm = rng.random(users) < 0.5
        rankings = rng.geometric(0.4, users).astype(float)
        clicks = rng.poisson(rng.gamma(0.5, 0.6, users) * rankings).astype(float)
        at = [(number, arm[:number]) for number in counted if number >= 200]
        differences = [
            ratio(clicks[:n][a], rankings[:n][a]).less(ratio(clicks[:n][~a], rankings[:n][~a]))
            for n, a in at
        ]
        always_valid += any(abs(d.value) > radius(d, 0.05, 10_000) for d in differences)
        of_one_look += any(abs(d.value) > 1.96 * np.sqrt(d.variance / d.users) for d in differences)
    assert always_valid <= 10
    assert of_one_look > 20


def test_the_bayes_factor_of_a_sample_ratio() -> None:
    users, shares = [60, 30, 5], [0.5, 0.4, 0.1]
    prior = 100 * np.array(shares)
    factor = dirichlet_multinomial.pmf(users, prior, 95) / multinomial.pmf(users, 95, shares)
    assert sample_ratio(users, [1.0, 0.8, 0.2]).always_valid_p == pytest.approx(1 / factor)
    # (60 - 47.5)^2 / 47.5 + (30 - 38)^2 / 38 + (5 - 9.5)^2 / 9.5 = 7.105, 2 degrees of freedom
    assert sample_ratio(users, shares).chi_square_p == pytest.approx(np.exp(-7.10526 / 2), rel=1e-4)
    assert sample_ratio([0, 0], [0.5, 0.5]).always_valid_p == 1


def test_a_sample_ratio_is_seldom_refused_at_any_look_and_soon_if_it_is_wrong() -> None:
    rng = np.random.default_rng(1)
    looks = rng.binomial(50, 0.5, (300, 30)).cumsum(axis=1)
    planned = 50 * np.arange(1, 31)
    refused = [
        any(
            sample_ratio([n, t - n], [1, 1]).always_valid_p < 0.05
            for n, t in zip(row, planned, strict=True)
        )
        for row in looks
    ]
    assert sum(refused) <= 15
    assert sample_ratio([5300, 4700], [1, 1]).always_valid_p < 1e-6
