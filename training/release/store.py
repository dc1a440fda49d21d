"""The store as publishing and pruning see it: clients by URL, and one line for each failure."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from typing import Any

import redis
from redis.backoff import ExponentialBackoff
from redis.cluster import ClusterNode
from redis.connection import parse_url as url_options_of
from redis.exceptions import RedisClusterException
from redis.retry import Retry
from redis.sentinel import Sentinel

from service.contract.keys import NAMESPACE
from service.contract.store_errors import mend
from service.contract.store_url import StoreUrl, parse
from training.errors import PublishError

_TIMEOUT_S = 10.0

Client = redis.Redis | redis.RedisCluster


@contextlib.contextmanager
def open_store(url: str) -> Iterator[Client]:
    """Yield a client of the store at ``url``; its errors become PublishError with one line.

    No message contains credentials.
    """
    store = parse_url(url)
    try:
        with connect(store) as client:
            yield client
    except (redis.RedisError, RedisClusterException) as error:
        again = "; once it answers, run the same command to go on" if _is_away(error) else ""
        raise PublishError(f"Redis at {store.place}: {problem_of(error)}{again}") from error


def parse_url(url: str) -> StoreUrl:
    """Parse a URL of the store; raises PublishError, without any of its text, for a bad one."""
    try:
        return parse(url)
    except ValueError as error:
        raise PublishError(f"--redis or RANK_REDIS_URL: {error}") from error


def connect(store: StoreUrl) -> Client:
    """Return a client of the store; a cluster's client connects at once."""
    options: dict[str, Any] = {
        "protocol": 2,
        "socket_timeout": _TIMEOUT_S,
        "retry": Retry(ExponentialBackoff(), 3),
    }
    if store.kind == "server":
        return redis.Redis.from_url(store.url, **options)
    url_options = dict(url_options_of(store.url))
    for name in (
        "host",
        "port",
        "connection_class",
    ):  # they name one server; the client discovers its own
        url_options.pop(name, None)
    url_options |= {"ssl": True} if store.tls else {}
    if store.kind == "cluster":
        nodes = [ClusterNode(host, port) for host, port in store.nodes]
        return redis.RedisCluster(startup_nodes=nodes, **{**options, **url_options})
    tls = {name: value for name, value in url_options.items() if name.startswith("ssl")}
    sentinel = Sentinel(store.nodes, sentinel_kwargs={"socket_timeout": _TIMEOUT_S, **tls})
    primary: redis.Redis = sentinel.master_for(store.primary, **{**options, **url_options})
    return primary


def problem_of(error: Exception) -> str:
    """Return what is wrong with the store, without credentials, and what mends it if known."""
    if (meaning := mend(error)) is not None:
        return meaning
    # A server that does not know AUTH repeats its arguments: the password.
    return str(error).partition(", with args beginning with")[0]


def _is_away(error: Exception) -> bool:
    return mend(error) is None and isinstance(error, redis.ConnectionError | redis.TimeoutError)


def check_namespace(namespace: str) -> None:
    """Raise PublishError unless the service can have this namespace."""
    if not re.fullmatch(NAMESPACE, namespace):
        raise PublishError(
            f"--namespace or RANK_NAMESPACE: {namespace!r} should have 1 to 64 letters, digits, "
            "'_', '.' and '-'"
        )
