"""Measures of the arms and their differences, as of each day of an experiment.

The unit is the user, for users are what was assigned. A user's figures are sums over the rankings
of a fixed time after the first one, so they do not change any more once the user counts: the users
who count are a growing sequence of independent observations, which is what the intervals are for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from service.contract.experiments import Experiment
from training.arrays import Floats, Rows
from training.evaluation.experiment.schema import (
    ArmFigures,
    Comparison,
    ExperimentReport,
    Interval,
    Look,
    SampleRatio,
)
from training.metrics.sequential import Ratio, radius, ratio, sample_ratio

LEVEL = 0.95
LEAST_USERS = 100  # of an arm: with fewer, the limit theorem behind the intervals is far
MISMATCH_P = 0.001
_DAY_MS = 86_400_000


@dataclass(frozen=True)
class Users:
    """The users of an experiment who count, in the order in which they began to: (U,) each.

    ``arm`` is the number of the arm, ``counted_ms`` the Unix milliseconds from which a user counts.
    ``outcome`` is the sum of the metric over the ``rankings``. Of the ``places`` of these, ``tail``
    have an item of the tail; both are 0 where the tail is not known. ``entered`` (A,) has the users
    of each arm, those who do not count yet included.
    """

    arm: Rows
    counted_ms: Rows
    rankings: Floats
    outcome: Floats
    places: Floats
    tail: Floats
    entered: Rows

    def measures(self, metric: str) -> dict[str, tuple[Floats, Floats]]:
        """Return numerator and denominator (U,) of each measure, the primary one first."""
        each = np.ones(len(self.arm))
        measures = {
            f"{metric} per ranking": (self.outcome, self.rankings),
            f"{metric} per user": (self.outcome, each),
            "rankings per user": (self.rankings, each),
        }
        if self.places.any():
            measures["tail share"] = (self.tail, self.places)
        return measures


def analyse(
    users: Users,
    experiment: Experiment,
    *,
    metric: str,
    control: int,
    window_ms: int,
    until_ms: int,
    warnings: Sequence[str] = (),
    command: str = "",
) -> ExperimentReport:
    """Return the report as of ``until_ms``; ``control`` is the number of an arm."""
    measures = users.measures(metric)
    numbers = range(len(experiment.arms))
    alphas = dict.fromkeys(measures, 1 - LEVEL)
    primary = next(iter(measures))
    alphas[primary] /= max(1, len(numbers) - 1)  # all differences hold together (Bonferroni)
    looks = look_times(users.counted_ms, until_ms)
    last = {number: _at(users, measures, number, until_ms) for number in numbers}
    shares = [arm.share for arm in experiment.arms]
    return ExperimentReport(
        experiment=experiment,
        control=experiment.arms[control].name,
        metric=metric,
        primary=primary,
        level=LEVEL,
        window_ms=window_ms,
        until=_time(until_ms),
        arms=tuple(
            ArmFigures(
                name=arm.name,
                entered=int(users.entered[number]),
                users=int((users.arm == number).sum()),
                rankings=int(users.rankings[users.arm == number].sum()),
                measures={
                    name: _interval(each, 1 - LEVEL, experiment, [each.users])
                    for name, each in last[number].items()
                },
            )
            for number, arm in enumerate(experiment.arms)
        ),
        comparisons=tuple(
            Comparison(
                arm=experiment.arms[number].name,
                looks=tuple(
                    _look(
                        _at(users, measures, number, time_ms),
                        _at(users, measures, control, time_ms),
                        alphas,
                        experiment,
                        time_ms,
                    )
                    for time_ms in looks
                ),
            )
            for number in numbers
            if number != control
        ),
        sample_ratio=check_ratio(users.entered.tolist(), shares),
        warnings=tuple(warnings),
        command=command,
    )


def check_ratio(entered: Sequence[int], shares: Sequence[float]) -> SampleRatio | None:
    """Return whether users ``entered`` (A,) the arms by their shares (A,); None for one arm."""
    if len(shares) < 2:
        return None
    check = sample_ratio(entered, shares)
    return SampleRatio(
        chi_square_p=check.chi_square_p,
        always_valid_p=check.always_valid_p,
        mismatch=check.always_valid_p < MISMATCH_P,
    )


def look_times(counted_ms: Rows, until_ms: int) -> list[int]:
    """Return the end of each day from the first user who counts on, and now."""
    first = int(counted_ms.min(initial=until_ms))
    return [*range(first + _DAY_MS, until_ms, _DAY_MS), until_ms]


def _at(
    users: Users, measures: dict[str, tuple[Floats, Floats]], arm: int, time_ms: int
) -> dict[str, Ratio]:
    """Return the measures of an arm as of a time; none for less than two users."""
    rows = np.flatnonzero((users.arm == arm) & (users.counted_ms <= time_ms))
    if len(rows) < 2:
        return {}
    found = {name: ratio(top[rows], bottom[rows]) for name, (top, bottom) in measures.items()}
    return {name: each for name, each in found.items() if np.isfinite(each.value)}


def _look(
    arm: dict[str, Ratio],
    control: dict[str, Ratio],
    alphas: dict[str, float],
    experiment: Experiment,
    time_ms: int,
) -> Look:
    pairs = {name: (arm[name], control[name]) for name in arm if name in control}
    sides = next(iter(pairs.values()), None)
    return Look(
        time=_time(time_ms),
        users=0 if sides is None else sides[0].users + sides[1].users,
        differences={
            name: _interval(a.less(b), alphas[name], experiment, [a.users, b.users])
            for name, (a, b) in pairs.items()
        },
    )


def _interval(
    estimate: Ratio, alpha: float, experiment: Experiment, users: Sequence[int]
) -> Interval:
    """Return an estimate with its interval, without one if an arm has too few ``users``."""
    if min(users) < LEAST_USERS:
        return Interval(value=estimate.value)
    half = radius(estimate, alpha, experiment.planned_users)
    return Interval(value=estimate.value, low=estimate.value - half, high=estimate.value + half)


def _time(time_ms: int) -> datetime:
    return datetime.fromtimestamp(time_ms / 1000, UTC)
