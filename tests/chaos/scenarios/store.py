"""Redis fails."""

from __future__ import annotations

import os
import signal
import time

from tests.chaos.scenario import Allowed, degraded, scenario
from tests.chaos.stack import Needs, Stack
from tests.integration.conftest import until

# The breaker probes after pauses of .25, .5, 1, 2 and 4 s, so that it closes up to 4 s late.
_BREAKER_S = 5.0
# A few requests wait for the whole store timeout of 200 ms, on a busy machine for longer.
_TIMEOUT_MS = 400.0
_PERSISTENT = ("--appendonly", "yes")


@scenario(
    "Redis holds all answers back for 5 s (`CLIENT PAUSE`)",
    degraded("store_unavailable", recovery_s=_BREAKER_S, p99_ms=_TIMEOUT_MS),
)
def redis_paused(stack: Stack) -> None:
    stack.redis.execute_command("CLIENT PAUSE", round(5000 * stack.scale), "ALL")
    stack.hold(5)


@scenario(
    "Redis is frozen for 5 s: connections open, nothing answers (SIGSTOP)",
    degraded("store_unavailable", recovery_s=_BREAKER_S, p99_ms=_TIMEOUT_MS),
)
def redis_frozen(stack: Stack) -> None:
    stack.servers[0].freeze()
    stack.hold(5)
    stack.servers[0].thaw()


@scenario(
    "Redis is killed, and starts again with its data after 3 s",
    degraded("store_unavailable", recovery_s=_BREAKER_S),
    Needs(redis=_PERSISTENT),
)
def redis_restarted_full(stack: Stack) -> None:
    stack.servers[0].kill()
    stack.hold(3)
    stack.servers[0].start()


@scenario(
    "Redis is killed, starts again empty after 2 s, and is published to after 3 s more",
    Allowed(
        degraded=frozenset({"store_unavailable", "unknown_user", "lost_items"}),
        felt=frozenset({"store_unavailable", "unknown_user", "lost_items"}),
        recovery_s=_BREAKER_S,
    ),
)
def redis_restarted_empty(stack: Stack) -> None:
    items = stack.replicas[0].metric("rank_catalog_items")
    stack.servers[0].kill()
    stack.hold(2)
    stack.servers[0].start()
    stack.hold(3)
    until(lambda: stack.replicas[0].metric("rank_catalog_lost_items") == items)
    status, reason = stack.replicas[0].readiness()
    stack.check("a replica stays ready and says that items are lost", status == 200)
    stack.check("the reason names the lost items", "has lost" in reason)
    stack.publish()


@scenario(
    "Redis evicts a part of the records for 4 s, then gets room and all records anew",
    Allowed(
        degraded=frozenset({"unknown_user", "lost_items", "store_unavailable"}),
        felt=frozenset({"unknown_user"}),
        recovery_s=_BREAKER_S,
    ),
)
def redis_evicts(stack: Stack) -> None:
    held = stack.redis.dbsize()
    stack.redis.config_set("maxmemory-policy", "allkeys-random")
    used = stack.redis.info("memory")
    records = used["used_memory"] - used["used_memory_startup"]
    stack.redis.config_set("maxmemory", round(used["used_memory"] - 0.15 * records))
    until(lambda: stack.redis.dbsize() < held)
    stack.hold(4)
    stack.check("a part of the records is left", 0 < stack.redis.dbsize() < held)
    stack.redis.config_set("maxmemory", 0)
    stack.redis.config_set("maxmemory-policy", "noeviction")
    stack.publish(fresh=True)


@scenario(
    "Each answer of Redis takes 20 ms longer for 5 s",
    Allowed(p99_ms=200.0),
    Needs(wire=True),
)
def redis_slow(stack: Stack) -> None:
    assert stack.wire is not None
    stack.wire.delay_s = 0.020
    stack.hold(5)
    stack.wire.delay_s = 0.0


@scenario(
    "All connections to Redis are reset, 25 times in 5 s",
    Allowed(degraded=frozenset({"store_unavailable"}), p99_ms=_TIMEOUT_MS),
    Needs(wire=True),
)
def redis_resets(stack: Stack) -> None:
    assert stack.wire is not None
    for _ in range(25):
        stack.wire.reset()
        stack.hold(0.2)


@scenario(
    "The password of Redis is rotated and all connections are closed; replicas restart in turn "
    "with the new one",
    degraded("store_unavailable", recovery_s=_BREAKER_S),
    Needs(password="first"),
)
def redis_password_rotated(stack: Stack) -> None:
    stack.redis.config_set("requirepass", "second")
    stack.redis.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    stack.hold(2)
    until(lambda: "password" in stack.replicas[0].readiness()[1])
    for number, replica in enumerate(stack.replicas):
        replica.environment["RANK_REDIS_URL"] = stack.url.replace(":first@", ":second@")
        stack.restart(number)


@scenario(
    "A shard of a cluster of three is killed for 4 s, and starts again with its data",
    degraded("store_unavailable", recovery_s=_BREAKER_S),
    Needs(store="cluster", redis=_PERSISTENT),
)
def cluster_shard_lost(stack: Stack) -> None:
    stack.servers[1].kill()
    stack.hold(4)
    stack.servers[1].start()


@scenario(
    "The primary behind a sentinel is killed: its replica takes over",
    degraded("store_unavailable", recovery_s=_BREAKER_S),
    Needs(store="sentinel"),
)
def sentinel_failover(stack: Stack) -> None:
    primary, replica = stack.clients
    os.kill(primary.info("server")["process_id"], signal.SIGKILL)
    until(lambda: replica.info("replication")["role"] == "master")
    time.sleep(0.1)
