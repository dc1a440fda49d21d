"""Arms of users: their shares, who stays, and what a plan may not say."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from pydantic import ValidationError
from scipy.stats import chi2_contingency, chisquare

from service.contract.experiments import Experiments, Plan

USERS = [f"u{n:05d}" for n in range(5000)]


def plan(name: str = "golden", **shares: float) -> Plan:
    arms = [{"name": arm, "share": share} for arm, share in shares.items()]
    return Plan.model_validate({"name": name, "arms": arms})


def arms(plan: Plan, users: list[str] = USERS) -> list[str]:
    found = [plan.arm(user) for user in users]
    return ["none" if arm is None else arm.name for arm in found]


def test_each_arm_gets_its_share() -> None:
    counts = Counter(arms(plan(a=0.5, b=0.2, c=0.1)))
    observed = [counts[name] for name in ("a", "b", "c", "none")]
    assert chisquare(observed, [2500, 1000, 500, 1000]).pvalue > 0.01


def test_users_keep_their_arms_in_every_release() -> None:
    """Another release may not move users of a running experiment."""
    found = arms(plan(a=0.25, b=0.5), USERS[:24])
    assert (
        " ".join("-" if arm == "none" else arm for arm in found)
        == "- b - b b a - a - b b - b a a b b a a a b b b -"
    )


def test_two_experiments_are_independent() -> None:
    pairs = Counter(zip(arms(plan("x", a=0.5, b=0.3)), arms(plan("y", a=0.3, b=0.7)), strict=True))
    table = [[pairs[left, right] for right in "ab"] for left in ("a", "b", "none")]
    assert chi2_contingency(table).pvalue > 0.01


def test_experiments_of_one_salt_share_their_users() -> None:
    one, other = plan("x", a=0.5, b=0.5), plan("y", a=0.5, b=0.5)
    assert arms(one) != arms(other)
    salted = [each.model_copy(update={"salt": "s"}) for each in (one, other)]
    assert arms(salted[0]) == arms(salted[1])


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"arms": []}, "at least 1 item"),
        ({"name": "A/B"}, "String should match pattern"),
        ({"share": 0.5}, "Extra inputs are not permitted"),
        ({"arms": [{"name": "a", "share": 0.6}, {"name": "b", "share": 0.5}]}, "sum to 1.1"),
        ({"arms": [{"name": "a", "share": 0.1}, {"name": "a", "share": 0.1}]}, "the name 'a'"),
        ({"arms": [{"name": "a", "share": 0}]}, "greater than 0"),
        ({"arms": [{"name": "a", "share": 0.1, "w": 1}]}, "Extra inputs are not permitted"),
        ({"arms": [{"name": "a", "share": 0.1, "model": "../a"}]}, "should match pattern"),
        ({"arms": [{"name": "a", "share": 0.1, "tradeoff": 1.1}]}, "less than or equal to 1"),
        (
            {"arms": [{"name": "a", "share": 0.1, "tradeoff": 1, "tradeoffs": [[0, 1]]}]},
            "both tradeoff and tradeoffs",
        ),
        (
            {"arms": [{"name": "a", "share": 0.1, "tradeoffs": [[0, 0.5], [1, 0.4]]}]},
            "their sum 1",
        ),
        (
            {"arms": [{"name": "a", "share": 0.1, "tradeoffs": [[0, 0.5], [0, 0.5]]}]},
            "a tradeoff twice",
        ),
    ],
)
def test_a_plan_that_means_nothing_is_refused(change: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        Plan.model_validate({"name": "x", "arms": [{"name": "a", "share": 0.1}], **change})


def test_at_most_the_last_experiment_runs() -> None:
    one = {"name": "x", "started": "2026-01-01T00:00Z", "arms": [{"name": "a", "share": 0.1}]}
    ended = {**one, "stopped": "2026-01-02T00:00Z"}
    running = Experiments.model_validate({"experiments": [ended, {**one, "name": "y"}]}).running
    assert running is not None
    assert running.name == "y"
    assert Experiments.model_validate({"experiments": [ended]}).running is None
    with pytest.raises(ValidationError, match="only the last"):
        Experiments.model_validate({"experiments": [one, {**ended, "name": "y"}]})
    with pytest.raises(ValidationError, match="the name 'x'"):
        Experiments.model_validate({"experiments": [ended, one]})


def test_an_experiment_grows_by_one_factor_alone() -> None:
    before = plan(a=0.1, b=0.3)
    assert plan(a=0.2, b=0.6).grown_from(before)
    assert not plan(a=0.2, b=0.3).grown_from(before)
    assert not plan(a=0.1, c=0.3).grown_from(before)
    assert not plan(a=0.1).grown_from(before)
    assert not before.model_copy(update={"salt": "s"}).grown_from(before)
