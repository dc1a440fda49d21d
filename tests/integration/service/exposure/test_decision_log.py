"""The decision log against a real Redis: once each, in its shard, or counted as dropped."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import redis
from pydantic import SecretStr

from service.contract.feedback import (
    RECORD,
    Decision,
    decisions_key,
    decode_decision,
    shard_of,
    writer_key,
)
from service.errors import StoreError
from service.exposure.decision_log import DecisionLog
from service.settings import Settings
from service.store.feedback import Batch, FeedbackStreams
from service.telemetry import Telemetry
from tests.integration import redis_servers

NOBODY = "redis://127.0.0.1:1/0"


def decision(number: int) -> Decision:
    return Decision(
        request_id=f"r{number}",
        time_ms=1,
        user_id="u",
        model="m@1",
        tradeoff=0.5,
        pool="catalogue",
        pool_size=2,
        item_ids=["a"],
        scores=[0.5],
        propensities=[1.0],
    )


def settings(url: str, **others: Any) -> Settings:
    namespace = f"t{uuid.uuid4().hex[:12]}"
    return Settings(redis_url=SecretStr(url), namespace=namespace, decisions=1, **others)


def run(
    settings: Settings, steps: Callable[[DecisionLog, FeedbackStreams], Awaitable[None]]
) -> Telemetry:
    """Run ``steps`` with a log and close it; returns its metrics."""
    telemetry = Telemetry()

    async def run_and_close() -> None:
        streams = FeedbackStreams(settings, telemetry)
        log = DecisionLog(settings, streams, telemetry)
        await steps(log, streams)
        await log.close(2.0)
        await streams.close()

    asyncio.run(run_and_close())
    return telemetry


async def add(log: DecisionLog, count: int) -> None:
    for number in range(count):
        log.add(decision(number))


def stored(client: redis.Redis, stream: str) -> list[str]:
    entries: Any = client.xrange(stream)
    return [decode_decision(fields[RECORD]).request_id for _, fields in entries]


def value(telemetry: Telemetry, name: str, **labels: str) -> float:
    return telemetry.registry.get_sample_value(name, labels) or 0.0


@pytest.fixture
def client(redis_url: str) -> redis.Redis:
    return redis.Redis.from_url(redis_url)


def test_all_are_written_in_order_and_in_batches(redis_url: str, client: redis.Redis) -> None:
    few = settings(redis_url, decision_batch=4)
    telemetry = run(few, lambda log, _: add(log, 10))
    assert stored(client, decisions_key(few.namespace)) == [f"r{n}" for n in range(10)]
    assert value(telemetry, "rank_decisions_written_total") == 10
    assert value(telemetry, "rank_store_seconds_count", operation="decisions") == 3


def test_a_batch_is_there_once_however_often_it_is_sent(
    redis_url: str, client: redis.Redis
) -> None:
    own = settings(redis_url)
    stream = decisions_key(own.namespace)

    async def repeat(_: DecisionLog, streams: FeedbackStreams) -> None:
        for number in (1, 1, 2, 2, 2, 3):
            await streams.append_once(Batch(stream, number, [b"%d" % number] * 2))

    run(own, repeat)
    entries: Any = client.xrange(stream)
    assert [fields[RECORD] for _, fields in entries] == [b"1", b"1", b"2", b"2", b"3", b"3"]
    (writer,) = client.keys(writer_key(stream, "*"))
    assert 0 < int(client.ttl(writer)) <= 3600


def test_a_stream_is_bounded(redis_url: str, client: redis.Redis) -> None:
    small = settings(redis_url, feedback_entries=100, decision_batch=100)
    run(small, lambda log, _: add(log, 1000))
    assert 100 <= len(stored(client, decisions_key(small.namespace))) < 300


def test_a_full_queue_drops_the_newest(redis_url: str, client: redis.Redis) -> None:
    short = settings(redis_url, decision_queue=3)
    telemetry = run(short, lambda log, _: add(log, 5))
    assert stored(client, decisions_key(short.namespace)) == ["r0", "r1", "r2"]
    assert value(telemetry, "rank_decisions_dropped_total", cause="full") == 2


class _Failing:
    """Writes, but loses the answers of the first ``times`` batches; then ``done`` is set."""

    def __init__(self, streams: FeedbackStreams, times: int) -> None:
        self._append = streams.append_once
        self._left = times
        self.done = asyncio.Event()

    async def __call__(self, batch: Batch) -> None:
        await self._append(batch)
        if self._left:
            self._left -= 1
            if not self._left:
                self.done.set()
            raise StoreError("no answer")


def test_without_a_store_what_is_lost_is_counted() -> None:
    away = settings(NOBODY, decision_queue=3, decision_flush_s=60, store_timeout_ms=50)

    async def steps(log: DecisionLog, _: FeedbackStreams) -> None:
        log.add(decision(0))
        with pytest.raises(StoreError):
            await log._flush()
        await add(log, 5)

    telemetry = run(away, steps)
    # Two found no room; one batch and the queue of three are lost at the end.
    assert value(telemetry, "rank_decisions_dropped_total", cause="store") == 2 + 1 + 3
    assert value(telemetry, "rank_decisions_written_total") == 0


def test_what_waits_is_written_once_when_the_store_is_back(
    redis_url: str, client: redis.Redis
) -> None:
    own = settings(redis_url, decision_flush_s=0.001)

    async def steps(log: DecisionLog, streams: FeedbackStreams) -> None:
        streams.append_once = failing = _Failing(streams, 2)  # type: ignore[method-assign]
        task = asyncio.create_task(log.run())
        await add(log, 3)
        await failing.done.wait()
        task.cancel()

    telemetry = run(own, steps)
    assert stored(client, decisions_key(own.namespace)) == ["r0", "r1", "r2"]
    assert value(telemetry, "rank_decisions_written_total") == 3


def test_a_cluster_has_a_stream_for_each_shard(tmp_path: Path) -> None:
    with redis_servers.cluster(tmp_path) as nodes:
        url = f"redis+cluster://127.0.0.1:{redis_servers.port_of(nodes[0])}"
        sharded = settings(url, feedback_shards=4, store_timeout_ms=5000)
        run(sharded, lambda log, _: add(log, 40))
        with redis.RedisCluster(port=redis_servers.port_of(nodes[0]), host="127.0.0.1") as client:
            found = {
                shard: stored(client, decisions_key(sharded.namespace, shard)) for shard in range(4)
            }
    everywhere = [request_id for ids in found.values() for request_id in ids]
    assert sorted(everywhere) == sorted(f"r{n}" for n in range(40))
    for shard, ids in found.items():
        assert {shard_of(request_id, 4) for request_id in ids} == {shard}
