"""Appends decisions and events to their streams."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Iterable, Sequence

from msgspec import Struct

from service.contract.feedback import RECORD, shard_of, writer_key
from service.settings import Settings
from service.store.connections import close, connect
from service.store.failures import store_error
from service.tasks import finish
from service.telemetry import Telemetry

_CONNECTIONS = 8  # apart from those of rankings
_CLOSE_S = 5.0
_WRITER_S = 3600  # how long a batch may be repeated, in seconds

# One command a batch: redis-py's work for a command is that of some ten records. A batch that this
# writer has put there already, without seeing the answer, is left out.
_APPEND = f"""
if KEYS[2] and redis.call('GET', KEYS[2]) == ARGV[2] then return 0 end
for i = 3, #ARGV do
  redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], '*', '{RECORD.decode()}', ARGV[i])
end
if KEYS[2] then redis.call('SET', KEYS[2], ARGV[2], 'EX', {_WRITER_S}) end
return #ARGV - 2
"""


class Batch(Struct, frozen=True):
    """Records for one stream; ``number`` tells the batches of a writer apart."""

    stream: str
    number: int
    records: list[bytes]


class FeedbackStreams:
    """Appends to streams, of about ``feedback_entries`` entries each. Raises StoreError alone."""

    def __init__(self, settings: Settings, telemetry: Telemetry) -> None:
        self._telemetry = telemetry
        self._entries = settings.feedback_entries
        self._shards = settings.feedback_shards
        self._writer = uuid.uuid4().hex
        timeout_s = settings.store_timeout_ms / 1000
        url = settings.redis_url.get_secret_value()
        self._redis = connect(url, _CONNECTIONS, timeout_s, timeout_s)

    async def close(self) -> None:
        """Close all connections; return in bounded time, whatever the store does."""
        await finish([asyncio.create_task(close(self._redis), name="close streams")], _CLOSE_S)

    def by_shard(self, records: Iterable[tuple[str, bytes]]) -> dict[int, list[bytes]]:
        """Return the records of each shard, given each with its request's id."""
        if self._shards == 1:
            return {0: [record for _, record in records]}
        shards: dict[int, list[bytes]] = {}
        for request_id, record in records:
            shards.setdefault(shard_of(request_id, self._shards), []).append(record)
        return shards

    async def append_once(self, batch: Batch) -> None:
        """Append a batch of decisions; repeated after an error, it is there once.

        A batch has to be repeated until it is there before the next one of its stream.
        """
        keys = (batch.stream, writer_key(batch.stream, self._writer))
        await self._append("decisions", keys, batch.number, batch.records)

    async def append(self, stream: str, records: Sequence[bytes]) -> None:
        """Append events; after an error, some may be there."""
        await self._append("events", (stream,), 0, records)

    async def _append(
        self, operation: str, keys: Sequence[str], number: int, records: Sequence[bytes]
    ) -> None:
        start_s = time.perf_counter()
        try:
            await self._redis.execute_command(
                "EVAL", _APPEND, len(keys), *keys, self._entries, number, *records
            )
        except Exception as error:
            raise store_error(error) from error
        finally:
            self._telemetry.store_seconds[operation].observe(time.perf_counter() - start_s)
