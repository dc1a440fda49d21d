"""Failures and degraded rankings of one version."""

from __future__ import annotations

import math

import pytest

from service.models.health import Health


@pytest.mark.parametrize(
    ("scores", "failures"),
    [
        ([], 0),
        ([0.9, 0.1], 0),
        ([0.9, 0.1, None, None], 0),
        ([None], 0),
        ([0.9, math.nan], 1),
        ([math.nan, None], 1),
        ([0.9, math.inf], 1),
    ],
)
def test_a_score_that_is_not_finite_is_a_failure(scores: list[float | None], failures: int) -> None:
    health = Health()
    health.add(scores, ())
    assert (health.rankings, health.failures, health.degraded) == (1, failures, 0)


def test_scores_do_not_count_while_many_rankings_are_degraded() -> None:
    health = Health()
    for number in range(20):
        health.add([0.5], ["unknown_user"] if number < 3 else ())
    assert not health.scores_count
    for _ in range(10):
        health.add([0.5], ())
    assert health.scores_count


def test_errors_are_failures_until_a_reset() -> None:
    health = Health()
    health.fail()
    assert (health.rankings, health.failures) == (1, 1)
    health.reset()
    assert (health.rankings, health.failures) == (0, 0)
