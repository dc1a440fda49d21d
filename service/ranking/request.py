"""Where one request's time goes, and how long it may still wait."""

from __future__ import annotations

import math
import time

from service.telemetry import Telemetry


class Clock:
    """Laps of one request in milliseconds, and how long it may still wait for the store."""

    def __init__(self, deadline_ms: float | None, store_timeout_s: float) -> None:
        self._start = self._last = time.perf_counter()
        self._deadline_s = math.inf if deadline_ms is None else deadline_ms / 1000
        self._store_timeout_s = store_timeout_s
        self._laps: dict[str, float] = {}

    def lap(self, stage: str) -> None:
        """End a stage: what passed since the last one ended is its time."""
        now = time.perf_counter()
        self._laps[stage] = (now - self._last) * 1000
        self._last = now

    def expired(self) -> bool:
        """Return whether the request's own deadline has passed."""
        return time.perf_counter() - self._start >= self._deadline_s

    def remaining_s(self) -> float:
        """Return the longest wait for the store that is left."""
        left_s = self._deadline_s - (time.perf_counter() - self._start)
        return min(max(0.0, left_s), self._store_timeout_s)

    def finish(self, telemetry: Telemetry) -> dict[str, float]:
        """Tell the metrics; return all laps and their total."""
        for stage, lap_ms in self._laps.items():
            telemetry.stage[stage].observe(lap_ms / 1000)
        return {**self._laps, "total": (self._last - self._start) * 1000}
