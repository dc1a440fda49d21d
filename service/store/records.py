"""Reads of records and change streams."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from redis.asyncio import RedisCluster

from service.contract.feedback import history_key
from service.contract.keys import Keys, verdicts_key
from service.contract.live_changes import announced
from service.contract.user_changes import announce_users
from service.contract.user_tradeoffs import tradeoff_key
from service.errors import StoreOverloadedError
from service.settings import Settings
from service.store.breaker import Breaker
from service.store.change_streams import ChangeStreams
from service.store.connections import CLOSED, close, connect
from service.store.failures import store_error
from service.store.limit import Limit
from service.store.shared_reads import SharedReads
from service.store.user_memory import StoredUser, UserMemory
from service.tasks import finish
from service.telemetry import Telemetry

_STREAM_BLOCK_MS = 1000
_CLOSE_S = 5.0
_SCANS, _SCAN_KEYS = 20, 1000  # of one look for users: some ten milliseconds of the store


@dataclass(frozen=True)
class Changes:
    """One read of the change streams: the changed items and the ``position`` of the next read.

    ``gap`` is True where changes may have been lost, because entries were trimmed before they
    were read or a stream was lost and begun anew: all items must be read again. ``oldest_ms`` is
    the Unix time, by the store's clock, at which the oldest change was announced; None without
    changes.
    """

    item_ids: tuple[str, ...]
    position: tuple[str, str]
    gap: bool
    oldest_ms: int | None = None


class RedisStore:
    """Reads of user, item and proxy records. Methods raise StoreError and nothing else."""

    def __init__(self, settings: Settings, telemetry: Telemetry) -> None:
        self.timeout_s = settings.store_timeout_ms / 1000
        self.limit = Limit(self.timeout_s)  # of a request without a deadline
        self._telemetry = telemetry
        self._breaker = Breaker(telemetry)
        self._has_histories = settings.user_histories
        self._namespace = settings.namespace
        self._has_tradeoffs = settings.user_tradeoffs
        self._verdicts_key = verdicts_key(settings.namespace)
        url = settings.redis_url.get_secret_value()
        self._redis = connect(url, settings.store_connections, self.timeout_s, self.timeout_s)
        self._is_cluster = isinstance(self._redis, RedisCluster)
        # A read of users has one timeout: redis-py would start a task and timers for each part.
        self._untimed = connect(url, settings.store_connections, self.timeout_s, None)
        # Idle connections for reads of users; the pool counts them as in use. Connections beyond
        # ``_most_idle`` go back to the pool, which wakes a read that waits for one.
        self._idle: list[Any] = []
        self._most_idle = settings.store_connections // 2
        self._users = SharedReads(self._mget_users, settings.store_queue)
        self.users_in_memory = UserMemory(settings.user_memory_bytes, telemetry)
        # Blocking reads of the change streams take longer, on connections of their own.
        stream_s = _STREAM_BLOCK_MS / 1000 + self.timeout_s
        self._streams = connect(url, 64, stream_s, stream_s)
        self._changes = ChangeStreams(self._streams, _STREAM_BLOCK_MS)

    async def close(self) -> None:
        """Close all connections; return in bounded time, whatever the store does."""
        await self._users.close()
        closing = asyncio.create_task(self._close_connections(), name="close the store")
        await finish([closing], _CLOSE_S)

    async def _close_connections(self) -> None:
        for connection in self._idle:
            await connection.disconnect()
        for client in (self._untimed, self._redis, self._streams):
            await close(client)

    async def ping(self) -> None:
        """Return if the store answers; raises StoreError if not."""
        with self._reading("ping"):
            await self._redis.ping()

    async def user(self, keys: Keys, user_id: str, limit: Limit) -> StoredUser:
        """Return what the store has of a user, from memory if that has the user.

        ``limit`` is the longest wait, retries included. One command reads the users of all calls in
        one turn of the event loop.
        """
        memory = self.users_in_memory
        if (held := memory.get(keys.spaces.users, user_id)) is not None:
            return held
        self._breaker.check()
        # The batch itself ends after ``self.timeout_s``, except in a cluster.
        batch_ends = not self._is_cluster and not limit.is_deadline
        parts = {"record": keys.user(user_id)}
        if self._has_histories:
            parts["history"] = history_key(keys.namespace, user_id)
        if self._has_tradeoffs:
            parts["tradeoff"] = tradeoff_key(keys.namespace, user_id)
        reading = memory.begin(keys.spaces.users, user_id)
        try:
            stored = await self._users.get([*parts.values()], None if batch_ends else limit)
            found = dict(zip(parts, stored, strict=True))
            user = StoredUser(found["record"], found.get("history"), found.get("tradeoff"))
            if reading is not None:
                memory.keep(reading, user)
            return user
        except StoreOverloadedError:
            self._telemetry.shed["users"].inc()
            raise
        finally:
            if reading is not None:
                memory.end(reading)

    async def items(
        self, keys: Keys, item_ids: Sequence[str]
    ) -> tuple[list[bytes | None], list[bytes | None]]:
        """Return item records (N,) and proxy records (N,) of N ids, None where there is none."""
        self._breaker.check()
        records = await self._mget([*keys.items(item_ids), *keys.proxies(item_ids)], "items")
        return records[: len(item_ids)], records[len(item_ids) :]

    async def titles(self, keys: Keys, item_ids: Sequence[str]) -> list[bytes | None]:
        """Return the records of what people see of N items (N,), None where there is none."""
        self._breaker.check()
        return await self._mget(keys.titles(item_ids), "titles") if item_ids else []

    async def some_users(self, keys: Keys, most: int) -> list[str]:
        """Return up to ``most`` users with a record, in order; none if a bounded look finds none.

        In a cluster it looks at one node: records are spread over all.
        """
        self._breaker.check()
        wanted = {"match": keys.user("*"), "count": _SCAN_KEYS}
        prefix, users, cursor = len(keys.user("")), set[str](), 0
        for _ in range(_SCANS):
            with self._reading("users"):
                if self._is_cluster:
                    node = self._redis.get_primaries()[0]
                    cursors, names = await self._redis.scan(cursor, target_nodes=node, **wanted)
                    cursor = cursors[node.name]
                else:
                    cursor, names = await self._redis.scan(cursor, **wanted)
            users.update(name.decode(errors="replace")[prefix:] for name in names)
            if cursor == 0 or len(users) >= most:
                break
        return sorted(users)[:most]

    async def catalog_ids(self, keys: Keys, chunk: int) -> AsyncIterator[list[str]]:
        """Yield the ids of all items of the space, about ``chunk`` at a time; ids may repeat."""
        cursor = 0
        while True:
            with self._reading("catalog"):
                cursor, ids = await self._redis.sscan(keys.catalog, cursor, count=chunk)
            if ids:
                yield [item_id.decode(errors="replace") for item_id in ids]
            if cursor == 0:
                return

    async def listed(self, keys: Keys, item_ids: Sequence[str]) -> tuple[list[bool], int]:
        """Return whether the space lists each of N ids (N,), and the number of its items."""
        with self._reading("catalog"):
            pipeline = self._redis.pipeline(transaction=False)
            pipeline.smismember(keys.catalog, item_ids)
            pipeline.scard(keys.catalog)
            flags, size = await pipeline.execute()
            return [bool(flag) for flag in flags], size

    async def catalog_size(self, keys: Keys) -> int:
        """Return the number of items of the space."""
        with self._reading("catalog"):
            size: int = await self._redis.scard(keys.catalog)
            return size

    async def change_position(self, keys: Keys) -> tuple[str, str]:
        """Return the current ends of the item and the proxy change stream."""
        with self._reading("changes"):
            items, proxies = await self._changes.ends(_streams_of(keys))
            return items, proxies

    async def changes(self, keys: Keys, position: tuple[str, str]) -> Changes:
        """Return the changes after ``position``; wait about a second if there are none."""
        with self._reading("changes"):
            read = await self._changes.read(_streams_of(keys), position)
        item_ids = dict.fromkeys(i for fields in read.entries for i in announced(fields))
        items, proxies = read.position
        return Changes(tuple(item_ids), (items, proxies), read.gap, read.oldest_ms)

    async def verdicts(self) -> dict[str, str]:
        """Return what all replicas have written with ``add_verdict``: alias -> verdict."""
        with self._reading("verdicts", judged=False):
            entries = await self._redis.hgetall(self._verdicts_key)
        return {a.decode(errors="replace"): v.decode(errors="replace") for a, v in entries.items()}

    async def add_verdict(self, alias: str, verdict: str) -> None:
        """Write a verdict for all replicas, over an older one of the alias."""
        with self._reading("verdicts", judged=False):
            await self._redis.hset(self._verdicts_key, alias, verdict)

    async def run(
        self,
        operation: str,
        commands: Sequence[Sequence[str | int]],
        changed_users: Sequence[str] = (),
    ) -> list[Any]:
        """Return the answers of commands that write, sent at once; raises StoreError.

        ``changed_users`` are announced in the same transaction: their records, histories or other
        parts change. In a cluster they are announced after the commands, so that a call that is cut
        off in between has to be repeated.
        """
        self._breaker.check()
        try:
            with self._reading(operation, judged=False):
                is_atomic = bool(changed_users) and not self._is_cluster
                pipeline = self._redis.pipeline(transaction=is_atomic)
                for command in commands:
                    pipeline.execute_command(*command)
                if is_atomic:
                    announce_users(pipeline, self._namespace, changed_users)
                answers: list[Any] = await pipeline.execute()
                if changed_users and not is_atomic:
                    announcement = self._redis.pipeline(transaction=False)
                    announce_users(announcement, self._namespace, changed_users)
                    await announcement.execute()
                return answers[: len(commands)]
        finally:
            self.users_in_memory.forget(changed_users)  # before the announcement is back

    async def _mget_users(self, names: Sequence[str]) -> list[bytes | None]:
        """Read on an idle connection: taking one from the pool costs as much as the read.

        A connection that fails is released to the pool. If the server had closed it while idle,
        the read is repeated through the pool, which connects again. A cluster's client manages its
        own connections.
        """
        if self._is_cluster:
            return await self._mget(names, "users")
        with self._reading("users"):
            async with asyncio.timeout(self.timeout_s):
                pool = self._untimed.connection_pool
                connection = self._idle.pop() if self._idle else await pool.get_connection()
                try:
                    await connection.send_command("MGET", *names)
                    records: list[bytes | None] = await connection.read_response()
                except BaseException as error:
                    await connection.disconnect(nowait=True)
                    await pool.release(connection)
                    if not isinstance(error, CLOSED):
                        raise
                    records = await self._redis.mget(names)
                else:
                    if len(self._idle) < self._most_idle:
                        self._idle.append(connection)
                    else:
                        await pool.release(connection)
            return self._counted("users", records)

    async def _mget(self, names: Sequence[str], operation: str) -> list[bytes | None]:
        with self._reading(operation):
            mget = self._redis.mget_nonatomic if self._is_cluster else self._redis.mget
            return self._counted(operation, await mget(names))

    def _counted(self, operation: str, records: list[bytes | None]) -> list[bytes | None]:
        self._telemetry.store_bytes[operation].inc(sum(map(len, filter(None, records))))
        return records

    @contextlib.contextmanager
    def _reading(self, operation: str, *, judged: bool = True) -> Iterator[None]:
        """Time one read and map all exceptions.

        The breaker hears of them if ``judged``: a user of Redis without the right to a command that
        rankings do without must not open it.
        """
        start_s = time.perf_counter()
        try:
            yield
        except Exception as error:
            if judged:
                self._breaker.failed()
            raise store_error(error) from error
        else:
            if judged:
                self._breaker.succeeded()
        finally:
            self._telemetry.store_seconds[operation].observe(time.perf_counter() - start_s)


def _streams_of(keys: Keys) -> tuple[str, str]:
    return keys.item_changes, keys.proxy_changes
