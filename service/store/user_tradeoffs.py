"""Reads and writes of users' own tradeoffs; rankings read them with the user's record."""

from __future__ import annotations

from service.contract.user_tradeoffs import decode, encode, tradeoff_key
from service.settings import Settings
from service.store.records import RedisStore
from service.telemetry import Telemetry


class UserTradeoffs:
    """The tradeoff that each user has chosen. Methods raise StoreError alone."""

    def __init__(self, store: RedisStore, settings: Settings, telemetry: Telemetry) -> None:
        self._store = store
        self._namespace = settings.namespace
        self._telemetry = telemetry

    async def get(self, user_id: str) -> float | None:
        """Return a user's tradeoff, None without a valid one."""
        (value,) = await self._store.run("tradeoffs", [("GET", self._key(user_id))])
        tradeoff = None if value is None else decode(value)
        if value is not None and tradeoff is None:
            self._telemetry.corrupt_records.labels("tradeoff").inc()
        return tradeoff

    async def put(self, user_id: str, tradeoff: float) -> None:
        """Set a user's tradeoff."""
        await self._change(user_id, "SET", self._key(user_id), encode(tradeoff))

    async def delete(self, user_id: str) -> None:
        """Delete a user's tradeoff, if there is one."""
        await self._change(user_id, "DEL", self._key(user_id))

    async def _change(self, user_id: str, *command: str) -> None:
        await self._store.run("tradeoffs", [command], changed_users=[user_id])

    def _key(self, user_id: str) -> str:
        return tradeoff_key(self._namespace, user_id)
