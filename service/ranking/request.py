"""One request while it is ranked, and its clock."""

from __future__ import annotations

import math
import time
from typing import Literal, Protocol

from msgspec import Struct

from service.contract.experiments import Arm
from service.exposure.targets import Target
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


# What named a tradeoff, in the order in which it is looked for.
Source = Literal["request", "target", "user", "arm", "default"]


class Ranking(Struct):  # made for each request: a dataclass costs 1 us more
    """One request with its model and its clock.

    ``tradeoff`` in [0, 1], its ``source`` and ``draw`` are known once the user is read: ``draw`` is
    what exploration drew, None if the ranking is not logged; only one that ``may_log`` is.
    ``user_tradeoff`` is the user's own, ``target`` the one that the request names.
    """

    model: LoadedModel
    request: RankRequest
    clock: Clock
    request_id: str = ""
    arm: Arm | None = None
    may_log: bool = False
    user_tradeoff: float | None = None
    target: Target | None = None
    tradeoff: float = math.nan
    source: Source = "default"
    draw: Draw | None = None

    def choose(self) -> None:
        """Set the tradeoff of the first source that names one.

        Raises InvalidRequestError for a target that the model has no front of.
        """
        request, arm = self.request, self.arm
        if request.tradeoff is not None:
            self.source, self.tradeoff = "request", request.tradeoff
        elif request.target is not None:
            wanted = request.target
            self.target = self.model.targets.find(wanted.measure, wanted.value)
            self.source, self.tradeoff = "target", self.target.tradeoff
        elif self.user_tradeoff is not None:
            self.source, self.tradeoff = "user", self.user_tradeoff
        elif arm is not None and arm.tradeoff is not None:
            self.source, self.tradeoff = "arm", arm.tradeoff
        else:
            self.source, self.tradeoff = "default", self.model.manifest.default_tradeoff
