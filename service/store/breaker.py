"""A circuit breaker: while the store does not answer, requests do not wait for it."""

from __future__ import annotations

import time
from collections.abc import Callable

from service.errors import StoreOpenError
from service.telemetry import Telemetry

FAILURES = 3  # in a row that open the breaker
FIRST_PAUSE_S = 0.25
LONGEST_PAUSE_S = 4.0

CLOSED, HALF_OPEN, OPEN = 0, 1, 2


class Breaker:
    """Closed: reads go through. Open: reads fail at once, except one probe per pause.

    ``FAILURES`` failures in a row open the breaker. A failed probe doubles the pause, up to
    ``LONGEST_PAUSE_S``. Any success closes the breaker.
    """

    def __init__(self, telemetry: Telemetry, clock: Callable[[], float] = time.monotonic) -> None:
        self._telemetry = telemetry
        self._clock = clock
        self._failures = 0
        self._pause_s = FIRST_PAUSE_S
        self._probe_at = 0.0
        self._state = CLOSED

    def check(self) -> None:
        """Return if a read may go through; raises StoreOpenError if not."""
        if self._state == CLOSED:
            return
        now = self._clock()
        if now < self._probe_at:
            raise StoreOpenError(
                f"the store did not answer; the breaker probes it within {LONGEST_PAUSE_S:g} s"
            )
        self._probe_at = now + self._pause_s  # in case the probe never reports
        self._set(HALF_OPEN)

    def succeeded(self) -> None:
        """Report an answer of the store: the breaker closes."""
        self._failures = 0
        if self._state != CLOSED:
            self._pause_s = FIRST_PAUSE_S
            self._set(CLOSED)

    def failed(self) -> None:
        """Report a read without an answer: the breaker may open."""
        self._failures += 1
        if self._state == OPEN or self._failures < FAILURES:
            return
        if self._state == HALF_OPEN:
            self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)
        self._probe_at = self._clock() + self._pause_s
        self._set(OPEN)
        self._telemetry.breaker_opened.inc()

    def _set(self, state: int) -> None:
        self._state = state
        self._telemetry.breaker_state.set(state)
