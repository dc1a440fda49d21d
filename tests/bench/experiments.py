"""How often looks on thirty days find what is not there, and how soon what is.

In each log, users enter day by day and come back on later days; how much a user clicks varies from
user to user. Three ways to look: this project's intervals, ordinary 95 % intervals on the same
users, and this project's intervals with each visit as if it were a user.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from training.arrays import Flags, Floats, Rows
from training.evaluation.experiment.analysis import LEAST_USERS
from training.metrics.sequential import Ratio, radius, ratio

DAYS = 30
PLANNED = 10_000
_ALPHA = 0.05
_RATE = 0.3  # clicks of a ranking, in the control
_COMES_BACK = 0.5


@dataclass(frozen=True)
class Log:
    """Users (U,) by the day on which they enter, with rankings and clicks of each day (U, D)."""

    enters: Rows
    arm: Flags
    rankings: Floats
    clicks: Floats

    @classmethod
    def draw(cls, rng: np.random.Generator, a_day: int, effect: float) -> Log:
        """Return a log; the users of the arm click by ``effect`` more of a ranking, as a share."""
        enters = np.repeat(np.arange(DAYS), rng.poisson(a_day, DAYS))
        users = len(enters)
        arm = rng.random(users) < 0.5
        day = np.arange(DAYS)
        comes = (day == enters[:, None]) | (
            (day > enters[:, None]) & (rng.random((users, DAYS)) < _COMES_BACK)
        )
        rankings = (comes * rng.geometric(0.4, (users, DAYS))).astype(np.float64)
        rate = rng.gamma(0.5, _RATE / 0.5, users) * np.where(arm, 1 + effect, 1.0)
        clicks = rng.poisson(rate[:, None] * rankings).astype(np.float64)
        return cls(enters, arm, rankings, clicks)

    def first_days(self, day: int) -> Ratio | None:
        """Return the difference on a day by the first day of each user that is over."""
        rows = np.flatnonzero(self.enters < day)
        first = self.enters[rows]
        return _difference(self.arm[rows], self.clicks[rows, first], self.rankings[rows, first])

    def visits(self, day: int) -> Ratio | None:
        """Return the difference on a day by all visits until then, as if each were a user."""
        clicks, rankings = (each[:, :day] for each in (self.clicks, self.rankings))
        came = rankings > 0
        arm = np.repeat(self.arm, came.sum(axis=1))
        return _difference(arm, clicks[came], rankings[came])


def _difference(arm: Flags, clicks: Floats, rankings: Floats) -> Ratio | None:
    """Return the arm less the control, None for too few rows (R,) of one of them."""
    if min(arm.sum(), len(arm) - arm.sum()) < LEAST_USERS:
        return None
    return ratio(clicks[arm], rankings[arm]).less(ratio(clicks[~arm], rankings[~arm]))


@dataclass
class Tally:
    """What looks found, over logs."""

    logs: int = 0
    misses: int = 0  # logs of which some interval does not hold the truth
    found_on: list[int] = field(default_factory=list)  # first day whose interval excludes zero
    width: list[float] = field(default_factory=list)  # of the last day

    def add(self, truth: float, intervals: Sequence[tuple[int, float, float]]) -> None:
        """Add a log by its (day, value, radius)."""
        self.logs += 1
        self.misses += any(abs(value - truth) > half for _, value, half in intervals)
        days = [day for day, value, half in intervals if abs(value) > half]
        self.found_on += days[:1]
        self.width += [half for _, _, half in intervals[-1:]]


def study(logs: int, a_day: int, effect: float) -> dict[str, Tally]:
    """Return the tallies of ``logs`` logs by the way to look."""
    rng, tallies = np.random.default_rng(a_day), defaultdict[str, Tally](Tally)
    for _ in range(logs):
        log = Log.draw(rng, a_day, effect)
        looks = range(1, DAYS + 1)
        first = [(day, d) for day in looks if (d := log.first_days(day))]
        visits = [(day, d) for day in looks if (d := log.visits(day))]
        truth = effect * _RATE
        for name, differences in (("confidence sequence", first), ("the same, by visit", visits)):
            spans = [(day, d.value, radius(d, _ALPHA, PLANNED)) for day, d in differences]
            tallies[name].add(truth, spans)
        ordinary = [(day, d.value, 1.96 * float(np.sqrt(d.variance / d.users))) for day, d in first]
        tallies["ordinary interval"].add(truth, ordinary)
    return tallies


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--logs", type=int, default=1000)
    options = parser.parse_args()
    sys.stdout.write(
        "| users a day | effect | looks | ever misses the truth | ever excludes zero | "
        "median day | radius on day 30 |\n|" + " --- |" * 7 + "\n"
    )
    for a_day in (30, 100, 300):
        for effect in (0.0, 0.2):
            for name, tally in study(options.logs, a_day, effect).items():
                day = f"{np.median(tally.found_on):.0f}" if tally.found_on else ""
                sys.stdout.write(
                    f"| {a_day} | {effect:.0%} | {name} | {tally.misses / tally.logs:.1%} | "
                    f"{len(tally.found_on) / tally.logs:.1%} | {day} | "
                    f"{np.mean(tally.width):.4f} |\n"
                )
                sys.stdout.flush()


if __name__ == "__main__":
    main()
