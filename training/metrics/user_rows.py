"""Rows sorted by user, then score."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.arrays import Floats, Rows


@dataclass(frozen=True)
class UserRows:
    """Rows (R,) sorted by user, then score. A run is the rows of one user with equal scores.

    user, count (G,): the users and their numbers of rows. group (R,) in [0, G): the user of a row;
    ascending (R,): its place among the user's rows, 0 at the lowest score; label (R,).
    run (R,): the run of a row; run_count: the number of rows of each run.
    """

    user: Rows
    count: Rows
    group: Rows
    ascending: Rows
    label: Floats
    run: Rows
    run_count: Rows

    @classmethod
    def of(cls, user: Rows, label: Floats, score: Floats) -> UserRows:
        """Return the rows (R,), sorted."""
        order = np.lexsort((score, user))
        user, label, score = user[order], label[order], score[order]
        new_user = np.r_[True, user[1:] != user[:-1]][: len(user)]
        start = np.flatnonzero(new_user)
        count = np.diff(np.r_[start, len(user)])
        new_run = new_user | np.r_[True, score[1:] != score[:-1]][: len(user)]
        return cls(
            user=user[start],
            count=count,
            group=np.repeat(np.arange(len(start)), count),
            ascending=np.arange(len(user)) - np.repeat(start, count),
            label=label,
            run=np.cumsum(new_run) - 1,
            run_count=np.diff(np.r_[np.flatnonzero(new_run), len(user)]),
        )

    def run_mean(self, values: Floats) -> NDArray[np.float64]:
        """Return values (R,), each replaced by the mean over its run."""
        means: NDArray[np.float64] = np.bincount(self.run, values) / self.run_count
        return means[self.run]
