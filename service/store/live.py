"""Live changes: writes of items that other programs neither see in part nor undo."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from redis.asyncio import RedisCluster
from redis.exceptions import WatchError

from service.contract.keys import Keys
from service.contract.live_changes import LiveChange, owner_of
from service.errors import PublishingError, StoreError
from service.settings import Settings
from service.store.connections import close, connect
from service.store.failures import mapped
from service.store.user_memory import UserMemory
from service.telemetry import Telemetry

_ANSWER_S = 5.0  # longer than of a read: a thousand large records take their time
_CONNECTIONS = 4
_TRIES = 6
_PAUSE_S = 0.02  # most, before the second try


@dataclass(frozen=True)
class Question:
    """What a change has to know: ``records``, keys, and ``listed``, ids by key of a catalogue."""

    records: Sequence[str] = ()
    listed: Mapping[str, Sequence[str]] | None = None


@dataclass(frozen=True)
class Answer:
    """The records by key, None where there is none, and the ids that each catalogue lists.

    ``sizes`` are the numbers of items of the catalogues.
    """

    records: Mapping[str, bytes | None]
    listed: Mapping[str, frozenset[str]]
    sizes: Mapping[str, int]


Decide = Callable[[Answer], Awaitable[Sequence[LiveChange]]]


class LiveStore:
    """Writes and removes records on connections of its own.

    Methods raise StoreError, and PublishingError while another program holds a space.
    """

    def __init__(self, settings: Settings, telemetry: Telemetry, users: UserMemory) -> None:
        self._telemetry = telemetry
        self.users_in_memory = users
        url = settings.redis_url.get_secret_value()
        timeout_s = settings.store_timeout_ms / 1000
        answer_s = max(_ANSWER_S, timeout_s)
        self.redis = connect(url, _CONNECTIONS, timeout_s, answer_s)
        self._is_cluster = isinstance(self.redis, RedisCluster)

    async def close(self) -> None:
        """Close the connections."""
        await close(self.redis)

    @contextlib.contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Time an operation."""
        start_s = time.perf_counter()
        try:
            yield
        finally:
            self._telemetry.store_seconds[name].observe(time.perf_counter() - start_s)

    async def change(self, keys: Sequence[Keys], question: Question, decide: Decide) -> None:
        """Write what ``decide`` returns for the store's answer to ``question``.

        ``keys`` are those of the models that may change. All is one transaction, which is tried
        again where anything that it has read has changed meanwhile. A cluster has no such
        transaction: of two changes of one item at once, the later one may not know of the other.
        """
        spaces = {space for k in keys for space in (k.spaces.items, k.spaces.proxies)}
        held = [keys[0].publishing(space) for space in sorted(spaces)]
        with self.timed("live"):
            if self._is_cluster:
                await self._change_in_cluster(held, question, decide)
                return
            for number in range(_TRIES):
                with contextlib.suppress(WatchError):
                    await self._change(held, question, decide)
                    return
                self._telemetry.live_conflicts.inc()
                await asyncio.sleep(random.uniform(0, _PAUSE_S * 2**number))
            raise StoreError("others keep changing the same items: try again")

    async def check_free(self, held: Sequence[str]) -> None:
        """Raise PublishingError if another program holds one of the keys ``Keys.publishing``."""
        _check_free([await self.redis.get(name) for name in held])

    async def _change(self, held: Sequence[str], question: Question, decide: Decide) -> None:
        """Write in one transaction; raises WatchError if what was read has changed."""
        async with self.redis.pipeline(transaction=True) as pipeline:
            with mapped():
                await pipeline.watch(*held, *question.records)
                _check_free(await pipeline.mget(held))
                answer = await _ask(pipeline, question)
            changes = await decide(answer)
            pipeline.multi()
            for change in changes:
                change.note(pipeline)
                if records := change.records():
                    pipeline.mset(records)
                if names := change.unneeded():
                    pipeline.delete(*names)
                change.finish(pipeline)
            with mapped():
                await pipeline.execute()

    async def _change_in_cluster(
        self, held: Sequence[str], question: Question, decide: Decide
    ) -> None:
        """Write in parts; what is half written is written again when the change is repeated."""
        with mapped():
            await self.check_free(held)
            answer = await _ask(self.redis, question)
        changes = await decide(answer)
        with mapped():
            for change in changes:
                await self._execute(change.note)
                if records := change.records():
                    await self.redis.mset_nonatomic(records)
                if names := change.unneeded():
                    await self.redis.delete(*names)
                await self._execute(change.finish)
            await self.check_free(held)

    async def _execute(self, queue: Callable[[Any], None]) -> None:
        pipeline = self.redis.pipeline(transaction=False)
        queue(pipeline)
        await pipeline.execute()


async def _ask(commands: Any, question: Question) -> Answer:
    """Read outside of a transaction, on a client or a watching pipeline."""
    mget = getattr(commands, "mget_nonatomic", commands.mget)
    names = list(question.records)
    records = dict(zip(names, await mget(names), strict=True)) if names else {}
    listed: dict[str, frozenset[str]] = {}
    sizes: dict[str, int] = {}
    for catalog, item_ids in (question.listed or {}).items():
        flags = await commands.smismember(catalog, list(item_ids))
        listed[catalog] = frozenset(i for i, flag in zip(item_ids, flags, strict=True) if flag)
        sizes[catalog] = await commands.scard(catalog)
    return Answer(records, listed, sizes)


def _check_free(values: Sequence[object]) -> None:
    for value in values:
        if (owner := owner_of(value)) is not None:
            raise PublishingError(f"the records are being changed by {owner}: try again")
