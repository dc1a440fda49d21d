"""Clients of the store by URL: one server, a cluster, or a primary watched by sentinels."""

from __future__ import annotations

from typing import Any

from redis.asyncio import BlockingConnectionPool, Redis, RedisCluster
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.connection import parse_url
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel, SentinelConnectionPool
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from service.contract.store_url import parse

# What a closed connection raises. A write to one that was reset is uvloop's RuntimeError, which
# redis-py passes on.
CLOSED = (RedisConnectionError, RuntimeError)

# If the server has closed an idle connection, its next command fails once; a retry reconnects.
_RETRIES = 1
_RETRIED: Any = (*CLOSED, RedisTimeoutError)


class _SentinelPool(SentinelConnectionPool, BlockingConnectionPool):
    """A sentinel pool that blocks, instead of raising, when all connections are in use."""


def connect(
    url: str,
    connections: int,
    connect_s: float,
    answer_s: float | None,
    retries: int = _RETRIES,
) -> Any:
    """Return a client of the store at ``url``; it connects on its first command.

    ``connections`` is the most connections, in a cluster to each node. ``connect_s`` is the
    longest wait for a connection, ``answer_s`` for each part of an answer, in seconds. The client
    is untyped: redis-py's stubs cannot express that replies are bytes.
    """
    store = parse(url)
    timeouts = {"socket_timeout": answer_s, "socket_connect_timeout": connect_s}
    retry = Retry(NoBackoff(), retries, _RETRIED)
    options: dict[str, Any] = {"protocol": 2, "retry": retry, **timeouts}
    if store.kind == "cluster":
        nodes = [ClusterNode(host, port) for host, port in store.nodes]
        return RedisCluster.from_url(
            store.url, startup_nodes=nodes, max_connections=connections, **options
        )
    limits: dict[str, Any] = {"max_connections": connections, "timeout": connect_s}
    if store.kind == "server":
        return Redis.from_pool(BlockingConnectionPool.from_url(store.url, **limits, **options))
    url_options: dict[str, Any] = dict(parse_url(store.url))
    for name in ("host", "port", "connection_class"):  # sentinels name the primary's
        url_options.pop(name, None)
    url_options |= {"ssl": True} if store.tls else {}
    tls = {name: value for name, value in url_options.items() if name.startswith("ssl")}
    sentinel = Sentinel(store.nodes, sentinel_kwargs={**timeouts, **tls}, protocol=2)
    return sentinel.master_for(
        store.primary, connection_pool_class=_SentinelPool, **{**limits, **options, **url_options}
    )


async def close(client: Any) -> None:
    """Close a client of ``connect``, with its connections to sentinels."""
    await client.aclose()
    if isinstance(pool := getattr(client, "connection_pool", None), _SentinelPool):
        await pool.sentinel_manager.aclose()
