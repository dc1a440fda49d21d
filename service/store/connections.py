"""Clients of the store by URL: one server, a cluster, or a primary that sentinels know."""

from __future__ import annotations

from typing import Any

from redis.asyncio import BlockingConnectionPool, Redis, RedisCluster
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.connection import parse_url
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel, SentinelConnectionPool
from redis.backoff import NoBackoff

from service.contract.store_url import parse

# An idle connection that the server closed fails its next command once: one retry reconnects.
_RETRIES = 1


class _SentinelPool(SentinelConnectionPool, BlockingConnectionPool):
    """Asks sentinels for the primary's address, and has those wait who find it exhausted."""


def connect(url: str, connections: int, connect_s: float, answer_s: float | None) -> Any:
    """Return a client; its stubs cannot say that replies are bytes, so it goes untyped.

    ``connections`` at most, to each node of a cluster. ``connect_s`` is the longest wait for a
    connection, ``answer_s`` for each part of an answer. Nothing is connected yet.
    """
    store = parse(url)
    timeouts = {"socket_timeout": answer_s, "socket_connect_timeout": connect_s}
    options: dict[str, Any] = {"protocol": 2, "retry": Retry(NoBackoff(), _RETRIES), **timeouts}
    if store.kind == "cluster":
        nodes = [ClusterNode(host, port) for host, port in store.nodes]
        return RedisCluster.from_url(
            store.url, startup_nodes=nodes, max_connections=connections, **options
        )
    limits: dict[str, Any] = {"max_connections": connections, "timeout": connect_s}
    if store.kind == "server":
        return Redis.from_pool(BlockingConnectionPool.from_url(store.url, **limits, **options))
    given: dict[str, Any] = dict(parse_url(store.url))
    for name in ("host", "port", "connection_class"):  # the sentinels tell
        given.pop(name, None)
    given |= {"ssl": True} if store.tls else {}
    tls = {name: value for name, value in given.items() if name.startswith("ssl")}
    sentinel = Sentinel(store.nodes, sentinel_kwargs={**timeouts, **tls}, protocol=2)
    return sentinel.master_for(
        store.primary, connection_pool_class=_SentinelPool, **{**limits, **options, **given}
    )


async def close(client: Any) -> None:
    """Close what ``connect`` returned, sentinels' connections included."""
    await client.aclose()
    if isinstance(pool := getattr(client, "connection_pool", None), _SentinelPool):
        await pool.sentinel_manager.aclose()
