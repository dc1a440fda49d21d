"""A circuit breaker: a store that does not answer is not waited for by every request."""

from __future__ import annotations

import time
from collections.abc import Callable

from service.errors import StoreOpenError
from service.telemetry import Telemetry

FAILURES = 3  # in a row, that open it
FIRST_PAUSE_S = 0.25
LONGEST_PAUSE_S = 4.0

CLOSED, HALF_OPEN, OPEN = 0, 1, 2


class Breaker:
    """Closed, reads go through. Open, they fail at once, but one a pause, which probes.

    ``FAILURES`` in a row open it; each probe that fails doubles the pause; any success closes it.
    """

    def __init__(self, telemetry: Telemetry, clock: Callable[[], float] = time.monotonic) -> None:
        self._telemetry = telemetry
        self._clock = clock
        self._failures = 0
        self._pause_s = FIRST_PAUSE_S
        self._probe_at = 0.0
        self._state = CLOSED

    def check(self) -> None:
        """Return if a read may try; raises StoreOpenError where it may not."""
        if self._state == CLOSED:
            return
        now = self._clock()
        if now < self._probe_at:
            raise StoreOpenError("the store did not answer lately")
        self._probe_at = now + self._pause_s  # where the probe is never heard of again
        self._set(HALF_OPEN)

    def succeeded(self) -> None:
        """Note that the store answered."""
        self._failures = 0
        if self._state != CLOSED:
            self._pause_s = FIRST_PAUSE_S
            self._set(CLOSED)

    def failed(self) -> None:
        """Note that the store did not answer."""
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
