"""What a version's rankings say of its health, since it took its part."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

_MOST_DEGRADED = 0.1  # share above which scores say more of the store than of the version


class Health:
    """Counts one version's rankings: plain numbers, for every request adds to them."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Begin anew: the version has taken another part."""
        self.rankings = self.failures = self.degraded = 0

    def add(self, scores: Sequence[float | None], reasons: Collection[object]) -> None:
        """Count a ranking by its scores, descending, nulls last, and why it is degraded.

        A score that is not finite is a failure; the sort puts NaN behind all other scores.
        """
        self.rankings += 1
        if reasons:
            self.degraded += 1
        last = scores[-1] if scores else None
        if last is None:
            last = next((score for score in reversed(scores) if score is not None), 0.0)
        if not math.isfinite(last):
            self.failures += 1

    def fail(self) -> None:
        """Count a ranking that raised an unknown error."""
        self.rankings += 1
        self.failures += 1

    @property
    def scores_count(self) -> bool:
        """Whether enough rankings had all that they need, so that their scores can be judged."""
        return self.degraded <= _MOST_DEGRADED * self.rankings
