"""The only file that knows redis-py; its exceptions are mapped in one place."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from service.contract.keys import Keys
from service.errors import StoreError, StoreTimeoutError
from service.settings import Settings
from service.shared_reads import SharedReads

# An idle connection that the server closed fails its next command once: one retry reconnects.
_RETRIES = 1
_STREAM_BLOCK_MS = 1000
_FIRST = "0-0"


@dataclass(frozen=True)
class Changes:
    """What a change stream said: changed item ids, where to read on, and whether any were lost."""

    item_ids: tuple[str, ...]
    position: tuple[str, str]
    gap: bool


class RedisStore:
    """Reads of user, item and proxy records. Every method raises StoreError alone."""

    def __init__(self, settings: Settings) -> None:
        self.timeout_s = settings.store_timeout_ms / 1000
        url = settings.redis_url.get_secret_value()
        self._redis = _client(url, settings.store_connections, self.timeout_s, self.timeout_s)
        # Reads of users are timed as a whole: redis-py would start a task and timers for each part.
        self._untimed = _client(url, settings.store_connections, self.timeout_s, None)
        # Idle connections that its pool has lent; others go back to it, and wake who waits for one.
        self._kept: list[Any] = []
        self._most_kept = settings.store_connections // 2
        self._users = SharedReads(self._mget_users, settings.store_queue)
        # Blocking reads of the change streams wait longer, on connections of their own.
        stream_s = _STREAM_BLOCK_MS / 1000 + self.timeout_s
        self._streams = _client(url, 64, stream_s, stream_s)

    async def close(self) -> None:
        """Close all connections."""
        await self._users.close()
        for connection in self._kept:
            await connection.disconnect()
        await self._untimed.aclose()
        await self._redis.aclose()
        await self._streams.aclose()

    async def ping(self) -> None:
        """Return if the store answers."""
        with _mapped():
            await self._redis.ping()

    async def user(self, keys: Keys, user_id: str, timeout_s: float) -> bytes | None:
        """Return a user's record, or None; waits ``timeout_s`` at most, retries included.

        Users that are asked for in one turn of the event loop are read by one command.
        """
        own_s = timeout_s if timeout_s < self.timeout_s else None  # the read has that timeout
        return await self._users.get(keys.user(user_id), own_s)

    async def items(
        self, keys: Keys, item_ids: Sequence[str]
    ) -> tuple[list[bytes | None], list[bytes | None]]:
        """Return item records and proxy records of N ids, None where there is none."""
        records = await self._mget([*keys.items(item_ids), *keys.proxies(item_ids)])
        return records[: len(item_ids)], records[len(item_ids) :]

    async def catalog_ids(self, keys: Keys, chunk: int) -> AsyncIterator[list[str]]:
        """Yield the ids of all items of the space, about ``chunk`` at a time; some may repeat."""
        cursor = 0
        while True:
            with _mapped():
                cursor, ids = await self._redis.sscan(keys.catalog, cursor, count=chunk)
            if ids:
                yield [item_id.decode(errors="replace") for item_id in ids]
            if cursor == 0:
                return

    async def catalog_size(self, keys: Keys) -> int:
        """Return how many items the space holds."""
        with _mapped():
            size: int = await self._redis.scard(keys.catalog)
            return size

    async def change_position(self, keys: Keys) -> tuple[str, str]:
        """Return where the item and the proxy change streams end now."""
        with _mapped():
            items = await self._bounds(keys.item_changes)
            proxies = await self._bounds(keys.proxy_changes)
            return items[1], proxies[1]

    async def changes(self, keys: Keys, position: tuple[str, str]) -> Changes:
        """Wait about a second for changes behind ``position``.

        ``gap`` says that entries may have been trimmed before they were read, or that a stream
        was lost and begun anew: everything must be re-read.
        """
        streams = (keys.item_changes, keys.proxy_changes)
        with _mapped():
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
        for index, stream in enumerate(streams):
            for entry_id, fields in entries.get(stream, ()):
                reached[index] = entry_id.decode()
                named = fields.get(b"ids", b"").decode(errors="replace")
                item_ids.update(dict.fromkeys(named.split("\n")))
        item_ids.pop("", None)
        return Changes(tuple(item_ids), (reached[0], reached[1]), gap)

    async def _mget_users(self, names: Sequence[str]) -> list[bytes | None]:
        """Read on a connection kept for it: lending one out each time costs as much as the read.

        A connection that fails goes back to the pool; if it was closed while idle, the pool's
        ordinary way of reading connects anew.
        """
        with _mapped():
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
                else:
                    if len(self._kept) < self._most_kept:
                        self._kept.append(connection)
                    else:
                        await pool.release(connection)
                    return records
                return await self._mget(names)

    async def _mget(self, names: Sequence[str]) -> list[bytes | None]:
        with _mapped():
            records: list[bytes | None] = await self._redis.mget(names)
            return records

    async def _bounds(self, stream: str) -> tuple[str, str]:
        """Return the ids of the first and the last entry a stream holds; "0-0" where none."""
        pipeline = self._streams.pipeline(transaction=True)
        pipeline.xrange(stream, count=1)
        pipeline.xrevrange(stream, count=1)
        first, last = await pipeline.execute()
        return (
            first[0][0].decode() if first else _FIRST,
            last[0][0].decode() if last else _FIRST,
        )


def _client(url: str, connections: int, connect_s: float, answer_s: float | None) -> Any:
    """Return a client; its stubs cannot say that replies are bytes, so it goes untyped."""
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=connections,
        timeout=connect_s,
        socket_timeout=answer_s,
        socket_connect_timeout=connect_s,
        protocol=2,
        retry=Retry(NoBackoff(), _RETRIES),
    )
    return Redis.from_pool(pool)


def _number(entry_id: str) -> tuple[int, int]:
    milliseconds, _, sequence = entry_id.partition("-")
    return int(milliseconds), int(sequence)


@contextlib.contextmanager
def _mapped() -> Iterator[None]:
    """Translate what redis-py, the socket and the clock raise into the service's exceptions."""
    try:
        yield
    except (TimeoutError, RedisTimeoutError) as error:
        raise StoreTimeoutError("the store did not answer in time") from error
    except (RedisError, OSError) as error:
        raise StoreError(f"the store is not available: {type(error).__name__}") from error
