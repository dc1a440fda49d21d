"""The options of a URL reach redis-py; integration tests connect to real servers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from redis.asyncio import SSLConnection
from redis.asyncio.sentinel import SentinelManagedSSLConnection

from service.contract.store_url import OPTIONS as OPTIONS_OF_URLS
from service.contract.store_url import TLS_OPTIONS, parse
from service.store.connections import connect
from training.release.store import connect as connect_to_publish

OPTIONS = "ssl_ca_certs=/ca.pem&socket_timeout=7"


def test_tls_reaches_sentinels_and_the_primary() -> None:
    client = connect(f"rediss+sentinel://me:secret@s1,s2:5000/feed/3?{OPTIONS}", 4, 0.2, 0.2)
    pool = client.connection_pool
    assert pool.connection_class is SentinelManagedSSLConnection
    options: dict[str, Any] = pool.connection_kwargs
    assert (options["username"], options["password"], options["db"]) == ("me", "secret", 3)
    assert (options["ssl_ca_certs"], options["socket_timeout"]) == ("/ca.pem", 7)
    assert (pool.service_name, pool.max_connections) == ("feed", 4)
    first, second = (s.connection_pool for s in pool.sentinel_manager.sentinels)
    assert first.connection_class is second.connection_class is SSLConnection
    assert (first.connection_kwargs["host"], second.connection_kwargs["port"]) == ("s1", 5000)
    assert first.connection_kwargs["ssl_ca_certs"] == "/ca.pem"
    assert first.connection_kwargs.get("password") is None


def test_tls_reaches_the_nodes_of_a_cluster() -> None:
    client = connect(f"rediss+cluster://me:secret@a,b:7001?{OPTIONS}", 4, 0.2, 0.2)
    nodes = client.nodes_manager.startup_nodes
    assert set(nodes) == {"a:6379", "b:7001"}
    for node in nodes.values():
        assert node.connection_class is SSLConnection
        assert node.max_connections == 4
        assert node.connection_kwargs["password"] == "secret"
        assert node.connection_kwargs["ssl_ca_certs"] == "/ca.pem"


@pytest.mark.parametrize("url", ["rediss+sentinel://me:secret@s1/feed/3?" + OPTIONS])
def test_publishing_reads_the_same_urls(url: str) -> None:
    client: Any = connect_to_publish(parse(url))
    pool = client.connection_pool
    assert pool.connection_kwargs["ssl_ca_certs"] == "/ca.pem"
    assert (pool.connection_kwargs["socket_timeout"], pool.connection_kwargs["db"]) == (7, 3)


VALUES = {
    "db": "0",
    "socket_timeout": "7",
    "socket_connect_timeout": "0.5",
    "socket_keepalive": "yes",
    "health_check_interval": "30",
    "max_connections": "9",
    "ssl_cert_reqs": "none",
    "ssl_check_hostname": "false",
}


def _query(options: Iterable[str]) -> str:
    return "&".join(f"{name}={VALUES.get(name, 'x')}" for name in sorted(options))


@pytest.mark.parametrize(
    ("base", "options"),
    [
        ("redis://h", OPTIONS_OF_URLS),
        ("rediss://h", OPTIONS_OF_URLS | TLS_OPTIONS),
        ("unix:///run/redis.sock", OPTIONS_OF_URLS.keys() - {"socket_keepalive"}),
        ("redis+sentinel://h/feed", OPTIONS_OF_URLS),
        ("rediss+sentinel://h/feed", OPTIONS_OF_URLS | TLS_OPTIONS),
    ],
)
def test_redis_py_knows_every_option_that_a_url_may_have(base: str, options: Iterable[str]) -> None:
    url = f"{base}?{_query(options)}"
    clients: list[Any] = [connect(url, 4, 0.2, 0.2), connect_to_publish(parse(url))]
    for pool in (client.connection_pool for client in clients):
        connection = pool.connection_class(**pool.connection_kwargs)  # TypeError if one is unknown
        assert (connection.password, connection.socket_timeout) == ("x", 7)


def test_redis_py_knows_every_option_of_a_cluster() -> None:
    url = f"rediss+cluster://h?{_query((OPTIONS_OF_URLS | TLS_OPTIONS).keys() - {'db'})}"
    (node,) = connect(url, 4, 0.2, 0.2).nodes_manager.startup_nodes.values()
    assert node.connection_class(**node.connection_kwargs).password == "x"
