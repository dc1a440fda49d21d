"""One request while it is ranked, and its clock."""

from __future__ import annotations

import math
import time
from typing import Protocol

from msgspec import Struct

from service.models.loaded_model import LoadedModel
from service.ranking.exploration import Draw
from service.ranking.messages import RankRequest, Timing
from service.store.limit import Limit
from service.telemetry import Telemetry


class Caller(Protocol):
    """The client that waits for one ranking; ``arrived_s`` is the time of its first byte."""

    arrived_s: float

    async def turn(self) -> None:
        """Wait until the ranking may run; raises ClientLeftError if no one waits for it."""

    def ensure_connected(self) -> None:
        """Raise ClientLeftError if no one waits for the answer."""


class Clock:
    """Times the stages of one request and limits its waits for the store."""

    def __init__(
        self, deadline_ms: float | None, store_limit: Limit, arrived_s: float | None = None
    ) -> None:
        """Start the clock; the deadline counts from ``arrived_s``, by default from now.

        ``arrived_s`` is a value of ``time.perf_counter()``.
        """
        self._start = self._last = time.perf_counter()
        self._end_s = math.inf
        if deadline_ms is not None:
            self._end_s = (self._start if arrived_s is None else arrived_s) + deadline_ms / 1000
        self._store_limit = store_limit
        self._laps_ms: dict[str, float] = {}

    def lap(self, stage: str) -> None:
        """End a stage. It began where the stage before it ended."""
        now = time.perf_counter()
        self._laps_ms[stage] = (now - self._last) * 1000
        self._last = now

    def limit(self) -> Limit:
        """Return how long the request may still wait for the store."""
        left_s = self._end_s - time.perf_counter()
        if left_s < self._store_limit.timeout_s:
            return Limit(max(0.0, left_s), is_deadline=True)
        return self._store_limit

    def lap_ms(self, stage: str) -> float:
        """Return the time of a stage that has ended, in milliseconds."""
        return self._laps_ms[stage]

    def finish(self, telemetry: Telemetry) -> Timing:
        """Observe all stages; return them and their total, in milliseconds."""
        for stage, lap_ms in self._laps_ms.items():
            telemetry.stage[stage].observe(lap_ms / 1000)
        total_ms = (self._last - self._start) * 1000
        return {**self._laps_ms, "total": total_ms}  # type: ignore[typeddict-item]  # stages are its keys


class Ranking(Struct, frozen=True):  # made for each request: a dataclass costs 1 us more
    """One request with its model, its tradeoff in [0, 1] and its clock.

    ``draw`` is what exploration drew for it, None if it is not logged.
    """

    model: LoadedModel
    request: RankRequest
    tradeoff: float
    clock: Clock
    draw: Draw | None = None


def ranking_of(
    model: LoadedModel, request: RankRequest, clock: Clock, draw: Draw | None = None
) -> Ranking:
    """Return the ranking of ``request`` by ``model``, at the model's default if it names none."""
    if draw is not None:
        return Ranking(model, request, draw.tradeoff, clock, draw)
    default = model.manifest.default_tradeoff
    tradeoff = default if request.tradeoff is None else request.tradeoff
    return Ranking(model, request, tradeoff, clock)
