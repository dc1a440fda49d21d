"""Estimators against cases worked by hand, and against the truth of simulated feeds."""

from __future__ import annotations

import numpy as np
import pytest

from tests.simulated_rankings import GRID, Feed
from training.evaluation.off_policy.estimators import (
    Shown,
    clustered_error,
    doubly_robust,
    effective_sample_size,
    fitted_scores,
    per_place_ips,
    per_place_snips,
    position_based,
    whole_ranking,
)

# Four rankings of two places; the last one has one place.
SHOWN = Shown(
    outcome=np.array([[1, 0], [0, 1], [1, 1], [0, 0]], np.float64),
    propensity=np.array([[0.5, 0.25], [0.5, 1.0], [1.0, 0.5], [0.25, 1.0]]),
    present=np.array([[1, 1], [1, 1], [1, 1], [1, 0]], np.bool_),
    cluster=np.array([3, 3, 7, 9]),
)
MATCH = np.array([[1, 1], [0, 1], [1, 0], [1, 0]], np.bool_)


def test_per_place_ips_is_the_mean_of_weighted_outcomes() -> None:
    # Place 1: (1/.5 + 1/1) / 4; place 2: (0/.25 + 1/1) / 4.
    estimated = per_place_ips(SHOWN, MATCH)
    assert estimated.by_place.tolist() == [0.75, 0.25]
    assert estimated.value == 1.0
    assert estimated.influence.tolist() == [1.0, 0.0, 0.0, -1.0]


def test_per_place_snips_divides_by_the_weights_of_each_place() -> None:
    # Place 1: 3 / (2 + 1 + 4); place 2: 1 / (4 + 1), in three rankings of four.
    estimated = per_place_snips(SHOWN, MATCH)
    assert estimated.by_place.tolist() == pytest.approx([3 / 7, 0.75 / 5])
    assert estimated.influence.mean() == pytest.approx(0.0)


def test_doubly_robust_corrects_a_regression_by_weighted_residuals() -> None:
    predicted = np.array([[0.5, 0.5], [0.5, 0.5], [0.5, 0.5], [0.5, 9.0]])
    # Place 1: (.5 + 2 * .5) + .5 + (.5 + .5) + (.5 - 4 * .5); place 2: (.5 - 2) + (.5 + .5) + .5.
    estimated = doubly_robust(SHOWN, MATCH, predicted)
    assert estimated.by_place.tolist() == pytest.approx([1.5 / 4, 0.0])
    nothing = doubly_robust(SHOWN, MATCH, np.zeros((4, 2)))
    assert nothing.by_place.tolist() == per_place_ips(SHOWN, MATCH).by_place.tolist()


def test_whole_rankings_weigh_the_ranking_as_one_action() -> None:
    # Weights 2, 0, 1, 0: clicks 1 and 2.
    estimated = whole_ranking(SHOWN, np.array([2.0, 0.0, 1.0, 0.0]))
    assert estimated.value == pytest.approx((2 * 1 + 1 * 2) / 3)


def test_position_based_counts_an_item_wherever_it_was_shown() -> None:
    # The target has the items at its places 2, 1 and 1, and lacks the last one; a second place is
    # examined half as often as a first one.
    here = np.array([[1, 0], [0, 1], [1, 0], [0, 1]], np.bool_)
    shown = Shown(SHOWN.outcome * here, np.full((4, 2), 0.1), np.ones_like(here), np.arange(4))
    estimated = position_based(shown, here, np.array([1, 0, 0, -1]), np.array([1.0, 0.5]))
    # Weights .5, 1, 1 and outcomes 1, 1, 1 of 2 places.
    assert estimated.value == pytest.approx(2 * 2.5 / 2.5)
    assert estimated.by_place.tolist() == pytest.approx([2 * 2 / 2.5, 2 * 0.5 / 2.5])


def test_the_error_is_of_sums_over_clusters() -> None:
    # 30 clusters of two rankings: sums of 2 and -2.
    influence, cluster = np.repeat([1.0, -1.0], 30), np.repeat(np.arange(30), 2)
    assert clustered_error(influence, cluster) == pytest.approx(np.sqrt(30 / 29 * 30 * 4) / 60)
    cancelled = np.tile([1.0, -1.0], 30)
    assert clustered_error(cancelled, cluster) == 0.0
    assert clustered_error(influence[:58], cluster[:58]) is None


def test_a_policy_that_hardly_was_shown_has_no_error() -> None:
    shown = Shown(
        np.ones((60, 1)), np.full((60, 1), 0.5), np.ones((60, 1), np.bool_), np.arange(60)
    )
    match = np.arange(60)[:, None] < 29
    estimate = per_place_ips(shown, match).estimate
    assert estimate is not None
    assert estimate.mean == pytest.approx(29 / 30)
    assert estimate.se is None
    estimate = per_place_ips(shown, np.arange(60)[:, None] < 30).estimate
    assert estimate is not None
    assert estimate.se == pytest.approx(np.sqrt(60 / 59 * 60) / 60)
    assert per_place_snips(shown, np.zeros((60, 1), np.bool_)).estimate is None


def test_effective_sample_size_of_equal_weights_is_their_number() -> None:
    assert effective_sample_size(np.array([2.0, 2.0, 0.0])) == 2.0
    assert effective_sample_size(np.array([1.0, 3.0])) == pytest.approx(16 / 10)
    assert effective_sample_size(np.zeros(2)) == 0.0


def test_scores_are_fitted_to_the_other_half_of_the_users() -> None:
    shown = Shown(
        np.array([[1.0], [0.0], [1.0], [1.0]]),
        np.ones((4, 1)),
        np.ones((4, 1), np.bool_),
        np.array([0, 1, 2, 3]),
    )
    match, scores = np.ones((4, 1), np.bool_), np.full((4, 1), 0.5)
    # Users 0 and 2 click twice at scores of 1 in sum, users 1 and 3 once.
    predicted = fitted_scores(shown, match, scores, np.full((4, 1), 0.2))
    assert predicted[:, 0].tolist() == pytest.approx([0.2, 0.4, 0.2, 0.4])


def test_on_simulated_logs_estimates_are_right_and_intervals_cover_the_truth() -> None:
    feed, logs = Feed(items=30, places=4), 80
    truth = np.array([feed.truth(w, 40_000) for w in GRID])
    means: dict[str, list[list[float]]] = {}
    covered: dict[str, list[bool]] = {}
    for seed in range(logs):
        log = feed.drawn_log(np.random.default_rng(seed), 120, 2)
        for t, match in enumerate(log.match):
            fitted = fitted_scores(log.shown, match, log.scores[t], log.scores[t])
            for name, estimated in {
                "ips": per_place_ips(log.shown, match),
                "snips": per_place_snips(log.shown, match),
                "dr": doubly_robust(log.shown, match, fitted),
                "whole": whole_ranking(log.shown, log.whole[t]),
            }.items():
                estimate = estimated.estimate
                assert estimate is not None
                assert estimate.se is not None
                means.setdefault(name, [[] for _ in GRID])[t].append(estimate.mean)
                inside = abs(estimate.mean - truth[t]) < 1.96 * estimate.se
                covered.setdefault(name, []).append(inside)
    for name, values in means.items():
        off = np.mean(values, axis=1) / truth - 1
        assert np.abs(off).max() < 0.02, name
        assert 0.9 < np.mean(covered[name]) < 0.985, name
    spread = {name: np.std(values, axis=1).mean() for name, values in means.items()}
    assert spread["snips"] < spread["ips"]
    assert spread["dr"] < 1.02 * spread["snips"]
