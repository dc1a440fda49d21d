"""Rates of keys, counted by this replica alone or, through the store, by all of them."""

from __future__ import annotations

import logging
import time
from typing import Any

from limits import RateLimitItem, WindowStats
from limits.aio.storage import MemoryStorage, RedisStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter

from service.settings import Settings
from service.store.connections import close, connect
from service.telemetry import Telemetry

_PAUSE_S = 1.0  # without the store, after it has failed
_CONNECTIONS = 32

log = logging.getLogger(__name__)


class RateLimits:
    """Counts requests in sliding windows. While the store fails, this replica counts alone."""

    def __init__(self, settings: Settings, telemetry: Telemetry) -> None:
        self._telemetry = telemetry
        self._local = SlidingWindowCounterRateLimiter(MemoryStorage())
        self._shared: SlidingWindowCounterRateLimiter | None = None
        self._shared_again_at = 0.0
        if settings.rate_limits == "shared":
            timeout_s = settings.store_timeout_ms / 1000
            url = settings.redis_url.get_secret_value()
            self._client = connect(url, _CONNECTIONS, timeout_s, timeout_s)
            storage = _Storage(self._client, f"{settings.namespace}:limits")
            self._shared = SlidingWindowCounterRateLimiter(storage)

    async def close(self) -> None:
        """Close the connections to the store."""
        if self._shared is not None:
            await close(self._client)

    async def take(self, rate: RateLimitItem, name: str) -> tuple[bool, WindowStats]:
        """Count a request of the key ``name``; return whether its rate allows it, and the state.

        The state is the Unix time at which more is allowed, and the number allowed until then.
        """
        if self._shared is not None and time.monotonic() >= self._shared_again_at:
            try:
                return await self._take(self._shared, rate, name)
            except Exception as error:  # whatever the store does, the request is served
                log.warning("rates of keys are counted by this replica alone: %s", error)
                self._shared_again_at = time.monotonic() + _PAUSE_S
        if self._shared is not None:
            self._telemetry.rates_counted_alone.inc()
        return await self._take(self._local, rate, name)

    async def _take(
        self, limiter: SlidingWindowCounterRateLimiter, rate: RateLimitItem, name: str
    ) -> tuple[bool, WindowStats]:
        allowed = await limiter.hit(rate, name)
        return allowed, await limiter.get_window_stats(rate, name)


class _Storage(RedisStorage):
    """Counts through a client of the store, which may be a cluster's or a sentinel's."""

    def __init__(self, client: Any, prefix: str) -> None:
        self._client = client
        super().__init__("redis://", implementation="redispy", key_prefix=prefix)

    def configure_bridge(self) -> None:
        """Use the client for all commands."""
        self.bridge.storage = self._client  # type: ignore[attr-defined]  # redis-py's bridge
        self.bridge.connection_getter = lambda _: self._client  # type: ignore[attr-defined]
