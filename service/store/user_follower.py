"""Follows the change stream of users, so that users in memory are those of the store."""

from __future__ import annotations

import asyncio
import logging
import time

from service.contract.user_changes import UserChange, announced_users, user_changes_key
from service.errors import StoreError
from service.settings import Settings
from service.store.change_streams import ChangeStreams
from service.store.connections import close, connect
from service.store.failures import mapped
from service.store.user_memory import UserMemory
from service.telemetry import Telemetry

# A read that was sent at a time shows all that was announced until then, so the users in memory are
# those of the store until then. Nobody is ranked by older ones than this.
TRUST_S = 1.0
_BLOCK_MS = 300  # of one read: three may be late before users in memory are not used
_MOST = 1000  # entries of one read
_PAUSE_S = 0.02  # between reads, so that many clicks cost few of them
_RETRY_S = 0.5
_LOGGED = 2  # the attempt that is logged: one connection that was closed is no outage

log = logging.getLogger(__name__)


class UserFollower:
    """Empties the memory where changes may be lost, and follows anew.

    Nothing is tried again silently: after a failover, the store may have lost what was read before.
    """

    def __init__(self, settings: Settings, memory: UserMemory, telemetry: Telemetry) -> None:
        self._memory = memory
        self._lag = telemetry.user_memory_lag
        self._failed = 0  # attempts in a row
        self._stream = user_changes_key(settings.namespace)
        timeout_s = settings.store_timeout_ms / 1000
        url = settings.redis_url.get_secret_value()
        answer_s = _BLOCK_MS / 1000 + min(timeout_s, TRUST_S)
        self._redis = connect(url, 2, timeout_s, answer_s, retries=0)
        self._streams = ChangeStreams(self._redis, _BLOCK_MS)

    async def close(self) -> None:
        """Close the connection."""
        await close(self._redis)

    async def follow(self) -> None:
        """Follow without end. The memory holds users while this runs and the store answers."""
        while True:
            pause_s = _RETRY_S
            try:
                await self._follow()
                log.info("changes of users may have been lost: users in memory begin anew")
                pause_s = _PAUSE_S
            except StoreError as error:
                self._failed += 1
                if self._failed == _LOGGED:
                    log.warning(
                        "cannot follow changes of users, so that each is read from the store: %s",
                        error.message,
                    )
            except Exception:
                log.exception("following changes of users failed; trying again")
            finally:
                self._memory.lose()
            await asyncio.sleep(pause_s)

    async def _follow(self) -> None:
        """Follow until changes may have been lost; raises StoreError."""
        asked_s = time.monotonic()
        with mapped():
            position = await self._streams.ends([self._stream])
        self._memory.follow(asked_s + TRUST_S)
        while True:
            asked_s = time.monotonic()
            with mapped():
                changes = await self._streams.read([self._stream], position, _MOST)
            self._failed = 0
            if changes.gap:
                return
            for fields in changes.entries:
                self._apply(announced_users(fields))
            if changes.oldest_ms is not None:
                self._lag.observe(max(0.0, time.time() - changes.oldest_ms / 1000))
            position = changes.position
            if len(changes.entries) < _MOST:  # there may be more that were announced by then
                self._memory.trust(asked_s + TRUST_S)
                await asyncio.sleep(_PAUSE_S if changes.entries else 0)

    def _apply(self, change: UserChange) -> None:
        if change.user_ids:
            self._memory.forget(change.user_ids)
        elif change.space is not None:
            self._memory.forget_space(change.space)
        else:
            self._memory.clear()
