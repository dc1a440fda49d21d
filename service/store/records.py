"""What the service reads of Redis; redis-py's exceptions are mapped in one place."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from redis.asyncio import RedisCluster
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisClusterException, RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from service.contract.keys import Keys
from service.errors import StoreError, StoreOverloadedError, StoreTimeoutError
from service.settings import Settings
from service.store.breaker import Breaker
from service.store.connections import close, connect
from service.store.shared_reads import SharedReads
from service.telemetry import Telemetry

_STREAM_BLOCK_MS = 1000
_FIRST = "0-0"


@dataclass(frozen=True)
class Changes:
    """What a change stream said: changed item ids, where to read on, and whether any were lost.

    ``oldest_ms`` is when the first of them was announced, by the store's clock; None if none was.
    """

    item_ids: tuple[str, ...]
    position: tuple[str, str]
    gap: bool
    oldest_ms: int | None = None


class RedisStore:
    """Reads of user, item and proxy records. Every method raises StoreError alone."""

    def __init__(self, settings: Settings, telemetry: Telemetry) -> None:
        self.timeout_s = settings.store_timeout_ms / 1000
        self._telemetry = telemetry
        self._breaker = Breaker(telemetry)
        url = settings.redis_url.get_secret_value()
        self._redis = connect(url, settings.store_connections, self.timeout_s, self.timeout_s)
        self._is_cluster = isinstance(self._redis, RedisCluster)
        # Reads of users are timed as a whole: redis-py would start a task and timers for each part.
        self._untimed = connect(url, settings.store_connections, self.timeout_s, None)
        # Idle connections that its pool has lent; others go back to it, and wake who waits for one.
        self._kept: list[Any] = []
        self._most_kept = settings.store_connections // 2
        self._users = SharedReads(self._mget_users, settings.store_queue)
        # Blocking reads of the change streams wait longer, on connections of their own.
        stream_s = _STREAM_BLOCK_MS / 1000 + self.timeout_s
        self._streams = connect(url, 64, stream_s, stream_s)

    async def close(self) -> None:
        """Close all connections."""
        await self._users.close()
        for connection in self._kept:
            await connection.disconnect()
        for client in (self._untimed, self._redis, self._streams):
            await close(client)

    async def ping(self) -> None:
        """Return if the store answers."""
        with self._asking("ping"):
            await self._redis.ping()

    async def user(self, keys: Keys, user_id: str, timeout_s: float) -> bytes | None:
        """Return a user's record, or None; waits ``timeout_s`` at most, retries included.

        Users that are asked for in one turn of the event loop are read by one command.
        """
        self._breaker.check()
        timed = not self._is_cluster and timeout_s >= self.timeout_s  # the read itself has that
        own_s = None if timed else timeout_s
        try:
            return await self._users.get(keys.user(user_id), own_s)
        except StoreOverloadedError:
            self._telemetry.shed["users"].inc()
            raise

    async def items(
        self, keys: Keys, item_ids: Sequence[str]
    ) -> tuple[list[bytes | None], list[bytes | None]]:
        """Return item records and proxy records of N ids, None where there is none."""
        self._breaker.check()
        records = await self._mget([*keys.items(item_ids), *keys.proxies(item_ids)], "items")
        return records[: len(item_ids)], records[len(item_ids) :]

    async def catalog_ids(self, keys: Keys, chunk: int) -> AsyncIterator[list[str]]:
        """Yield the ids of all items of the space, about ``chunk`` at a time; some may repeat."""
        cursor = 0
        while True:
            with self._asking("catalog"):
                cursor, ids = await self._redis.sscan(keys.catalog, cursor, count=chunk)
            if ids:
                yield [item_id.decode(errors="replace") for item_id in ids]
            if cursor == 0:
                return

    async def catalog_size(self, keys: Keys) -> int:
        """Return how many items the space holds."""
        with self._asking("catalog"):
            size: int = await self._redis.scard(keys.catalog)
            return size

    async def change_position(self, keys: Keys) -> tuple[str, str]:
        """Return where the item and the proxy change streams end now."""
        with self._asking("changes"):
            items = await self._bounds(keys.item_changes)
            proxies = await self._bounds(keys.proxy_changes)
            return items[1], proxies[1]

    async def changes(self, keys: Keys, position: tuple[str, str]) -> Changes:
        """Wait about a second for changes behind ``position``.

        ``gap`` says that entries may have been trimmed before they were read, or that a stream
        was lost and begun anew: everything must be re-read.
        """
        streams = (keys.item_changes, keys.proxy_changes)
        with self._asking("changes"):
            reply = await self._streams.xread(
                dict(zip(streams, position, strict=True)), count=100, block=_STREAM_BLOCK_MS
            )
            bounds = [await self._bounds(stream) for stream in streams]
        entries = {stream.decode(): read for stream, read in reply}
        gap = any(
            _number(first) > _number(seen) or _number(last) < _number(seen)
            for seen, (first, last) in zip(position, bounds, strict=True)
        )
        item_ids: dict[str, None] = {}
        reached = list(position)
        announced_ms = []
        for index, stream in enumerate(streams):
            for entry_id, fields in entries.get(stream, ()):
                reached[index] = entry_id.decode()
                announced_ms.append(_number(reached[index])[0])
                named = fields.get(b"ids", b"").decode(errors="replace")
                item_ids.update(dict.fromkeys(named.split("\n")))
        item_ids.pop("", None)
        oldest_ms = min(announced_ms, default=None)
        return Changes(tuple(item_ids), (reached[0], reached[1]), gap, oldest_ms)

    async def _mget_users(self, names: Sequence[str]) -> list[bytes | None]:
        """Read on a connection kept for it: lending one out each time costs as much as the read.

        A connection that fails goes back to the pool; if it was closed while idle, the pool's
        ordinary way of reading connects anew. A cluster's client keeps its connections itself.
        """
        if self._is_cluster:
            return await self._mget(names, "users")
        with self._asking("users"):
            async with asyncio.timeout(self.timeout_s):
                pool = self._untimed.connection_pool
                connection = self._kept.pop() if self._kept else await pool.get_connection()
                try:
                    await connection.send_command("MGET", *names)
                    records: list[bytes | None] = await connection.read_response()
                except BaseException as error:
                    await connection.disconnect(nowait=True)
                    await pool.release(connection)
                    if not isinstance(error, RedisConnectionError):
                        raise
                    records = await self._redis.mget(names)
                else:
                    if len(self._kept) < self._most_kept:
                        self._kept.append(connection)
                    else:
                        await pool.release(connection)
            return self._counted("users", records)

    async def _mget(self, names: Sequence[str], operation: str) -> list[bytes | None]:
        with self._asking(operation):
            mget = self._redis.mget_nonatomic if self._is_cluster else self._redis.mget
            return self._counted(operation, await mget(names))

    def _counted(self, operation: str, records: list[bytes | None]) -> list[bytes | None]:
        self._telemetry.store_bytes[operation].inc(sum(map(len, filter(None, records))))
        return records

    @contextlib.contextmanager
    def _asking(self, operation: str) -> Iterator[None]:
        """Time one wait for the store; what redis-py, the socket and the clock raise is mapped."""
        begun = time.perf_counter()
        try:
            yield
        except (TimeoutError, RedisTimeoutError) as error:
            self._breaker.failed()
            raise StoreTimeoutError("the store did not answer in time") from error
        except (RedisError, RedisClusterException, OSError) as error:
            self._breaker.failed()
            raise StoreError(f"the store is not available: {type(error).__name__}") from error
        else:
            self._breaker.succeeded()
        finally:
            self._telemetry.store_seconds[operation].observe(time.perf_counter() - begun)

    async def _bounds(self, stream: str) -> tuple[str, str]:
        """Return the ids of the first and the last entry a stream holds; "0-0" where none."""
        # redis-py makes transactions in a cluster in an event loop of their own. Without one the
        # first entry may be trimmed in between: the gap then shows the next time.
        pipeline = self._streams.pipeline(transaction=not self._is_cluster)
        pipeline.xrange(stream, count=1)
        pipeline.xrevrange(stream, count=1)
        first, last = await pipeline.execute()
        return (
            first[0][0].decode() if first else _FIRST,
            last[0][0].decode() if last else _FIRST,
        )


def _number(entry_id: str) -> tuple[int, int]:
    milliseconds, _, sequence = entry_id.partition("-")
    return int(milliseconds), int(sequence)
