"""What is recommended, whether the log suffices, and how many decisions would."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import norm

from training.errors import ConfigError
from training.evaluation.off_policy.advice import (
    TAIL_SHARE,
    Candidate,
    Wish,
    decide,
    order_of,
    parse_wish,
)
from training.evaluation.off_policy.estimators import Estimated

N = 100
NOISE = np.random.default_rng(0).permutation(np.repeat([1.0, -1.0], N // 2))


def measure(value: float, error: float) -> Estimated:
    """Return an estimate of N users whose errors are uncorrelated with those of others."""
    noise = np.random.default_rng(int(1e6 * value)).permutation(NOISE)
    factor = error * N / math.sqrt(N / (N - 1) * N)
    return Estimated(np.array([value]), np.array([error]), factor * noise, np.arange(N), N)


def candidate(w: float, clicks: float, tail: float, error: float = 0.001) -> Candidate:
    return Candidate(
        f"w = {w:g}", w, {"clicks": measure(clicks, error), TAIL_SHARE: measure(tail, 0.001)}
    )


def test_the_greatest_tail_share_within_the_cost_is_served() -> None:
    policies = [candidate(0, 1.8, 0.5), candidate(0.5, 1.99, 0.3), candidate(1, 2.0, 0.1)]
    advice = decide(policies, policies[2], Wish(TAIL_SHARE, 0.02, "clicks"), N)
    assert (advice.tradeoff, advice.suffices, advice.more) == (0.5, True, None)
    assert advice.sentence.startswith("Serve w = 0.5: the greatest tail_share at a cost of at most")
    assert "clicks -0.5% ± 0.1%, tail_share +200.0%" in advice.sentence
    free = decide(policies, policies[2], Wish(TAIL_SHARE), N)
    assert (free.tradeoff, free.suffices) == (0, True)


def test_without_a_policy_within_the_cost_one_stays() -> None:
    policies = [candidate(0, 1.5, 0.5), candidate(1, 2.0, 0.1)]
    advice = decide(policies, policies[1], Wish(TAIL_SHARE, 0.02, "clicks"), N)
    assert (advice.tradeoff, advice.suffices) == (1, True)
    assert advice.sentence.startswith("Stay at w = 1: no other policy has more tail_share within")


def test_a_log_that_does_not_suffice_says_how_much_more_would() -> None:
    policies = [candidate(0, 1.99, 0.5, 0.015), candidate(1, 2.0, 0.1, 0.015)]
    advice = decide(policies, policies[1], Wish(TAIL_SHARE, 0.02, "clicks"), N)
    assert (advice.tradeoff, advice.suffices) == (0, False)
    margin = policies[0].measures["clicks"].less(policies[1].measures["clicks"], 0.98)
    assert margin is not None
    assert margin.se is not None
    z = margin.mean / margin.se
    critical = norm.ppf(1 - 0.05 / 4)  # two comparisons: the cost of w = 0, and its gain
    assert advice.more is not None
    times, half = advice.more / N, norm.ppf(0.8)  # z sqrt(1 + m) is normal with variance m
    assert z * math.sqrt(1 + times) - half * math.sqrt(times) == pytest.approx(critical, abs=0.01)
    assert "does not suffice: about" in advice.sentence


def test_a_policy_of_which_the_log_shows_nothing_is_left_out() -> None:
    nothing = Estimated(np.array([np.nan]), np.array([np.nan]), np.zeros(N), np.arange(N), 0)
    policies = [
        Candidate("w = 0", 0, {"clicks": nothing, TAIL_SHARE: measure(0.9, 0.001)}),
        candidate(1, 2.0, 0.1),
    ]
    assert decide(policies, policies[1], Wish(TAIL_SHARE, 0.1, "clicks"), N).tradeoff == 1
    assert order_of(policies, "clicks", N) == ()
    none = decide(policies, policies[0], Wish(TAIL_SHARE), N)
    assert (none.tradeoff, none.suffices) == (None, False)
    assert none.sentence.startswith("The log shows nothing of w = 0")


def test_neighbours_are_told_apart_or_need_more() -> None:
    policies = [candidate(0, 1.0, 0.5), candidate(0.5, 1.5, 0.3), candidate(1, 1.4999, 0.1)]
    order = order_of(policies, "clicks", N)
    assert [(pair.better, pair.worse) for pair in order] == [
        ("w = 0.5", "w = 1"),
        ("w = 1", "w = 0"),
    ]
    assert [pair.sure for pair in order] == [False, True]
    assert [pair.more for pair in order] == [None, 0]


@pytest.mark.parametrize(
    ("at_most", "maximise", "wish"),
    [
        (None, None, None),
        (None, "clicks", Wish("clicks")),
        ("2% clicks", None, Wish(TAIL_SHARE, 0.02, "clicks")),
        (" 2.5 %  tail_share", None, Wish("clicks", 0.025, TAIL_SHARE)),
        ("2% clicks", "clicks", Wish("clicks", 0.02, "clicks")),
    ],
)
def test_a_wish_is_read(at_most: str | None, maximise: str | None, wish: Wish | None) -> None:
    assert parse_wish(at_most, maximise, "clicks") == wish


@pytest.mark.parametrize(
    ("at_most", "maximise", "option"),
    [
        ("2 clicks", None, "--at-most"),
        ("2% likes", None, "--at-most"),
        ("200% clicks", None, "--at-most"),
        (None, "likes", "--maximise"),
    ],
)
def test_a_bad_wish_is_refused(at_most: str | None, maximise: str | None, option: str) -> None:
    with pytest.raises(ConfigError, match=option):
        parse_wish(at_most, maximise, "clicks")
