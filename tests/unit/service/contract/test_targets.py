"""A front as curves: what each tradeoff comes to, and the tradeoff of each value."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from service.contract.front import Estimate, Front, FrontPoint
from service.contract.targets import curves
from tests.fronts import make_front

QUARTERS = (0.0, 0.25, 0.5, 0.75, 1.0)


def front_of(shares: Sequence[float | None], aucs: Sequence[float]) -> Front:
    points = tuple(
        FrontPoint(
            tradeoff=w,
            logged={"auc": Estimate(mean=auc)},
            unbiased={},
            shown={} if share is None else {"tail_share": Estimate(mean=share)},
        )
        for w, share, auc in zip(QUARTERS, shares, aucs, strict=True)
    )
    return make_front().model_copy(update={"points": points})


RISING = (0.60, 0.64, 0.66, 0.67, 0.68)


def test_a_falling_measure_is_solved_by_interpolation() -> None:
    curve = curves(front_of((0.5, 0.4, 0.3, 0.2, 0.1), RISING))["tail_share"]
    assert curve.reach == (0.1, 0.5)
    assert curve.tradeoff(0.45) == pytest.approx(0.125)
    assert curve.value(0.125) == pytest.approx(0.45)
    assert (curve.tradeoff(0.9), curve.tradeoff(0.0)) == (0.0, 1.0)


def test_a_cost_is_what_the_logged_side_loses_against_the_logged_end() -> None:
    curve = curves(front_of((None,) * 5, RISING))["logged_auc_cost"]
    np.testing.assert_allclose(curve.values, [0.08, 0.04, 0.02, 0.01, 0.0], atol=1e-12)
    assert curve.tradeoff(0.03) == pytest.approx(0.375)


def test_points_against_the_order_are_pooled() -> None:
    """By hand: 0.3 and 0.4 become 0.35 at their mean tradeoff, 0.375."""
    curve = curves(front_of((0.5, 0.3, 0.4, 0.2, 0.1), RISING))["tail_share"]
    np.testing.assert_allclose(curve.tradeoffs, [0.0, 0.375, 0.75, 1.0])
    np.testing.assert_allclose(curve.values, [0.5, 0.35, 0.2, 0.1])


def test_every_value_in_reach_has_one_tradeoff() -> None:
    rng = np.random.default_rng(0)
    for sign in (1.0, -1.0):
        noisy = np.clip(0.5 + sign * (np.array(QUARTERS) - 0.5) / 2 + rng.normal(0, 0.1, 5), 0, 1)
        curve = curves(front_of(noisy.tolist(), RISING))["tail_share"]
        assert (sign * np.diff(curve.values) > 0).all()
        for value in np.linspace(*curve.reach, 9):
            assert curve.value(curve.tradeoff(value)) == pytest.approx(value)


@pytest.mark.parametrize("shares", [(None,) * 5, (0.3,) * 5])
def test_what_the_tradeoff_does_not_move_has_no_curve(shares: Sequence[float | None]) -> None:
    assert list(curves(front_of(shares, RISING))) == ["logged_auc_cost"]
