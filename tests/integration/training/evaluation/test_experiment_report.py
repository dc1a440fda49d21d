"""The report of an experiment, from users with known figures."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from service.contract.experiments import Experiment
from training.evaluation.experiment.analysis import Users, analyse, look_times
from training.evaluation.experiment.schema import ExperimentReport
from training.evaluation.experiment.table import report_text
from training.evaluation.experiment.write import experiment_page
from training.metrics.sequential import radius, ratio

DAY_MS = 86_400_000
NAMES = ("control", "b", "c")
EXPERIMENT = Experiment.model_validate(
    {
        "name": "x",
        "planned_users": 1000,
        "arms": [{"name": name, "share": 0.3} for name in NAMES],
        "started": "1970-01-01T00:00Z",
    }
)


def users(rng: np.random.Generator, effect: float, count: int = 900, **changes: Any) -> Users:
    """Return users of three arms in turn over three days; those of arm b click more."""
    arm = np.arange(count) % 3
    rankings = rng.integers(1, 5, count).astype(float)
    fields = {
        "arm": arm,
        "counted_ms": DAY_MS + np.sort(rng.integers(3 * DAY_MS, size=count)),
        "rankings": rankings,
        "outcome": rng.poisson(rankings * np.where(arm == 1, 1 + effect, 1)).astype(float),
        "places": 10 * rankings,
        "tail": rng.binomial(10 * rankings.astype(int), 0.3).astype(float),
        "entered": np.bincount(arm, minlength=3),
    }
    return Users(**{**fields, **changes})


def report(found: Users, control: int = 0, experiment: Experiment = EXPERIMENT) -> ExperimentReport:
    return analyse(
        found, experiment, metric="clicks", control=control, window_ms=DAY_MS, until_ms=5 * DAY_MS
    )


def test_differences_are_as_of_each_day() -> None:
    found = users(np.random.default_rng(0), effect=0.5)
    made = report(found)
    b, c = made.comparisons
    assert [look.time.day for look in b.looks] == [3, 4, 5, 6]  # each day from the first user on
    day = found.counted_ms <= b.looks[1].time.timestamp() * 1000
    of_b, of_control = (
        ratio(found.outcome[rows], found.rankings[rows])
        for rows in (day & (found.arm == 1), day & (found.arm == 0))
    )
    difference = of_b.less(of_control)
    half = radius(difference, 0.05 / 2, 1000)  # two arms are compared with the control
    interval = b.looks[1].differences["clicks per ranking"]
    assert interval.value == pytest.approx(difference.value)
    assert interval.low == pytest.approx(difference.value - half)
    assert interval.high == pytest.approx(difference.value + half)
    assert b.looks[1].users == difference.users
    assert b.now["clicks per ranking"].excludes_zero
    assert not c.now["clicks per ranking"].excludes_zero
    assert set(made.arms[0].measures) == {
        "clicks per ranking", "clicks per user", "rankings per user", "tail share",
    }  # fmt: skip


def test_the_text_says_what_is_proven() -> None:
    made = report(users(np.random.default_rng(0), effect=0.5))
    text = report_text(made)
    assert "b: more than control in clicks per ranking: +0.4" in text
    assert "c: no difference from control is proven in clicks per ranking: " in text
    other = report(users(np.random.default_rng(0), effect=0.5), control=1)
    assert "control: less than b in clicks per ranking: -0.4" in report_text(other)


def test_few_users_have_no_interval() -> None:
    made = report(users(np.random.default_rng(0), effect=3.0, count=200))
    assert made.comparisons[0].now["clicks per ranking"].low is None
    assert "b: too few users count yet, fewer than 100 of an arm." in report_text(made)


def test_lost_users_void_the_comparison() -> None:
    found = users(np.random.default_rng(0), effect=0.5, entered=np.array([3000, 2500, 3000]))
    made = report(found)
    assert made.sample_ratio is not None
    assert made.sample_ratio.mismatch
    text = report_text(made)
    assert "something loses users of one arm" in text
    assert "b: more than" not in text
    assert '<section class="card none">' in experiment_page(made)


def test_one_arm_or_nobody_is_described() -> None:
    alone = EXPERIMENT.model_copy(update={"arms": EXPERIMENT.arms[:1]})
    rng = np.random.default_rng(0)
    found = users(rng, 0.0, arm=np.zeros(900, np.int64), entered=np.array([900]))
    made = report(found, experiment=alone)
    assert made.sample_ratio is None
    assert "| control (control) | 30.0% | 900 | 900 |" in report_text(made)
    nobody, nothing = np.zeros(0, np.int64), np.zeros(0)
    empty = Users(nobody, nobody, nothing, nothing, nothing, nothing, np.array([5, 4, 6]))
    text = report_text(report(empty))
    assert "| b | 30.0% | 4 | 0 | 0 |" in text
    assert "c: too few users count yet" in text
    assert "No difference is proven yet" in experiment_page(report(empty))


def test_looks_end_now() -> None:
    assert look_times(np.array([5, DAY_MS]), 2 * DAY_MS) == [DAY_MS + 5, 2 * DAY_MS]
    assert look_times(np.array([5]), 10) == [10]
